"""What is lost of what tables say is found by a check and mended by the command that it names."""

import os
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest

from made_files import write_photo
from raw_rows import raw_rows
from seesay.search.catalog import schema
from seesay.search.catalog.store import FILE, Store
from seesay.search.checking.repair import mend
from seesay.search.checking.verify import check_annotations, check_truth
from seesay.search.collection import Collection
from seesay.search.indexing import captions as describing
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions

ONE = IndexOptions(workers=1)
CAPTIONED = {f"{number}.jpg": (f"dog {number}", float(number)) for number in range(6)}


@pytest.fixture
def table(photos):
    rows = [f"{'abc'[number % 3]}/{number}.jpg,dog {number},{number}" for number in range(6)]
    (photos / "captions.csv").write_text("\n".join(["file,caption,year", *rows]))
    return photos / "captions.csv"


@pytest.fixture
def indexed(store, embedder, photos, table):
    index(store, embedder, [photos], ONE)
    assert check_annotations(store, deep=True) == []
    return store


def captioned(store):
    """Caption and year of every picture, by the name of its file."""
    found = {}
    for item in store.files.all():
        for unit in store.passages.of_files([item.id]):
            year = store.metadata.get([unit.id])[unit.id].get("year")
            found[item.path.rpartition("/")[2]] = (unit.text, year)
    return found


def damage(store, *statements):
    with raw_rows(store.file) as connection:
        for statement in statements:
            connection.execute(statement)


def findings(store, *, deep=False):
    return [(one.kind, one.count, one.remedy) for one in check_annotations(store, deep=deep)]


@pytest.mark.parametrize(
    ("statement", "count"),
    [
        ("DELETE FROM annotations WHERE id IN (2, 3)", 2),
        ("UPDATE annotations SET item = NULL WHERE id = 4", 1),
        ("DELETE FROM annotations", 6),
    ],
)
def test_rows_that_are_lost_are_found_and_indexing_brings_them_back(
    indexed, embedder, photos, table, statement, count
):
    damage(indexed, statement)
    finding, undescribed = check_annotations(indexed)
    assert (finding.kind, finding.count, finding.remedy) == ("missing annotations", count, "index")
    assert f"of the 6 rows of the table {table}" in str(finding)
    assert (undescribed.kind, undescribed.count) == ("undescribed pictures", count)
    index(indexed, embedder, [photos / "a"], ONE)  # wherever the table lies
    assert check_annotations(indexed, deep=True) == []
    assert captioned(indexed) == CAPTIONED


def test_pictures_that_lost_their_description_are_found_by_a_deep_check_and_described_again(
    indexed, embedder, photos
):
    damage(
        indexed,
        "UPDATE units SET text = NULL WHERE id = 1",
        "DELETE FROM metadata WHERE unit = 2",
        "UPDATE units SET text = 'something else' WHERE id = 3",
    )
    assert findings(indexed) == []
    assert findings(indexed, deep=True) == [("wrong descriptions", 3, "rebuild")]
    mend(indexed)  # as `rebuild` does
    assert findings(indexed) == [("undescribed pictures", 3, "index")]
    index(indexed, embedder, [photos], ONE)
    assert check_annotations(indexed, deep=True) == []
    assert captioned(indexed) == CAPTIONED
    assert mend(indexed) == 0


def test_a_run_that_ends_before_all_is_described_is_found_and_the_next_goes_on(
    store, embedder, photos, table, monkeypatch
):
    stop = threading.Event()
    embed = describing.caption_vectors

    def stopping(*of):
        stop.set()
        return embed(*of)

    monkeypatch.setattr(describing, "AT_ONCE", 2)
    monkeypatch.setattr(describing, "caption_vectors", stopping)
    assert index(store, embedder, [photos], ONE, stop=stop).interrupted
    assert findings(store, deep=True) == [("undescribed pictures", 4, "index")]
    (finding,) = Collection(store, embedder).verify()
    assert finding.kind == "undescribed pictures"
    index(store, embedder, [photos], ONE)
    assert captioned(store) == CAPTIONED


def test_a_table_whose_rows_are_not_all_stored_is_not_stored_at_all(
    store, embedder, photos, table, monkeypatch
):
    replace = store.annotations.replace

    def interrupted(*of):
        replace(*of)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.annotations, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index(store, embedder, [photos], ONE)
    assert store.annotations.tables() == [] and store.annotations.is_empty()
    index(store, embedder, [photos], ONE)
    assert captioned(store) == CAPTIONED


def test_a_check_of_tables_writes_nothing(indexed):
    head = indexed.ledger.head()
    check_annotations(indexed, deep=True)
    assert indexed.ledger.head() == head


