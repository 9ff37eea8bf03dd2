"""Conditions as people write them, asked of a real collection."""

import os
from datetime import UTC, datetime

import pytest

from made_collections import photo
from seesay.errors import CollectionError, ConfigError
from seesay.search.catalog.drafts import PassageDraft
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.filters import matching_passages
from seesay.search.catalog.store import Store
from seesay.search.filtering import (
    as_text,
    check_filter,
    fields_of,
    make_filter,
    parse_filter,
)


def at(*day: int) -> datetime:
    return datetime(*day, tzinfo=UTC)


PICTURES = {
    1: {"width": 4000, "camera": "Canon EOS", "date": at(2023, 5, 31, 23), "year": "2023"},
    2: {"width": 640, "camera": "NIKON", "date": at(2024, 5, 1)},
    3: {"width": 1000, "tag": ["cat", "猫"], "date": at(2024, 12, 31, 12)},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("filters") / "c", create=True) as store:
        drafts = [photo(number, metadata=data) for number, data in PICTURES.items()]
        changed = int(at(2024, 6, 15).timestamp() * 1e9)
        note = FileDraft(
            path="/notes/a.md",
            media_type="text",
            content_hash="f" * 32,
            size=10,
            mtime_ns=changed,
            passages=(PassageDraft(modality="text", text="a note"),),
        )
        with store.writing("index"):
            store.files.put([*drafts, note])
        yield store


def found(store: Store, **asked) -> list[int]:
    return sorted(matching_passages(make_filter(**asked), store.database).tolist())


@pytest.mark.parametrize(
    ("condition", "units"),
    [
        ("width>=1000", [1, 3]),
        ("width > 1000", [1]),
        ("width<1000", [2]),
        ("width=640", [2]),
        ("width!=640", [1, 3, 4]),
        ("camera=NIKON", [2]),
        ("camera~canon", [1]),
        ("camera", [1, 2]),
        ("tag=猫", [3]),
        ("tag='cat'", [3]),
        ("year=2023", [1]),
        ("date=2024", [2, 3]),
        ("date=2024-05", [2]),
        ("date>2024-05-01", [3]),
        ("date<=2024-05-01", [1, 2]),
        ("date<2024-12-31", [1, 2]),
        ("file.size>1002", [3]),
        ("file.name~.MD", [4]),
        ("file.modified=2024-06-15", [4]),
        ("unit.kind=text", [4]),
    ],
)
def test_a_condition_takes_the_units_it_says(store, condition, units):
    assert found(store, where=[condition]) == units


def test_several_conditions_hold_together(store):
    assert found(store, where=["width>=1000", "date=2024"]) == [3]


def test_days_are_inclusive_and_a_file_without_a_date_counts_by_its_last_change(store):
    assert found(store, since="2024-05-01") == [2, 3, 4]
    assert found(store, since="2024-05-02", until="2024-06-15") == [4]
    assert found(store, until="2023-05-31") == [1]
    assert found(store, until="2024-12") == [1, 2, 3, 4]


def test_folders_hold_what_is_below_them_and_nothing_beside(store, monkeypatch):
    assert found(store, folders=["/photos/1"]) == [1]
    assert found(store, folders=["/photos/1", "/photos/0/"]) == [1, 3]
    assert found(store, folders=["/phot"]) == []
    monkeypatch.chdir(os.sep)
    assert found(store, folders=["photos"]) == [1, 2, 3]


def test_pictures_and_texts_are_told_apart(store):
    assert found(store, media="text") == [4]
    assert found(store, media="image") == [1, 2, 3]


def test_a_filter_reads_as_it_could_be_written(tmp_path):
    asked = make_filter(where=["width>=400"], folders=[tmp_path], media="image")
    assert as_text(asked) == f"width>=400 & (file.folder={tmp_path}/…) & unit.kind=image"


def test_nothing_asked_is_no_filter():
    assert make_filter() is None


@pytest.mark.parametrize("text", ["", " ", "=3", "~x"])
def test_a_condition_without_a_key_is_refused(text):
    with pytest.raises(ConfigError, match="names no key; expected one such as width>=1000"):
        parse_filter(text)


@pytest.mark.parametrize("text", ["yesterday", "2024-13", "2024-02-30", "0000", "9999-12-31"])
def test_a_date_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="is not a date; expected a day, month or year"):
        make_filter(until=text)


def test_a_span_that_ends_before_it_begins_is_refused(store):
    assert found(store, since="2024-05", until="2024-05") == [2]
    with pytest.raises(ConfigError, match=r"no day from 2024-05-02 to 2024-05-01.* exchange them"):
        make_filter(since="2024-05-02", until="2024-05-01")


def test_the_fields_of_a_filter_are_known():
    asked = make_filter(where=["width>1", "camera!=x"], since="2024", media="image")
    assert set(fields_of(asked)) == {"width", "camera", "unit.kind", "file.modified"}


@pytest.mark.parametrize("text", ["width>>400", "width=>400", "width==400", "width>", "width>= <3"])
def test_a_condition_of_two_signs_or_without_a_value_is_refused(text):
    with pytest.raises(ConfigError, match=r"compares width with .*; expected one sign of"):
        parse_filter(text)


def test_a_value_in_quotes_may_begin_with_a_sign():
    assert as_text(parse_filter("camera='>400'")) == "camera=>400"
    assert as_text(parse_filter("camera=")) == "camera="


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("width>abc", "numbers such as 640"),
        ("width>nan", "numbers"),
        ("width<1e400", "numbers"),
        ("width=wide", "numbers"),
        ("width!=wide", "numbers"),
        ("width~4", "numbers"),
        ("camera>5", "texts"),
        ("date>summer", "dates such as 2024-05-31"),
        ("file.size>abc", "numbers"),
        ("year>2000", "texts"),
    ],
)
def test_a_condition_that_can_hold_for_nothing_is_refused(store, text, holds):
    types = store.metadata.types()
    with pytest.raises(CollectionError, match=rf"can hold for nothing, since .* holds {holds}"):
        check_filter(parse_filter(text), types)


@pytest.mark.parametrize(
    "text",
    [
        *("width>5", "width=640", "width!=640", "camera~4", "camera>K", "camera=5", "date=2024"),
        *("tag=2024", "file.modified>2024-05", "width", "file.name>5"),
    ],
)
def test_a_condition_that_may_hold_passes(store, text):
    check_filter(parse_filter(text), store.metadata.types())


def test_many_unknown_names_are_not_all_told():
    types = {f"key{n}": {"number"} for n in range(5000)}
    with pytest.raises(CollectionError, match=r"did you mean key77\?") as told:
        check_filter(parse_filter("kee77=1"), types)
    assert len(str(told.value)) < 1500
