"""A collection uses an index only if it was built from its own past: every picture finds itself,
whatever was restored, copied halfway or swapped."""

import contextlib
import json
import shutil
import sqlite3
import zlib
from dataclasses import asdict

import numpy as np
import pytest

import made_collections as made
from seesay.search.catalog import filter_masks
from seesay.search.catalog.filters import Compare
from seesay.search.catalog.store import FILE, Store
from seesay.search.indexing.fill import keep_up
from seesay.search.vectors import generations
from seesay.search.vectors.engines import engine_of, use_engine
from seesay.search.vectors.faiss import FaissEngine
from seesay.search.vectors.generations import FileRecord
from seesay.search.vectors.vector_index import VectorIndex

pytestmark = pytest.mark.usefixtures("index_from_few_rows_on")

ROWS, DIM = 2500, 16
VECTORS = made.clustered(ROWS + 90, DIM, centres=40)


def write_raw(generation, facts):
    """A manifest that says anything, with the checksum that belongs to it."""
    text = json.dumps(facts)
    (generation / generations.MANIFEST).write_text(f"{zlib.crc32(text.encode()):08x}\n{text}")


def index_of(store, modality="image"):
    return contextlib.closing(VectorIndex(store, store.spaces.get(1), modality))


def collection(folder, engine, vectors):
    """Photographs without an index."""
    with Store(folder, create=True) as store:
        space = made.add_space(store, dim=DIM)
        made.add_photos(store, space, vectors)
        with store.writing("settle"):
            store.spaces.activate(space.id)
            use_engine(store.settings, engine.name)
    return folder


