"""What is known of units beside their vectors: values by key, each key of one type."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Literal

from seesay.errors import CollectionError
from seesay.search.store.records import Metadata, Value
from seesay.search.store.sqlite.database import Database
from seesay.search.store.sqlite.numbers import ANY_OF, as_list
from seesay.search.store.sqlite.paths import path_to_text, text_to_path

ValueType = Literal["text", "number", "date"]
RESERVED = ("file.", "unit.")  # what filters call the facts that every item and unit has


class MetadataTable:
    """Values by unit and key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, units: Iterable[int], metadata: Sequence[Metadata]) -> None:
        """Add values to units. Raises CollectionError for a key or value that cannot be stored."""
        pairs = [
            (name, value, unit)
            for unit, values in zip(units, metadata, strict=True)
            for name, given in values.items()
            for value in (given if isinstance(given, list | tuple | set) else (given,))
        ]
        keys = self._keys({(name, type_of(value)) for name, value, _ in pairs})
        self._database.run_many(
            "INSERT OR IGNORE INTO metadata (key, value, unit) VALUES (?, ?, ?)",
            ((keys[name, type_of(value)], stored(value), unit) for name, value, unit in pairs),
        )

    def get(self, units: Iterable[int]) -> dict[int, dict[str, Value | tuple[Value, ...]]]:
        """The values of each unit by key; several of a key as a tuple."""
        units = [int(unit) for unit in units]
        found: dict[int, dict[str, list[Value]]] = {unit: {} for unit in units}
        rows = self._database.rows(
            "SELECT m.unit, k.name, k.type, m.value FROM metadata m JOIN metadata_keys k"
            f" ON k.id = m.key WHERE m.unit IN {ANY_OF} ORDER BY k.name, m.value",
            (as_list(units),),
        )
        for unit, name, kind, value in rows:
            found[unit].setdefault(name, []).append(_read(kind, value))
        return {
            unit: {name: v[0] if len(v) == 1 else tuple(v) for name, v in values.items()}
            for unit, values in found.items()
        }

    def remove(self, units: Iterable[int]) -> None:
        """Remove all values of these units."""
        self._database.run(f"DELETE FROM metadata WHERE unit IN {ANY_OF}", (as_list(units),))

    def keys(self) -> Mapping[tuple[str, ValueType], int]:
        """The number of every key and type that was ever used."""
        rows = self._database.rows("SELECT name, type, id FROM metadata_keys ORDER BY name, type")
        return {(text_to_path(name), kind): number for name, kind, number in rows}

    def _keys(self, wanted: set[tuple[str, ValueType]]) -> Mapping[tuple[str, ValueType], int]:
        known = self.keys() if wanted else {}
        for name, kind in sorted(wanted - known.keys()):
            if name.startswith(RESERVED) or not name:
                raise CollectionError(
                    f"metadata has the key {name!r}, expected one that is not empty and does not "
                    f"begin with {' or '.join(RESERVED)}, which name facts about the file: rename "
                    "the key"
                )
            self._database.run(
                "INSERT INTO metadata_keys (name, type) VALUES (?, ?)", (path_to_text(name), kind)
            )
        return self.keys() if wanted - known.keys() else known


def type_of(value: Value) -> ValueType:
    """As what a value is stored and compared."""
    if isinstance(value, str):
        return "text"
    return "date" if isinstance(value, date) else "number"


def stored(value: Value) -> str | float:
    """A value as it lies in the table. Raises CollectionError for one that has no order."""
    if isinstance(value, str):
        return path_to_text(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    if math.isnan(value):
        raise CollectionError(
            "a value of metadata is NaN, expected a number that can be compared: leave the key out"
        )
    return float(value)


def _read(kind: ValueType, value: str | float) -> Value:
    if kind == "date":
        return datetime.fromtimestamp(float(value), UTC)
    return text_to_path(value) if isinstance(value, str) else value
