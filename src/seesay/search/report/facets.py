"""What a collection can be filtered by: its folders, types, days and keys of metadata."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

from seesay.search.store.sqlite.paths import text_to_path
from seesay.search.store.store import Store
from seesay.search.store.values import DATE_KEY, ValueType

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
        ((first, last),) = rows(
            "SELECT min(coalesce(m.value, i.mtime_ns / 1e9)), max(coalesce(m.value, i.mtime_ns"
            " / 1e9)) FROM units u JOIN items i ON i.id = u.item LEFT JOIN metadata m"
            " ON m.unit = u.id AND m.key = (SELECT id FROM metadata_keys WHERE name = ? AND"
            " type = 'date')",
            (DATE_KEY,),
        )
        keys = rows("SELECT id, name, type FROM metadata_keys ORDER BY name, type")
        known = [_key(store, *row) for row in keys]
    return Facets(
        folders=_choices(folders),
        kinds=_choices(kinds),
        first=_day(first),
        last=_day(last),
        keys=tuple(key for key in known if key.count),
    )


def _key(store: Store, number: int, name: str, kind: ValueType) -> KeyFacet:
    ((count, least, most),) = store.database.rows(
        "SELECT count(DISTINCT unit), min(value), max(value) FROM metadata WHERE key = ?", (number,)
    )
    values: list[tuple[str, int]] = []
    if kind == "text":
        values = store.database.rows(
            "SELECT value, count(*) FROM metadata WHERE key = ? GROUP BY value"
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


def _choices(rows: list[tuple[str, int]]) -> tuple[Choice, ...]:
    return tuple(Choice(value=text_to_path(value), count=count) for value, count in rows)


def _day(seconds: float | None) -> date | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).date()