def go_on(folder, new):
    """Some photographs go, others come, and an index is built of what is there then."""
    with Store(folder) as store, index_of(store) as searched:
        with store.writing("remove"):
            store.files.remove(range(1, 51))
        made.add_photos(store, store.spaces.get(1), new, first=20_000)
        searched.build()
        assert searched.search(new[0], 3).plan.path == "index"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A collection with an index, and beside it the database as it was before."""
    folder = collection(tmp_path_factory.mktemp("kept") / "c", FaissEngine(), VECTORS[:ROWS])
    shutil.copy(folder / FILE, folder / "before")
    go_on(folder, VECTORS[ROWS:])
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "c")
    return tmp_path / "c"


def put_back(folder):
    shutil.copy(folder / "before", folder / FILE)


def reach_the_same_number(folder, last):
    """Other photographs come until the counter of changes is where the lost ones had brought it."""
    with Store(folder) as store:
        first = 5000
        while store.ledger.head() < last:
            made.add_photos(store, store.spaces.get(1), made.unit_vectors(45, DIM, first), first)
            first += 45


def assert_each_finds_itself(store, searched, step=1):
    units, vectors = store.vectors.get(1, range(1, store.passages.newest + 1))
    pairs = list(zip(units.tolist(), vectors, strict=True))[::step]
    assert [unit for unit, v in pairs if unit not in searched.search(v, 1).units] == []


def assert_not_believed(folder, step=1):
    """The index is not used, `verify` says so, and the next run builds another."""
    words = "another state of the collection"
    with Store(folder) as store, index_of(store) as searched:
        assert words in searched.search(VECTORS[60], 3).plan.problem.en
        assert_each_finds_itself(store, searched, step)
        (finding,) = searched.verify()
        assert words in finding.detail.en and finding.remedy == "rebuild"
        assert keep_up(store, store.spaces.get(1)) is None
        assert searched.search(VECTORS[60], 3).plan.path == "index"
        assert searched.status().problem is None and searched.verify(deep=True) == []
        assert_each_finds_itself(store, searched, step)
        searched.discard()


def test_a_database_that_was_put_back_does_not_believe_a_newer_index(folder):
    put_back(folder)
    assert_not_believed(folder)


def test_nor_does_it_with_any_engine_when_others_have_come_since_and_the_counters_meet(
    engine, tmp_path
):
    few = ROWS if engine.name == "faiss" else 300
    folder = collection(tmp_path / "c", engine, VECTORS[:few])
    shutil.copy(folder / FILE, folder / "before")
    go_on(folder, VECTORS[few : few + 90])
    with Store(folder) as store:
        last = store.ledger.head()
    put_back(folder)
    reach_the_same_number(folder, last)
    assert_not_believed(folder, step=7 if engine.name == "faiss" else 13)


def restore(folder):
    """As the shell of SQLite does: the file stays, and programs may have it open."""
    with (
        contextlib.closing(sqlite3.connect(folder / "before")) as before,
        contextlib.closing(sqlite3.connect(folder / FILE)) as database,
    ):
        before.backup(database)


@pytest.mark.parametrize("counters_meet", [False, True])
def test_a_database_that_is_restored_while_it_is_open_is_searched_as_it_is_now(
    folder, counters_meet, monkeypatch
):
    monkeypatch.setattr(filter_masks, "NARROW", 0)  # filters keep the values of a field in memory
    removed, added = Compare("number", "<", 50), Compare("number", ">=", 20_000)
    with Store(folder) as store, index_of(store) as searched:

        def counts():
            return [
                len(searched.search(VECTORS[0], 100, filter=one).units) for one in (removed, added)
            ]

        last = store.ledger.head()
        assert counts() == [0, 90]
        restore(folder)
        if counters_meet:
            reach_the_same_number(folder, last)
            assert store.ledger.head() == last
        assert counts() == [50, 0]
        assert "another state of the collection" in searched.search(VECTORS[0], 3).plan.problem.en
        assert_each_finds_itself(store, searched, step=7)
        assert searched.verify() != []


def test_a_whole_copy_believes_its_index_and_goes_on(folder):
    with Store(folder) as store, index_of(store) as searched:
        made.add_photos(store, store.spaces.get(1), made.unit_vectors(20, DIM), first=7000)
        assert searched.search(VECTORS[60], 3).plan.path == "index"
        assert_each_finds_itself(store, searched)
        assert searched.verify(deep=True) == []


def test_two_collections_whose_indexes_were_exchanged_believe_neither(folder, tmp_path):
    """They are of the same model, and have seen as many changes."""
    other = collection(tmp_path / "other", FaissEngine(), VECTORS[::-1][:ROWS])
    go_on(other, VECTORS[:90])
    (folder / "indexes").rename(tmp_path / "mine")
    (other / "indexes").rename(folder / "indexes")
    (tmp_path / "mine").rename(other / "indexes")
    assert_not_believed(folder, step=7)
    assert_not_believed(other, step=7)


def test_a_copy_with_other_vectors_does_not_hand_its_index_back(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    with Store(tmp_path / "copy") as store, index_of(store) as searched:
        with store.writing("replace"):
            store.vectors.put(1, range(100, 200), VECTORS[500:600])
        searched.build()
    shutil.rmtree(folder / "indexes")
    shutil.copytree(tmp_path / "copy" / "indexes", folder / "indexes")
    assert_not_believed(folder, step=7)


def test_the_indexes_of_pictures_and_texts_are_not_taken_for_each_other(folder):
    with Store(folder) as store, index_of(store) as pictures, index_of(store, "text") as texts:
        with store.writing("captions"):
            store.vectors.put(1, range(60, ROWS), VECTORS[100 : ROWS + 40], modality="text")
        pictures.build()
        texts.build()
        pictures.close()
        texts.close()
        pictures.folder.rename(folder / "moved")
        texts.folder.rename(pictures.folder)
        (folder / "moved").rename(texts.folder)
        for searched, row in ((pictures, 99), (texts, 140)):
            ranking = searched.search(VECTORS[row], 1)
            assert (ranking.units.tolist(), ranking.plan.path) == ([100], "scan")
            assert searched.verify() != []


@pytest.mark.parametrize("name", ["faiss", "chroma"])
@pytest.mark.parametrize("part", [0.0, 0.75])
def test_an_index_that_was_copied_halfway_loses_nothing(tmp_path, name, part):
    """The end of each file in turn is zeros, as an interrupted copy may leave it."""
    if name == "chroma":
        pytest.importorskip("chromadb")
    rows = ROWS if name == "faiss" else 300
    folder = collection(tmp_path / "c", engine_of(name), VECTORS[:rows])
    go_on(folder, VECTORS[rows : rows + 90])
    with Store(folder) as store, index_of(store) as searched:
        (generation,) = generations.folders(searched.folder)
        for file in sorted(path for path in generation.rglob("*") if path.is_file()):
            whole = file.read_bytes()
            file.unlink()  # in place would change what others have mapped
            file.write_bytes(whole[: int(part * len(whole))].ljust(len(whole), b"\0"))
            searched.close()
            assert_each_finds_itself(store, searched, step=7)
            file.unlink()
            file.write_bytes(whole)
            searched.close()
            plan = searched.search(VECTORS[60], 3).plan
            assert (plan.path, plan.problem) == ("index", None), file.name


def test_an_index_of_an_older_version_is_built_anew_and_no_damage(folder):
    with Store(folder) as store, index_of(store) as searched:
        (generation,) = generations.folders(searched.folder)
        old = generations.manifest_of(searched.folder, int(generation.name))
        facts = {"seq": old.position.seq, "files": asdict(old)["files"]}
        facts |= {"format": 1, "engine": old.engine, "place": old.place, "notes": old.notes}
        write_raw(generation, facts)
        assert "older version" in searched.search(VECTORS[60], 3).plan.problem.en
        assert searched.verify(deep=True) == []
        assert keep_up(store, store.spaces.get(1)) is None
        assert searched.search(VECTORS[60], 3).plan.path == "index"


def values_instead(value):
    """What else might stand in a place of a manifest."""
    same = {type(value)} - {int, float}  # a number is tried as another number
    others = [None, True, -1, 0, 1 << 62, 10**400, 1.5, float("nan"), "", "../../x", [], [[]], {}]
    return [other for other in others if type(other) not in same]


def altered(facts, path=()):
    """The manifest with each part of it left out, and with something else in its place."""
    parts = facts if isinstance(facts, dict) else dict(enumerate(facts[:2]))
    for key, value in parts.items():
        for other in (..., *values_instead(value)):
            copy = json.loads(json.dumps(facts))
            if other is ...:
                del copy[key]
            else:
                copy[key] = other
            yield (*path, key, other), copy
        if isinstance(value, dict | list):
            for where, inner in altered(value, (*path, key)):
                copy = json.loads(json.dumps(facts))
                copy[key] = inner
                yield where, copy


def test_a_manifest_that_says_anything_else_with_a_valid_checksum_is_no_index(folder):
    with Store(folder) as store, index_of(store) as searched:
        (generation,) = generations.folders(searched.folder)
        text = (generation / generations.MANIFEST).read_text().partition("\n")[2]
        nearest = searched.search(VECTORS[60], 5, exact=True).units.tolist()
        believed, tried = set(), 0
        for where, facts in (*altered(json.loads(text)), (("all",), []), (("all",), None)):
            tried += 1
            write_raw(generation, facts)
            searched.close()
            ranking = searched.search(VECTORS[60], 5)
            assert ranking.units.tolist() == nearest, where
            assert bool(searched.verify()) == (ranking.plan.problem is not None), where
            searched.status()
            searched.engine  # noqa: B018 - it must not raise
            if ranking.plan.problem is None:
                believed.add(where[0])
        assert tried > 300
        assert believed == {"notes"}  # of which some is for people to read
        assert searched.build().problem is None  # whatever it cleans up


UNFIT = {
    "a unit 0": lambda rows, units: (rows, np.where(units == units[0], 0, units)),
    "a unit that never was": lambda rows, units: (
        rows,
        np.where(units == units[0], 1 << 40, units),
    ),
    "half the numbers of each vector": lambda rows, units: (rows[:, : DIM // 2].copy(), units),
    "a vector too few": lambda rows, units: (rows[1:], units),
    "other numbers": lambda rows, units: (rows.astype(np.float32), units),
    "columns in place of rows": lambda rows, units: (np.asfortranarray(rows), units),
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT)
def test_arrays_that_no_index_of_this_collection_has_are_no_index(folder, change):
    """The manifest is right about the files: somebody wrote both."""
    with Store(folder) as store, index_of(store) as searched:
        (generation,) = generations.folders(searched.folder)
        text = (generation / generations.MANIFEST).read_text().partition("\n")[2]
        facts = json.loads(text)
        names = (generations.ROWS, generations.UNITS)
        arrays = change(*(np.load(generation / name) for name in names))
        for name, array in zip(names, arrays, strict=True):
            np.save(generation / name, array)
            facts["files"][name] = asdict(FileRecord.of(generation / name))
        write_raw(generation, facts)
        assert searched.search(VECTORS[60], 3).plan.path == "scan"
        assert_each_finds_itself(store, searched, step=13)
        assert [finding.kind for finding in searched.verify()] == ["index files"]


def test_a_manifest_with_one_wrong_letter_is_no_index(folder):
    with Store(folder) as store, index_of(store) as searched:
        (generation,) = generations.folders(searched.folder)
        manifest = generation / generations.MANIFEST
        text = manifest.read_text()
        manifest.write_text(text.replace('"kind": "IVF', '"kind": "IVG'))
        assert manifest.read_text() != text
        (finding,) = searched.verify()
        assert "is not what was written" in finding.detail.en
        assert searched.search(VECTORS[60], 5).plan.path == "scan"


def test_a_manifest_that_names_files_outside_of_its_folder_is_no_index(folder):
    with Store(folder) as store, index_of(store) as searched:
        (generation,) = generations.folders(searched.folder)
        facts = json.loads((generation / generations.MANIFEST).read_text().partition("\n")[2])
        (searched.folder / "x").write_text("anything")
        facts["notes"]["files"].append("../x")
        facts["files"]["../x"] = asdict(FileRecord.of(searched.folder / "x"))
        write_raw(generation, facts)
        assert searched.search(VECTORS[60], 5).plan.path == "scan"
        assert [finding.kind for finding in searched.verify()] == ["index files"]


def test_a_manifest_of_a_million_brackets_is_no_index(folder):
    with Store(folder) as store, index_of(store) as searched:
        (generation,) = generations.folders(searched.folder)
        text = "[" * 1_000_000
        whole = f"{zlib.crc32(text.encode()):08x}\n{text}"
        (generation / generations.MANIFEST).write_text(whole)
        assert searched.search(VECTORS[60], 5).plan.path == "scan"
        assert [finding.kind for finding in searched.verify()] == ["index files"]
