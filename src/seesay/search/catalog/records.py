"""What goes into a collection and what comes out of it, as plain values."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

Modality = Literal["image", "text"]
UnitKind = Literal["image", "page", "moment", "text"]
ItemStatus = Literal["pending", "ready", "missing"]
SpaceState = Literal["filling", "ready"]

FINGERPRINT_SIDE = 16
"""A fingerprint of a picture is as many grey levels squared, a byte each, row by row."""

Value = str | int | float | datetime | date
"""One value of metadata. Dates without a zone are taken as they stand, as cameras write them."""
Metadata = Mapping[str, Value | Sequence[Value]]
"""Values by key; a key may have several, such as tags."""


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
    locator: Locator = field(default_factory=Locator)
    text: str | None = None
    """The text itself, or what is written in or about the picture."""
    metadata: Metadata = field(default_factory=dict)
    fingerprint: bytes | None = field(default=None, repr=False)
    """Of a picture, where its pixels were decoded: see `Fingerprints`."""


@dataclass(frozen=True, kw_only=True)
class ItemDraft:
    """A file, or something else with a path, to be stored with all of its units."""

    path: str
    """As Python spells it (`os.fsdecode`), whatever its bytes; or a URL."""
    kind: str
    """What the file is: "image", "text", "document", "video" ..."""
    content_hash: str
    size: int
    """Bytes."""
    mtime_ns: int
    status: ItemStatus = "ready"
    units: tuple[UnitDraft, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Which numbers a draft was given."""

    item: int
    units: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file as the collection knows it."""

    id: int
    path: str
    kind: str
    content_hash: str
    size: int
    """Bytes."""
    mtime_ns: int
    status: ItemStatus
    added_ns: int
    seq: int
    """The change that wrote it last."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A picture, page, moment or piece of text of an item. Numbers are never used twice."""

    id: int
    item: int
    position: int
    """Order within the item, from 0."""
    kind: UnitKind
    locator: Locator
    text: str | None

    @property
    def modality(self) -> Modality:
        """Which encoder embeds it."""
        return modality_of(self.kind)


@dataclass(frozen=True, kw_only=True)
class SpaceDraft:
    """What makes vectors comparable: two spaces that differ in any of this are never mixed."""

    model: str
    revision: str
    preprocessing: str
    """A hash of everything done to an input before the model."""
    dim: int


@dataclass(frozen=True, kw_only=True)
class Space(SpaceDraft):
    """A set of vectors of one model."""

    id: int
    key: str
    """Short hash of what makes it; the same in every collection."""
    state: SpaceState
    active: bool
    """Whether searches use it."""


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A file that could not be read, and why; left alone until it changes."""

    path: str
    content_hash: str | None
    size: int
    mtime_ns: int
    stage: str
    """What was being done: "read", "decode", "embed" ..."""
    error: str
    tries: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One start of a command that changes the collection."""

    id: int
    action: str
    arguments: Mapping[str, object]
    state: Literal["running", "done", "failed", "interrupted"]
    started_ns: int
    ended_ns: int | None
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One committed change."""

    seq: int
    time_ns: int
    action: str
    run: int | None
    rows: int
