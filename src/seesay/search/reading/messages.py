"""What the main process and a reading process exchange: a JSON header, then raw bytes.

Not pickles: a picture that exploits its decoder must not get any further.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import IO, TYPE_CHECKING, Any

from seesay.data.encodings import clean_text
from seesay.data.squares import ImageTransformConfig
from seesay.search.catalog.drafts import PassageDraft, Place, TableData
from seesay.search.catalog.metadata import Metadata, sound
from seesay.search.reading.files import FileData, ReadLimits
from seesay.text import Text

if TYPE_CHECKING:
    from PIL import Image

_LENGTHS = struct.Struct("<II")
_NONE = Text("", "")


@dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """The settings of a reading process."""

    transform: ImageTransformConfig
    reduce_large: bool
    limits: ReadLimits
    ocr: bool = False
    """Read the text in pictures."""
    collection: str | None = None
    """The collection file whose stored vectors are reused."""
    spaces: tuple[int, int] = (0, 0)
    """The embedding space of these vectors, and that of text passages."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "ReadSettings":
        known: dict[str, Any] = json.loads(text)
        known["limits"] = ReadLimits(**known["limits"])
        transform = known["transform"]
        colours = {name: tuple(transform[name]) for name in ("mean", "std")}
        known["transform"] = ImageTransformConfig(**{**transform, **colours})
        known["spaces"] = tuple(known["spaces"])
        return ReadSettings(**known)


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """A file to read, named by a walk, a user or a table."""

    path: str
    expected: str
    """A media type of the registry; "any": decide by the bytes, "address": fetch it first,
    "archive": list the files in it."""
    size: int = 0
    mtime_ns: int = 0
    """The file's time when it was listed; a failure is recorded with it."""
    problem: Text | None = None
    """Why the file is refused without opening it."""
    identity: int | None = None
    """The same for all names of a file: links, and paths on a disk that is mounted twice. None if
    the file system does not number its files. Includes size and time, since some network disks give
    two files the same number."""
    decode: bool = False
    """Decode the file even if vectors of its content are stored."""
    place: Place | None = None
    """Only show this place, such as a page, as a picture for people; see `FileReader.show`."""
    side: int = 0
    """Longest side of that picture in pixels."""


@dataclass(frozen=True, kw_only=True)
class Passage(PassageDraft):
    """A part of a file that is embedded and found on its own. Its modality selects the encoder."""

    payload: bytes = field(default=b"", repr=False)
    """The encoder's input if that is not the text: the pixels of a decoded picture as the model
    sees it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table: a picture, its caption and its other columns."""

    path: str
    caption: str
    metadata: Metadata


@dataclass(frozen=True, kw_only=True)
class FileContent:
    """The content that a reader extracts from a file."""

    passages: tuple[Passage, ...] = ()
    rows: tuple[Row, ...] = ()
    """The rows of a table that describes pictures."""
    members: tuple[tuple[str, int], ...] = ()
    """The files in an archive that can be read: their names and sizes in bytes."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of files of unsupported kinds in an archive, by file ending."""
    complaint: Text | None = None
    """The problem with a part of the file."""
    patience: float = 1.0
    """How many times as long as usual the next part may take."""
    media_type: str = ""
    """The media type, if the content shows another one than that of its reader."""


@dataclass(frozen=True, kw_only=True)
class FileReader:
    """How one kind of file is read. `registry.READERS` lists them."""

    media_type: str
    """The name of this kind of file in the catalogue."""
    endings: frozenset[str]
    """File endings in lower case, with the dot."""
    read: Callable[[FileData, ReadSettings, bool], FileContent | Iterator[FileContent]]
    """The last argument says whether payloads are needed. Raises RefusedError.

    A long file comes in parts, such as pages, so that neither its payloads need be in memory at
    once nor all of it be read within the time for a picture: the limit applies to each part. A part
    may be empty, to show progress."""
    recognises: Callable[[bytes], bool] = lambda data: False
    """Tells by the bytes whether a file with an unknown ending is of this kind."""
    show: "Callable[[FileData, Place, int], Image.Image] | None" = None
    """Returns the page or moment at a place as an RGB picture for people, whose longest side is
    about as many pixels; None where a file has no such places. Raises RefusedError."""
    is_text: bool = True
    """Whether the size limit of texts applies."""
    from_disk: bool = False
    """Whether `read` opens the file by its path, as it is too large for memory: `data` is then only
    its beginning."""
    seconds_per_mib: float = 0.0
    """Time allowed for each MiB of a file, beyond the limit for all files."""


