"""What Python code may hand over: one thing or several, a folder; and what it sees printed."""

import shutil

import pytest

from photographs import folder
from seesay.inference.classifier import ZeroShotClassifier
from seesay.inference.embedder import load
from seesay.search.catalog.filters import Compare
from seesay.search.collection import Collection
from seesay.search.indexing.options import IndexOptions


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    place = tmp_path_factory.mktemp("photos")
    for name in ("chelsea.png", "rocket.jpg", "moon.png"):
        shutil.copy(folder() / name, place)
    return place


@pytest.fixture(scope="module")
def embedder():
    return load("seesay-mini")


@pytest.fixture
def collection(tmp_path, photos, embedder):
    with Collection.open(tmp_path / "mine", create=True, model=embedder) as mine:
        assert mine.index(str(photos)).added == 3
        yield mine


def test_one_text_or_picture_needs_no_list_around_it(embedder, photos):
    assert embedder.embed_texts("a cat").vectors.shape == (1, embedder.dim)
    cat = photos / "chelsea.png"
    for one in (cat, str(cat), cat.read_bytes()):
        assert len(embedder.embed_images(one)) == 1


def test_a_folder_stands_for_its_pictures(embedder, photos):
    found = embedder.embed_images(photos)
    assert [source.rpartition("/")[2] for source in found.sources] == [
        *("chelsea.png", "moon.png", "rocket.jpg")
    ]
    answered = ZeroShotClassifier(embedder, ["a cat", "a rocket"]).classify(str(photos))
    assert len(answered) == 3 and answered.sources == found.sources
    assert answered.predictions[0].ranked[0].label == "a cat"


def test_a_folder_without_a_picture_is_told_of(embedder, tmp_path):
    (failure,) = embedder.embed_images(tmp_path).failures
    assert str(tmp_path) in str(failure.error)


def test_a_collection_takes_one_where_it_takes_several(collection, photos):
    cat = photos / "chelsea.png"
    assert collection.search(images=cat, count=1).hits[0].path == str(cat)
    assert collection.search(like=str(cat)).hits
    assert collection.search(like=1, unlike=2).hits
    assert collection.tag("cat").pictures == 3


def test_a_search_takes_every_filter_by_name(collection, photos):
    cat = str(photos / "chelsea.png")
    (narrow,) = collection.search(where="file.name=chelsea.png", media="image", folders=photos).hits
    assert narrow.path == cat
    assert len(collection.search(where=Compare("width", ">=", 1)).hits) == 3
    wanted = collection.search("a cat", count=3)
    assert [hit.path for hit in collection.search("a cat", offset=1).hits] == [
        hit.path for hit in wanted.hits[1:]
    ]
    assert [hit.path for hit in collection.search("a cat", min_confidence=60.0).hits] == [cat]
    unlike = collection.search("a picture", without="a cat", count=3)
    assert unlike.hits[-1].path == cat
    assert collection.search("a cat", until="1990").hits == ()


def test_what_is_printed_is_one_short_line(collection, embedder, photos):
    found = collection.search("a cat")
    shown = (
        *(embedder, collection, found, found.hits[0], collection.index()),
        *(embedder.embed_texts("a"), ZeroShotClassifier(embedder, "cat").classify(photos)),
    )
    for one in shown:
        told = repr(one)
        assert told.startswith(type(one).__name__ + "(") and "\n" not in told and len(told) < 250
    assert "chelsea.png" in repr(found)


def test_what_was_removed_stays_away_until_it_is_named(collection, photos):
    cat = photos / "chelsea.png"
    assert collection.remove(cat) == 1
    assert collection.passages_of(cat) == []
    assert collection.index().added == collection.index(photos).added == 0
    assert collection.index(cat).added == 1
    (unit,) = collection.passages_of(cat)
    assert collection.remove(units=unit) == 1
    assert cat.is_file()


def test_a_removed_folder_is_no_longer_looked_through(collection, photos):
    assert collection.remove(photos) == 3
    assert collection.stats().roots == ()
    assert collection.index(photos).added == 3


def test_nothing_outside_of_the_folders_that_are_allowed_is_read(tmp_path, embedder, photos):
    inside = tmp_path / "inside"
    inside.mkdir()
    shutil.copy(photos / "moon.png", inside)
    (inside / "linked.png").symlink_to(photos / "chelsea.png")
    (inside / "folder").symlink_to(photos)
    table = f"path,caption\n{photos / 'rocket.jpg'},a rocket\nmoon.png,the moon\n"
    (inside / "captions.csv").write_text(table)
    with Collection.open(tmp_path / "mine", create=True, model=embedder) as mine:
        mine.index(inside, IndexOptions(inside=(str(inside),)))
        assert [one.path for one in mine.store.files.all() if one.media_type == "image"] == [
            str(inside / "moon.png")
        ]
        assert mine.errors() == []
