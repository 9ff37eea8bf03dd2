import hashlib
import shutil
import sqlite3
from contextlib import closing

import pytest

import made_collections as made
from raw_rows import raw_rows
from seesay.errors import CollectionError
from seesay.search.catalog import schema
from seesay.search.catalog.drafts import Place
from seesay.search.catalog.store import FILE, Store
from seesay.search.checking.repair import mend
from seesay.search.checking.verify import check_rows, check_truth
from seesay.text import Text

# A migration that has been released is never edited: a collection made by it would differ from one
# made by the edited one. Add another migration instead, and its digest here.
DIGESTS = [
    *("e3f5f97f786347ef", "d27e395955018450", "a3bbdf86b9012664", "2c99b72edd492471"),
    *("f4fc718dd52f9cfc", "ddb5374d10353de6", "fc551e1b93c7c011", "884e113b2a665e4e"),
    *("19c5f9878aec709b", "bdaae3d0963a02b2", "6d234bee1bebfac0", "fa1446e3864c952b"),
    *("bb6172cceb9e9d64", "27375c0fbf28b455"),
]

ROWS = {
    1: "INSERT INTO items VALUES (1, '/photos/0/0.jpg', '/photos/0', '0.jpg', 'image', 'ab', 1, 1,"
    " 'ready', 1, 1); INSERT INTO units (id, item, position, kind, locator, text, seq)"
    " VALUES (1, 1, 0, 'image', '{}', 'a cat', 1);"
    " INSERT INTO metadata_keys VALUES (1, 'year', 'number');"
    " INSERT INTO metadata VALUES (1, 2020.0, 1);"
    " INSERT INTO ledger VALUES (1, 1, 'index', NULL, 1);"
    " INSERT INTO quarantine VALUES ('/a.jpg', NULL, 1, 1, 'read', 'it is gone', 1, 1, 1)",
    2: "INSERT INTO spaces VALUES (1, 'k', 'm', '1', 'p', 2, 'ready', 1, 1);"
    " INSERT INTO vectors VALUES (1, 1, 1, 'image', 1, x'003c0000')",
    3: "INSERT INTO keywords (rowid, words, characters) VALUES (1, 'a cat', '')",
    4: "INSERT INTO vectors VALUES (2, 1, 1, 'text', 1, x'0000003c');"
    " INSERT INTO items VALUES (2, '/photos/table.csv', '/photos', 'table.csv', 'table', 'cd', 1,"
    " 1, 'ready', 1, 1); INSERT INTO said VALUES (1, '', NULL, '{}');"
    " INSERT INTO said VALUES (1, '/photos/table.csv', 'a cat', '{}')",
    5: "",
    6: "INSERT INTO tables VALUES (2, 1); INSERT INTO undescribed VALUES (1)",
    7: "INSERT INTO fingerprints VALUES (1, zeroblob(256))",
    8: "",
    9: "",
    10: "",
    11: "",
    12: "",
    13: "",
    14: "",
}


def made_by(folder, version):
    """A collection as version `version` left it, with rows in every table it knew."""
    folder.mkdir()
    for number in range(1, version + 1):
        schema.migrate(folder / FILE, number)
        with closing(sqlite3.connect(folder / FILE)) as connection:
            connection.executescript(ROWS[number])
    return folder


@pytest.mark.parametrize("version", range(1, schema.NEWEST + 1))
def test_a_collection_of_every_older_format_opens_with_all_it_held(tmp_path, version):
    with Store(made_by(tmp_path / "c", version)) as store:
        assert store.database.rows("PRAGMA user_version") == [(schema.NEWEST,)]
        assert store.passages.get([1])[0].text == "a cat"
        assert store.metadata.get([1]) == {1: {"year": 2020.0}}
        assert [bad.error for bad in store.quarantine.all()] == [Text("it is gone", "it is gone")]
        if version >= 2:
            assert store.vectors.get(1, [1])[1].tolist() == [[1.0, 0.0]]
        if version >= 4:
            assert store.vectors.get(1, [1], modality="text")[1].tolist() == [[0.0, 1.0]]
            assert [row.text for row in store.annotations.of_files([1])[1]] == ["a cat"]
            assert store.annotations.own([1])[1].text is None
        assert store.fingerprints.missing() == ([] if version >= 7 else [1])
        made.add_photos(store, made.add_space(store), made.unit_vectors(3), first=1)
        mend(store)  # the oldest formats kept no keywords and no vectors
        assert list(store.keywords.search("cats", 1)[0]) == [1]
        kinds = {finding.kind for finding in check_truth(store, deep=True)}
        assert kinds <= {"missing vectors", "missing captions"}


