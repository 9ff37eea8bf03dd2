"""Objects as annotations: they come with a detector, and stay or go with their picture."""

import shutil
from threading import Event

import numpy as np
import pytest
from PIL import Image

from made_detectors import write_colour_detector, write_detector
from seesay.errors import WeightsError
from seesay.search.catalog.filters import Compare, matching_passages
from seesay.search.checking.repair import mend
from seesay.search.checking.verify import WITHOUT_KEYWORDS, check_truth
from seesay.search.collection import Collection
from seesay.search.filtering import parse_filter
from seesay.search.indexing import objects
from seesay.search.indexing.index import index
from seesay.search.indexing.objects import KEYS
from seesay.search.indexing.options import IndexOptions

COLOURS = {"dog.png": (255, 0, 0), "cat.png": (0, 0, 255), "field.png": (0, 255, 0)}


def paint(folder, name, *, right=None):
    """A picture of one colour, 128 x 64; its right half may have another."""
    picture = Image.new("RGB", (128, 64), COLOURS[name])
    if right is not None:
        picture.paste(COLOURS[right], (64, 0, 128, 64))
    folder.mkdir(exist_ok=True)
    picture.save(folder / name)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_colour_detector(tmp_path_factory.mktemp("detector") / "colours.onnx")


@pytest.fixture
def detecting(file):
    return IndexOptions(workers=1, detect=file)


@pytest.fixture
def pictures(tmp_path):
    for name in COLOURS:
        paint(tmp_path / "pictures", name)
    return tmp_path / "pictures"


@pytest.fixture
def detected(store, embedder, pictures, detecting):
    assert index(store, embedder, [pictures], detecting).detected == 3
    return pictures


def known(store, name):
    """The metadata that detectors and tables of these tests give a picture."""
    (file,) = [file for file in store.files.all() if file.path.endswith(f"/{name}")]
    (passage,) = store.passages.of_files([file.id])
    return {k: v for k, v in store.metadata.get([passage.id])[passage.id].items() if k in KEYS}


def names(store, passages):
    files = store.files.get(passage.file for passage in store.passages.get(passages))
    return sorted(file.path.rsplit("/", 1)[1] for file in files)


def filtered(store, condition):
    return names(store, matching_passages(parse_filter(condition), store.database))


def worded(store, words):
    return names(store, store.keywords.search(words, 10)[0])


def test_a_detector_annotates_what_is_indexed_already_and_embeds_nothing(
    store, embedder, pictures, detecting
):
    index(store, embedder, [pictures], IndexOptions(workers=1))
    before = store.database.rows("SELECT id, unit, seq, vector FROM vectors")
    report = index(store, embedder, [pictures], detecting)
    assert (report.detected, report.unchanged, report.images, report.refilled) == (3, 3, 0, 0)
    assert store.database.rows("SELECT id, unit, seq, vector FROM vectors") == before
    dog = known(store, "dog.png")
    assert dog["object"] == ("dog", "狗")
    assert dog["object.box"] == ("dog 狗 1.00 0,0,64,64", "dog 狗 1.00 64,0,128,64")
    assert known(store, "field.png").keys() == {"object.detector"}
    assert known(store, "field.png")["object.detector"] == dog["object.detector"]


def test_filters_and_words_of_both_languages_find_objects(store, detected):
    assert filtered(store, "object=dog") == filtered(store, "object=狗") == ["dog.png"]
    assert filtered(store, "object") == ["cat.png", "dog.png"]
    assert worded(store, "dogs") == worded(store, "狗") == ["dog.png"]
    assert worded(store, "猫") == ["cat.png"] and worded(store, "field") == []
    assert not check_truth(store, deep=True)


def test_the_same_detector_looks_once_and_objects_stay_without_it(
    store, embedder, detected, detecting
):
    objects_of_dog = known(store, "dog.png")
    for options in (detecting, IndexOptions(workers=1)):
        report = index(store, embedder, [detected], options)
        assert (report.detected, report.unchanged) == (0, 3)
        assert known(store, "dog.png") == objects_of_dog and worded(store, "dog") == ["dog.png"]


def test_a_renamed_picture_keeps_its_objects_and_a_copy_gets_them(
    store, embedder, detected, detecting
):
    (detected / "dog.png").rename(detected / "hound.png")
    shutil.copy(detected / "cat.png", detected / "kitten.png")
    assert index(store, embedder, [detected], detecting).detected == 1
    assert filtered(store, "object=dog") == ["hound.png"]
    assert worded(store, "cat") == ["cat.png", "kitten.png"]


