"""The vector lanes of the space in use, with a sample of each and what everyday things reach."""

import threading
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from seesay.inference.prompts import Language
from seesay.search.lane import Lane
from seesay.search.query.calibration import SAMPLE, Level, level_of
from seesay.search.query.everyday import Everyday
from seesay.search.store.ledger import START, Position
from seesay.search.store.records import Modality, Space
from seesay.search.store.store import Store

_DRIFT = 0.1  # of the lane: as many changes call for a new sample
_PICTURES = 256  # that stand for all others when a picture is looked for


@dataclass(frozen=True, eq=False)
class Sample:
    """Vectors that stand for a lane."""

    vectors: Float32[np.ndarray, "rows embed"]
    size: int
    """Vectors of the lane when it was drawn."""
    levels: dict[str, Level]


class SpaceLanes:
    """The lanes of one space. Any number of threads may use them."""

    def __init__(self, store: Store, space: Space, everyday: Everyday) -> None:
        self.space = space
        self.lanes: dict[Modality, Lane] = {
            "image": Lane(store, space, "image"),
            "text": Lane(store, space, "text"),
        }
        self.store = store
        self._everyday = everyday
        self._samples: dict[Modality, Sample] = {}
        self._sizes: dict[Modality, tuple[Position, int]] = {}
        self._mutex = threading.Lock()

    def sample(self, modality: Modality) -> Sample:
        """Vectors of a lane, the same ones until it has changed by a tenth."""
        size = self._size(modality)
        with self._mutex:
            known = self._samples.get(modality)
            if known is None or abs(size - known.size) > _DRIFT * known.size:
                vectors = self._drawn(modality, size)
                known = self._samples[modality] = Sample(vectors, size, {})
            return known

    def level(self, modality: Modality, kind: str) -> Level | None:
        """What everyday things of a kind ("en", "zh", "image") reach in a lane; None where there is
        too little to say."""
        sample = self.sample(modality)
        if kind not in sample.levels:
            things, own = self._things(kind), kind == modality
            if not len(things) or not len(sample.vectors):
                return None
            sample.levels[kind] = level_of(kind, things, sample.vectors, own=own)
        return sample.levels[kind]

    def close(self) -> None:
        """Let go of the indexes."""
        for lane in self.lanes.values():
            lane.close()

    def _size(self, modality: Modality) -> int:
        """Vectors in a lane, counted again only after a change: counting takes longer than most
        searches."""
        position = self.store.ledger.position()
        counted, size = self._sizes.get(modality, (START, 0))
        if counted != position:
            size = self.store.vectors.count(self.space.id, modality)
            self._sizes[modality] = (position, size)
        return size

    def _things(self, kind: str) -> Float32[np.ndarray, "things embed"]:
        if kind == "image":
            return self.sample("image").vectors[:_PICTURES]
        language: Language = "zh" if kind == "zh" else "en"
        return self._everyday.vectors(language)

    def _drawn(self, modality: Modality, size: int) -> Float32[np.ndarray, "rows embed"]:
        """Units in an order that has nothing to do with that of their numbers, the same each time:
        multiplied by a large odd number, modulo 2^32."""
        rows = self.store.database.rows(
            "SELECT unit FROM vectors WHERE space = ? AND modality = ?"
            " AND (unit * 2654435761) % 4294967296 <= ? LIMIT ?",
            (self.space.id, modality, 2**32 * min(1.2 * SAMPLE / max(size, 1), 1.0), 2 * SAMPLE),
        )
        units = [unit for (unit,) in rows][:SAMPLE]
        _, vectors = self.store.vectors.get(self.space.id, units, lane=modality)
        return vectors.astype(np.float32)
