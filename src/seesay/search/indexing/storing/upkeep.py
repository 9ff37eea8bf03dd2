"""What searching wants after a change: an index."""

from seesay.errors import CollectionBusyError, CollectionError, ConfigError, MissingExtraError
from seesay.search.catalog.records import Modality, Space
from seesay.search.catalog.store import Store
from seesay.search.vectors.vector_index import VectorIndex

MODALITIES: tuple[Modality, ...] = ("image", "text")


def keep_up(store: Store, space: Space) -> str | None:
    """Build the indexes that are worth building. Returns why one could not be built, such as a disk
    without room, or a server that gets no token: everything is found all the same, more slowly. One
    that another process is building just now is left to it."""
    problem = None
    for modality in MODALITIES:
        lane = VectorIndex(store, space, modality)
        try:
            if lane.status().needs_build:
                lane.update()
        except CollectionBusyError:
            continue
        except (CollectionError, ConfigError, MissingExtraError) as error:
            problem = str(error)
        finally:
            lane.close()
    return problem
