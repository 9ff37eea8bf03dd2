"""Builds the generations of a vector index from the stored vectors: nothing is embedded again.

An engine that holds the vectors itself receives only changes, and the next generation keeps the
same index on the server.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from jaxtyping import Int

from seesay.errors import CollectionError, MissingExtraError
from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.lock import WriterLock
from seesay.search.catalog.store import START, Position, Store
from seesay.search.catalog.vectors import HALF, EmbeddingSpace
from seesay.search.vectors.engine import (
    Batch,
    Engine,
    HoldingEngine,
    IndexDamagedError,
    LocalEngine,
    Notes,
    Progress,
)
from seesay.search.vectors.generations import (
    HELD,
    ROWS,
    UNITS,
    Generation,
    index_folder,
    newest,
    server_prefix,
    write_manifest,
    written,
)
from seesay.search.vectors.planner import described_since
from seesay.search.vectors.pushdown import filter_columns
from seesay.search.vectors.rows import Rows
from seesay.text import Text

OUTDATED = Text(
    "the index is older than what is known of removals", "索引太旧，此后删除过什么已无从得知"
)
_LOCK = "build.lock"
_SPARE_BYTES = 64 << 20  # left free on the disk
_SENT_AT_ONCE = 1000  # passages


@contextmanager
def build_lock(folder: Path, wait_s: float) -> Iterator[None]:
    """Let one process at a time build an index. Raises CollectionBusyError if another one does not
    finish within `wait_s`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    with WriterLock(folder / _LOCK).held("building an index", wait_s):
        yield


def build(store: Store, space: EmbeddingSpace, modality: Modality, engine: Engine) -> int | None:
    """Build a generation from the stored vectors and return its number; None if there are no
    vectors. The caller holds the `build_lock`. Raises CollectionError if the disk is full."""
    folder = index_folder(store, space, modality)
    number = newest(folder) + 1
    count = store.vectors.count(space.id, modality)
    if not count:
        return None
    _check_room(folder, 0 if isinstance(engine, HoldingEngine) else 3 * count * space.dim)
    # A copy of the folder has the same key, and must not get the same name on a server.
    name = f"{server_prefix(store, space, modality)}{number}_{secrets.token_hex(4)}"
    try:
        engine.reach()
        with written(folder, number) as unfinished:
            if isinstance(engine, HoldingEngine):
                notes: Notes = {**engine.create(name, space.dim), HELD: True}
                try:
                    position, units = _send(store, space, modality, (engine, notes), START)
                except IndexDamagedError:
                    with suppress(IndexDamagedError):
                        engine.drop(notes)
                    raise
                np.save(unfinished / UNITS, units)
            elif isinstance(engine, LocalEngine):
                position = _write_rows(store, space, modality, unfinished)
                rows = Rows(np.load(unfinished / ROWS, mmap_mode="r"))
                notes = engine.build(rows, unfinished, name)
            write_manifest(unfinished, position=position, engine=engine.name, notes=notes)
    except (OSError, IndexDamagedError, MissingExtraError) as error:
        raise _unwritable(folder, error) from error
    return number


def send_changes(
    store: Store, space: EmbeddingSpace, modality: Modality, engine: HoldingEngine, held: Generation
) -> int:
    """Send the changes since a generation, and return the number of the next one, which keeps the
    same index on the server. The caller holds the `build_lock`. Raises CollectionError as `build`
    does."""
    folder, manifest = index_folder(store, space, modality), held.manifest
    number = newest(folder) + 1
    try:
        with written(folder, number) as unfinished:
            sent = (engine, manifest.notes)
            position, units = _send(store, space, modality, sent, manifest.position)
            np.save(unfinished / UNITS, units)
            write_manifest(unfinished, position=position, engine=engine.name, notes=manifest.notes)
    except (OSError, IndexDamagedError, MissingExtraError) as error:
        raise _unwritable(folder, error) from error
    return number


def _send(
    store: Store,
    space: EmbeddingSpace,
    modality: Modality,
    to: tuple[HoldingEngine, Notes],
    since: Position,
) -> tuple[Position, Int[np.ndarray, " units"]]:
    """Send the changes since a position. Returns the position reached, and the passages with a
    vector at that position."""
    engine, notes = to
    with store.database.snapshot():
        position = store.ledger.position()
        pages = store.database.pages(
            "SELECT unit FROM vectors WHERE space = ? AND modality = ? AND seq > 0 ORDER BY unit",
            (space.id, modality),
        )
        some = [np.fromiter((unit for (unit,) in page), np.int64, len(page)) for page in pages]
        units = np.concatenate([np.empty(0, np.int64), *some])
        changed = units if since == START else _changed_since(store, space, modality, since.seq)
        present, gone = np.intersect1d(changed, units), np.setdiff1d(changed, units)
        batches = (
            _batch(store, space, modality, present[start : start + _SENT_AT_ONCE])
            for start in range(0, len(present), _SENT_AT_ONCE)
        )
        engine.send(notes, Progress(since, position), batches, gone.tolist())
    return position, units


def _changed_since(
    store: Store, space: EmbeddingSpace, modality: Modality, seq: int
) -> Int[np.ndarray, " units"]:
    removed = store.vectors.removed_since(space.id, modality, seq)
    if removed is None:
        raise IndexDamagedError(OUTDATED)
    written = [units for units, _ in store.vectors.written_since(space.id, modality, seq)]
    described = described_since(store, space, modality, seq)
    return np.unique(np.concatenate([removed, described, *written]))


def _batch(
    store: Store, space: EmbeddingSpace, modality: Modality, units: Int[np.ndarray, " units"]
) -> Batch:
    numbers, vectors = store.vectors.get(space.id, units.tolist(), modality=modality)
    return Batch(numbers, vectors, filter_columns(store.database, numbers.tolist()))


def _write_rows(store: Store, space: EmbeddingSpace, modality: Modality, folder: Path) -> Position:
    """Stream the vectors to their file page by page, in the order of their changes; returns the
    collection's position."""
    with store.database.snapshot(), (folder / ROWS).open("wb") as stream:
        position = store.ledger.position()
        count = store.vectors.count(space.id, modality)
        facts = {"descr": HALF.str, "fortran_order": False, "shape": (count, space.dim)}
        np.lib.format.write_array_header_2_0(stream, facts)
        units = [np.empty(0, np.int64)]
        for some, raw in store.vectors.written_since(space.id, modality, 0):
            stream.write(raw.astype(HALF).tobytes())
            units.append(some)
    np.save(folder / UNITS, np.concatenate(units))
    return position


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free / 1e6
    expected = (needed + _SPARE_BYTES) / 1e6
    if free < expected:
        raise CollectionError(
            Text(
                f"the disk of {folder} has {free:.0f} MB left, expected {expected:.0f} MB for the "
                "index; free some space; searching goes on, more slowly",
                f"{folder} 所在的磁盘只剩 {free:.0f} MB；建索引应有 {expected:.0f} MB；"
                "请腾出空间；在此之前仍可查找，只是慢一些",
            )
        )


def _unwritable(folder: Path, error: Exception) -> CollectionError:
    reason = Text.of(getattr(error, "strerror", None) or error)
    return CollectionError(
        Text(
            f"an index could not be written to {folder}: {reason.en}; expected room, the right to "
            "write, and the engine's server where it has one; searching goes on, more slowly; see "
            "to these and build it again",
            f"无法把索引写入 {folder}：{reason.zh}；应有空间和写入权限，"
            "引擎若有服务器也应可用；"
            "在此之前仍可查找，只是慢一些；请处理后重新建立",
        )
    )
