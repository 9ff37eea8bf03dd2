"""What copies of a picture are looked for by: a few grey levels of every picture."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from seesay.search.catalog.records import FINGERPRINT_SIDE
from seesay.search.catalog.sqlite.database import Database
from seesay.search.catalog.sqlite.numbers import ANY_OF, as_list


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
