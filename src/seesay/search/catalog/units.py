"""Pictures, pages, moments and pieces of text: what is embedded, found and shown as one."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from seesay.search.catalog.fingerprints import Fingerprints
from seesay.search.catalog.keyword_table import KeywordTable
from seesay.search.catalog.metadata import MetadataTable
from seesay.search.catalog.records import Locator, Metadata, Unit, UnitDraft, Value
from seesay.search.catalog.sqlite.database import Database
from seesay.search.catalog.sqlite.failures import decoded
from seesay.search.catalog.sqlite.numbers import ANY_OF, as_list, next_number
from seesay.search.catalog.sqlite.paths import path_to_text, text_to_path
from seesay.search.catalog.values import ValueType, sound

_COLUMNS = "id, item, position, kind, locator, text"


class Units:
    """The units of a collection. What changes something works inside `store.writing` only."""

    def __init__(
        self,
        database: Database,
        metadata: MetadataTable,
        keywords: KeywordTable,
        fingerprints: Fingerprints,
    ) -> None:
        self._database = database
        self._fingerprints = fingerprints
        self._metadata = metadata
        self._keywords = keywords

    def put(
        self, items: Sequence[int], drafts: Sequence[Sequence[UnitDraft]]
    ) -> list[tuple[int, ...]]:
        """Store the units of each item, which has none; returns their numbers."""
        first = next_number(self._database, "units")
        numbers: list[tuple[int, ...]] = []
        rows: list[tuple[object, ...]] = []
        flat: list[UnitDraft] = []
        for item, units in zip(items, drafts, strict=True):
            own = tuple(range(first + len(rows), first + len(rows) + len(units)))
            numbers.append(own)
            flat.extend(units)
            rows.extend(
                self._row(number, item, position, unit)
                for position, (number, unit) in enumerate(zip(own, units, strict=True))
            )
        self._database.run_many(
            "INSERT INTO units (id, item, position, kind, locator, text, seq)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        ids = range(first, first + len(rows))
        self._metadata.put(ids, [unit.metadata for unit in flat])
        self._keywords.put(ids, [unit.text or "" for unit in flat])
        self._fingerprints.put(
            {n: u.fingerprint for n, u in zip(ids, flat, strict=True) if u.fingerprint}
        )
        return numbers

    @property
    def newest(self) -> int:
        """The highest number that a unit ever had."""
        return next_number(self._database, "units") - 1

    def get(self, ids: Iterable[int] | Int[np.ndarray, " units"]) -> list[Unit]:
        """In the order of `ids`; those that are gone are left out."""
        ids = [int(number) for number in ids]
        found = {unit.id: unit for unit in self._select(f"id IN {ANY_OF}", as_list(ids))}
        return [found[number] for number in ids if number in found]

    def pictures(self, ids: Iterable[int] | Int[np.ndarray, " units"]) -> list[int]:
        """Those of `ids` that are pictures, pages or moments."""
        wanted = as_list(int(number) for number in ids)
        rows = self._database.rows(
            f"SELECT id FROM units WHERE id IN {ANY_OF} AND modality = 'image'", (wanted,)
        )
        return [number for (number,) in rows]

    def of_items(self, items: Iterable[int]) -> list[Unit]:
        """All units of these items, in order."""
        return self._select(f"item IN {ANY_OF} ORDER BY item, position", as_list(items))

    def metadata(self, ids: Iterable[int]) -> dict[int, dict[str, Value | tuple[Value, ...]]]:
        """The metadata of each of these units; dates come back in UTC."""
        return self._metadata.get(ids)

    def metadata_keys(self) -> set[str]:
        """Every key that some unit has or had."""
        return set(self.metadata_types())

    def metadata_types(self) -> dict[str, set[ValueType]]:
        """The same with the types of values that each key has or had."""
        types: dict[str, set[ValueType]] = {}
        pairs = self._metadata.keys()
        for name, kind in pairs:
            types.setdefault(name, set()).add(kind)
        return types

    def room_for_keys(self, names: Iterable[str]) -> set[str]:
        """Those of the names that units may have as keys: a collection has only so many."""
        return self._metadata.room(names)

    def forget_unused_keys(self) -> None:
        """Forget the keys of metadata that no unit has any more."""
        self._metadata.forget_unused()

    def describe(
        self, unit: int, *, text: str | None = None, metadata: Metadata | None = None
    ) -> None:
        """Replace what is known of a unit: its text with its keywords, or its metadata, or both.
        What is None stays; an empty text takes the text away. Metadata that cannot be held is left
        out."""
        seq = self._database.change.seq
        if text is not None:
            self._database.run(
                "UPDATE units SET text = nullif(?, '') WHERE id = ?", (_stored(text), unit)
            )
            self._keywords.remove([unit])
            self._keywords.put([unit], [text])
        if metadata is not None:
            self._metadata.remove([unit])
            self._metadata.put([unit], [sound(metadata)])
        self._database.run("UPDATE units SET seq = ? WHERE id = ?", (seq, unit))

    def remove_of_items(self, items: Iterable[int]) -> None:
        """Remove every unit of these items, with vectors, keywords and metadata."""
        self._database.run(f"DELETE FROM units WHERE item IN {ANY_OF}", (as_list(items),))

    def touch_items(self, items: Iterable[int]) -> None:
        """Note that what is known of the units of these items has changed."""
        self._database.run(
            f"UPDATE units SET seq = ? WHERE item IN {ANY_OF}",
            (self._database.change.seq, as_list(items)),
        )

    def _row(self, number: int, item: int, position: int, unit: UnitDraft) -> tuple[object, ...]:
        place = unit.locator.to_json()
        seq = self._database.change.seq
        return (number, item, position, unit.kind, place, _stored(unit.text), seq)

    def _select(self, condition: str, *values: object) -> list[Unit]:
        sql = f"SELECT {_COLUMNS} FROM units WHERE {condition}"
        return [_unit(*row) for row in self._database.rows(sql, values)]


def _unit(*row: Any) -> Unit:
    number, item, position, kind, place, text = row
    return Unit(
        id=number,
        item=item,
        position=position,
        kind=kind,
        locator=decoded(Locator.from_json, place),
        text=None if text is None else text_to_path(text),
    )


def _stored(text: str | None) -> str | None:
    # The same spelling as for paths: a text made of a file name may hold bytes that are not UTF-8.
    return None if text is None else path_to_text(text)
