"""A vector index on disk: numbered folders ("generations"), of which the highest is used.

A generation is written under a temporary name, synced and renamed: a numbered folder was complete
when it appeared. Its manifest names the ledger position that it was built from. A search adds the
changes since then, and ignores an index built from another history. A collection opens without any
index.
"""

import json
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seesay.data.files import sync
from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.store import Position, Store
from seesay.search.catalog.vectors import HALF, EmbeddingSpace
from seesay.search.vectors.engine import IndexDamagedError, IndexOutdatedError
from seesay.text import Text

INDEXES = "indexes"
"""The folder of a collection that contains its vector indexes."""
FORMAT = 2  # 1 had no token, so nothing tells which history it was built from
ROWS, UNITS, MANIFEST = "rows.npy", "units.npy", "manifest.json"
HELD = "held"  # in the notes: the engine holds the vectors
_UNFINISHED = ".unfinished-"
_CHECKED_WHOLE = 1 << 28  # bytes: larger files are sampled when they are opened
_BLOCK = 1 << 18  # bytes per checksum
_SAMPLED = 64  # blocks of a large file that a quick check reads
_FILE = re.compile(r"(\w[\w.-]*/)*\w[\w.-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """The size of a file and a checksum of each block, to tell later whether it changed."""

    bytes: int
    crc32: list[int]

    def __post_init__(self) -> None:
        whole = type(self.bytes) is int and self.bytes >= 0 and isinstance(self.crc32, list)
        if not whole or len(self.crc32) != -(-self.bytes // _BLOCK):
            raise ValueError(f"a record of {self.bytes!r:.40} bytes has other blocks")

    @staticmethod
    def of(file: Path) -> "FileRecord":
        """Reads the whole file."""
        with file.open("rb") as stream:
            sums = [zlib.crc32(block) for block in iter(lambda: stream.read(_BLOCK), b"")]
        return FileRecord(bytes=file.stat().st_size, crc32=sums)

    def fits(self, file: Path, *, every_block: bool) -> bool:
        """Whether a file is as recorded. Without `every_block` this reads only the start, the end
        and some blocks between, which detects truncated or zeroed files."""
        if not file.is_file() or file.stat().st_size != self.bytes:
            return False
        count = len(self.crc32)
        step = 1 if every_block else max(1, count // _SAMPLED)
        with file.open("rb") as stream:
            for number in sorted({*range(0, count, step), count - 1} - {-1}):
                stream.seek(number * _BLOCK)
                if zlib.crc32(stream.read(_BLOCK)) != self.crc32[number]:
                    return False
        return True


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Describes a generation: its source, its engine and its files."""

    format: int
    position: Position
    """The state of the collection that the index contains."""
    lane: str
    """The name of the index's folder, which names the modality and the embedding space."""
    engine: str
    """The engine's name: see `engine_of`."""
    place: str
    """The machine and folder that it was built in: a generation found elsewhere is a copy."""
    notes: Mapping[str, Any]
    """Data that the engine needs to reopen the index."""
    files: Mapping[str, FileRecord]
    """Size and checksums of each file, to find damage."""

    @property
    def index_type(self) -> str:
        """The type of index that the engine built: "scan" for none."""
        return str(self.notes["kind"])

    @property
    def is_held(self) -> bool:
        """Whether the engine holds the vectors instead of the files."""
        return self.notes.get(HELD) is True


@dataclass(frozen=True)
class Generation:
    """One index on disk. Its rows are memory-mapped, so opening it reads almost nothing."""

    folder: Path
    number: int
    manifest: Manifest
    vectors: np.ndarray | None
    """Float16, "rows embed"; None where the engine holds them."""
    units: np.ndarray
    """Int64, "rows": the passage of each row; ascending where the engine holds the vectors."""


def index_folder(store: Store, space: EmbeddingSpace, modality: Modality) -> Path:
    """Returns the folder with the generations of one vector index."""
    return store.folder / INDEXES / f"{space.key}-{modality}"


def server_prefix(store: Store, space: EmbeddingSpace, modality: Modality) -> str:
    """Returns the prefix of the names under which servers store the indexes of one modality."""
    return f"seesay_{store.key}_{space.key}_{modality}_"


@contextmanager
def written(index: Path, number: int) -> Iterator[Path]:
    """Yield a folder to fill; if the block ends without an error, it becomes generation
    `number`."""
    index.mkdir(parents=True, exist_ok=True)
    for abandoned in index.glob(f"{_UNFINISHED}*"):  # only one process builds at a time
        shutil.rmtree(abandoned, ignore_errors=True)
    unfinished = index / f"{_UNFINISHED}{secrets.token_hex(4)}"
    unfinished.mkdir()
    try:
        yield unfinished
        for path in (*unfinished.rglob("*"), unfinished):
            sync(path)
        unfinished.rename(folder_of(index, number))
        sync(index)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_manifest(
    folder: Path, *, position: Position, engine: str, notes: Mapping[str, Any]
) -> None:
    """Write the manifest of the generation in `folder`, as its last file. `notes` may list under
    "files" the engine's files that do not change when it opens them."""
    manifest = Manifest(
        format=FORMAT,
        position=position,
        lane=folder.parent.name,
        engine=engine,
        place=place_of(folder.parent),
        notes=dict(notes),
        files={n: FileRecord.of(folder / n) for n in _names(notes)},
    )
    text = json.dumps(asdict(manifest), sort_keys=True)
    (folder / MANIFEST).write_text(f"{zlib.crc32(text.encode()):08x}\n{text}", "utf-8")


def _names(notes: Mapping[str, Any]) -> set[str]:
    """Returns the files of a generation except its manifest."""
    own = map(str, notes.get("files") or ())  # a damaged manifest may hold anything
    return {UNITS, *(() if notes.get(HELD) is True else (ROWS,)), *own}


def newest(index: Path) -> int:
    """Returns the highest number in use; 0 if there is no generation."""
    return max((int(path.name) for path in folders(index)), default=0)


def place_of(index: Path) -> str:
    """Returns an identifier of this machine and folder."""
    return f"{socket.gethostname()}:{index.resolve()}"


def folders(index: Path) -> Iterator[Path]:
    """Yield the folder of each generation."""
    if index.is_dir():
        yield from (path for path in index.iterdir() if path.name.isdecimal() and path.is_dir())


def folder_of(index: Path, number: int) -> Path:
    """Returns the folder of generation `number`."""
    return index / f"{number:08d}"


def load(index: Path, number: int, *, every_byte: bool = False) -> Generation:
    """Open a generation. Raises IndexDamagedError if it is missing or its rows are damaged. `check`
    checks the files of its engine."""
    folder = folder_of(index, number)
    manifest = manifest_of(index, number)
    if manifest.format != FORMAT:
        raise outdated(folder)
    _check(folder, manifest, manifest.files.keys() & {ROWS, UNITS}, every_byte)
    vectors = None if manifest.is_held else _array(folder / ROWS, HALF, 2)
    units = _array(folder / UNITS, np.dtype(np.int64), 1)
    if vectors is not None and len(vectors) != len(units):
        raise IndexDamagedError(
            Text(
                f"{folder} has {len(vectors)} vectors of {len(units)} passages",
                f"{folder} 里有 {len(vectors)} 个向量，却对应 {len(units)} 个段落",
            )
        )
    return Generation(folder, number, manifest, vectors, units)


def check(generation: Generation, *, every_byte: bool = False) -> None:
    """Raises IndexDamagedError if a file of the engine is damaged."""
    own = generation.manifest.files.keys() - {ROWS, UNITS}
    _check(generation.folder, generation.manifest, sorted(own), every_byte)


def remove_all_but(index: Path, number: int) -> list[Manifest]:
    """Remove the other generations. Returns their readable manifests, so that engines can clean up
    on their servers. A process that has one open keeps its mapped files."""
    removed = []
    for folder in list(folders(index)):
        if int(folder.name) == number:
            continue
        with suppress(IndexDamagedError):
            removed.append(manifest_of(index, int(folder.name)))
        shutil.rmtree(folder, ignore_errors=True)
    return removed


def manifest_of(index: Path, number: int) -> Manifest:
    """Read a manifest. Raises IndexDamagedError if that fails."""
    file = folder_of(index, number) / MANIFEST
    try:
        checksum, _, text = file.read_text("utf-8").partition("\n")
    except (OSError, ValueError) as error:
        raise IndexDamagedError(
            Text(f"{file.parent} has no manifest: {error}", f"{file.parent} 没有清单：{error}")
        ) from error
    if checksum != f"{zlib.crc32(text.encode()):08x}":
        raise _changed(file)
    try:
        return _parsed(json.loads(text))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise IndexDamagedError(
            Text(f"{file} is no manifest: {error!r:.200}", f"{file} 不是清单：{error!r:.200}")
        ) from error


def _parsed(facts: Any) -> Manifest:
    """Parse a manifest. Raises KeyError, TypeError or ValueError for anything that `write_manifest`
    did not write."""
    if _part(facts, "format", int) == 1:  # kept to know what to remove
        position, lane = Position(_part(facts, "seq", int), 0), ""
    elif facts["format"] == FORMAT:
        seq, token = _part(facts, "position", list)
        position, lane = Position(seq, token), _part(facts, "lane", str)
    else:
        raise ValueError(f"format {facts['format']}, not {FORMAT}")
    files, notes = _part(facts, "files", dict), _part(facts, "notes", dict)
    _part(notes, "kind", str)
    if files.keys() != _names(notes) or not all(map(_FILE.fullmatch, files)):
        raise ValueError("other files than an index has")
    # A token may be negative: upgraded collections have theirs from SQLite's random().
    if not all(type(one) is int and -(1 << 63) <= one < 1 << 63 for one in position):
        raise ValueError("no position in a history")
    return Manifest(
        format=facts["format"],
        position=position,
        lane=lane,
        engine=_part(facts, "engine", str),
        place=_part(facts, "place", str),
        notes=notes,
        files={name: FileRecord(**_part(files, name, dict)) for name in files},
    )


def _part(facts: Any, name: str, of: type) -> Any:
    if not isinstance(facts, dict) or type(facts[name]) is not of:
        raise TypeError(f"{name} is not of the type {of.__name__}")
    return facts[name]


def _array(file: Path, dtype: np.dtype, ndim: int) -> np.ndarray:
    try:
        array = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise IndexDamagedError(
            Text(f"{file} cannot be read: {error}", f"无法读取 {file}：{error}")
        ) from error
    fits = isinstance(array, np.ndarray) and (array.dtype, array.ndim) == (dtype, ndim)
    if not fits or not array.flags.c_contiguous:
        raise IndexDamagedError(
            Text(f"{file} holds something else than an index does", f"{file} 不是索引的文件")
        )
    return array


def _check(folder: Path, manifest: Manifest, names: Iterable[str], every_byte: bool) -> None:
    for name in names:
        record = manifest.files[name]
        whole = every_byte or (record.bytes <= _CHECKED_WHOLE and name != ROWS)
        if not record.fits(folder / name, every_block=whole):
            raise _changed(folder / name)


def outdated(folder: Path) -> IndexOutdatedError:
    """Returns the error for a generation that this version builds differently."""
    return IndexOutdatedError(
        Text(
            f"the index in {folder} was built by an older version of seesay: the next "
            "`seesay index` builds it again, or `seesay rebuild` does now",
            f"{folder} 里的索引由旧版 seesay 建立；下次 `seesay index` 会重建，"
            "也可现在运行 `seesay rebuild`",
        )
    )


def _changed(file: Path) -> IndexDamagedError:
    return IndexDamagedError(Text(f"{file} is not what was written", f"{file} 的内容与写入时不同"))
