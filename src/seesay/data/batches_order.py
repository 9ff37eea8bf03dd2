"""Which sample stands where in training: a pure function of the seed.

Nothing is kept between batches, so a run resumes in the middle of an epoch by counting, and one
process or many draw the same global batches.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from seesay.errors import ConfigError, DataError

MIXED = 8  # blocks whose records are shuffled together; a source keeps about as many in memory


class Place(NamedTuple):
    """One draw of one record. Everything random about it follows from these numbers."""

    source: str
    epoch: int
    record: int


class Order:
    """An endless walk through a source, epoch after epoch, each in an order of its own.

    A batch may hold the end of one epoch and the beginning of the next, so no batch is ever short
    and every record is drawn exactly once per epoch.
    """

    def __init__(self, name: str, length: int, *, blocks: Sequence[int] = (), seed: int = 0):
        if length < 1:
            raise DataError(
                f"the source {name!r} holds 0 records, at least 1 was expected: correct its path, "
                "start and stop"
            )
        self.name = name
        self.length = length
        self._blocks = tuple(blocks)
        self._seed = seed
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def places(self, start: int, stop: int) -> list[Place]:
        """The draws number `start` up to `stop` since the beginning of training."""
        places = []
        for position in range(start, stop):
            epoch, at = divmod(position, self.length)
            places.append(Place(self.name, epoch, int(self._epoch(epoch)[at])))
        return places

    def _shuffle(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, epoch])
        if not self._blocks:
            return rng.permutation(self.length)
        starts = np.concatenate([[0], np.cumsum(self._blocks)])
        order = rng.permutation(len(self._blocks))
        return np.concatenate(
            [
                rng.permutation(
                    np.concatenate([np.arange(starts[b], starts[b + 1]) for b in mixed])
                )
                for mixed in np.split(order, range(MIXED, len(order), MIXED))
            ]
        )


def share(batch: int, rank: int, processes: int) -> slice:
    """The rows of a global batch that one process takes. Raises ConfigError where it is uneven."""
    if batch % processes:
        nearest = max(batch - batch % processes, processes)
        raise ConfigError(
            f"a batch of {batch} does not split evenly over {processes} processes, expected a "
            f"multiple of their number: use {nearest} or {batch - batch % processes + processes}"
        )
    each = batch // processes
    return slice(rank * each, (rank + 1) * each)
