"""What a collection can be filtered by: its folders, types, days and keys of metadata."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from seesay.search.catalog.sqlite.paths import text_to_path
from seesay.search.catalog.store import Store
from seesay.search.catalog.values import (
    DATE_KEY,
    EARLIEST,
    LATEST,
    READABLE,
    ValueType,
    local_time,
    moment,
    read,
)

_FINITE = sys.float_info.max
_FOLDERS, _VALUES = 1000, 20  # as many are named, the fullest first


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A value that a filter may ask for."""

    value: str
    count: int
    """Units that have it."""


@dataclass(frozen=True, kw_only=True)
class KeyFacet:
    """A key of metadata."""

    name: str
    type: ValueType
    count: int
    """Units that have it."""
    values: tuple[Choice, ...]
    """The most frequent values of a key of texts."""
    least: float | None
    """Of a key of numbers the smallest, of one of dates seconds since 1970."""
    most: float | None


@dataclass(frozen=True, kw_only=True)
class Facets:
    """What there is to choose from."""

    folders: tuple[Choice, ...]
    """Those with files of their own, the fullest first."""
    kinds: tuple[Choice, ...]
    """"image", "text" and so on."""
    first: date | None
    """Day of the oldest, by when a picture was taken or else its file was last changed."""
    last: date | None
    keys: tuple[KeyFacet, ...]


def facets(store: Store) -> Facets:
    """All of one state of the collection."""
    rows = store.database.rows
    with store.database.snapshot():
        folders = rows(
            "SELECT i.folder, count(*) FROM units u JOIN items i ON i.id = u.item"
            " GROUP BY i.folder ORDER BY count(*) DESC, i.folder LIMIT ?",
            (_FOLDERS,),
        )
        kinds = rows("SELECT kind, count(*) FROM units GROUP BY kind ORDER BY count(*) DESC, kind")
        days = _days(store)
        keys = rows("SELECT id, name, type FROM metadata_keys ORDER BY name, type")
        known = [_key(store, *row) for row in keys]
    return Facets(
        folders=_choices(folders),
        kinds=_choices(kinds),
        first=min(days, default=None),
        last=max(days, default=None),
        keys=tuple(key for key in known if key.count),
    )


def _days(store: Store) -> set[date]:
    """The first and last day, of pictures taken at a known time and of other files."""
    dated = (
        "SELECT m.value, m.unit FROM metadata m JOIN metadata_keys k ON k.id = m.key"
        " WHERE k.name = ? AND k.type = 'date' AND m.value BETWEEN ? AND ?"
    )
    known = (DATE_KEY, EARLIEST, LATEST)
    ((first, last),) = store.database.rows(f"SELECT min(value), max(value) FROM ({dated})", known)
    ((oldest, newest),) = store.database.rows(
        "SELECT min(i.mtime_ns), max(i.mtime_ns) FROM units u JOIN items i ON i.id = u.item"
        f" WHERE u.id NOT IN (SELECT unit FROM ({dated}))",
        known,
    )
    taken = [moment(seconds) for seconds in (first, last) if seconds is not None]
    changed = [local_time(mtime_ns) for mtime_ns in (oldest, newest) if mtime_ns is not None]
    return {one.date() for one in (*taken, *changed) if one is not None}


def _key(store: Store, number: int, name: str, kind: ValueType) -> KeyFacet:
    ((count, least, most),) = store.database.rows(
        "SELECT count(DISTINCT unit), min(value), max(value) FROM metadata WHERE key = ?"
        " AND (? OR value BETWEEN ? AND ?)",
        (number, kind == "text", *((EARLIEST, LATEST) if kind == "date" else (-_FINITE, _FINITE))),
    )
    values: list[tuple[object, int]] = []
    if kind == "text":
        values = store.database.rows(
            f"SELECT {READABLE.format('value')}, count(*) FROM metadata WHERE key = ?"
            " GROUP BY value"
            " ORDER BY count(*) DESC, value LIMIT ?",
            (number, _VALUES),
        )
    return KeyFacet(
        name=text_to_path(name),
        type=kind,
        count=count,
        values=_choices(values),
        least=None if kind == "text" else least,
        most=None if kind == "text" else most,
    )


def _choices(rows: Sequence[tuple[object, int]]) -> tuple[Choice, ...]:
    return tuple(Choice(value=str(read("text", value)), count=count) for value, count in rows)
