"""Dates as cameras, programs and people write them."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from seesay.search.reading.dates import is_like_date, read_date, read_day

MORNING = datetime(2021, 5, 4, 10, 11, 12)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2021:05:04 10:11:12", MORNING),
        ("2021-05-04 10:11:12", MORNING),
        ("2021-05-04T10:11:12", MORNING),
        ("2021-05-04T10:11:12Z", MORNING),
        ("2021-05-04T10:11:12.5+08:00", MORNING.replace(microsecond=500_000)),
        ("2021:05:04 10:11:12-0330", MORNING),
        ("2021/5/4 10:11:12", MORNING),
        ("2021年5月4日10时11分12秒", MORNING),
        ("".join(chr(ord(c) + 0xFEE0) for c in "2021/5/4") + "\u300010:11:12", MORNING),
        ("2021-05-04 10:11:12 AM", MORNING),
        ("2021:05:04 10:11", datetime(2021, 5, 4, 10, 11)),
        ("2021年5月4日 下午3:20", datetime(2021, 5, 4, 15, 20)),
        ("2021-05-04 12:20 a.m.", datetime(2021, 5, 4, 0, 20)),
        ("2021:05:04 24:08:19", datetime(2021, 5, 5, 0, 8, 19)),
        ("2021-05-04 23:59:60", datetime(2021, 5, 5)),
        ("2021/5/4", datetime(2021, 5, 4)),
        ("2021.05.04", datetime(2021, 5, 4)),
        ("2021年5月4日", datetime(2021, 5, 4)),
        ("2021:05:04", datetime(2021, 5, 4)),
        ("2021-W18-2", datetime(2021, 5, 4)),
    ],
)
def test_a_date_is_read_however_it_is_written(text, date):
    assert read_date(text) == read_day(f" {text}\n") == date


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2021", datetime(2021, 1, 1)),
        ("2021-05", datetime(2021, 5, 1)),
        ("2021年5月", datetime(2021, 5, 1)),
        ("20210504", datetime(2021, 5, 4)),
        ("20210504_101112", MORNING),
    ],
)
def test_numbers_are_dates_only_where_nothing_else_can_be_meant(text, date):
    assert read_day(text) == date
    assert read_date(text) in (None, date)


@pytest.mark.parametrize(
    "text",
    [
        *("0000:00:00 00:00:00", "2021-02-30", "2021-13-01", "4/5/2021", "2021-05/04"),
        *("2021:05:04 25:00:00", "2021:05:04 10:60:00"),
    ],
)
def test_what_looks_like_a_date_and_is_none_is_told_apart_from_other_text(text):
    assert read_date(text) is read_day(text) is None
    assert is_like_date(text)


@pytest.mark.parametrize(
    "text", ["", "   ", "    :  :     :  :  ", "yesterday", "5.4", "1e3", "1620123456", "a" * 999]
)
def test_other_text_is_no_date(text):
    assert read_date(text) is read_day(text) is None
    assert not is_like_date(text)


@given(some.text(alphabet="0129:-/.年月日T +Z上下午PM", max_size=30))
def test_no_text_makes_reading_fail(text):
    date = read_day(text)
    assert date is None or date.tzinfo is None
