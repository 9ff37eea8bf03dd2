"""The vector lanes of the space in use, with a sample of each and what cosines mean there."""

import threading
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from seesay.inference.background import Backgrounds
from seesay.inference.confidence import Level
from seesay.inference.prompts import Language
from seesay.search.lane import Lane
from seesay.search.query.confidence import (
    Judge,
    Sample,
    judge_picture,
    judge_words,
    usual_cosines,
)
from seesay.search.query.embedding import Embedded
from seesay.search.store.records import Modality, Space
from seesay.search.store.store import Store

SAMPLE = 2000
"""Vectors of a lane that stand for all of it."""
_DRIFT = 0.1  # of the lane: as many changes call for a new sample
_PICTURES = 256  # that stand for all others when a picture is looked for


@dataclass(frozen=True, eq=False)
class _Measured:
    """A sample of a lane, and what is known of its cosines so far."""

    sample: Sample
    levels: dict[Language, Level] = field(default_factory=dict)
    usual: list[tuple[float, float]] = field(default_factory=list)
    """What pictures in general have with it."""


class SpaceLanes:
    """The lanes of one space. Any number of threads may use them."""

    def __init__(self, store: Store, space: Space, backgrounds: Backgrounds) -> None:
        self.space = space
        self.lanes: dict[Modality, Lane] = {
            "image": Lane(store, space, "image"),
            "text": Lane(store, space, "text"),
        }
        self.store = store
        self.backgrounds = backgrounds
        self._measured: dict[Modality, _Measured] = {}
        self._sizes: dict[Modality, tuple[int, int]] = {}
        self._mutex = threading.Lock()

    def sample(self, modality: Modality) -> Sample:
        """Vectors of a lane, the same ones until it has changed by a tenth."""
        return self._known(modality).sample

    def judge(self, modality: Modality, part: Embedded) -> Judge:
        """What the cosines of a part mean in a lane that is not empty."""
        known = self._known(modality)
        if part.language is not None:
            return judge_words(part, self.level(modality, part.language), known.sample)
        if not known.usual:
            pictures = self.sample("image").vectors[:_PICTURES]
            others, background = known.sample.vectors[:_PICTURES], self.backgrounds.of("en")
            known.usual.append(usual_cosines(pictures, others, background))
        return judge_picture(part, known.usual[0], known.sample)

    def level(self, modality: Modality, language: Language) -> Level:
        """What everyday words of a language have with a lane that is not empty."""
        known = self._known(modality)
        if language not in known.levels:
            background = self.backgrounds.of(language)
            known.levels[language] = Level.measured(
                background, known.sample.vectors, texts=modality == "text"
            )
        return known.levels[language]

    def close(self) -> None:
        """Let go of the indexes."""
        for lane in self.lanes.values():
            lane.close()

    def _known(self, modality: Modality) -> _Measured:
        size = self._size(modality)
        with self._mutex:
            known = self._measured.get(modality)
            if known is None or abs(size - known.sample.size) > _DRIFT * known.sample.size:
                sample = Sample(self._drawn(modality, size), size)
                known = self._measured[modality] = _Measured(sample)
            return known

    def _size(self, modality: Modality) -> int:
        """Vectors in a lane, counted again only after a change: counting takes longer than most
        searches."""
        seq = self.store.ledger.head()
        counted, size = self._sizes.get(modality, (-1, 0))
        if counted != seq:
            size = self.store.vectors.count(self.space.id, modality)
            self._sizes[modality] = (seq, size)
        return size

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
