"""Can every stored value of metadata be shown, compared and exported?"""

from collections.abc import Iterable, Iterator
from itertools import groupby

from seesay.errors import CollectionDamagedError
from seesay.search.catalog.records import Value
from seesay.search.catalog.sqlite.numbers import ANY_OF, as_list
from seesay.search.catalog.sqlite.paths import text_to_path
from seesay.search.catalog.store import Store
from seesay.search.catalog.values import (
    DATE_KEY,
    EARLIEST,
    LATEST,
    MOST_TEXT,
    READABLE,
    ValueType,
    is_sound,
    read,
    sound,
)
from seesay.search.checking.findings import Finding
from seesay.search.reading.dates import read_day

Stored = tuple[int, str, ValueType, object]
"""A unit, a key with its type, and what is stored."""

# A value of another type than its key, no finite number, a date that no calendar has, an absurdly
# long text: SQLite looks through millions of rows for them, Python only at what it finds.
_SUSPECT = f"""(
    (k.type = 'text') != (typeof(m.value) = 'text')
    OR k.type != 'text' AND (typeof(m.value) NOT IN ('real', 'integer') OR abs(m.value) > 1e308)
    OR k.type = 'date' AND NOT m.value BETWEEN {EARLIEST} AND {LATEST}
    OR k.type = 'text' AND length(m.value) > {MOST_TEXT}
    OR k.name = '{DATE_KEY}' AND k.type != 'date'
)"""
_TEXT = "k.type = 'text'"  # may hold bytes that are no text


def check_metadata(store: Store, *, deep: bool = False) -> list[Finding]:
    """Values that are shown as text, since they are none of their type.
    `deep` also looks for texts whose bytes are damaged."""
    found: dict[str, list[int]] = {}
    try:
        for unit, key in _unsound(store, deep=deep):
            found.setdefault(key, []).append(unit)
    except CollectionDamagedError as error:
        return [Finding(kind="pages", where=str(store.file), detail=str(error.__cause__))]
    return [
        Finding(kind="metadata", where=key, count=len(units), detail=str(units[0]))
        for key, units in found.items()
    ]


def mend_metadata(store: Store) -> None:
    """Take such values out. A text in the place of the date is read as one; where that fails, the
    date that the picture itself has comes back. Keys that nothing has go. Only inside `writing`."""
    units = sorted({unit for unit, _ in _unsound(store, deep=True)})
    own = store.annotations.own(units)
    for unit, rows in groupby(list(_rows_of(store, units)), key=lambda row: row[0]):
        values: dict[str, list[Value]] = {}
        for _, key, kind, value in rows:
            mended = _mended(key, kind, value)
            if mended is not None:
                values.setdefault(key, []).append(mended)
        known = sound(values)
        if DATE_KEY not in known and unit in own:
            known |= sound({DATE_KEY: own[unit].metadata.get(DATE_KEY)})
        store.units.describe(unit, metadata=known)
    store.units.forget_unused_keys()


def _mended(key: str, kind: ValueType, value: object) -> Value | None:
    found = read(kind, value)
    if is_sound(key, kind, value):
        return found
    return read_day(found) if key == DATE_KEY and isinstance(found, str) else None


def _unsound(store: Store, *, deep: bool) -> Iterator[tuple[int, str]]:
    for page in store.database.pages(_select(f"{_SUSPECT} OR {_TEXT}" if deep else _SUSPECT)):
        for unit, name, kind, value in page:
            if not is_sound(text_to_path(name), kind, value):
                yield unit, text_to_path(name)


def _rows_of(store: Store, units: Iterable[int]) -> Iterator[Stored]:
    rows = store.database.rows(
        f"{_select(f'm.unit IN {ANY_OF}')} ORDER BY m.unit", (as_list(units),)
    )
    for unit, name, kind, value in rows:
        yield unit, text_to_path(name), kind, value


def _select(condition: str) -> str:
    return (
        f"SELECT m.unit, k.name, k.type, {READABLE.format('m.value')} FROM metadata m"
        f" JOIN metadata_keys k ON k.id = m.key WHERE {condition}"
    )
