"""The index of a lane on disk: numbered folders ("generations"), of which the highest is used.

A generation is written under a temporary name, synced and renamed, so a numbered folder was
complete when it appeared. Its manifest names the position in the ledger that it was built from: a
search adds what changed since, and ignores an index that was built from another history. A
collection opens without any of this.
"""

import json
import os
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

from seesay.search.catalog.ledger import Position
from seesay.search.catalog.vectors import HALF
from seesay.search.vectors.checksums import FileRecord
from seesay.search.vectors.engine import IndexDamagedError, IndexOutdatedError

FORMAT = 2  # 1 had no token, so that nothing tells which history it was built from
ROWS, UNITS, MANIFEST = "rows.npy", "units.npy", "manifest.json"
_UNFINISHED = ".unfinished-"
_CHECKED_WHOLE = 1 << 28  # bytes: larger files are looked at here and there when they are opened
_FILE = re.compile(r"(\w[\w.-]*/)*\w[\w.-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a generation was built from, by what, and its files."""

    format: int
    position: Position
    """The state of the collection that the index holds, and nothing newer."""
    lane: str
    """The name of the lane's folder, which says the modality and the space."""
    engine: str
    """Its name: see `engine_of`."""
    place: str
    """The machine and folder that it was built in: a generation found elsewhere is a copy."""
    notes: Mapping[str, Any]
    """What the engine needs to open it again."""
    files: Mapping[str, FileRecord]
    """Size and checksums of each file, to find damage."""

    @property
    def kind(self) -> str:
        """What the engine built: "scan" where it built nothing."""
        return str(self.notes["kind"])


@dataclass(frozen=True)
class Generation:
    """One index on disk. Its rows are mapped, so that opening it reads almost nothing."""

    folder: Path
    number: int
    manifest: Manifest
    vectors: np.ndarray
    """Float16, "rows embed"."""
    units: np.ndarray
    """Int64, "rows": the unit of each row."""


@contextmanager
def written(lane: Path, number: int) -> Iterator[Path]:
    """A folder to fill; when the block ends well it is generation `number` of the lane."""
    lane.mkdir(parents=True, exist_ok=True)
    for abandoned in lane.glob(f"{_UNFINISHED}*"):  # only one process builds at a time
        shutil.rmtree(abandoned, ignore_errors=True)
    unfinished = lane / f"{_UNFINISHED}{secrets.token_hex(4)}"
    unfinished.mkdir()
    try:
        yield unfinished
        for path in (*unfinished.rglob("*"), unfinished):
            sync(path)
        unfinished.rename(folder_of(lane, number))
        sync(lane)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_manifest(
    folder: Path, *, position: Position, engine: str, notes: Mapping[str, Any]
) -> None:
    """Describe the generation in `folder`: the last file to be written. `notes` may name under
    "files" what the engine wrote there and does not change when it opens."""
    manifest = Manifest(
        format=FORMAT,
        position=position,
        lane=folder.parent.name,
        engine=engine,
        place=place_of(folder.parent),
        notes=dict(notes),
        files={n: FileRecord.of(folder / n) for n in (ROWS, UNITS, *notes.get("files", ()))},
    )
    text = json.dumps(asdict(manifest), sort_keys=True)
    (folder / MANIFEST).write_text(f"{zlib.crc32(text.encode()):08x}\n{text}", "utf-8")


def newest(lane: Path) -> int:
    """The highest number in use; 0 where there is no generation."""
    return max((int(path.name) for path in folders(lane)), default=0)


def place_of(lane: Path) -> str:
    """This machine and folder."""
    return f"{socket.gethostname()}:{lane.resolve()}"


def folders(lane: Path) -> Iterator[Path]:
    """The folder of each generation."""
    if lane.is_dir():
        yield from (path for path in lane.iterdir() if path.name.isdecimal() and path.is_dir())


def folder_of(lane: Path, number: int) -> Path:
    """Where generation `number` lies."""
    return lane / f"{number:08d}"


def load(lane: Path, number: int, *, every_byte: bool = False) -> Generation:
    """Open a generation. Raises IndexDamagedError where it is missing or its rows are not what was
    written. The files of its engine are not looked at: see `check`."""
    folder = folder_of(lane, number)
    manifest = manifest_of(lane, number)
    if manifest.format != FORMAT:
        raise IndexOutdatedError(
            f"the index in {folder} was built by an older version of seesay: the next "
            "`seesay index` builds it again, or `seesay rebuild` does now"
        )
    _check(folder, manifest, (ROWS, UNITS), every_byte)
    vectors, units = _array(folder / ROWS, HALF, 2), _array(folder / UNITS, np.dtype(np.int64), 1)
    if len(vectors) != len(units):
        raise IndexDamagedError(f"{folder} has {len(vectors)} vectors of {len(units)} units")
    return Generation(folder, number, manifest, vectors, units)


def check(generation: Generation, *, every_byte: bool = False) -> None:
    """Raises IndexDamagedError where a file of the engine is not what was written."""
    own = generation.manifest.files.keys() - {ROWS, UNITS}
    _check(generation.folder, generation.manifest, sorted(own), every_byte)


def remove_all_but(lane: Path, number: int) -> list[Manifest]:
    """Remove the other generations. Returns those manifests that can be read, so that engines can
    clean up on their servers. A process that has one open keeps the files it mapped."""
    removed = []
    for folder in list(folders(lane)):
        if int(folder.name) == number:
            continue
        with suppress(IndexDamagedError):
            removed.append(manifest_of(lane, int(folder.name)))
        shutil.rmtree(folder, ignore_errors=True)
    return removed


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no such thing
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def manifest_of(lane: Path, number: int) -> Manifest:
    """Read a manifest. Raises IndexDamagedError where that fails."""
    folder = folder_of(lane, number)
    try:
        sum_of_it, _, text = (folder / MANIFEST).read_text("utf-8").partition("\n")
    except (OSError, ValueError) as error:
        raise IndexDamagedError(f"{folder} has no manifest: {error}") from error
    if sum_of_it != f"{zlib.crc32(text.encode()):08x}":
        raise IndexDamagedError(f"{folder / MANIFEST} is not what was written")
    try:
        return _parsed(json.loads(text))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise IndexDamagedError(f"{folder / MANIFEST} is no manifest: {error!r:.200}") from error


def _parsed(facts: Any) -> Manifest:
    """Raises KeyError, TypeError or ValueError for anything that `write_manifest` did not write."""
    if _part(facts, "format", int) == 1:  # kept to know what to remove
        position, lane = Position(_part(facts, "seq", int), 0), ""
    elif facts["format"] == FORMAT:
        seq, token = _part(facts, "position", list)
        position, lane = Position(seq, token), _part(facts, "lane", str)
    else:
        raise ValueError(f"format {facts['format']}, not {FORMAT}")
    files, notes = _part(facts, "files", dict), _part(facts, "notes", dict)
    _part(notes, "kind", str)
    own = {ROWS, UNITS, *(notes.get("files") or ())}
    if files.keys() != own or not all(map(_FILE.fullmatch, files)):
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


def _part(facts: Any, name: str, kind: type) -> Any:
    if not isinstance(facts, dict) or type(facts[name]) is not kind:
        raise TypeError(f"{name} is not of the type {kind.__name__}")
    return facts[name]


def _array(file: Path, dtype: np.dtype, ndim: int) -> np.ndarray:
    try:
        array = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise IndexDamagedError(f"{file} cannot be read: {error}") from error
    fits = isinstance(array, np.ndarray) and (array.dtype, array.ndim) == (dtype, ndim)
    if not fits or not array.flags.c_contiguous:
        raise IndexDamagedError(f"{file} holds something else than an index does")
    return array


def _check(folder: Path, manifest: Manifest, names: Iterable[str], every_byte: bool) -> None:
    for name in names:
        record = manifest.files[name]
        whole = every_byte or (record.bytes <= _CHECKED_WHOLE and name != ROWS)
        if not record.fits(folder / name, every_block=whole):
            raise IndexDamagedError(f"{folder / name} is not what was written")
