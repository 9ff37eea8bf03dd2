"""Counts and sizes of a collection, without loading a model."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from socket import gethostname

from seesay.search.catalog.database import text_to_path
from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.metadata import (
    DATE_KEY,
    EARLIEST,
    LATEST,
    READABLE,
    ValueType,
    local_time,
    moment,
    read,
)
from seesay.search.catalog.store import FILE, Run, Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.search.thumbnails import FOLDER
from seesay.search.vectors import generations
from seesay.search.vectors.engine import IndexDamagedError
from seesay.search.vectors.engines import engine_in_use
from seesay.search.vectors.generations import index_folder


@dataclass(frozen=True, kw_only=True)
class IndexStatistics:
    """One vector index as it was built; `verify` tells whether it can be used."""

    modality: Modality
    engine: str
    """"faiss", "chroma" or "milvus"."""
    kind: str
    """"scan" (compares all vectors), "IVF283,RaBitQ", "HNSW"."""
    place: str
    """A folder, or the address of a server."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpaceStatistics:
    """The vectors of one model."""

    model: str
    revision: str
    dim: int
    active: bool
    """Whether searches use it."""
    state: str
    """"filling" or "ready"."""
    role: str
    """"main", or "text" for a text embedder."""
    images: int
    texts: int
    captions: int
    """Pictures whose captions have a vector; not counted in `texts`."""
    indexes: tuple[IndexStatistics, ...]
    """The existing indexes."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """A collection in numbers."""

    folder: str
    items: Mapping[str, int]
    """Files by kind."""
    units: Mapping[str, int]
    """Passages by kind."""
    missing: int
    """Indexed files that are no longer there."""
    failed: int
    """Files that could not be read."""
    spaces: tuple[EmbeddingSpaceStatistics, ...]
    engine: str
    """The engine that the next index is built with: see `engine_of`."""
    roots: tuple[str, ...]
    """Folders and files that were given to be indexed."""
    metadata: tuple[str, ...]
    """Keys that filters may use."""
    database_bytes: int
    index_bytes: int
    thumbnail_bytes: int
    last_run: Run | None


def gather(store: Store, roots: tuple[str, ...]) -> Statistics:
    """Count everything in one snapshot of the collection."""
    with store.database.snapshot():
        keys = store.database.rows("SELECT DISTINCT name FROM metadata_keys ORDER BY name")
        ((missing,),) = store.database.rows("SELECT count(*) FROM items WHERE status = 'missing'")
        return Statistics(
            folder=str(store.folder),
            items=_by_kind(store, "items"),
            units=_by_kind(store, "units"),
            missing=missing,
            failed=len(store.quarantine.all()),
            spaces=tuple(_space(store, space) for space in store.spaces.all()),
            engine=engine_in_use(store.settings),
            roots=roots,
            metadata=tuple(text_to_path(name) for (name,) in keys),
            database_bytes=sum(_size(store.folder / f"{FILE}{end}") for end in ("", "-wal")),
            index_bytes=_size_below(store.folder / "indexes"),
            thumbnail_bytes=_size_below(store.folder / FOLDER),
            last_run=_last_run(store),
        )


def _last_run(store: Store) -> Run | None:
    """Returns the last run. If it is marked as running but its process is gone, it was
    interrupted."""
    run = next(iter(store.runs.newest(1)), None)
    if run is None or run.state != "running" or _is_alive(run):
        return run
    return replace(run, state="interrupted")


def _is_alive(run: Run) -> bool:
    """Assume that a run is alive unless this machine knows better; asking Windows would do harm."""
    pid = run.arguments.get("pid")
    if os.name == "nt" or not isinstance(pid, int) or run.arguments.get("host") != gethostname():
        return True
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)  # it belongs to another user
    return True


def _by_kind(store: Store, table: str) -> Mapping[str, int]:
    return dict(
        store.database.rows(f"SELECT kind, count(*) FROM {table} GROUP BY kind ORDER BY kind")
    )


def _space(store: Store, space: EmbeddingSpace) -> EmbeddingSpaceStatistics:
    captions = store.vectors.count_captions(space.id)
    return EmbeddingSpaceStatistics(
        model=space.model,
        revision=space.revision,
        dim=space.dim,
        active=space.active,
        state=space.state,
        role=space.role,
        images=store.vectors.count(space.id, "image"),
        texts=store.vectors.count(space.id, "text") - captions,
        captions=captions,
        indexes=tuple(_indexes(store, space)),
    )


def _indexes(store: Store, space: EmbeddingSpace) -> Iterator[IndexStatistics]:
    for modality in store.vectors.modalities(space.id):
        lane = index_folder(store, space, modality)
        with suppress(IndexDamagedError):  # no index, or a damaged one, which `verify` reports
            number = generations.newest(lane)
            manifest = generations.manifest_of(lane, number)
            engine, _, address = manifest.engine.partition("=")
            yield IndexStatistics(
                modality=modality,
                engine=engine,
                kind=manifest.index_type,
                place=address or str(generations.folder_of(lane, number)),
            )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _size_below(folder: Path) -> int:
    return sum(_size(Path(root, name)) for root, _, names in os.walk(folder) for name in names)


_FINITE = sys.float_info.max
_FOLDERS, _VALUES = 1000, 20  # how many are listed, the largest first


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A value that a filter may use."""

    value: str
    count: int
    """Passages that have it."""