# What version 0.1.0 left

_SAME = ("settings", "runs", "ledger", "items", "metadata_keys", "metadata", "quarantine", "spaces")
_AS_BEFORE = """
INSERT INTO units (id, item, position, kind, locator, text, seq)
SELECT id, item, position, kind, locator, text, seq FROM now.units;
INSERT INTO vectors (id, unit, space, modality, seq, vector)
SELECT id, unit, space, modality, seq, vector FROM now.vectors;
INSERT INTO keywords (rowid, words, characters) SELECT rowid, words, characters FROM now.keywords;
INSERT INTO said SELECT u.id, t.path, a.text, a.metadata FROM now.annotations a
JOIN now.items t ON t.id = a.source JOIN now.units u ON u.item = a.item;
INSERT INTO said SELECT unit, '', text, metadata FROM now.own_descriptions;
INSERT INTO settings SELECT 'tables', json_group_array(path) FROM items WHERE kind = 'table';
"""
_LOST = """
UPDATE units SET text = NULL WHERE id IN (1, 2, 3);
DELETE FROM metadata WHERE unit IN (1, 2, 3) AND key = (SELECT id FROM metadata_keys
WHERE name = 'year');
DELETE FROM keywords WHERE rowid IN (1, 2, 3);
DELETE FROM vectors WHERE unit IN (1, 2, 3) AND modality = 'text';
DELETE FROM said WHERE unit IN (1, 2, 3);
"""


def as_version_0_1_0(store, *more):
    """The collection in the format of that version, opened anew; `more` is done to it before."""
    store.close()
    old = store.folder.parent / "old"
    old.mkdir()
    schema.migrate(old / FILE, 4)
    with closing(sqlite3.connect(old / FILE)) as connection:
        connection.execute("ATTACH ? AS now", (str(store.file),))
        for name in _SAME:
            known = connection.execute(f"SELECT name FROM pragma_table_info('{name}')")
            columns = ", ".join(column for (column,) in known)  # newer formats have more
            connection.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM now.{name}")
        for script in (_AS_BEFORE, *more):
            connection.executescript(script)
    shutil.rmtree(store.folder)
    old.rename(store.folder)
    return Store(store.folder)


def test_captions_that_version_0_1_0_lost_are_found_and_indexing_brings_them_back(
    indexed, embedder, photos, table
):
    with as_version_0_1_0(indexed, _LOST) as store:
        assert check_truth(store, deep=True) == []  # nobody noticed
        (finding,) = check_annotations(store)
        assert (finding.kind, finding.where, finding.count) == (
            "missing annotations",
            str(table),
            3,
        )
        report = index(store, embedder, [photos], ONE)
        assert (report.added, report.updated, report.images) == (0, 0, 0)
        assert check_annotations(store, deep=True) == check_truth(store, deep=True) == []
        assert captioned(store) == CAPTIONED


def test_a_collection_of_version_0_1_0_goes_on_as_it_was(indexed, embedder, photos, table):
    before = captioned(indexed)
    with as_version_0_1_0(indexed) as store:
        assert check_annotations(store, deep=True) == []
        assert captioned(store) == before
        head = store.ledger.head()
        index(store, embedder, [photos], ONE)
        actions = [one.action for one in store.ledger.since(head)]
        assert actions == [
            "begin",
            "table",
            "end",
            "fingerprint",
        ]  # counted, and nothing described again
        assert captioned(store) == before and check_annotations(store, deep=True) == []
        table.unlink()
        index(store, embedder, [photos], ONE)
        assert set(captioned(store).values()) == {(None, None)}


def test_a_picture_that_was_renamed_under_version_0_1_0_keeps_its_caption(
    indexed, embedder, photos
):
    os.rename(photos / "a" / "0.jpg", photos / "new.jpg")
    index(indexed, embedder, [photos], ONE)
    with as_version_0_1_0(indexed) as store:
        for number in range(2):
            write_photo(photos / f"late{number}.jpg", 70 + number)
            index(store, embedder, [photos], ONE)
            assert captioned(store)["new.jpg"] == ("dog 0", 0.0)
            assert check_annotations(store, deep=True) == []


def test_a_table_that_version_0_1_0_was_killed_in_is_taken_back_and_taken_in_again(
    indexed, embedder, photos, table
):
    killed = (
        "DELETE FROM items WHERE kind = 'table'; DELETE FROM said WHERE unit > 2 AND source > ''"
    )
    with as_version_0_1_0(indexed, killed) as store:
        index(store, embedder, [photos / "a"], ONE)
        assert captioned(store)["0.jpg"] == (None, None)
        index(store, embedder, [photos], ONE)
        assert captioned(store) == CAPTIONED
