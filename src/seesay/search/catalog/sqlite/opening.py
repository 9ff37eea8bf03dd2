"""Make the file of a collection, or bring an older one to the newest tables."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from seesay.data.folding import simplified
from seesay.errors import CollectionDamagedError, CollectionError
from seesay.search.catalog.sqlite.checksums import checksum
from seesay.search.catalog.sqlite.database import PAGE_BYTES, connect
from seesay.search.catalog.sqlite.failures import explained
from seesay.search.catalog.sqlite.lock import WriterLock
from seesay.search.catalog.sqlite.schema import APPLICATION_ID, MIGRATIONS, NEWEST

# Every table, index and trigger, but those that FTS5 makes as its version does. As bytes, because a
# damaged text may be no UTF-8; without the quotes that renaming puts around names.
DEFINITIONS = (
    "SELECT CAST(type AS BLOB), CAST(name AS BLOB), CAST(tbl_name AS BLOB),"
    " CAST(replace(sql, '\"', '') AS BLOB)"
    " FROM sqlite_schema WHERE name NOT LIKE 'keywords!_%' ESCAPE '!'"
)


def prepare(file: Path, lock: WriterLock, *, create: bool, read_only: bool, wait_s: float) -> None:
    """After this `file` exists and has the newest tables.

    Raises CollectionError where there is none and `create` is false, where it is no collection,
    where a newer version of this package made it, or where it would have to be changed and may not.
    """
    version = _version(file, read_only)
    if version == NEWEST:
        return
    if version > NEWEST:
        raise CollectionError(
            f"{file} has format {version}, expected {NEWEST} or older: a newer version of this "
            "package made it; update with: pip install -U seesay"
        )
    if not version and not create:
        raise CollectionError(
            f"there is no collection in {file.parent}, expected a folder that holds {file.name}; "
            "index some files into it first, or name another folder"
        )
    if read_only and not version:
        raise CollectionError(_unmade(file.parent, "there is no right to write"))
    if read_only:
        raise CollectionError(
            f"{file} has format {version}, expected {NEWEST}, and may not be changed; make it "
            "writable once, and open it, or copy it to another folder"
        )
    _make_folder(file.parent)
    with lock.held("upgrade" if version else "create", wait_s), explained(file):
        migrate(file, NEWEST)


def migrate(file: Path, target: int) -> None:
    """Apply the migrations up to number `target`, all in one transaction."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # counts for a new file only
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        _apply(connection, MIGRATIONS[version:target])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {max(version, target)}")
        connection.execute("COMMIT")
    if os.name != "nt":
        _sync_folder(file.parent)  # the name of a new file survives a power cut too


@cache
def new_definitions() -> frozenset[tuple[bytes | None, ...]]:
    """The DEFINITIONS of a new collection."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _apply(connection, MIGRATIONS)
        return frozenset(connection.execute(DEFINITIONS))


def _apply(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    connection.create_function("simplified", 1, lambda text: text.translate(simplified()))
    connection.create_function("checksum", -1, checksum, deterministic=True)
    for migration in migrations:
        for statement in _statements(migration):
            connection.execute(statement)


def _version(file: Path, read_only: bool) -> int:
    """The format of the file; 0 where there is none or it was never finished."""
    if not file.exists():
        return 0
    with explained(file), closing(connect(file, read_only, busy_timeout_s=10.0)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and tables:
        raise CollectionDamagedError(
            f"{file} is a database of another program, expected a collection; name another folder"
        )
    return version


def _statements(script: str) -> list[str]:
    """The statements of a script; `executescript` would commit the transaction it runs in."""
    statements, start = [], 0
    for end, character in enumerate(script, start=1):
        if character == ";" and sqlite3.complete_statement(script[start:end]):
            statements.append(script[start:end])
            start = end
    return statements


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CollectionError(_unmade(folder, str(error.strerror))) from error


def _unmade(folder: Path, reason: str) -> str:
    return (
        f"{folder} cannot be made ({reason}), expected a place where folders may be made; choose "
        "another one"
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
