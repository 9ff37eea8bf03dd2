"""Build a generation of a lane from the vectors that are stored: nothing is embedded again."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from seesay.errors import CollectionError, MissingExtraError
from seesay.search.catalog.ledger import Position
from seesay.search.catalog.lock import WriterLock
from seesay.search.catalog.passages import Modality
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import HALF, Space
from seesay.search.vectors import generations
from seesay.search.vectors.engine import Engine, IndexDamagedError
from seesay.search.vectors.rows import Rows

_SPARE_BYTES = 64 << 20
_LOCK = "build.lock"


def index_folder(store: Store, space: Space, modality: Modality) -> Path:
    """Where the generations of a lane lie."""
    return store.folder / "indexes" / f"{space.key}-{modality}"


@contextmanager
def building(folder: Path, wait_s: float) -> Iterator[None]:
    """One process at a time builds a lane. Raises CollectionBusyError where another one does not
    finish within `wait_s`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(folder, error) from error
    with WriterLock(folder / _LOCK).held("building an index", wait_s):
        yield


def build(store: Store, space: Space, modality: Modality, engine: Engine) -> int | None:
    """The number of the new generation, which is complete on disk; None for a lane without
    vectors. The caller holds `building`. Raises CollectionError where there is no room."""
    folder = index_folder(store, space, modality)
    number = generations.newest(folder) + 1
    count = store.vectors.count(space.id, modality)
    if not count:
        return None
    _check_room(folder, 3 * count * space.dim * HALF.itemsize // 2)
    try:
        engine.reach()
        with generations.written(folder, number) as unfinished:
            position = _write_rows(store, space, modality, unfinished)
            rows = Rows(np.load(unfinished / generations.ROWS, mmap_mode="r"))
            # A copy of the folder has the same key, and must not get the same name on a server.
            name = f"{names_begin(store, space, modality)}{number}_{secrets.token_hex(4)}"
            notes = engine.build(rows, unfinished, name)
            generations.write_manifest(
                unfinished, position=position, engine=engine.name, notes=notes
            )
    except (OSError, IndexDamagedError, MissingExtraError) as error:
        raise _refused(folder, error) from error
    return number


def names_begin(store: Store, space: Space, modality: Modality) -> str:
    """How the names begin under which servers keep the indexes of a lane."""
    return f"seesay_{store.key}_{space.key}_{modality}_"


def _write_rows(store: Store, space: Space, modality: Modality, folder: Path) -> Position:
    """Stream the vectors to their file, a page at a time, in the order of their changes; returns
    where the collection stood."""
    with store.database.snapshot(), (folder / generations.ROWS).open("wb") as stream:
        position = store.ledger.position()
        count = store.vectors.count(space.id, modality)
        facts = {"descr": HALF.str, "fortran_order": False, "shape": (count, space.dim)}
        np.lib.format.write_array_header_2_0(stream, facts)
        units = [np.empty(0, np.int64)]
        for some, raw in store.vectors.written_since(space.id, modality, 0):
            stream.write(raw.astype(HALF).tobytes())
            units.append(some)
    np.save(folder / generations.UNITS, np.concatenate(units))
    return position


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise CollectionError(
            f"the disk of {folder} has {free / 1e6:.0f} MB left, expected "
            f"{(needed + _SPARE_BYTES) / 1e6:.0f} MB for the index; free some space; searching "
            "goes on, more slowly"
        )


def _refused(folder: Path, error: Exception) -> CollectionError:
    reason = getattr(error, "strerror", None) or error
    return CollectionError(
        f"an index could not be written to {folder}: {reason}; expected room, the right to write, "
        "and the engine's server where it has one; searching goes on, more slowly; see to these "
        "and build it again"
    )
