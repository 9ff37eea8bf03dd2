"""One SQLite file: connections for any number of threads, one transaction at a time for writing.

All other code calls `rows` and `run`; inside `writing` both see the open transaction of their
thread, inside `snapshot` all reads see one state. SQLite errors are raised as seesay errors.
"""

import json
import os
import re
import secrets
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

from seesay.data.spelling import fold
from seesay.errors import CollectionBusyError, CollectionDamagedError, CollectionError
from seesay.text import Text

PAGE_BYTES = 16384  # vectors of 0.5-4 kB waste a third of SQLite's usual 4096
CACHE_KIB = 32768
BUSY_S = 10.0  # how long a statement waits for another program
ANY_OF = "(SELECT value FROM json_each(?))"
"""Goes after IN, with `as_list`: SQLite accepts one JSON list but not 100,000 placeholders."""

Values = Sequence[Any] | dict[str, Any]
Stored = TypeVar("Stored")
Value = TypeVar("Value")


@dataclass
class Change:
    """An open write transaction."""

    seq: int
    """Its number in the ledger."""
    rows: int = 0
    """Rows written or deleted so far, not counting indexes and triggers."""


class Database:
    """The SQLite file of a collection, which must exist and have the newest tables."""

    def __init__(self, file: Path, *, read_only: bool) -> None:
        self.file = file
        self.read_only = read_only
        self._identity: tuple[int, int] | None = None
        self._idle: list[sqlite3.Connection] = []
        self._open: list[sqlite3.Connection] = []
        self._mutex = threading.Lock()
        self._local = threading.local()
        self._require_same_file()

    def rows(self, sql: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Returns all rows of a query, from one snapshot: fetching all at once needs no
        transaction."""
        mine = getattr(self._local, "connection", None)
        connection = mine or self._take()
        try:
            return connection.execute(sql, values).fetchall()
        except FAILURES as error:
            raise in_words(error, self.file) from error
        finally:
            if mine is None:
                self._idle.append(connection)

    def pages(
        self, sql: str, values: Sequence[Any] = (), size: int = 10_000
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query, `size` at a time, all from one snapshot."""
        with self._transaction("BEGIN") as connection, explained(self.file):
            cursor = connection.execute(sql, values)
            while page := cursor.fetchmany(size):
                yield page

    def run(self, sql: str, values: Values = ()) -> int:
        """Run a statement that writes; returns the number of rows. Only inside `writing`."""
        change = self.change
        with explained(self.file):
            count = max(self._local.connection.execute(sql, values).rowcount, 0)
        change.rows += count
        return count

    def run_many(self, sql: str, values: Iterable[Sequence[Any]]) -> int:
        """Run a statement that writes for every entry of `values`; returns the total number of
        rows."""
        change = self.change
        with explained(self.file):
            count = max(self._local.connection.executemany(sql, values).rowcount, 0)
        change.rows += count
        return count

    @property
    def change(self) -> Change:
        """Returns the write transaction of this thread. Raises CollectionError if there is none."""
        change = getattr(self._local, "change", None)
        if change is None:
            raise CollectionError(
                Text(
                    "a change was asked for outside of a transaction, expected it inside: write "
                    '`with store.writing("what for"): ...` around it',
                    '在事务之外修改了数据；应在事务之内：请放进 `with store.writing("用途"): ...`',
                )
            )
        return change

    def next_number(self, table: str) -> int:
        """Returns the number of the next row in a table that never reuses numbers."""
        found = self.rows("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
        return found[0][0] + 1 if found else 1

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads of this thread inside the block see one and the same state."""
        before = getattr(self._local, "connection", None)
        with self._transaction("BEGIN") as self._local.connection:
            try:
                yield
            finally:
                self._local.connection = before

    @contextmanager
    def writing(self, action: str, run: int | None = None) -> Iterator[Change]:
        """Run the block in one transaction: if it succeeds, everything is on disk, else nothing.
        The caller holds the writer lock."""
        if getattr(self._local, "change", None) is not None:
            raise CollectionError(
                Text(
                    f"{action!r} began inside of another transaction, expected one at a time: "
                    "end the outer `with store.writing(...)` first",
                    f"{action!r} 在另一个事务里开始；一次只能有一个事务："
                    "请先结束外层的 `with store.writing(...)`",
                )
            )
        self._require_same_file()  # writes to a removed file are lost
        before = getattr(self._local, "connection", None)
        with self._transaction("BEGIN IMMEDIATE", new=True) as connection:
            note = (time.time_ns(), action, run, secrets.randbits(63))
            try:
                self._local.connection = connection
                with explained(self.file):
                    cursor = connection.execute(
                        "INSERT INTO ledger (time_ns, action, run, token) VALUES (?, ?, ?, ?)", note
                    )
                self._local.change = change = Change(cursor.lastrowid or 0)
                yield change
                if change.rows:  # else the rollback also undoes the number
                    with explained(self.file):
                        connection.execute(
                            "UPDATE ledger SET rows = ? WHERE seq = ?", (change.rows, change.seq)
                        )
                        connection.execute("COMMIT")
            finally:
                self._local.change, self._local.connection = None, before

    def close(self) -> None:
        """Close every connection; closing the last one merges the log into the file."""
        with self._mutex:
            connections, self._open, self._idle = self._open, [], []
        for connection in connections:
            connection.close()

    @contextmanager
    def _transaction(self, begin: str, *, new: bool = False) -> Iterator[sqlite3.Connection]:
        """Yield this thread's open transaction, or a new one that ends with the block."""
        mine = getattr(self._local, "connection", None)
        if mine is not None and not new:
            yield mine
            return
        connection = self._take()
        try:
            with explained(self.file):
                connection.execute(begin)
            yield connection
        finally:
            if connection.in_transaction:
                connection.rollback()
            self._idle.append(connection)

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            self._require_same_file()  # or threads would read different files
        with explained(self.file):
            connection = connect(self.file, self.read_only)
        with self._mutex:
            self._open.append(connection)
        return connection

    def _require_same_file(self) -> None:
        """Compare device and inode, which tell two files with the same name apart."""
        try:
            facts = self.file.stat()
            found = facts.st_dev, facts.st_ino
        except OSError:
            found = None
        self._identity = self._identity or found
        if found is None or found != self._identity:
            raise CollectionError(
                Text(
                    f"{self.file} was replaced or removed while it was open, expected the same "
                    "file as before; start this program again, which then uses what is there now",
                    f"{self.file} 在打开期间被替换或删除；应仍是原来的文件；"
                    "请重新启动本程序，以使用现在的内容",
                )
            )


def as_list(values: Iterable[int] | Iterable[str]) -> str:
    """Returns the value for an `IN` followed by ANY_OF."""
    return json.dumps([int(v) if not isinstance(v, str) else v for v in values])


def connect(file: Path, read_only: bool) -> sqlite3.Connection:
    """Connect to an existing file. For a read-only folder this tries three ways: SQLite needs a
    shared-memory file beside its log, which the last writer removes if it ends cleanly."""
    if not read_only:
        return _configured(file, "mode=rw")
    try:
        return _configured(file, "mode=ro")
    except sqlite3.OperationalError:
        log = file.with_name(f"{file.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        return _configured(file, "mode=ro&immutable=1")


def _configured(file: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{file.resolve().as_uri()}?{options}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,  # the code begins and ends transactions
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


def checksum(*values: object) -> int:
    """Returns the CRC-32 of a row, for `checksums`. Texts are bytes: damaged ones may not be
    UTF-8."""
    total = 0
    for value in values:
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogatepass")
        if isinstance(value, bytes):
            total = crc32(b"b%d:" % len(value) + value, total)
        elif isinstance(value, float):
            total = crc32(b"f" + struct.pack("<d", value), total)
        else:
            total = crc32(b"%a;" % (value,), total)
    return total


def _folded(value: bytes | None) -> str | None:
    """Takes bytes, because damaged text is not valid UTF-8 and would abort the query."""
    return None if value is None else fold(value.decode("utf-8", "replace"))


# Errors that SQLite's module raises. The last two are for a number beyond 64 bits, and for half an
# emoji or a damaged table name.
FAILURES = (sqlite3.Error, OverflowError, UnicodeError)


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Turn every SQLite error into a CollectionError."""
    try:
        yield
    except FAILURES as error:
        raise in_words(error, file) from error


def in_words(error: Exception, file: Path) -> CollectionError:
    """Convert an SQLite error: what happened, what was expected, what to do."""
    if isinstance(error, UnicodeDecodeError) or "decode to UTF-8" in str(error):
        return CollectionDamagedError(
            Text(
                f"{file}: a stored text is damaged ({error}); expected what was written; run "
                "`seesay verify --deep`, which names what it belongs to",
                f"{file}：有一段文字已损坏（{error}）；应与写入时相同；"
                "请运行 `seesay verify --deep`，查看它属于哪个文件",
            )
        )
    if not isinstance(error, sqlite3.Error):
        return CollectionError(
            Text(
                f"{file}: a value cannot be stored ({error}); expected numbers of 64 bits, and "
                "text; correct it, or leave it out",
                f"{file}：有一个值无法保存（{error}）；应为 64 位以内的数字或文字；请改正或去掉它",
            )
        )
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # the rest refines it
    kind, en, zh = _WORDS.get(code, _UNKNOWN)
    return kind(Text(f"{file}: {en.format(error=error)}", f"{file}：{zh.format(error=error)}"))


def decoded(read: Callable[[Stored], Value], stored: Stored) -> Value:
    """Convert a stored value with `read`. Raises CollectionDamagedError if it cannot have been
    written like that: SQLite does not check values."""
    try:
        return read(stored)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(stored, error) from error


def _damaged(stored: object, reason: object) -> CollectionDamagedError:
    why = Text.of(reason)
    return CollectionDamagedError(
        Text(
            f"a stored value is damaged ({stored!r:.60}: {why.en}); expected what was written; "
            "run `seesay verify --deep`, which names what it belongs to",
            f"有一个值已损坏（{stored!r:.60}：{why.zh}）；应与写入时相同；"
            "请运行 `seesay verify --deep`，查看它属于哪个文件",
        )
    )


_KEPT = "everything that was reported as stored is still there"
_KEPT_ZH = "已报告存入的内容都还在"
_UNKNOWN = (
    CollectionError,
    "SQLite could not do what was asked ({error}); expected a file of this package; "
    f"{_KEPT}; run `seesay verify`",
    f"SQLite 无法完成操作（{{error}}）；应为本软件建立的文件；{_KEPT_ZH}；请运行 `seesay verify`",
)
_WORDS: dict[int, tuple[type[CollectionError], str, str]] = {
    sqlite3.SQLITE_FULL: (
        CollectionError,
        "the disk is full ({error}); expected room for this batch; "
        f"{_KEPT}; free some space and run the same command again",
        "磁盘已满（{error}）；应有存放这一批的空间；"
        f"{_KEPT_ZH}；请腾出空间，再运行一次同样的命令",
    ),
    sqlite3.SQLITE_IOERR: (
        CollectionError,
        "the disk could not be read or written ({error}); expected a disk that works and has room; "
        f"{_KEPT}; check it with `df` and the system log, then run the same command again",
        "磁盘无法读写（{error}）；应为正常且有空间的磁盘；"
        f"{_KEPT_ZH}；请用 `df` 和系统日志检查，再运行一次同样的命令",
    ),
    sqlite3.SQLITE_BUSY: (
        CollectionBusyError,
        "another program holds the file ({error}); expected it to finish sooner; close it, or try "
        "again later",
        "另一个程序正占用该文件（{error}）；应更早结束；请关闭那个程序，或稍后再试",
    ),
    sqlite3.SQLITE_READONLY: (
        CollectionError,
        "the file may only be read ({error}); expected the right to write; searching needs none; "
        "change the rights of the folder, or copy the collection",
        "该文件只能读取（{error}）；应有写入权限（搜索不需要）；请修改文件夹的权限，或复制一份资料库",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        CollectionError,
        "the file cannot be opened ({error}); expected the right to read it and, where its last "
        "writer was stopped in the middle, to write beside it; change the rights of the folder, or "
        "copy the collection",
        "该文件无法打开（{error}）；应有读取权限，上次写入若中途停止，还应能在同一文件夹写入；"
        "请修改文件夹的权限，或复制一份资料库",
    ),
    sqlite3.SQLITE_CORRUPT: (
        CollectionDamagedError,
        "the file is damaged ({error}); expected what was written; put back a copy, or index the "
        "folder again",
        "该文件已损坏（{error}）；应与写入时相同；请恢复备份，或重新收录文件夹",
    ),
    sqlite3.SQLITE_NOTADB: (
        CollectionDamagedError,
        "the file is no collection ({error}); expected a file that `seesay index` made; name "
        "another folder",
        "该文件不是资料库（{error}）；应为 `seesay index` 建立的文件；请指定另一个文件夹",
    ),
}


# File names as text that SQLite accepts, for every name that a file system accepts. A name is
# bytes, and not always UTF-8. Python represents a byte it cannot decode as a lone surrogate, which
# databases do not store. Here such a byte becomes one character of a private block, and a name that
# really contains a character of that block has its bytes written the same way, so nothing is
# ambiguous. Any other lone surrogate, as in broken JSON, cannot be part of a name: it becomes
# U+FFFD.

_BLOCK = 0x10FE00  # private use, plane 16: one character for each byte
_ODD = re.compile(f"[\udc80-\udcff{chr(_BLOCK)}-{chr(_BLOCK + 0xFF)}]")
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # half an emoji: file names cannot contain it
_STORED = re.compile(f"[{chr(_BLOCK)}-{chr(_BLOCK + 0xFF)}]+")


def path_to_text(path: str) -> str:
    """Returns the text to store for a path as Python spells it (`os.fsdecode`), or any other
    text."""
    if path.isascii():
        return path
    return _NO_BYTE.sub("\ufffd", _ODD.sub(_bytes_as_characters, path))


def text_to_path(text: object) -> str:
    """Returns the path as Python spells it. Raises CollectionDamagedError if it is not text."""
    if not isinstance(text, str):
        raise _damaged(text, Text("no text", "不是文字"))
    return text if text.isascii() else _STORED.sub(_characters_as_path, text)


def folder_and_name(text: str) -> tuple[str, str]:
    """Split a stored path into the folder, without its last separator, and the file name."""
    plain = text if os.sep == "/" else text.replace(os.sep, "/")
    folder, separator, name = plain.rpartition("/")
    return text[: len(folder)] or separator, name


def _bytes_as_characters(found: re.Match[str]) -> str:
    odd = found.group()
    raw = odd.encode("utf-8", "surrogateescape")
    return "".join(chr(_BLOCK + byte) for byte in raw)


def _characters_as_path(found: re.Match[str]) -> str:
    raw = bytes(ord(character) - _BLOCK for character in found.group())
    return raw.decode("utf-8", "surrogateescape")