def test_keywords_of_older_formats_are_found_in_either_script(tmp_path):
    folder = made_by(tmp_path / "c", 3)
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute("UPDATE keywords SET words = '龍井', characters = '龍 井 龍井'")
        connection.commit()
    with Store(folder) as store:
        assert [list(store.keywords.search(text, 1)[0]) for text in ("龙井", "龍井")] == [[1], [1]]


def test_two_copies_of_an_older_format_have_no_common_history_once_they_are_upgraded(tmp_path):
    made_by(tmp_path / "one", 7)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with Store(tmp_path / "one") as one, Store(tmp_path / "two") as two:
        position = one.ledger.position()
        assert one.ledger.has_passed(position) and not two.ledger.has_passed(position)


def test_all_formats_lead_to_the_same_tables(tmp_path):
    schemas = set()
    for version in range(1, schema.NEWEST + 1):
        with Store(made_by(tmp_path / str(version), version)) as store:
            schemas.add(str(store.database.rows("SELECT name, sql FROM sqlite_schema ORDER BY 1")))
    assert len(schemas) == 1


def test_units_keep_their_numbers_and_sums_when_any_modality_comes_in(tmp_path):
    folder = made_by(tmp_path / "c", 9)
    with raw_rows(folder / FILE) as connection:
        connection.execute(
            "INSERT INTO units (id, item, position, kind, locator, text, seq)"
            " VALUES (7, 1, 1, 'page', '{\"page\":2}', NULL, 1), (8, 2, 0, 'text', '{}', 'b', 1)"
        )
        connection.execute("DELETE FROM units WHERE id = 8")
        connection.execute("UPDATE ledger SET rows = 3")  # as every change of ours does
    with Store(folder) as store:
        found = [
            (unit.id, unit.media_type, unit.modality, unit.text)
            for unit in store.passages.get([1, 7])
        ]
        assert found == [(1, "image", "image", "a cat"), (7, "page", "image", None)]
        assert store.passages.get([7])[0].place == Place(page=2)
        assert store.passages.newest == 8  # a number that was given once is not given again
        assert list(check_rows(store)) == []


def test_a_row_that_was_damaged_before_an_upgrade_is_still_named_after_it(tmp_path):
    folder = made_by(tmp_path / "c", 9)
    with closing(sqlite3.connect(folder / FILE)) as connection:
        (sums,) = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = 'units_update_sum'"
        ).fetchone()
        connection.executescript("DROP TRIGGER units_update_sum; UPDATE units SET text = 'a bat'")
        connection.executescript(f"{sums};")
    with Store(folder) as store:
        assert [finding.kind for finding in check_rows(store)] == ["changed rows"]


def test_a_migration_that_fails_leaves_the_old_format_whole(tmp_path, monkeypatch):
    folder = made_by(tmp_path / "c", 1)
    broken = (*schema.MIGRATIONS[:2], "CREATE TABLE half (a) STRICT; SELECT * FROM missing;")
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    with pytest.raises(CollectionError):
        Store(folder)
    monkeypatch.undo()
    with Store(folder) as store:
        assert store.passages.get([1])[0].text == "a cat"


def test_a_newer_format_is_refused_with_both_numbers_and_what_to_do(tmp_path):
    folder = made_by(tmp_path / "c", schema.NEWEST)
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute("PRAGMA user_version = 77")
    with pytest.raises(CollectionError, match=rf"format 77, expected {schema.NEWEST}.*pip install"):
        Store(folder)


def test_an_older_format_in_a_read_only_folder_says_what_to_do(tmp_path):
    folder = made_by(tmp_path / "c", 1)
    with pytest.raises(CollectionError, match="format 1, expected"):
        Store(folder, read_only=True)


def test_a_database_of_another_program_is_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(CollectionError, match="another program"):
        Store(tmp_path, create=True)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    (tmp_path / FILE).write_bytes(b"holiday plans" * 999)
    with pytest.raises(CollectionError, match=r"no collection.*name another folder"):
        Store(tmp_path, create=True)
    assert (tmp_path / FILE).read_bytes() == b"holiday plans" * 999


def test_a_migration_once_written_is_never_edited():
    found = [hashlib.sha256(script.encode()).hexdigest()[:16] for script in schema.MIGRATIONS]
    assert found == DIGESTS
