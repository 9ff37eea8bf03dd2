"""Times that no calendar of a database has, and days as the clock on the wall shows them."""

import os
import time
from datetime import UTC, datetime
from threading import Event

import pytest
from PIL import Image

from made_files import write_photo
from seesay.search.catalog.filter_masks import FilterMasks
from seesay.search.catalog.filters import matching_passages
from seesay.search.checking.verify import check_files
from seesay.search.filtering import make_filter
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions
from seesay.search.indexing.watch import watch
from seesay.search.statistics import facets

ONE = IndexOptions(workers=1)


@pytest.fixture
def zone(monkeypatch):
    """Sets the time zone of this process."""

    def set_zone(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


def changed_at(path, seconds):
    """Give a file this time; skips the test where the file system does not hold it."""
    os.utime(path, ns=(0, seconds * 10**9))
    if os.stat(path).st_mtime_ns != seconds * 10**9:
        pytest.skip("this file system has no such times")


def found(store, **asked):
    condition = make_filter(**asked)
    units = sorted(matching_passages(condition, store.database).tolist())
    assert FilterMasks(store.database).mask(condition).nonzero()[0].tolist() == units
    return units


@pytest.mark.parametrize("year", [2300, 2400, 1960, 1905])
def test_a_file_of_any_time_is_indexed_once_and_found(store, embedder, tmp_path, year):
    photo = write_photo(tmp_path / "photos" / "a.jpg", 1)
    seconds = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    changed_at(photo, seconds)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no picture")
    changed_at(tmp_path / "photos" / "bad.jpg", seconds)
    (tmp_path / "photos" / "t.csv").write_text("file,caption\na.jpg,A dog\n")
    changed_at(tmp_path / "photos" / "t.csv", seconds)
    report = index(store, embedder, [tmp_path / "photos"], ONE)
    assert (report.added, report.failed) == (1, 1)
    again = index(store, embedder, [tmp_path / "photos"], ONE)
    assert (again.unchanged, again.skipped, again.updated) == (2, 1, 0)
    assert check_files(store) == []
    photo.write_bytes(photo.read_bytes() + b"x")
    changed_at(photo, seconds + 5)
    assert index(store, embedder, [tmp_path / "photos"], ONE).updated == 1
    assert facets(store).first.year == min(year, 2262)
    assert len(found(store, since=str(min(year, 2262)))) == 1
    assert len(found(store, until=str(year))) == 1


def test_watching_takes_in_a_file_of_any_time(store, embedder, tmp_path):
    changed_at(write_photo(tmp_path / "photos" / "a.jpg", 1), 10**10)
    reports, stop = [], Event()

    def told(report):
        reports.append(report)
        stop.set()

    watch(store, embedder, [tmp_path / "photos"], ONE, on_report=told, stop=stop)
    assert reports[0].added == 1


@pytest.mark.parametrize(("name", "day"), [("Asia/Shanghai", "2024-01-01"), ("UTC", "2023-12-31")])
def test_the_day_of_a_file_is_that_on_the_wall(store, embedder, tmp_path, zone, name, day):
    photo = write_photo(tmp_path / "photos" / "a.jpg", 1)
    changed_at(photo, int(datetime(2023, 12, 31, 23, tzinfo=UTC).timestamp()))
    index(store, embedder, [tmp_path / "photos"], ONE)
    zone(name)
    year = day[:4]
    for asked in ({"since": day, "until": day}, {"where": [f"file.modified={day}"]}):
        assert len(found(store, **asked)) == 1
    assert len(found(store, where=[f"file.modified={year}"])) == 1
    other = "2023" if year == "2024" else "2024"
    assert found(store, since=other, until=other) == []
    assert str(facets(store).first) == str(facets(store).last) == day


def test_a_day_of_which_the_clock_skips_an_hour_is_whole(store, embedder, tmp_path, zone):
    zone("Europe/Berlin")
    for number, hour in enumerate((23, 0, 21, 22)):  # of UTC: midnight is at 23, then at 22
        photo = write_photo(tmp_path / "photos" / f"{number}.jpg", number)
        moment = datetime(2024, 3, 30 + (number > 0), hour, tzinfo=UTC)
        changed_at(photo, int(moment.timestamp()))
    index(store, embedder, [tmp_path / "photos"], ONE)
    assert len(found(store, since="2024-03-31", until="2024-03-31")) == 3


def test_the_day_of_a_camera_is_that_on_its_clock_in_every_zone(store, embedder, tmp_path, zone):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[36867] = "2024:01:01 00:30:00"
    write_photo(tmp_path / "photos" / "a.jpg", 1, exif=exif)
    (tmp_path / "photos" / "t.csv").write_text("file,seen\na.jpg,2024-01-01T00:30:00+09:00\n")
    for name in ("Asia/Tokyo", "America/Los_Angeles"):
        zone(name)
        index(store, embedder, [tmp_path / "photos"], ONE)
        for asked in ({"since": "2024"}, {"where": ["seen=2024-01-01"]}):
            assert len(found(store, **asked)) == 1
