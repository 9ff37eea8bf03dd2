"""The index of a lane on disk: whole folders with a number, the highest of which counts.

A generation is written beside its place, forced to the disk, and renamed into it; what is found
under a number was complete once. It names the change it was built from, so what came after can be
added at a search. Nothing here is needed to open a collection.
"""

import json
import os
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seesay.search.indexes.checksums import is_whole, record_of
from seesay.search.indexes.protocol import IndexDamagedError

FORMAT = 1
ROWS, UNITS, MANIFEST = "rows.npy", "units.npy", "manifest.json"
_UNFINISHED = ".unfinished-"
_CHECKED_WHOLE = 1 << 28  # bytes: larger files are looked at here and there when they are opened


@dataclass(frozen=True)
class Generation:
    """One index on disk. Its rows are mapped, so that opening it reads almost nothing."""

    folder: Path
    number: int
    seq: int
    """The change it was built from: it holds all of that, and nothing newer."""
    engine: str
    """Its name: see `engine_of`."""
    place: str
    """Where it was built: elsewhere it is a copy."""
    notes: Mapping[str, Any]
    files: Mapping[str, Any]
    """What is known of each file, to tell whether it is still the one that was written."""
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


def write_manifest(folder: Path, *, seq: int, engine: str, notes: Mapping[str, Any]) -> None:
    """Describe the generation in `folder`: the last file to be written."""
    files = {name: record_of(folder / name) for name in (ROWS, UNITS)}
    own = notes.get("files", ())  # what the engine wrote and does not change when it opens
    files |= {name: record_of(folder / name) for name in own}
    facts = {"format": FORMAT, "seq": seq, "engine": engine, "place": place_of(folder.parent)}
    text = json.dumps({**facts, "notes": dict(notes), "files": files}, sort_keys=True)
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
    """Raises IndexDamagedError where it is missing or its rows are not what was written; the files
    of its engine are another matter: see `check`."""
    folder = folder_of(lane, number)
    manifest = manifest_of(lane, number)
    _check(folder, manifest["files"], (ROWS, UNITS), every_byte)
    try:
        return Generation(
            folder=folder,
            number=number,
            seq=manifest["seq"],
            engine=manifest["engine"],
            place=manifest["place"],
            files=manifest["files"],
            notes=manifest["notes"],
            vectors=np.load(folder / ROWS, mmap_mode="r"),
            units=np.load(folder / UNITS, mmap_mode="r"),
        )
    except (OSError, ValueError) as error:
        raise IndexDamagedError(f"{folder} cannot be read: {error}") from error


def check(generation: Generation, *, every_byte: bool = False) -> None:
    """Raises IndexDamagedError where a file of the engine is not what was written."""
    own = generation.notes.get("files", ())
    _check(generation.folder, generation.files, own, every_byte)


def remove_all_but(lane: Path, number: int) -> list[dict[str, Any]]:
    """Remove the other generations; returns the manifests that could still be read, for their
    engines to clean up. Whoever has one open keeps what it mapped."""
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


def _check(folder: Path, files: Mapping[str, Any], names: Iterable[str], every_byte: bool) -> None:
    for name in names:
        whole = every_byte or (files[name]["bytes"] <= _CHECKED_WHOLE and name != ROWS)
        if not is_whole(folder / name, files[name], every_block=whole):
            raise IndexDamagedError(f"{folder / name} is not what was written")


def manifest_of(lane: Path, number: int) -> dict[str, Any]:
    """What a generation says of itself. Raises IndexDamagedError where that cannot be read."""
    folder = folder_of(lane, number)
    try:
        sum_of_it, _, text = (folder / MANIFEST).read_text("utf-8").partition("\n")
        if sum_of_it != f"{zlib.crc32(text.encode()):08x}":
            raise IndexDamagedError(f"{folder / MANIFEST} is not what was written")
        manifest: dict[str, Any] = json.loads(text)
    except (OSError, ValueError) as error:
        raise IndexDamagedError(f"{folder} has no manifest: {error}") from error
    if manifest["format"] != FORMAT:
        raise IndexDamagedError(f"{folder} has format {manifest['format']}, not {FORMAT}")
    return manifest
