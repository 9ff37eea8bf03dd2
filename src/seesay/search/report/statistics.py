"""What a collection holds and what it takes: counted, without loading a model."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname

from seesay.search.catalog.records import Modality, Run, Space
from seesay.search.catalog.sqlite.paths import text_to_path
from seesay.search.catalog.store import FILE, Store
from seesay.search.report.thumbnails import FOLDER
from seesay.search.vectors import generations
from seesay.search.vectors.engine import IndexDamagedError
from seesay.search.vectors.engines import engine_in_use
from seesay.search.vectors.generations import index_folder

_MODALITIES: tuple[Modality, ...] = ("image", "text")


@dataclass(frozen=True, kw_only=True)
class IndexStatistics:
    """The index of one lane, as it was built; whether it can be used is for `verify` to say."""

    modality: Modality
    engine: str
    """"faiss", "chroma" or "milvus"."""
    kind: str
    """"scan" where all vectors are compared, "IVF283,RaBitQ", "HNSW"."""
    place: str
    """A folder, or the address of a server."""


@dataclass(frozen=True, kw_only=True)
class SpaceStatistics:
    """The vectors of one model."""

    model: str
    revision: str
    dim: int
    active: bool
    """Whether searches use it."""
    state: str
    """"filling" or "ready"."""
    images: int
    texts: int
    captions: int
    """Pictures whose captions have a vector too, beside those of texts."""
    indexes: tuple[IndexStatistics, ...]
    """Those there are."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """A collection in numbers."""

    folder: str
    items: Mapping[str, int]
    """Files by kind."""
    units: Mapping[str, int]
    """What can be found, by kind."""
    missing: int
    """Files that are known and not there."""
    failed: int
    """Files that could not be read."""
    spaces: tuple[SpaceStatistics, ...]
    engine: str
    """What the next index is built with: see `engine_of`."""
    roots: tuple[str, ...]
    """Folders and files that were given to be indexed."""
    metadata: tuple[str, ...]
    """Keys that filters may ask for."""
    database_bytes: int
    index_bytes: int
    thumbnail_bytes: int
    last_run: Run | None


def gather(store: Store, roots: tuple[str, ...]) -> Statistics:
    """Count everything in one state of the collection."""
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
    """One that says that it runs, though the process is gone, was interrupted."""
    run = next(iter(store.runs.newest(1)), None)
    if run is None or run.state != "running" or _is_alive(run):
        return run
    return replace(run, state="interrupted")


def _is_alive(run: Run) -> bool:
    """Unless this machine knows better; Windows cannot be asked without harm."""
    pid = run.arguments.get("pid")
    if os.name == "nt" or not isinstance(pid, int) or run.arguments.get("host") != gethostname():
        return True
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)  # another user's may not be asked
    return True


def _by_kind(store: Store, table: str) -> Mapping[str, int]:
    return dict(
        store.database.rows(f"SELECT kind, count(*) FROM {table} GROUP BY kind ORDER BY kind")
    )


def _space(store: Store, space: Space) -> SpaceStatistics:
    counts = {one: store.vectors.count(space.id, one) for one in _MODALITIES}
    captions = store.vectors.count_captions(space.id)
    return SpaceStatistics(
        model=space.model,
        revision=space.revision,
        dim=space.dim,
        active=space.active,
        state=space.state,
        images=counts["image"],
        texts=counts["text"] - captions,
        captions=captions,
        indexes=tuple(_indexes(store, space)),
    )


def _indexes(store: Store, space: Space) -> Iterator[IndexStatistics]:
    for modality in _MODALITIES:
        lane = index_folder(store, space, modality)
        with suppress(IndexDamagedError):  # none, or one that `verify` has more to say about
            number = generations.newest(lane)
            manifest = generations.manifest_of(lane, number)
            engine, _, address = manifest.engine.partition("=")
            yield IndexStatistics(
                modality=modality,
                engine=engine,
                kind=manifest.kind,
                place=address or str(generations.folder_of(lane, number)),
            )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _size_below(folder: Path) -> int:
    return sum(_size(Path(root, name)) for root, _, names in os.walk(folder) for name in names)
