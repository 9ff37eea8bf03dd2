"""What tables say of pictures, each table for itself, so that it can be taken back."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from seesay.search.store.records import Metadata
from seesay.search.store.sqlite.database import Database
from seesay.search.store.sqlite.numbers import ANY_OF, as_list
from seesay.search.store.sqlite.paths import path_to_text, text_to_path
from seesay.search.store.values import sound

OWN = ""
"""The source of what was known of a unit before a table said anything."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What one source says of a unit."""

    text: str | None = None
    metadata: Metadata = field(default_factory=dict)


class Said:
    """Statements by source, a path, and unit; they go with their unit. What changes something
    works inside `store.writing` only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_empty(self) -> bool:
        """Whether no table says anything."""
        return not self._database.rows("SELECT 1 FROM said LIMIT 1")

    def sources(self) -> list[str]:
        """Every source but OWN."""
        rows = self._database.rows("SELECT DISTINCT source FROM said WHERE source != ''")
        return [text_to_path(source) for (source,) in rows]

    def units_of(self, source: str) -> list[int]:
        """The units that a source says something of."""
        rows = self._database.rows(
            "SELECT unit FROM said WHERE source = ? ORDER BY unit", (path_to_text(source),)
        )
        return [unit for (unit,) in rows]

    def of_units(self, units: Iterable[int]) -> dict[int, dict[str, Statement]]:
        """What is said of each of these units, by source, in the order of the sources."""
        units = list(units)
        found: dict[int, dict[str, Statement]] = {unit: {} for unit in units}
        rows = self._database.rows(
            f"SELECT unit, source, text, metadata FROM said WHERE unit IN {ANY_OF} ORDER BY source",
            (as_list(units),),
        )
        for unit, source, text, metadata in rows:
            found[unit][text_to_path(source)] = Statement(
                text=None if text is None else text_to_path(text), metadata=_read(metadata)
            )
        return found

    def put(self, source: str, statements: Mapping[int, Statement]) -> None:
        """Keep what a source says of units; what it said of them before is replaced."""
        name = path_to_text(source)
        self._database.run_many(
            "INSERT OR REPLACE INTO said (unit, source, text, metadata) VALUES (?, ?, ?, ?)",
            (
                (unit, name, None if one.text is None else path_to_text(one.text), _written(one))
                for unit, one in statements.items()
            ),
        )

    def remove(self, source: str, units: Iterable[int]) -> None:
        """Forget what a source said of these units."""
        self._database.run(
            f"DELETE FROM said WHERE source = ? AND unit IN {ANY_OF}",
            (path_to_text(source), as_list(units)),
        )


def _written(statement: Statement) -> str:
    return json.dumps(dict(statement.metadata), default=_dated)


def _dated(value: object) -> object:
    assert isinstance(value, date)  # text, number and date are all that there is
    return {"time": value.isoformat()}


def _read(text: str) -> Metadata:
    known: dict[str, Any] = json.loads(text)
    return sound({name: _value(value) for name, value in known.items()})


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_value, value))
    return datetime.fromisoformat(value["time"]) if isinstance(value, dict) else value
