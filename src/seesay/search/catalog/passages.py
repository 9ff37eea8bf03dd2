"""Pictures, pages, moments and pieces of text: what is embedded, found and shown as one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from seesay.search.catalog.database import ANY_OF, Database, as_list, decoded
from seesay.search.catalog.drafts import (
    FINGERPRINT_SIDE,
    Locator,
    Modality,
    UnitDraft,
    UnitKind,
    modality_of,
)
from seesay.search.catalog.keywords import KeywordTable
from seesay.search.catalog.metadata import Metadata, MetadataTable, Value, ValueType, sound
from seesay.search.catalog.paths import path_to_text, text_to_path

__all__ = [  # with the names of drafts.py, which belong to passages as much
    "FINGERPRINT_SIDE",
    "ContentFingerprints",
    "Fingerprints",
    "Locator",
    "Modality",
    "Unit",
    "UnitDraft",
    "UnitKind",
    "Units",
    "modality_of",
]

_COLUMNS = "id, item, position, kind, modality, locator, text"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A picture, page, moment or piece of text of an item. Numbers are never used twice."""

    id: int
    item: int
    position: int
    """Order within the item, from 0."""
    kind: UnitKind
    modality: Modality
    locator: Locator
    text: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ContentFingerprints:
    """One fingerprint for each content that has one."""

    contents: list[str]
    units: Int[np.ndarray, " contents"]
    """A picture of this content."""
    pixels: UInt8[np.ndarray, "contents levels"]


class Fingerprints:
    """The fingerprints of pictures; they go with their unit. What changes something works inside
    `store.writing` only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, fingerprints: Mapping[int, bytes]) -> None:
        """Store the fingerprints of units, by number; units that are gone are left out."""
        self._database.run_many(
            "INSERT INTO fingerprints (unit, pixels) SELECT id, ? FROM units WHERE id = ?"
            " ON CONFLICT (unit) DO UPDATE SET pixels = excluded.pixels",
            ((pixels, unit) for unit, pixels in fingerprints.items()),
        )

    def of_units(self, units: Iterable[int]) -> dict[int, UInt8[np.ndarray, " levels"]]:
        """By unit; that of a file of the same content, where the unit itself has none."""
        rows = self._database.rows(
            "SELECT u.id, (SELECT f.pixels FROM items twin JOIN units other ON other.item = twin.id"
            " JOIN fingerprints f ON f.unit = other.id WHERE twin.content_hash = i.content_hash"
            f" LIMIT 1) FROM units u JOIN items i ON i.id = u.item WHERE u.id IN {ANY_OF}",
            (as_list(units),),
        )
        return {unit: np.frombuffer(pixels, np.uint8) for unit, pixels in rows if pixels}

    def of_contents(self) -> ContentFingerprints:
        """Those of all contents."""
        # SQLite takes the other columns from the row that has the minimum.
        rows = self._database.rows(
            "SELECT i.content_hash, min(f.unit), f.pixels FROM fingerprints f JOIN units u"
            " ON u.id = f.unit JOIN items i ON i.id = u.item"
            " WHERE i.status = 'ready' GROUP BY i.content_hash"
        )
        pixels = np.frombuffer(b"".join(row[2] for row in rows), np.uint8)
        return ContentFingerprints(
            contents=[row[0] for row in rows],
            units=np.array([row[1] for row in rows], np.int64),
            pixels=pixels.reshape(len(rows), FINGERPRINT_SIDE**2),
        )

    def missing(self) -> list[int]:
        """A picture of each content that has none, addresses aside, which are fetched once. Files
        of the same content share one."""
        rows = self._database.rows(
            "SELECT min(u.id) FROM units u JOIN items i ON i.id = u.item"
            " WHERE u.kind = 'image' AND i.status = 'ready'"
            " AND i.path NOT GLOB 'http://*' AND i.path NOT GLOB 'https://*'"
            " AND NOT EXISTS (SELECT 1 FROM fingerprints WHERE unit = u.id)"
            " AND NOT EXISTS (SELECT 1 FROM items twin JOIN units other ON other.item = twin.id"
            " JOIN fingerprints f ON f.unit = other.id WHERE twin.content_hash = i.content_hash)"
            " GROUP BY i.content_hash ORDER BY 1"
        )
        return [unit for (unit,) in rows]


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
        seq, number = self._database.change.seq, self._database.next_number("units")
        numbers: list[tuple[int, ...]] = []
        rows: list[tuple[object, ...]] = []
        flat = [unit for units in drafts for unit in units]
        ids = range(number, number + len(flat))
        for item, units in zip(items, drafts, strict=True):
            numbers.append(tuple(range(number, number + len(units))))
            for position, unit in enumerate(units):
                text = None if unit.text is None else path_to_text(unit.text)
                modality = unit.modality or modality_of(unit.kind)
                place = unit.locator.to_json()
                rows.append((number, item, position, unit.kind, modality, place, text, seq))
                number += 1
        self._database.run_many(
            "INSERT INTO units (id, item, position, kind, modality, locator, text, seq)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._metadata.put(ids, [unit.metadata for unit in flat])
        self._keywords.put(ids, [unit.text or "" for unit in flat])
        self._fingerprints.put(
            {n: u.fingerprint for n, u in zip(ids, flat, strict=True) if u.fingerprint}
        )
        return numbers

    @property
    def newest(self) -> int:
        """The highest number that a unit ever had."""
        return self._database.next_number("units") - 1

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
                "UPDATE units SET text = nullif(?, '') WHERE id = ?", (path_to_text(text), unit)
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

    def _select(self, condition: str, *values: object) -> list[Unit]:
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM units WHERE {condition}", values)
        return [
            Unit(
                id=number,
                item=item,
                position=position,
                kind=kind,
                modality=modality,
                locator=decoded(Locator.from_json, place),
                # The spelling of paths: a text made of a file name may hold bytes that are no UTF-8
                text=None if text is None else text_to_path(text),
            )
            for number, item, position, kind, modality, place, text in rows
        ]