@dataclass(frozen=True, kw_only=True)
class KeyFacet:
    """A metadata key."""

    name: str
    type: ValueType
    count: int
    """Passages that have it."""
    values: tuple[Choice, ...]
    """The most frequent values, for a text key."""
    least: float | None
    """The smallest number, or for dates the earliest in seconds since 1970."""
    most: float | None


@dataclass(frozen=True, kw_only=True)
class Facets:
    """What filters can choose from."""

    folders: tuple[Choice, ...]
    """Folders that directly contain files, the largest first."""
    kinds: tuple[Choice, ...]
    """"image", "text" and so on."""
    first: date | None
    """The earliest day that a picture was taken or, if unknown, its file was last changed."""
    last: date | None
    keys: tuple[KeyFacet, ...]


def facets(store: Store) -> Facets:
    """Collect all choices from one snapshot of the collection."""
    rows = store.database.rows
    with store.database.snapshot():
        folders = rows(
            "SELECT i.folder, count(*) FROM units u JOIN items i ON i.id = u.item"
            " GROUP BY i.folder ORDER BY count(*) DESC, i.folder LIMIT ?",
            (_FOLDERS,),
        )
        kinds = rows("SELECT kind, count(*) FROM units GROUP BY kind ORDER BY count(*) DESC, kind")
        days = _days(store)
        keys = rows("SELECT id, name, type FROM metadata_keys ORDER BY name, type")
        known = [_key(store, *row) for row in keys]
    return Facets(
        folders=_choices(folders),
        kinds=_choices(kinds),
        first=min(days, default=None),
        last=max(days, default=None),
        keys=tuple(key for key in known if key.count),
    )


def _days(store: Store) -> set[date]:
    """Returns the first and last days of pictures taken at a known time, and of other files."""
    dated = (
        "SELECT m.value, m.unit FROM metadata m JOIN metadata_keys k ON k.id = m.key"
        " WHERE k.name = ? AND k.type = 'date' AND m.value BETWEEN ? AND ?"
    )
    known = (DATE_KEY, EARLIEST, LATEST)
    ((first, last),) = store.database.rows(f"SELECT min(value), max(value) FROM ({dated})", known)
    ((oldest, newest),) = store.database.rows(
        "SELECT min(i.mtime_ns), max(i.mtime_ns) FROM units u JOIN items i ON i.id = u.item"
        f" WHERE u.id NOT IN (SELECT unit FROM ({dated}))",
        known,
    )
    taken = [moment(seconds) for seconds in (first, last) if seconds is not None]
    changed = [local_time(mtime_ns) for mtime_ns in (oldest, newest) if mtime_ns is not None]
    return {one.date() for one in (*taken, *changed) if one is not None}


def _key(store: Store, number: int, name: str, kind: ValueType) -> KeyFacet:
    ((count, least, most),) = store.database.rows(
        "SELECT count(DISTINCT unit), min(value), max(value) FROM metadata WHERE key = ?"
        " AND (? OR value BETWEEN ? AND ?)",
        (number, kind == "text", *((EARLIEST, LATEST) if kind == "date" else (-_FINITE, _FINITE))),
    )
    values: list[tuple[object, int]] = []
    if kind == "text":
        values = store.database.rows(
            f"SELECT {READABLE.format('value')}, count(*) FROM metadata WHERE key = ?"
            " GROUP BY value"
            " ORDER BY count(*) DESC, value LIMIT ?",
            (number, _VALUES),
        )
    return KeyFacet(
        name=text_to_path(name),
        type=kind,
        count=count,
        values=_choices(values),
        least=None if kind == "text" else least,
        most=None if kind == "text" else most,
    )


def _choices(rows: Sequence[tuple[object, int]]) -> tuple[Choice, ...]:
    return tuple(Choice(value=str(read("text", value)), count=count) for value, count in rows)
