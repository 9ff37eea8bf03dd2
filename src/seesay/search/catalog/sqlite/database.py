"""One SQLite file: connections for any number of threads, one transaction at a time for writing.

Everything above asks `rows` and `run`; inside `writing` both see the open transaction of their
thread, inside `snapshot` all reads see one state.
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seesay.data.folding import fold
from seesay.errors import CollectionError
from seesay.search.catalog.sqlite.checksums import checksum
from seesay.search.catalog.sqlite.failures import FAILURES, explained, in_words

PAGE_BYTES = 16384  # vectors of 0.5-4 kB waste a third of SQLite's usual 4096
CACHE_KIB = 32768


@dataclass
class Change:
    """A transaction for writing, while it is open."""

    seq: int
    """Its number in the ledger."""
    rows: int = 0
    """How many rows it wrote or deleted so far, those of indexes and triggers aside."""


class Database:
    """The SQLite file of a collection, which exists and has the newest tables."""

    def __init__(self, file: Path, *, read_only: bool, busy_timeout_s: float = 10.0) -> None:
        self.file = file
        self.read_only = read_only
        self._identity = _identity(file)
        self._busy_timeout_s = busy_timeout_s
        self._idle: list[sqlite3.Connection] = []
        self._open: list[sqlite3.Connection] = []
        self._mutex = threading.Lock()
        self._local = threading.local()

    def rows(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, from one state: fetching all at once takes no transaction."""
        mine = getattr(self._local, "connection", None)
        connection = mine or self._take()
        try:
            return connection.execute(sql, values).fetchall()
        except FAILURES as error:
            raise in_words(error, self.file) from error
        finally:
            if mine is None:
                self._put_back(connection)

    def pages(
        self, sql: str, values: Sequence[Any] = (), size: int = 10_000
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a query, `size` at a time, all from one state of the collection."""
        with self._reader() as connection, explained(self.file):
            cursor = connection.execute(sql, values)
            while page := cursor.fetchmany(size):
                yield page

    def run(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> int:
        """Change something; returns how many rows. Only inside `writing`."""
        change = self.change
        with explained(self.file):
            return self._counted(change, self._local.connection.execute(sql, values))

    def run_many(self, sql: str, values: Iterable[Sequence[Any]]) -> int:
        """Change something with every entry of `values`; returns how many rows in all."""
        change = self.change
        with explained(self.file):
            return self._counted(change, self._local.connection.executemany(sql, values))

    @property
    def change(self) -> Change:
        """The transaction this thread is writing in. Raises CollectionError where there is none."""
        change = getattr(self._local, "change", None)
        if change is None:
            raise CollectionError(
                "a change was asked for outside of a transaction, expected it inside: write "
                '`with store.writing("what for"): ...` around it'
            )
        return change

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads of this thread inside the block see one and the same state."""
        with self._reader() as connection, self._used_by_this_thread(connection):
            yield

    @contextmanager
    def writing(self, action: str, run: int | None = None) -> Iterator[Change]:
        """One transaction: when the block ends well all of it is on disk, else none of it ever was.
        The caller holds the writer lock."""
        if getattr(self._local, "change", None) is not None:
            raise CollectionError(
                f"{action!r} began inside of another transaction, expected one at a time: "
                "end the outer `with store.writing(...)` first"
            )
        self._require_same_file()  # writes to a removed file are lost
        with self._borrowed("BEGIN IMMEDIATE") as connection, self._used_by_this_thread(connection):
            try:
                self._local.change = change = self._numbered(connection, action, run)
                yield change
                self._commit(connection, change)
            finally:
                self._local.change = None

    def close(self) -> None:
        """Close every connection; the last one to close moves the log into the file."""
        with self._mutex:
            connections, self._open, self._idle = self._open, [], []
        for connection in connections:
            connection.close()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        mine = getattr(self._local, "connection", None)
        if mine is not None:
            yield mine
        else:
            with self._borrowed("BEGIN") as connection:
                yield connection

    @contextmanager
    def _borrowed(self, begin: str) -> Iterator[sqlite3.Connection]:
        connection = self._take()
        try:
            with explained(self.file):
                connection.execute(begin)
            yield connection
        finally:
            if connection.in_transaction:
                connection.rollback()
            self._put_back(connection)

    @contextmanager
    def _used_by_this_thread(self, connection: sqlite3.Connection) -> Iterator[None]:
        before = getattr(self._local, "connection", None)
        self._local.connection = connection
        try:
            yield
        finally:
            self._local.connection = before

    def _numbered(self, connection: sqlite3.Connection, action: str, run: int | None) -> Change:
        with explained(self.file):
            cursor = connection.execute(
                "INSERT INTO ledger (time_ns, action, run, token) VALUES (?, ?, ?, ?)",
                (time.time_ns(), action, run, secrets.randbits(63)),
            )
        return Change(cursor.lastrowid or 0)

    def _commit(self, connection: sqlite3.Connection, change: Change) -> None:
        if not change.rows:
            return  # nothing happened: the rollback takes the number back
        with explained(self.file):
            connection.execute(
                "UPDATE ledger SET rows = ? WHERE seq = ?", (change.rows, change.seq)
            )
            connection.execute("COMMIT")

    def _counted(self, change: Change, cursor: sqlite3.Cursor) -> int:
        count = max(cursor.rowcount, 0)
        change.rows += count
        return count

    def _put_back(self, connection: sqlite3.Connection) -> None:
        with self._mutex:
            self._idle.append(connection)

    def _take(self) -> sqlite3.Connection:
        with self._mutex:
            if self._idle:
                return self._idle.pop()
        self._require_same_file()  # else threads would read different files
        with explained(self.file):
            connection = connect(self.file, self.read_only, self._busy_timeout_s)
        with self._mutex:
            self._open.append(connection)
        return connection

    def _require_same_file(self) -> None:
        if _identity(self.file) != self._identity:
            raise CollectionError(
                f"{self.file} was replaced or removed while it was open, expected the same file as "
                "before; start this program again, which then uses what is there now"
            )


def _identity(file: Path) -> tuple[int, int] | None:
    """Device and inode, which tell two files of the same name apart; None where there is none."""
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def connect(file: Path, read_only: bool, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection to an existing file. A read-only folder takes three ways to open it: SQLite
    needs a memory file beside its log, which the last writer has removed where it ended well."""
    if not read_only:
        return _configured(file, "mode=rw", busy_timeout_s)
    try:
        return _configured(file, "mode=ro", busy_timeout_s)
    except sqlite3.OperationalError:
        log = file.with_name(f"{file.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        return _configured(file, "mode=ro&immutable=1", busy_timeout_s)


def _configured(file: Path, options: str, busy_timeout_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{file.resolve().as_uri()}?{options}",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,  # transactions begin and end where the code says so
        check_same_thread=False,
    )
    try:
        connection.create_function("fold", 1, _folded, deterministic=True)
        connection.create_function("checksum", -1, checksum, deterministic=True)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # reads the first page
    except BaseException:
        connection.close()
        raise
    return connection


def _folded(value: bytes | None) -> str | None:
    """As bytes, because damaged text is no valid UTF-8 and would end the query."""
    return None if value is None else fold(value.decode("utf-8", "replace"))
