"""A byte of the truth that a disk changed is noticed, wherever it stands."""

import random
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from jaxtyping import TypeCheckError

from photographs import photographs
from seesay.errors import CollectionError
from seesay.inference.embedder import Embedder, load
from seesay.search.catalog.store import FILE
from seesay.search.collection import Collection

FLIPS = 150
BLOCK = 1 << 16
CAPTIONS = "file,caption,year,place\nchelsea.png,a cat,2019,Porto\nmoon.png,月亮,2020,\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with photographs, notes and a table, and their collection, with nothing in a log."""
    place = tmp_path_factory.mktemp("whole")
    files = place / "files"
    files.mkdir()
    for photograph in photographs():
        shutil.copy(photograph, files)
    (files / "note.md").write_text("The rocket stands on the launch pad.\n")
    (files / "桥.txt").write_text("南京市长江大桥在夜里很好看。", encoding="utf-8")
    (files / "captions.csv").write_text(CAPTIONS, encoding="utf-8")
    (files / "broken.png").write_bytes(b"no picture")
    with Collection.open(place / "c", create=True) as collection:
        collection.index([files])
        collection.tag(["cat", "rocket"])
        assert collection.verify(deep=True) == []
    with closing(sqlite3.connect(place / "c" / FILE)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # everything is in the one file
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = WAL")
    return place


def everything(file: Path) -> str | None:
    """All definitions and rows; None where SQLite cannot read them. Of the keyword index only the
    words count, which have a check of their own."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        connection.text_factory = bytes
        try:
            names = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'keywords%'"
            )
            tables = [name.decode() for (name,) in names.fetchall()]
            rows = [connection.execute(f'SELECT * FROM "{t}"').fetchall() for t in tables]
            definitions = connection.execute(
                "SELECT type, lower(name), lower(tbl_name), lower(sql) FROM sqlite_schema"
                " WHERE name NOT LIKE 'keywords_%'"  # SQL knows no difference of case
            )
            rows.append(definitions.fetchall())
        except (sqlite3.Error, UnicodeDecodeError):
            return None
    return repr((tables, rows))


@pytest.fixture(scope="module")
def model():
    return load("seesay-mini")


def noticed(folder: Path, model: Embedder) -> bool:
    """Whether it cannot be opened, or a deep look finds something."""
    try:
        with Collection.open(folder, model=model) as collection:
            found = collection.verify(deep=True)
            assert all(str(finding) for finding in found)
            with suppress(CollectionError):
                collection.search("a cat")
            with suppress(CollectionError):
                collection.stats()
            return bool(found)
    # Types are checked in tests only; what they refuse here, a user sees in a finding.
    except (CollectionError, TypeCheckError):
        return True


def test_a_changed_byte_is_noticed_or_means_nothing(whole, model, tmp_path):
    original = (whole / "c" / FILE).read_bytes()
    expected = everything(whole / "c" / FILE)
    folder = tmp_path / "c"
    chance = random.Random(0)
    used = [place for place, byte in enumerate(original) if byte]  # most of the rest is empty
    places = chance.sample(used, FLIPS * 9 // 10) + chance.sample(range(len(original)), FLIPS // 10)
    missed = []
    for place in places:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        changed = bytearray(original)
        changed[place] ^= 1 << chance.randrange(8)
        (folder / FILE).write_bytes(changed)
        if not noticed(folder, model) and everything(folder / FILE) != expected:
            missed.append(place)
    assert missed == []


def test_with_a_zeroed_block_every_operation_ends_well_or_in_an_error_of_ours(
    whole, model, tmp_path
):
    original = (whole / "c" / FILE).read_bytes()
    folder = tmp_path / "c"
    for place in range(0, len(original), BLOCK):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        block = bytes(len(original[place : place + BLOCK]))
        (folder / FILE).write_bytes(original[:place] + block + original[place + len(block) :])
        (whole / "files" / "new.txt").write_text(f"a note on block {place}")
        with suppress(CollectionError), Collection.open(folder, model=model) as collection:
            for operation in (
                lambda c: c.index([whole / "files"]),
                lambda c: c.search("a cat"),
                lambda c: c.stats(),
                lambda c: c.verify(deep=True),
            ):
                with suppress(CollectionError):
                    operation(collection)


# A word of the row -> its table, what becomes of it, and the column with the word.
CHANGES = {
    "launch pad": ("units", "text = replace(text, 'launch', 'lunch')", "text"),
    "Porto": ("annotations", "metadata = replace(metadata, 'Porto', 'Forto')", "metadata"),
    "chelsea.png": ("items", "size = size + 1", "path"),
}


def change_silently(file: Path, statement: str) -> None:
    """As a disk does it: no trigger hears of it."""
    with closing(sqlite3.connect(file)) as connection, connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        for name, _ in (known := triggers.fetchall()):
            connection.execute(f"DROP TRIGGER {name}")
        assert connection.execute(statement).rowcount
        for _, sql in known:
            connection.execute(sql)


@pytest.mark.parametrize("said", CHANGES)
def test_files_with_changed_rows_are_named_and_read_again_by_the_commands_that_are_named(
    whole, model, tmp_path, said
):
    shutil.copytree(whole / "c", tmp_path / "c")
    file = tmp_path / "c" / FILE
    table, change, key = CHANGES[said]
    change_silently(file, f"UPDATE {table} SET {change} WHERE {key} LIKE '%{said}%'")
    with Collection.open(tmp_path / "c", model=model) as collection:
        findings = [f for f in collection.verify(deep=True) if f.kind == "changed rows"]
        named = {"launch pad": "note.md", "Porto": "captions.csv"}.get(said, said)
        assert [(f.count, Path(f.where).name, f.remedy) for f in findings] == [
            (1, named, "rebuild")
        ]
        assert "`seesay index`" in str(findings[0])
        collection.rebuild()
        collection.index()
        assert collection.verify(deep=True) == []
        assert collection.search("launch pad").hits[0].path.endswith("note.md")
        years = {
            hit.path.rpartition("/")[2]: hit.metadata.get("year") for hit in collection.newest()
        }
        assert years["chelsea.png"] == 2019


def test_a_changed_row_of_a_table_of_its_own_asks_for_a_copy(whole, model, tmp_path):
    shutil.copytree(whole / "c", tmp_path / "c")
    change_silently(tmp_path / "c" / FILE, "UPDATE runs SET started_ns = started_ns + 1")
    with Collection.open(tmp_path / "c", model=model) as collection:
        (finding,) = collection.verify(deep=True)
    assert (finding.kind, finding.where, finding.remedy) == ("changed table", "runs", "restore")
