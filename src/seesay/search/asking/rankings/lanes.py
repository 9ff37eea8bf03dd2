"""The vector lanes of the space in use, with a sample of each and what calibrates cosines."""

import threading
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from seesay.inference.background import Backgrounds
from seesay.inference.confidence import Calibration
from seesay.search.asking.confidence import (
    Confidence,
    Sample,
    of_picture,
    of_text,
    picture_null,
)
from seesay.search.asking.embedding import Embedded
from seesay.search.catalog.ledger import START, Position
from seesay.search.catalog.passages import Modality
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space
from seesay.search.vectors.vector_index import VectorIndex
from seesay.text import Language

SAMPLE = 2000
"""Vectors of a lane that stand for all of it."""
_DRIFT = 0.1  # of the lane: as many changes call for a new sample
_PICTURES = 256  # are compared with each other to calibrate searches by picture


@dataclass(eq=False)
class _Measured:
    """A sample of a lane, and what has been measured with it so far."""

    sample: Sample
    calibrations: dict[Language, Calibration] = field(default_factory=dict)
    picture_null: tuple[float, float] | None = None


class SpaceLanes:
    """The lanes of one space. Any number of threads may use them."""

    def __init__(self, store: Store, space: Space, backgrounds: Backgrounds) -> None:
        self.space = space
        self.lanes: dict[Modality, VectorIndex] = {
            "image": VectorIndex(store, space, "image"),
            "text": VectorIndex(store, space, "text"),
        }
        self.store = store
        self.backgrounds = backgrounds
        self._measured: dict[Modality, _Measured] = {}
        self._sizes: dict[Modality, tuple[Position, int]] = {}
        self._mutex = threading.Lock()

    def sample(self, modality: Modality) -> Sample:
        """Vectors of a lane, the same ones until it has changed by a tenth."""
        return self._known(modality).sample

    def confidence(self, modality: Modality, part: Embedded) -> Confidence:
        """For a lane that is not empty."""
        if part.language is not None:
            return self.text_confidence(modality, part.text or "", part.vector, part.language)
        known = self._known(modality)
        if known.picture_null is None:
            pictures, others = self.sample("image").vectors, known.sample.vectors
            known.picture_null = picture_null(
                pictures[:_PICTURES], others[:_PICTURES], self.backgrounds.of("en")
            )
        return of_picture(part.vector, known.picture_null, known.sample)

    def text_confidence(
        self,
        modality: Modality,
        text: str,
        vector: Float32[np.ndarray, " embed"],
        language: Language,
    ) -> Confidence:
        known = self._known(modality)
        if language not in known.calibrations:
            known.calibrations[language] = Calibration.measure(
                self.backgrounds.of(language), known.sample.vectors, of_texts=modality == "text"
            )
        return of_text(text, vector, language, known.calibrations[language], known.sample)

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
        position = self.store.ledger.position()
        counted, size = self._sizes.get(modality, (START, 0))
        if counted != position:
            size = self.store.vectors.count(self.space.id, modality)
            self._sizes[modality] = (position, size)
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
