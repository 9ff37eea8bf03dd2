"""What a reader gets out of a file and the catalogue stores: passages with their place in the file.

Imports nothing heavy, since every process that reads files starts with it.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from seesay.search.catalog.metadata import Metadata

Modality = str
"""Which encoder embeds a unit: "image", "text", or another that a reader and a model agree on."""
UnitKind = str
"""What a unit is: "image", "page", "moment", "text", "table" ..."""

FINGERPRINT_SIDE = 16
"""A fingerprint of a picture is as many grey levels squared, a byte each, row by row."""


def modality_of(kind: UnitKind) -> Modality:
    """Which encoder embeds a unit of this kind."""
    return "text" if kind == "text" else "image"


@dataclass(frozen=True, kw_only=True)
class Locator:
    """Where in its item a unit lies; all empty for the whole of it."""

    page: int | None = None
    """Number of the page, from 1."""
    box: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom, as shares of width and height (0-1)."""
    offsets: tuple[int, int] | None = None
    """First character and the one after the last, in the text of the item or page."""
    start_s: float | None = None
    end_s: float | None = None
    """Moment of a video: seconds from its beginning."""
    sheet: str | None = None
    """Name of the sheet of a workbook."""
    cells: str | None = None
    """Range of cells in the sheet, such as "A1:D20"."""

    def to_json(self) -> str:
        """Only what is set."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return json.dumps(known, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> "Locator":
        if text == "{}":
            return _WHOLE  # as most are
        known: dict[str, Any] = json.loads(text)
        for name in ("box", "offsets"):  # JSON has no tuples
            if name in known:
                known[name] = tuple(known[name])
        return Locator(**known)


_WHOLE = Locator()


@dataclass(frozen=True, kw_only=True)
class UnitDraft:
    """A unit to be stored: what is embedded, found and shown as one."""

    kind: UnitKind
    modality: Modality = ""
    """Empty for the one that goes with the kind."""
    locator: Locator = field(default_factory=Locator)
    text: str | None = None
    """The text itself, or what is written in or about the picture."""
    metadata: Metadata = field(default_factory=dict)
    fingerprint: bytes | None = field(default=None, repr=False)
    """Of a picture, where its pixels were decoded: see `Fingerprints`."""
