"""What SQLite says in a code, said in words: what happened, what was expected, what to do."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from seesay.errors import CollectionBusyError, CollectionDamagedError, CollectionError

Stored = TypeVar("Stored")
Value = TypeVar("Value")

_KEPT = "everything that was reported as stored is still there"


# What its module raises. The last two are for a number beyond 64 bits, and for half an emoji or a
# damaged name of a table.
FAILURES = (sqlite3.Error, OverflowError, UnicodeError)


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Raises CollectionError in place of every error of SQLite."""
    try:
        yield
    except FAILURES as error:
        raise in_words(error, file) from error


def in_words(error: Exception, file: Path) -> CollectionError:
    """An error of SQLite as one of ours."""
    if isinstance(error, UnicodeDecodeError) or "decode to UTF-8" in str(error):
        return CollectionDamagedError(
            f"{file}: a stored text is damaged ({error}); expected what was written; run "
            "`seesay verify --deep`, which names what it belongs to"
        )
    if not isinstance(error, sqlite3.Error):
        return CollectionError(
            f"{file}: a value cannot be stored ({error}); expected numbers of 64 bits, and text; "
            "correct it, or leave it out"
        )
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # the rest refines it
    kind, what, advice = _WORDS.get(code, _UNKNOWN)
    return kind(f"{file}: {what} ({error}); {advice}")


def decoded(read: Callable[[Stored], Value], stored: Stored) -> Value:
    """What `read` makes of a stored value. Raises CollectionDamagedError where that is nothing that
    was ever written: SQLite does not look into values."""
    try:
        return read(stored)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CollectionDamagedError(
            f"a stored value is damaged ({stored!r:.60}: {error}); expected what was written; run "
            "`seesay verify --deep`, which names what it belongs to"
        ) from error


_UNKNOWN = (
    CollectionError,
    "SQLite could not do what was asked",
    f"expected a file of this package; {_KEPT}; run `seesay verify`",
)
_WORDS: dict[int, tuple[type[CollectionError], str, str]] = {
    sqlite3.SQLITE_FULL: (
        CollectionError,
        "the disk is full",
        f"expected room for this batch; {_KEPT}; free some space and run the same command again",
    ),
    sqlite3.SQLITE_IOERR: (
        CollectionError,
        "the disk could not be read or written",
        f"expected a disk that works and has room; {_KEPT}; check it with `df` and the system log, "
        "then run the same command again",
    ),
    sqlite3.SQLITE_BUSY: (
        CollectionBusyError,
        "another program holds the file",
        "expected it to finish sooner; close it, or try again later",
    ),
    sqlite3.SQLITE_READONLY: (
        CollectionError,
        "the file may only be read",
        "expected the right to write; searching needs none; change the rights of the folder, or "
        "copy the collection",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        CollectionError,
        "the file cannot be opened",
        "expected the right to read it and, where its last writer was stopped in the middle, to "
        "write beside it; change the rights of the folder, or copy the collection",
    ),
    sqlite3.SQLITE_CORRUPT: (
        CollectionDamagedError,
        "the file is damaged",
        "expected what was written; put back a copy, or index the folder again",
    ),
    sqlite3.SQLITE_NOTADB: (
        CollectionDamagedError,
        "the file is no collection",
        "expected a file that `seesay index` made; name another folder",
    ),
}
