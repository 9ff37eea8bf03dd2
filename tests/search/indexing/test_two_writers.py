"""Two writers take turns at the worst moments: nothing that one stored is lost to the other."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from made_files import write_photo
from seesay.search.asking.tags import TAG_KEY
from seesay.search.catalog.store import Store
from seesay.search.indexing import captions as describing
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions
from seesay.search.indexing.remove import ROOTS, known_paths, remove

ONE = IndexOptions(workers=1)


@pytest.fixture
def other(store):
    """The same collection, as another process opens it."""
    with Store(store.folder) as other:
        yield other


@pytest.fixture
def elsewhere(tmp_path):
    """A folder that has nothing to do with the tables."""
    write_photo(tmp_path / "elsewhere" / "x.png", 99)
    return tmp_path / "elsewhere"


def before_change(monkeypatch, store, action, interfere):
    """Call `interfere` once, just before `store` begins its first change of this name."""
    writing, waiting = store.writing, [interfere]

    @contextmanager
    def interrupted(name, **options):
        if name == action and waiting:
            waiting.pop()()
        with writing(name, **options) as change:
            yield change

    monkeypatch.setattr(store, "writing", interrupted)


def before_embedding(monkeypatch, number, interfere):
    """Call `interfere` once, just before captions are embedded for the time `number`; then more
    captions wait in the same run, since two of them are described at once."""
    embed, calls = describing.caption_vectors, []

    def interrupted(embedder, texts):
        calls.append(texts)
        if len(calls) == number:
            interfere()
        return embed(embedder, texts)

    monkeypatch.setattr(describing, "AT_ONCE", 2)
    monkeypatch.setattr(describing, "caption_vectors", interrupted)


def write_table(photos, word, name="captions.csv", numbers=range(6)):
    rows = [f"{'abc'[number % 3]}/{number}.jpg,{word} {number}" for number in numbers]
    (photos / name).write_text("\n".join(["file,caption", *rows]))


def captions(store):
    """By the name of the file."""
    units = {
        item.path.rpartition("/")[2]: store.passages.of_files([item.id])[0]
        for item in store.files.all()
        if item.media_type == "image"
    }
    return {name: unit.text for name, unit in units.items()}


def six(word):
    return {f"{number}.jpg": f"{word} {number}" for number in range(6)}


def test_a_table_that_is_being_described_loses_nothing_to_another_writer(
    store, other, embedder, photos, elsewhere, monkeypatch
):
    write_table(photos, "dog")
    before_embedding(monkeypatch, 3, lambda: index(other, embedder, [elsewhere], ONE))
    index(store, embedder, [photos], ONE)
    assert captions(store) == {**six("dog"), "x.png": None}


def test_a_table_that_is_being_described_loses_nothing_to_another_process(
    store, embedder, photos, elsewhere, monkeypatch, model_folder
):
    code = "from seesay.cli.main import main; main()"
    places = [str(elsewhere), "--collection", str(store.folder), "--model", str(model_folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def run():
        command = [sys.executable, "-c", code, "index", *places]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    write_table(photos, "dog")
    before_embedding(monkeypatch, 3, run)
    index(store, embedder, [photos], ONE)
    assert captions(store) == {**six("dog"), "x.png": None}


def test_a_picture_that_another_writer_brings_while_its_table_comes_in_is_described(
    store, other, embedder, photos, elsewhere, monkeypatch
):
    write_table(photos, "dog")
    (photos / "captions.csv").write_text(f"file,caption\n{elsewhere / 'y.png'},A ship\n")

    def bring():
        write_photo(elsewhere / "y.png", 100)
        index(other, embedder, [elsewhere], ONE)

    before_change(monkeypatch, store, "table", bring)
    index(store, embedder, [photos], ONE)
    assert captions(store)["y.png"] == "A ship"


@pytest.mark.parametrize("moment", ["before its rows are stored", "before it is described"])
def test_a_table_read_before_another_writer_took_in_a_newer_one_changes_nothing(
    store, other, embedder, photos, monkeypatch, moment
):
    write_table(photos, "dog")

    def overtake():
        write_table(photos, "a newer cat")
        index(other, embedder, [photos], ONE)

    if moment == "before it is described":
        before_embedding(monkeypatch, 1, overtake)
    else:
        before_change(monkeypatch, store, "table", overtake)
    index(store, embedder, [photos], ONE)
    assert captions(store) == six("a newer cat")


def test_a_table_that_is_away_for_a_moment_while_it_is_described_is_described_again(
    store, other, embedder, photos, tmp_path, monkeypatch
):
    write_table(photos, "dog")

    def take_away():
        (photos / "captions.csv").rename(tmp_path / "kept.csv")
        index(other, embedder, [photos], ONE)
        (tmp_path / "kept.csv").rename(photos / "captions.csv")

    before_embedding(monkeypatch, 3, take_away)
    index(store, embedder, [photos], ONE)
    index(store, embedder, [photos], ONE)
    assert captions(store) == six("dog")


def test_two_writers_that_begin_with_a_folder_each_both_remember_theirs(
    store, other, embedder, photos, elsewhere, monkeypatch
):
    before_change(monkeypatch, store, "begin", lambda: index(other, embedder, [elsewhere], ONE))
    index(store, embedder, [photos], ONE)
    assert set(known_paths(store, ROOTS)) == {str(photos), str(elsewhere)}


def test_a_picture_that_another_writer_found_renamed_is_not_removed_under_its_old_name(
    store, other, embedder, photos, monkeypatch
):
    index(store, embedder, [photos], ONE)
    (item,) = store.files.by_path([str(photos / "a" / "0.jpg")]).values()
    (unit,) = store.passages.of_files([item.id])
    with store.writing("tag"):
        store.passages.describe(unit.id, metadata={TAG_KEY: "dog"})

    def find_again():
        (photos.parent / "away.jpg").rename(photos / "b" / "0.jpg")
        index(other, embedder, [photos], ONE)

    (photos / "a" / "0.jpg").rename(photos.parent / "away.jpg")
    before_change(monkeypatch, store, "remove", find_again)
    index(store, embedder, [photos], ONE)
    (found,) = store.files.by_path([str(photos / "b" / "0.jpg")]).values()
    assert found.id == item.id
    assert store.metadata.get([unit.id])[unit.id][TAG_KEY] == "dog"


def test_what_was_read_before_another_writer_took_in_a_newer_file_changes_nothing(
    store, other, embedder, photos, monkeypatch
):
    index(store, embedder, [photos], ONE)
    write_photo(photos / "a" / "0.jpg", 50)

    def overtake():
        write_photo(photos / "a" / "0.jpg", 51)
        index(other, embedder, [photos], ONE)

    before_change(monkeypatch, store, "index", overtake)
    index(store, embedder, [photos], ONE)
    (item,) = store.files.by_path([str(photos / "a" / "0.jpg")]).values()
    facts = (photos / "a" / "0.jpg").stat()
    assert (item.size, item.mtime_ns) == (facts.st_size, facts.st_mtime_ns)


def test_a_copy_whose_original_another_writer_removes_meanwhile_is_stored_with_its_vector(
    store, other, embedder, photos, tmp_path, monkeypatch
):
    index(store, embedder, [photos], ONE)
    space = store.spaces.active().id
    (original,) = store.files.by_path([str(photos / "a" / "0.jpg")]).values()
    _, expected = store.vectors.get(space, [store.passages.of_files([original.id])[0].id])
    copy = tmp_path / "copies" / "0.jpg"
    copy.parent.mkdir()
    copy.write_bytes((photos / "a" / "0.jpg").read_bytes())
    monkeypatch.setattr(type(embedder.encoder), "images", None)  # nothing may be embedded again
    before_change(monkeypatch, store, "index", lambda: remove(other, [original.path]))
    report = index(store, embedder, [copy], ONE)
    assert (report.added, report.reused) == (1, 1)
    (item,) = store.files.by_path([str(copy)]).values()
    _, found = store.vectors.get(space, [store.passages.of_files([item.id])[0].id])
    assert found.tolist() == expected.tolist()
