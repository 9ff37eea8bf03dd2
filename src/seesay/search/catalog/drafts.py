"""What a reader gets out of a file and the catalogue stores: passages with their place in the file.

Imports nothing heavy, since every process that reads files starts with it.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from seesay.search.catalog.metadata import Metadata

Modality = str
"""What embeds a passage: "image", "text", or another that a reader and a model agree on."""

FINGERPRINT_SIDE = 16
"""A fingerprint of a picture is as many grey levels squared, a byte each, row by row."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in its file a passage lies; all empty for the whole of it."""

    page: int | None = None
    """Number of the page, from 1."""
    box: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom, as shares of width and height (0-1)."""
    offsets: tuple[int, int] | None = None
    """First character and the one after the last, in the text of the file or page."""
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
    def from_json(text: str) -> "Place":
        if text == "{}":
            return _WHOLE  # as most are
        known: dict[str, Any] = json.loads(text)
        for name in ("box", "offsets"):  # JSON has no tuples
            if name in known:
                known[name] = tuple(known[name])
        return Place(**known)


_WHOLE = Place()


@dataclass(frozen=True, kw_only=True)
class PassageDraft:
    """A passage to be stored: what is embedded, found and shown as one."""

    modality: Modality
    media_type: str = ""
    """What it is, where that says more than its modality: "page", "moment", "table" ..."""
    place: Place = field(default_factory=Place)
    text: str | None = None
    """The text itself, or what is written in or about the picture."""
    metadata: Metadata = field(default_factory=dict)
    fingerprint: bytes | None = field(default=None, repr=False)
    """Of a picture, where its pixels were decoded: see `Fingerprints`."""
