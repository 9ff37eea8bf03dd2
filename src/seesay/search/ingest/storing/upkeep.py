"""What searching wants after a change: the means for centring, and an index."""

from collections.abc import Iterator

import numpy as np

from seesay.errors import CollectionBusyError, CollectionError
from seesay.search.indexes.centring import NAME, Centring, mean_of
from seesay.search.lane import Lane
from seesay.search.store.records import Modality, Space
from seesay.search.store.store import Store

MODALITIES: tuple[Modality, ...] = ("image", "text")
LEAST = 50  # vectors of a modality, below which their mean says more of them than of the modality
_DRIFT = 0.02  # how far a mean may be off before an index with the better one is worth building
_COUNTS = "centring counts"
_GROWTH = 0.1


def keep_up(store: Store, space: Space) -> str | None:
    """Renew the means where the collection has changed much, and build the indexes that are worth
    building. Returns why one could not be built, such as a disk without room: everything is found
    all the same, more slowly. One that another process is building just now is left to it."""
    renew_means(store, space)
    problem = None
    for modality in MODALITIES:
        lane = Lane(store, space, modality)
        try:
            if lane.status().needs_build:
                lane.build()
        except CollectionBusyError:
            continue
        except CollectionError as error:
            problem = str(error)
        finally:
            lane.close()
    return problem


def renew_means(store: Store, space: Space) -> bool:
    """Compute the means again where a tenth of the vectors came or went; whether they changed."""
    counts = {modality: store.vectors.count(space.id, modality) for modality in MODALITIES}
    setting = f"{_COUNTS} {space.key}"
    if not _grew(store.settings.get(setting), counts):
        return False
    old = Centring.from_bytes(store.spaces.data(space.id, NAME)).means
    new: dict[str, np.ndarray] = {
        modality: mean_of(_pages(store, space, modality))
        for modality in MODALITIES
        if counts[modality] >= LEAST
    }
    moved = old.keys() != new.keys() or any(
        np.linalg.norm(new[modality] - old[modality]) > _DRIFT for modality in new
    )
    with store.writing("means"):
        store.settings.set(setting, counts)
        if moved:
            store.spaces.set_data(space.id, NAME, Centring(new).to_bytes())
    return moved


def _grew(before: object, counts: dict[Modality, int]) -> bool:
    known = before if isinstance(before, dict) else {}
    return any(
        abs(count - known.get(modality, 0)) > _GROWTH * known.get(modality, 0)
        for modality, count in counts.items()
    )


def _pages(store: Store, space: Space, modality: Modality) -> Iterator[np.ndarray]:
    for _, vectors in store.vectors.written_since(space.id, modality, 0):
        yield vectors.astype(np.float32)
