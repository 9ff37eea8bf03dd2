"""Each way in which a collection can be damaged is found, told apart, and mended as is said."""

import os
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

import made_collections as made
from made_files import write_photo
from raw_rows import raw_rows
from seesay.search.catalog.drafts import PassageDraft
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.schema import KEYWORD_TABLE, KEYWORDS
from seesay.search.catalog.store import FILE, Store
from seesay.search.checking.findings import WORDS, Finding
from seesay.search.checking.repair import mend
from seesay.search.checking.verify import check_files, check_truth
from seesay.search.vectors import faiss, generations
from seesay.search.vectors.rows import Rows
from seesay.search.vectors.vector_index import VectorIndex

pytestmark = pytest.mark.usefixtures("index_from_few_rows_on")

ROWS = 2000


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Pictures with an index, and captions with keywords."""
    folder = tmp_path_factory.mktemp("whole") / "c"
    with Store(folder, create=True) as store:
        space = made.add_space(store, dim=64)
        made.add_photos(store, space, made.clustered(ROWS, 64, centres=30))
        with store.writing("captions"):
            store.spaces.activate(space.id)
            for unit in range(1, 60):
                store.passages.describe(unit, text=f"第{unit}只鹦鹉 a parrot")
            vectors = made.unit_vectors(59, 64, seed=1)
            store.vectors.put(space.id, range(1, 60), vectors, modality="text")
            store.passages.describe(60, text="\u3000\n")  # says nothing
        lane(store).build()
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "c")
    return tmp_path / "c"


def lane(store):
    return VectorIndex(store, store.spaces.get(1), "image")


def damage(folder, *statements):
    """Change rows as no command of ours does."""
    with raw_rows(folder / FILE) as connection:
        for statement in statements:
            connection.execute(*([statement] if isinstance(statement, str) else statement))


def found(folder):
    """(kind, count) of everything that a deep look finds."""
    with Store(folder) as store:
        return [(f.kind, f.count) for f in check_truth(store, deep=True) + lane(store).verify()]


HALF_NAN = np.full(64, np.nan, np.float16).tobytes()
LONG = np.full(64, 0.2, np.float16).tobytes()  # its length is 1.6
INFINITE = np.full(64, np.inf, np.float16).tobytes()
FILLED = {"missing vectors", "missing captions"}  # by the next run
OWN = "modality = 'image'"  # not the vectors of captions
DAMAGES = {
    "no numbers": ([(f"UPDATE vectors SET vector = ? WHERE unit < 4 AND {OWN}", [HALF_NAN])],
                   [("unsound vectors", 3)], "rebuild"),
    "infinite": ([(f"UPDATE vectors SET vector = ? WHERE unit = 4 AND {OWN}", [INFINITE])],
                 [("unsound vectors", 1)], "rebuild"),
    "too long": ([(f"UPDATE vectors SET vector = ? WHERE unit = 9 AND {OWN}", [LONG])],
                 [("unsound vectors", 1)], "rebuild"),
    "cut short": ([f"UPDATE vectors SET vector = x'0000' WHERE unit = 9 AND {OWN}"],
                  [("short vectors", 1)], "rebuild"),
    "vectors gone": ([f"DELETE FROM vectors WHERE unit BETWEEN 5 AND 11 AND {OWN}"],
                     [("missing vectors", 7)], "index"),
    "vectors of captions gone": (["DELETE FROM vectors WHERE unit < 4 AND modality = 'text'"],
                                 [("missing captions", 3)], "index"),
    "units gone": (["DROP TRIGGER unit_deleted", "DELETE FROM units WHERE id IN (300, 301)",
                    KEYWORDS.removeprefix(KEYWORD_TABLE)], [("orphans", 2)], "rebuild"),
    "items gone": (["DELETE FROM items WHERE id = 7"], [("orphans", 1)], "rebuild"),
    "texts of keywords gone": (["DELETE FROM keywords_content WHERE id = 7"],
                               [("keyword index", 1), ("missing keywords", 1)], "rebuild"),
    "texts of keywords changed": (["UPDATE keywords_content SET c0 = 'x' WHERE id = 7"],
                                  [("keyword index", 1)], "rebuild"),
    "keywords gone": (["DELETE FROM keywords_data WHERE id > 10"],
                      [("keyword index", 1)], "rebuild"),
    "some without keywords": (["DELETE FROM keywords WHERE rowid IN (3, 4)"],
                              [("missing keywords", 2)], "rebuild"),
    "keywords of nothing": (["INSERT INTO keywords (rowid, words) VALUES (99999, 'x')"],
                            [("orphans", 1)], "rebuild"),
}  # fmt: skip


def test_nothing_is_wrong_with_a_whole_collection(whole):
    assert found(whole) == []
    with Store(whole) as store:
        assert lane(store).verify(deep=True) == []


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_rows_are_found_and_taken_out(folder, name):
    statements, expected, remedy = DAMAGES[name]
    damage(folder, *statements)
    kinds = found(folder)
    assert set(expected) <= set(kinds)
    assert {kind for kind, _ in kinds} == {kind for kind, _ in expected}
    with Store(folder) as store:
        for finding in check_truth(store, deep=True):
            assert finding.remedy == remedy and f"seesay {remedy}" in str(finding)
        mend(store)
        assert {finding.kind for finding in check_truth(store, deep=True)} <= FILLED
        assert set(store.keywords.search("parrot", 99)[0]) >= set(range(12, 60))
        assert mend(store) == 0


def test_a_missing_trigger_is_found(folder):
    damage(folder, "DROP TRIGGER unit_deleted")
    with Store(folder) as store:
        (finding,) = check_truth(store, deep=True)
    assert finding.kind == "pages" and "unit_deleted" in finding.detail.en
    assert "unit_deleted 的定义不同" in finding.message.zh


def test_a_page_that_sqlite_cannot_read_is_a_finding_and_no_failure(folder):
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'metadata_by_unit'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with (folder / FILE).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\x05" * size)
    with Store(folder) as store:
        findings = check_truth(store, deep=True)
    assert {finding.kind for finding in findings} == {"pages"}
    assert "Put back a copy" in str(findings[0])


def rewritten(store, **files):
    """The generation with other files in it, as though they had been written so."""
    (place,) = generations.folders(lane(store).folder)
    manifest = generations.manifest_of(place.parent, int(place.name))
    for name, data in files.items():
        (place / generations.UNITS if name == "units" else place / generations.ROWS).unlink()
        np.save(place / f"{name}.npy", data)
    generations.write_manifest(
        place, position=manifest.position, engine=manifest.engine, notes=manifest.notes
    )


def deep_kinds(store):
    assert lane(store).verify() == []  # every file is what its checksum says
    return [(finding.kind, finding.count) for finding in lane(store).verify(deep=True)]


def test_an_index_of_other_units_is_found(folder):
    with Store(folder) as store:
        (gone,) = made.add_photos(store, store.spaces.get(1), made.unit_vectors(1, 64), first=5000)
        with store.writing("remove"):
            store.files.remove([gone])
        lane(store).build()
        units = np.array(lane(store)._current().base.units)
        units[17] = gone
        rewritten(store, units=units)
        assert deep_kinds(store) == [("index rows", 2)]  # one too many, and one that lacks
        lane(store).build()
        assert deep_kinds(store) == []


def test_an_index_of_units_that_never_were_is_not_believed(folder):
    with Store(folder) as store:
        units = np.array(lane(store)._current().base.units)
        units[17] = 70_000
        rewritten(store, units=units)
        (finding,) = lane(store).verify()
        assert finding.kind == "index files" and "never had" in finding.detail.en
        assert "从来没有过" in finding.message.zh
        assert lane(store).search(made.unit_vectors(1, 64)[0], 5).plan.path == "scan"


def test_an_index_that_holds_a_unit_twice_is_found(folder):
    with Store(folder) as store:
        units = np.array(lane(store)._current().base.units)
        units[17] = units[18]
        rewritten(store, units=units)
        assert ("index rows", 2) in deep_kinds(store)


def test_an_index_of_other_vectors_is_found(folder):
    with Store(folder) as store:
        rows = np.array(lane(store)._current().base.rows.vectors)
        rows[5] = rows[6]
        rewritten(store, rows=rows)
        assert deep_kinds(store) == [("index vectors", 1)]


def test_an_index_that_finds_something_else_is_found(folder):
    """Codes of the same vectors in another order: everything is whole, and nothing is found."""
    with Store(folder) as store:
        view = lane(store)._current()
        other = Rows(np.ascontiguousarray(view.base.rows.vectors[::-1]))
        faiss.FaissEngine().build(other, view.generation.folder, "")
        rewritten(store)
        ((kind, count),) = deep_kinds(store)
        assert (kind, count) == ("index recall", 100)
        lane(store).build()
        assert deep_kinds(store) == []


def test_what_was_added_and_removed_after_the_index_was_built_is_no_finding(folder):
    with Store(folder) as store:
        space = store.spaces.get(1)
        made.add_photos(store, space, made.unit_vectors(30, 64, seed=3), first=5000)
        with store.writing("remove"):
            store.files.remove([3, 4, ROWS + 2])
            store.vectors.put(1, [8], made.unit_vectors(1, 64, seed=4))
        assert deep_kinds(store) == []


def test_a_collection_that_may_only_be_read_is_checked_too(folder):
    with Store(folder, read_only=True) as store:
        assert check_truth(store, deep=True) == []
    damage(folder, "DELETE FROM keywords WHERE rowid = 3")
    with Store(folder, read_only=True) as store:
        assert [f.kind for f in check_truth(store, deep=True)] == ["missing keywords"]


def test_a_check_writes_nothing(folder):
    with Store(folder) as store:
        head = store.ledger.head()
        check_truth(store, deep=True)
        assert store.ledger.head() == head


def test_a_file_that_changed_behind_its_time_is_found_and_one_that_was_edited_is_not(tmp_path):
    files = [write_photo(tmp_path / f"{number}.bmp", number) for number in range(3)]
    with Store(tmp_path / "c", create=True) as store:
        with store.writing("index"):
            store.files.put([indexed(file) for file in files])
        assert check_files(store) == []
        rotten = bytearray(files[0].read_bytes())
        rotten[-1] ^= 1
        before = files[0].stat()
        files[0].write_bytes(rotten)
        os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
        write_photo(files[1], 77)
        os.utime(files[1], ns=(1, 1))
        files[2].unlink()
        (finding,) = check_files(store)
        assert (finding.kind, finding.where, finding.count) == ("silent changes", str(files[0]), 1)


def indexed(file):
    import hashlib

    facts = file.stat()
    return FileDraft(
        path=str(file),
        media_type="image",
        content_hash=hashlib.sha256(file.read_bytes()).hexdigest(),
        size=facts.st_size,
        mtime_ns=facts.st_mtime_ns,
        passages=(PassageDraft(modality="image"),),
    )


def test_every_finding_is_told_in_both_languages_with_what_it_found():
    for kind, (remedy, _) in WORDS.items():
        finding = Finding(kind=kind, where="here", count=12345, detail="as an example")
        english, chinese = finding.message.en, finding.message.zh
        for fact in ("here", "12345", "as an example"):
            assert (fact in english) == (fact in chinese), (kind, fact)
        if remedy in ("index", "rebuild"):
            assert f"seesay {remedy}" in english and f"seesay {remedy}" in chinese
        assert "。" in chinese and "{" not in english + chinese
