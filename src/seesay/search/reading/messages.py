"""What the main process and a reading process say to each other: a JSON header, then raw bytes.

Not pickles: a picture that takes over its decoder must not be able to reach further.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import IO, Any, Literal

from seesay.data.encodings import clean_text
from seesay.data.squares import ImageTransformConfig
from seesay.search.catalog.metadata import Metadata, sound
from seesay.search.catalog.passages import Locator, UnitDraft
from seesay.search.indexing.options import ReadLimits

Kind = Literal["image", "text", "table"]
Expected = Literal["image", "text", "table", "any", "address"]
_LENGTHS = struct.Struct("<II")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a reading process must know."""

    transform: ImageTransformConfig
    reduce_large: bool
    limits: ReadLimits
    collection: str | None = None
    """The collection's file: contents that have vectors there are not decoded again."""
    space: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Setup":
        known: dict[str, Any] = json.loads(text)
        known["limits"] = ReadLimits(**known["limits"])
        transform = known["transform"]
        colours = {name: tuple(transform[name]) for name in ("mean", "std")}
        known["transform"] = ImageTransformConfig(**{**transform, **colours})
        return Setup(**known)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A file to read."""

    path: str
    expected: Expected
    again: bool = False
    """Decode the picture even where a vector of its content is known."""
    size: int = 0
    mtime_ns: int = 0
    """As the walk found it; what a failure is recorded with."""
    problem: str | None = None
    """Why it need not be opened."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table: a picture, and what is said of it."""

    path: str
    caption: str
    metadata: Metadata


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a file. Either `stage` and `error` say what went wrong, or `kind` is set."""

    path: str
    size: int = 0
    mtime_ns: int = 0
    content_hash: str | None = None
    kind: Kind | None = None
    units: tuple[UnitDraft, ...] = ()
    rows: tuple[Row, ...] = ()
    complaint: str | None = None
    """What was wrong with a part of a table."""
    stage: str | None = None
    error: str = ""
    square: bytes = field(default=b"", repr=False)
    """The pixels that the model sees, where the picture was decoded."""


def send(stream: IO[bytes], header: Mapping[str, Any], raw: bytes = b"") -> None:
    """Write one message."""
    text = json.dumps(header, default=_as_json).encode()
    stream.write(_LENGTHS.pack(len(text), len(raw)) + text)
    stream.write(raw)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Read one message; None at the end of the stream."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    text_length, raw_length = _LENGTHS.unpack(lengths)
    text, raw = stream.read(text_length), stream.read(raw_length)
    if len(text) < text_length or len(raw) < raw_length:
        return None
    return json.loads(text), raw


def send_outcome(stream: IO[bytes], outcome: Outcome) -> None:
    """Write an outcome, without what has its default."""
    fields = {**vars(outcome), "square": b""}
    fields["units"] = [_unit_fields(unit) for unit in outcome.units]
    fields["rows"] = [vars(row) for row in outcome.rows]
    send(stream, {k: v for k, v in fields.items() if v or k == "path"}, outcome.square)


def outcome_of(header: Mapping[str, Any], square: bytes) -> Outcome:
    """The outcome that a message holds."""
    units = tuple(_unit(fields) for fields in header.get("units", ()))
    rows = tuple(
        Row(
            path=clean_text(row["path"]),
            caption=clean_text(row["caption"]),
            metadata=_metadata(row["metadata"]),
        )
        for row in header.get("rows", ())
    )
    return Outcome(**{**header, "units": units, "rows": rows}, square=square)


def _unit_fields(unit: UnitDraft) -> dict[str, Any]:
    fields = {**vars(unit), "locator": unit.locator.to_json()}
    fields["fingerprint"] = (unit.fingerprint or b"").hex()
    return {name: value for name, value in fields.items() if value}


def _unit(fields: Mapping[str, Any]) -> UnitDraft:
    locator = Locator.from_json(fields["locator"])
    metadata = _metadata(fields.get("metadata", {}))
    text = clean_text(fields["text"]) if "text" in fields else None
    fingerprint = bytes.fromhex(fields.get("fingerprint", "")) or None
    changed = {"locator": locator, "metadata": metadata, "text": text, "fingerprint": fingerprint}
    return UnitDraft(**{**fields, **changed})


def _metadata(fields: Mapping[str, Any]) -> Metadata:
    """What a collection can hold of it: what comes from a reading process is not believed."""
    return sound(
        {
            name: datetime.fromisoformat(value["time"]) if isinstance(value, dict) else value
            for name, value in fields.items()
        }
    )


def _as_json(value: object) -> object:
    if isinstance(value, date):
        return {"time": value.isoformat()}
    raise TypeError(f"{type(value).__name__} does not go into a message")
