"""Build the indexes of a collection anew, with the engine it has or with another one."""

import time
from dataclasses import dataclass

from seesay.search.catalog.records import Modality, Space
from seesay.search.catalog.store import Store
from seesay.search.checking.mending import mend
from seesay.search.indexing.fill import MODALITIES
from seesay.search.vectors.engines import engine_in_use, reached, use_engine
from seesay.search.vectors.lane import Lane, LaneStatus


@dataclass(frozen=True, kw_only=True)
class BuiltLane:
    """One index after `rebuild`."""

    model: str
    modality: Modality
    status: LaneStatus
    seconds: float


def rebuild(store: Store, space: Space, engine: str | None = None) -> list[BuiltLane]:
    """Build the indexes of a space from the stored vectors: nothing is embedded again. Searches
    use the former ones until each is complete; then those are removed.
    What is unsound among the vectors is taken out first.

    `engine` is one of `engine_of`, and from then on the collection's; its server is one that this
    user's collections may ask. What other spaces have of another engine is removed: it is built
    again when it is needed.

    Raises ConfigError, MissingExtraError and CollectionError as `reached` does, before anything is
    changed; CollectionBusyError where another process is building; CollectionError where a server
    goes away in the middle: the collection then keeps its engine.
    """
    store.require_writable()
    wanted = engine_in_use(store.settings) if engine is None else engine
    chosen = reached(wanted, chosen=engine is not None).name
    mend(store)
    built = [_built(store, space, modality, chosen) for modality in MODALITIES]
    if engine is not None:
        with store.writing("choose an engine"):
            use_engine(store.settings, chosen)
        for other in store.spaces.all():
            if other.id != space.id:
                for modality in MODALITIES:
                    _forget_others(Lane(store, other, modality), chosen)
    return built


def _built(store: Store, space: Space, modality: Modality, engine: str) -> BuiltLane:
    start = time.perf_counter()
    lane = Lane(store, space, modality)
    try:
        status = lane.build(engine)
    finally:
        lane.close()
    seconds = time.perf_counter() - start
    return BuiltLane(model=space.model, modality=modality, status=status, seconds=seconds)


def _forget_others(lane: Lane, engine: str) -> None:
    if lane.engine not in (None, engine):
        lane.discard()
