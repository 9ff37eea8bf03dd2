"""Passages with their place in a file, as a reader extracts them and the catalogue stores them.

Imports nothing heavy, since every process that reads files starts with it.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from seesay.search.catalog.metadata import Metadata
from seesay.text import Text

Modality = str
"""Selects the encoder of a passage: "image", "text", or another that a reader and a model share."""

FINGERPRINT_SIDE = 16
"""A picture's fingerprint is a square of grey levels with this side, a byte each, row by row."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a passage in its file; all empty for the whole file."""

    page: int | None = None
    """Page number, from 1."""
    box: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom, as fractions of width and height (0-1)."""
    offsets: tuple[int, int] | None = None
    """Start and end (exclusive) in characters, in the text of the file or page."""
    start_s: float | None = None
    end_s: float | None = None
    """Moment of a video, in seconds from its start."""
    cues: tuple[tuple[int, float], ...] | None = None
    """Of several subtitles in one passage: the character at which each starts in the text, and when
    it is shown, in seconds."""
    sheet: str | None = None
    """Name of a sheet in a workbook."""
    cells: str | None = None
    """Range of cells in the sheet, such as "A1:D20"."""

    @property
    def clock(self) -> str | None:
        """Where a moment starts, as players write it: 1:23 or 1:02:03."""
        if self.start_s is None:
            return None
        minutes, seconds = divmod(int(self.start_s), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"

    def start_at(self, character: int) -> float | None:
        """Returns when the subtitle that holds this character of the passage is shown, in seconds;
        of a passage with one or none, `start_s`."""
        times = [start_s for first, start_s in self.cues or () if first <= character]
        return times[-1] if times else self.start_s

    def to_json(self) -> str:
        """Returns JSON of the fields that are set."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return json.dumps(known, separators=(",", ":"))

    @property
    def label(self) -> Text | None:
        """The page, moment, or sheet and cells in words, such as "p. 3", "at 1:23" or
        "Costs!A1:D20"; None for the whole file."""
        parts = []
        if self.page is not None:
            parts.append(Text(f"p. {self.page}", f"第 {self.page} 页"))
        if self.sheet is not None or self.cells is not None:
            parts.append(Text.of("!".join(filter(None, (self.sheet, self.cells)))))
        if (clock := self.clock) is not None:
            parts.append(Text(f"at {clock}", f"{clock} 处"))
        return Text(", ", "，").join(parts) if parts else None

    @staticmethod
    def from_json(text: str) -> "Place":
        if text == "{}":
            return _WHOLE  # as most are
        known: dict[str, Any] = json.loads(text)
        for name in ("box", "offsets"):  # JSON has no tuples
            if name in known:
                known[name] = tuple(known[name])
        if "cues" in known:
            known["cues"] = tuple((first, start_s) for first, start_s in known["cues"])
        return Place(**known)


_WHOLE = Place()

Cell = str | int | float | None
"""A value of a table; a date is ISO text."""


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """A column of a table, whose values have one type."""

    name: str
    type: Literal["text", "number", "date"]
    unit: str = ""
    """The unit of its numbers: "%", "¥", "万元" ..."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TableData:
    """The cells of a table, to compute answers from; see `rag/plans.py`."""

    title: str
    sheet: str | None
    left: int
    """Number of its first column in the sheet, from 1."""
    head: int
    """Number of the row that holds the names of the columns; 0 if there is none."""
    columns: tuple[TableColumn, ...]
    numbers: tuple[int, ...]
    """The number of each row in the sheet, from 1."""
    rows: tuple[tuple[Cell, ...], ...]

    @cached_property
    def cells(self) -> str:
        """The range that it takes, such as "A1:D20"."""
        return self.range_of(self.head or self.numbers[0], self.numbers[-1])

    def range_of(self, first: int, last: int) -> str:
        """Returns the range of these rows over all columns."""
        right = column_letters(self.left + len(self.columns) - 1)
        return f"{column_letters(self.left)}{first}:{right}{last}"

    def address(self, row: int, column: int) -> str:
        """Returns the address of a cell, such as "C7", by its place in `rows`."""
        return f"{column_letters(self.left + column)}{self.numbers[row]}"

    def to_json(self) -> str:
        """Returns JSON of all fields."""
        columns = [(one.name, one.type, one.unit) for one in self.columns]
        known = {name: value for name, value in vars(self).items() if name != "cells"}
        return json.dumps(known | {"columns": columns}, separators=(",", ":"), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "TableData":
        known: dict[str, Any] = json.loads(text)
        known["columns"] = tuple(
            TableColumn(name=name, type=type, unit=unit) for name, type, unit in known["columns"]
        )
        known["numbers"] = tuple(known["numbers"])
        known["rows"] = tuple(map(tuple, known["rows"]))
        return TableData(**known)


def column_letters(number: int) -> str:
    """Returns the letters of a column in a sheet: 1 is A, 28 is AB."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


TEXT_TYPES = ("text", "table")
"""The media types of passages that are shown as text."""


@dataclass(frozen=True, kw_only=True)
class PassageDraft:
    """A passage to store: the unit that is embedded, found and shown."""

    modality: Modality
    media_type: str = ""
    """The type, if more specific than the modality: "page", "moment", "table" ..."""
    place: Place = field(default_factory=Place)
    text: str | None = None
    """The text itself, or text in or about the picture."""
    metadata: Metadata = field(default_factory=dict)
    fingerprint: bytes | None = field(default=None, repr=False)
    """The fingerprint of a decoded picture: see `Fingerprints`."""
    table: TableData | None = field(default=None, repr=False)
    """The cells of a table that begins with this passage."""