def test_a_changed_picture_loses_its_objects_and_is_looked_at_anew(
    store, embedder, detected, detecting
):
    paint(detected, "dog.png", right="cat.png")
    index(store, embedder, [detected], IndexOptions(workers=1))
    assert known(store, "dog.png") == {} and worded(store, "dog") == []
    assert index(store, embedder, [detected], detecting).detected == 1
    assert known(store, "dog.png")["object"] == ("cat", "dog", "狗", "猫")
    assert "cat 猫 1.00 64,0,128,64" in known(store, "dog.png")["object.box"]


def test_another_detector_replaces_what_the_former_one_saw(store, embedder, detected, tmp_path):
    weights = [np.zeros((85, 3, stride, stride), np.float32) for stride in (8, 16, 32)]
    blind = write_detector(tmp_path / "blind.onnx", weights)
    report = index(store, embedder, [detected], IndexOptions(workers=1, detect=blind))
    assert report.detected == 3
    assert known(store, "dog.png").keys() == {"object.detector"}
    assert worded(store, "dog") == filtered(store, "object.detector=none") == []
    assert not check_truth(store, deep=True)


def test_captions_of_tables_stand_beside_objects(store, embedder, detected, detecting):
    table = detected / "captions.csv"
    table.write_text("file,caption\ndog.png,A red wall\n", encoding="utf-8")
    index(store, embedder, [detected], IndexOptions(workers=1))
    assert worded(store, "wall") == worded(store, "狗") == ["dog.png"]
    table.unlink()
    index(store, embedder, [detected], IndexOptions(workers=1))
    assert worded(store, "wall") == [] and worded(store, "狗") == ["dog.png"]
    assert not check_truth(store, deep=True)


@pytest.mark.parametrize("first", ["table", "detector"])
def test_a_column_of_the_same_name_hides_objects_until_its_table_goes(
    first, store, embedder, pictures, detecting
):
    table = pictures / "objects.csv"
    if first == "detector":
        index(store, embedder, [pictures], detecting)
    table.write_text("file,object\ndog.png,hound\n", encoding="utf-8")
    index(store, embedder, [pictures], detecting)
    assert known(store, "dog.png")["object"] == "hound"
    assert worded(store, "hound") == ["dog.png"] and worded(store, "dog") == []
    table.unlink()
    assert index(store, embedder, [pictures], detecting).detected == 0
    assert known(store, "dog.png")["object"] == ("dog", "狗")
    assert worded(store, "dog") == ["dog.png"]


def test_stopped_in_between_it_goes_on_with_the_rest(
    store, embedder, pictures, detecting, monkeypatch
):
    monkeypatch.setattr(objects, "_AT_ONCE", 1)
    index(store, embedder, [pictures], IndexOptions(workers=1))
    stop = Event()

    def stop_after_the_first(_progress):
        if len(matching_passages(Compare("object.detector"), store.database)):
            stop.set()

    report = index(
        store, embedder, [pictures], detecting, on_progress=stop_after_the_first, stop=stop
    )
    assert report.interrupted and report.detected == 1
    report = index(store, embedder, [pictures], detecting)
    assert not report.interrupted and report.detected == 2


def test_a_picture_that_cannot_be_read_is_left_to_a_later_run(store, embedder, pictures, detecting):
    index(store, embedder, [pictures], IndexOptions(workers=1))
    whole = (pictures / "dog.png").read_bytes()
    (pictures / "dog.png").unlink()
    keep = IndexOptions(workers=1, detect=detecting.detect, delete_missing=False)
    assert index(store, embedder, [pictures], keep).detected == 2
    assert filtered(store, "object") == ["cat.png"]
    (pictures / "dog.png").write_bytes(whole)
    assert index(store, embedder, [pictures], detecting).detected == 1
    assert filtered(store, "object=dog") == ["dog.png"]


def test_a_file_that_is_no_detector_is_refused_before_anything_is_read(
    store, embedder, pictures, tmp_path
):
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="no ONNX file"):
        index(store, embedder, [pictures], IndexOptions(detect=tmp_path / "no.onnx"))
    assert not list(store.files.all()) and not store.runs.newest(1)


def test_repair_brings_the_words_of_objects_back(store, detected):
    with store.writing("lose"):
        store.keywords.remove(passage for (passage,) in store.database.rows("SELECT id FROM units"))
    assert worded(store, "dog") == []
    lost = check_truth(store, deep=True)
    assert [(one.kind, one.count) for one in lost] == [("missing keywords", 2)]
    mend(store)
    assert worded(store, "dog") == ["dog.png"] and not store.database.rows(WITHOUT_KEYWORDS)


def test_a_search_says_that_a_picture_is_likely_for_its_objects(
    store, embedder, detected, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Collection(store, embedder) as collection:
        first = collection.search("猫").hits[0]
        assert first.path.endswith("cat.png") and first.confidence >= 90
        (only,) = collection.search("anything", where="object=dog").hits
        assert only.path.endswith("dog.png")
        described = collection.describe(only.unit)
        assert described.metadata["object"] == ("dog", "狗")
