"""What is known of a unit, and what a collection can be filtered by."""

import shutil
from datetime import UTC, date, datetime

import pytest
from PIL import Image

from made_files import write_photo
from photographs import folder
from seesay.errors import CollectionError
from seesay.search.collection import Collection

TAKEN = datetime(2021, 5, 4, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("described")
    photos = place / "photos"
    photos.mkdir()
    shutil.copy(folder() / "chelsea.png", photos / "cat.png")
    shutil.copy(photos / "cat.png", photos / "copy.png")
    with Image.open(photos / "cat.png") as cat:
        cat.convert("RGB").save(photos / "smaller.jpg", quality=80)
    exif = Image.Exif()
    exif[306] = "2021:05:04 10:00:00"
    write_photo(photos / "trip" / "taken.jpg", 1, exif=exif)
    (photos / "note.txt").write_text("长江大桥", encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def collection(place):
    with Collection.open(place / "c", create=True) as collection:
        assert collection.index([place / "photos"]).added == 5
        yield collection


def test_a_picture_is_described_with_its_copies_and_what_looks_the_same(place, collection):
    photos = place / "photos"
    (unit,) = collection.passages_of(photos / "cat.png")
    told = collection.describe(unit)
    assert told.path == str(photos / "cat.png")
    assert (told.kind, told.file_kind, told.text) == ("image", "image", None)
    assert told.size == (photos / "cat.png").stat().st_size
    assert told.metadata | {"date": None} == {"width": 451, "height": 300, "date": None}
    assert f"{told.metadata['date']:%Y-%m-%d}" == "2009-02-09"  # when it was digitised
    assert told.copies == (str(photos / "copy.png"),)
    assert told.near_duplicates == (str(photos / "smaller.jpg"),)
    assert told.date == told.metadata["date"]


def test_the_day_a_picture_was_taken_is_its_date(place, collection):
    (unit,) = collection.passages_of(place / "photos" / "trip" / "taken.jpg")
    told = collection.describe(unit)
    assert (told.date, told.copies, told.near_duplicates) == (TAKEN, (), ())
    assert told.modified > TAKEN


def test_a_text_is_described_with_its_words(place, collection):
    (unit,) = collection.passages_of(place / "photos" / "note.txt")
    assert collection.describe(unit).text == "长江大桥"
    assert collection.describe(unit).near_duplicates == ()


def test_a_number_that_nothing_has_is_refused(collection):
    with pytest.raises(CollectionError, match="no unit 999"):
        collection.describe(999)


def test_facets_name_what_there_is_to_choose_from(place, collection):
    found = collection.facets()
    assert [(c.value, c.count) for c in found.folders] == [
        (str(place / "photos"), 4),
        (str(place / "photos" / "trip"), 1),
    ]
    assert [(c.value, c.count) for c in found.kinds] == [("image", 4), ("text", 1)]
    assert found.first == date(2009, 2, 9)
    assert found.last is not None and found.last > date(2024, 1, 1)
    keys = {key.name: key for key in found.keys}
    assert (keys["width"].least, keys["width"].most, keys["width"].count) == (64, 451, 4)
    assert (keys["date"].least, keys["date"].most) == (1234170690.0, TAKEN.timestamp())


def test_an_empty_collection_offers_nothing(tmp_path):
    with Collection.open(tmp_path / "empty", create=True) as collection:
        found = collection.facets()
        assert (found.folders, found.kinds, found.keys, found.first) == ((), (), (), None)
