"""Copies among the hits of a page are folded into the one that stands first."""

import shutil

import pytest
from PIL import Image, ImageOps

from photographs import folder
from seesay.search.collection import Collection


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    base = tmp_path_factory.mktemp("folded")
    files = base / "files"
    files.mkdir()
    for name in ("chelsea.png", "coffee.png", "motorcycle_left.png", "motorcycle_right.png"):
        shutil.copy(folder() / name, files)
    shutil.copy(files / "coffee.png", files / "coffee again.png")
    with Image.open(files / "chelsea.png") as chelsea:
        chelsea.resize((225, 150)).save(files / "half.png")
        chelsea.convert("RGB").save(files / "saved.jpg", quality=80)
        ImageOps.mirror(chelsea).save(files / "mirrored.png")
    with Collection.open(base / "album", create=True) as collection:
        collection.index([files])
        yield collection


def folded(collection, hits):
    return {
        name(one.hit.path): sorted(map(name, (copy.path for copy in one.copies)))
        for one in collection.fold(hits)
    }


def name(path):
    return path.rsplit("/", 1)[-1]


def test_other_sizes_and_formats_of_a_picture_are_one_and_a_mirrored_one_is_not(collection):
    hits = collection.search("a close-up of a cat").hits
    found = folded(collection, hits)
    first, copies = next((k, v) for k, v in found.items() if v)
    assert sorted([first, *copies]) == ["chelsea.png", "half.png", "saved.jpg"]
    assert found["mirrored.png"] == [] and first == name(hits[0].path)
    assert found["motorcycle_left.png"] == found["motorcycle_right.png"] == []


def test_files_of_the_same_content_are_counted_too(collection):
    counts = {name(one.hit.path): one.count for one in collection.fold(collection.newest())}
    assert sorted(counts.values()) == [0, 0, 0, 1, 2]
    assert counts.get("coffee.png", counts.get("coffee again.png")) == 1


def test_hits_without_copies_stay_as_they_are(collection):
    assert collection.fold([]) == []
    (hit, *_) = collection.search("a motorcycle", count=1).hits
    assert [(one.hit, one.copies) for one in collection.fold([hit])] == [(hit, ())]