@dataclass(frozen=True, kw_only=True)
class ReadResult(FileContent):
    """The result of reading a file. Either `stage` and `error` tell what went wrong, or
    `media_type` is set."""

    path: str
    size: int = 0
    mtime_ns: int = 0
    content_hash: str = ""
    """Empty if the file could not be read at all."""
    vectors: bytes = field(default=b"", repr=False)
    """One float16 vector for each passage, if the collection has vectors of this content. Those of
    texts may be of another width."""
    part: int = 0
    """The number of this part of the file, from 0; a file that is read again begins with 0."""
    more: bool = False
    """Whether more parts of the file follow."""
    stage: str | None = None
    error: Text = _NONE


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


def listed_file_of(header: Mapping[str, Any]) -> ListedFile:
    """Returns the task in a message."""
    place = header["place"] and Place.from_json(header["place"])
    return ListedFile(**{**header, "problem": _text(header["problem"]), "place": place})


def send_result(stream: IO[bytes], result: ReadResult) -> None:
    """Write a result, omitting fields with default values. The raw bytes are the vectors, or else
    the concatenated payloads."""
    fields = {**vars(result), "vectors": len(result.vectors)}
    fields["error"] = result.error if result.stage else None
    fields["passages"] = [_passage_fields(passage) for passage in result.passages]
    fields["rows"] = [vars(row) for row in result.rows]
    raw = result.vectors or b"".join(passage.payload for passage in result.passages)
    send(stream, {name: value for name, value in fields.items() if value}, raw)


def result_of(header: Mapping[str, Any], raw: bytes) -> ReadResult:
    """Returns the result in a message."""
    at, passages = 0, []
    for fields in header.get("passages", ()):
        end = at + fields.get("payload", 0)
        changed = {
            "place": Place.from_json(fields["place"]),
            "metadata": _metadata(fields.get("metadata", {})),
            "text": clean_text(fields["text"]) if "text" in fields else None,
            "fingerprint": bytes.fromhex(fields.get("fingerprint", "")) or None,
            "table": TableData.from_json(fields["table"]) if "table" in fields else None,
            "payload": raw[at:end],
        }
        passages.append(Passage(**{**fields, **changed}))
        at = end
    rows = tuple(
        Row(
            path=clean_text(row["path"]),
            caption=clean_text(row["caption"]),
            metadata=_metadata(row["metadata"]),
        )
        for row in header.get("rows", ())
    )
    vectors = raw if header.get("vectors") else b""
    fields = {**header, "passages": tuple(passages), "rows": rows, "vectors": vectors}
    fields["members"] = tuple((name, size) for name, size in header.get("members", ()))
    told = {name: _text(header[name]) for name in ("error", "complaint") if name in header}
    return ReadResult(**{**fields, **told})


def _passage_fields(passage: Passage) -> dict[str, Any]:
    fields = {**vars(passage), "place": passage.place.to_json()}
    fields["fingerprint"] = (passage.fingerprint or b"").hex()
    fields["table"] = passage.table.to_json() if passage.table else None
    fields["payload"] = len(passage.payload)
    return {name: value for name, value in fields.items() if value}


def _metadata(fields: Mapping[str, Any]) -> Metadata:
    """Keep only metadata that a collection can store: a reading process is not trusted."""
    return sound(
        {
            name: datetime.fromisoformat(value["time"]) if isinstance(value, dict) else value
            for name, value in fields.items()
        }
    )


def _text(value: Sequence[str] | None) -> Text | None:
    return None if value is None else Text(*value)


def _as_json(value: object) -> object:
    if isinstance(value, Text):
        return value.en, value.zh
    if isinstance(value, Place):
        return value.to_json()
    if isinstance(value, date):
        return {"time": value.isoformat()}
    raise TypeError(f"{type(value).__name__} does not go into a message")
