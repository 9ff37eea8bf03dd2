"""What is known of units beside their vectors: values by key, each key of one type."""

from collections.abc import Iterable, Mapping, Sequence

from seesay.errors import CollectionError
from seesay.search.catalog.records import Metadata, Value
from seesay.search.catalog.sqlite.database import Database
from seesay.search.catalog.sqlite.numbers import ANY_OF, as_list
from seesay.search.catalog.sqlite.paths import path_to_text, text_to_path
from seesay.search.catalog.values import (
    MOST_KEYS,
    READABLE,
    RESERVED,
    ValueType,
    problem_of,
    read,
    stored,
    type_of,
)


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
        for name, value, _ in pairs:
            if problem := problem_of(name, value):
                raise CollectionError(
                    f"the metadata {name!r} is {str(value)[:40]!r}, which {problem}, expected a "
                    "value that can be stored and compared: correct it, or leave it out"
                )
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
            f"SELECT m.unit, k.name, k.type, {READABLE.format('m.value')}"
            " FROM metadata m JOIN metadata_keys k ON k.id = m.key"
            f" WHERE m.unit IN {ANY_OF} ORDER BY k.name, m.value",
            (as_list(units),),
        )
        for unit, name, kind, value in rows:
            found[unit].setdefault(text_to_path(name), []).append(read(kind, value))
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

    def forget_unused(self) -> None:
        """Forget the keys that nothing has any more."""
        self._database.run(
            "DELETE FROM metadata_keys"
            " WHERE NOT EXISTS (SELECT 1 FROM metadata WHERE key = metadata_keys.id)"
        )

    def room(self, names: Iterable[str]) -> set[str]:
        """Those of the names that are keys already, or can still become some. Keys that nothing has
        any more make room; only inside `writing`."""
        wanted = list(dict.fromkeys(names))
        known = {name for name, _ in self.keys()}
        if len(known.union(wanted)) > MOST_KEYS:
            self.forget_unused()
            known = {name for name, _ in self.keys()}
        new = [name for name in wanted if name not in known][: max(MOST_KEYS - len(known), 0)]
        return known.intersection(wanted).union(new)

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
