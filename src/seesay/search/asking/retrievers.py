"""The retrievers. Each returns one ranking for a query: by the vectors of one modality in one
embedding space, or by keywords."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from seesay.inference.background import Backgrounds
from seesay.inference.confidence import Calibration
from seesay.search.asking.confidence import (
    Confidence,
    Sample,
    of_picture,
    of_text,
    of_text_passages,
    picture_null,
)
from seesay.search.asking.embedding import EmbeddedPart
from seesay.search.asking.query import Part, RetrieverName
from seesay.search.asking.results import RetrieverReport
from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.filters import Filter
from seesay.search.catalog.keywords import match_expression
from seesay.search.catalog.store import START, Position, Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.search.vectors.vector_index import VectorIndex
from seesay.text import Language, detect_language

K = 60
"""Of reciprocal-rank fusion."""
LITERAL = 90.0
"""Confidence of a text with every word: it matches what was typed, perhaps not what was meant."""
_SOME_WORDS = 0.25  # weight of texts that hold only some of the words
_SAMPLE = 2000  # sampled vectors of one modality
_DRIFT = 0.1  # share of changed vectors that calls for a new sample
_PICTURES = 256  # compared with each other to calibrate searches by picture

Vectors = Float32[np.ndarray, "rows embed"]


@dataclass(frozen=True, eq=False)
class Ranking:
    """The passages that one retriever found, best first."""

    retriever: RetrieverName
    units: Int[np.ndarray, " found"]
    scores: Float[np.ndarray, " found"]
    confidences: Float[np.ndarray, " found"]
    points: Float[np.ndarray, " found"]
    """The points of each passage in the fusion: weight / (K + rank)."""
    report: RetrieverReport


def reciprocal_ranks(count: int) -> Float[np.ndarray, " ranks"]:
    return 1 / (K + 1 + np.arange(count))


@dataclass(eq=False)
class _Measured:
    """A sample of the vectors of one modality, and the calibrations measured with it so far."""

    sample: Sample
    calibrations: dict[Language, Calibration] = field(default_factory=dict)
    picture_null: tuple[float, float] | None = None


class VectorRetrievers:
    """The vector retrievers of one embedding space. Any number of threads may use them."""

    def __init__(self, store: Store, space: EmbeddingSpace, backgrounds: Backgrounds) -> None:
        self.store = store
        self.space = space
        self._backgrounds = backgrounds
        modalities = ("text",) if space.role == "text" else ("image", "text")
        self._indexes: dict[Modality, VectorIndex] = {
            modality: VectorIndex(store, space, modality) for modality in modalities
        }
        self._measured: dict[Modality, _Measured] = {}
        self._counted: dict[Modality, tuple[Position, int]] = {}
        self._mutex = threading.Lock()

    def rank(
        self,
        modality: RetrieverName,
        parts: Sequence[EmbeddedPart],
        count: int,
        filter: Filter | None,
        *,
        worded: Sequence[int] | Int[np.ndarray, " worded"] = (),
    ) -> Ranking | None:
        """Returns the nearest `count` passages; None if this modality has no vectors. `worded` are
        the passages that contain words of the query."""
        sample = self._measure(modality).sample.vectors
        if not len(sample):
            return None
        confidences = [self.confidence(modality, part.text, part.vector) for part in parts]
        weights = [part.part.weight for part in parts]
        direction = _combined([one.scale.direction for one in confidences], weights, sample)
        found = self._indexes[modality].search(direction, count, filter=filter)
        numbers, vectors = self.store.vectors.get(
            self.space.id, found.units.tolist(), modality=modality
        )
        known = np.isin(found.units, numbers)  # the others have been removed since
        confidence = np.zeros(len(found.units), np.float32)
        at = np.searchsorted(numbers, found.units[known])
        confidence[known] = _of_all(confidences, weights, vectors, np.isin(numbers, worded))[at]
        alone = len(parts) == 1 and weights[0] > 0 and len(numbers)
        report = RetrieverReport(
            retriever=modality,
            model=self.space.model,
            found=len(found.units),
            plan=found.plan,
            comparison=confidences[0].comparison(vectors) if alone else None,
        )
        points = reciprocal_ranks(len(found.units))
        return Ranking(modality, found.units, found.scores, confidence, points, report)

    def confidence(
        self, modality: Modality, text: str | None, vector: Float32[np.ndarray, " embed"]
    ) -> Confidence:
        """Returns how likely passages of this modality match a text, or a picture if `text` is
        None. The modality must have vectors."""
        if self.space.role == "text":
            language = detect_language(text or "")
            return of_text_passages(vector, language, self._backgrounds.of(language))
        measured = self._measure(modality)
        if text is None:
            if measured.picture_null is None:
                pictures, others = self._measure("image").sample.vectors, measured.sample.vectors
                measured.picture_null = picture_null(
                    pictures[:_PICTURES], others[:_PICTURES], self._backgrounds.of("en")
                )
            return of_picture(vector, measured.picture_null, measured.sample)
        language = detect_language(text)
        if language not in measured.calibrations:
            measured.calibrations[language] = Calibration.measure(
                self._backgrounds.of(language), measured.sample.vectors, of_texts=modality == "text"
            )
        return of_text(text, vector, language, measured.calibrations[language], measured.sample)

    def close(self) -> None:
        """Close the indexes."""
        for index in self._indexes.values():
            index.close()

    def _measure(self, modality: Modality) -> _Measured:
        """Returns the same sample until a tenth of the vectors has changed. Vectors are counted
        only after a change: counting takes longer than most searches."""
        position = self.store.ledger.position()
        counted, size = self._counted.get(modality, (START, 0))
        if counted != position:
            size = self.store.vectors.count(self.space.id, modality)
            self._counted[modality] = (position, size)
        with self._mutex:
            measured = self._measured.get(modality)
            if measured is None or abs(size - measured.sample.size) > _DRIFT * measured.sample.size:
                measured = _Measured(Sample(self._draw(modality, size), size))
                self._measured[modality] = measured
            return measured

    def _draw(self, modality: Modality, size: int) -> Vectors:
        """Draw a sample that does not depend on the order of the passage numbers and is the same
        each time: multiplies them by a large odd number, modulo 2^32."""
        rows = self.store.database.rows(
            "SELECT unit FROM vectors WHERE space = ? AND modality = ?"
            " AND (unit * 2654435761) % 4294967296 <= ? LIMIT ?",
            (self.space.id, modality, 2**32 * min(1.2 * _SAMPLE / max(size, 1), 1.0), 2 * _SAMPLE),
        )
        units = [unit for (unit,) in rows][:_SAMPLE]
        _, vectors = self.store.vectors.get(self.space.id, units, modality=modality)
        return vectors.astype(np.float32)


def rank_by_keywords(
    store: Store, parts: Sequence[Part], count: int, filter: Filter | None
) -> Ranking | None:
    """Returns texts that contain words of the query, those with all words first. None if the query
    has no words or the collection has no texts."""
    if store.keywords.is_empty():
        return None  # without loading jieba
    wanted = [part for part in parts if part.text and part.weight > 0]
    text = " ".join(str(part.text) for part in wanted)
    phrases = [phrase for part in wanted for phrase in part.phrases]
    excluded = [str(part.text) for part in parts if part.text and part.weight < 0]
    expression = match_expression(text, phrases, excluded, every=True)
    if expression is None:
        return None
    units, scores = store.keywords.search(
        text, count, phrases=phrases, excluded=excluded, filter=filter, every=True
    )
    confidences, points = np.full(len(units), LITERAL, np.float32), reciprocal_ranks(len(units))
    loose = match_expression(text, phrases, excluded)
    if loose != expression and len(units) < count:
        some, of_some = store.keywords.search(
            text, count, phrases=phrases, excluded=excluded, filter=filter
        )
        fresh = ~np.isin(some, units)
        some, of_some = some[fresh], of_some[fresh]
        units, scores = np.concatenate([units, some]), np.concatenate([scores, of_some])
        confidences = np.concatenate([confidences, np.zeros(len(some), np.float32)])
        points = np.concatenate([points, _SOME_WORDS * reciprocal_ranks(len(some))])
    report = RetrieverReport(retriever="keyword", found=len(units), expression=expression)
    return Ranking("keyword", units, scores, confidences, points, report)


def _combined(
    directions: Sequence[Float32[np.ndarray, " embed"]], weights: Sequence[float], sample: Vectors
) -> Float32[np.ndarray, " embed"]:
    """Combine all parts of a query into one direction; a single part stays as it is.

    The score is the weighted sum of the parts' scores, each divided by the spread that it has in
    the sample: pictures lie closer to each other than texts to pictures, and would otherwise decide
    alone. Such a sum is the score of a single vector, so each index is searched only once.
    """
    if len(directions) == 1 and weights[0] > 0:
        return directions[0]
    total = np.zeros_like(directions[0])
    for direction, weight in zip(directions, weights, strict=True):
        spread = float(np.einsum("ij,j->i", sample, direction).std()) if len(sample) > 1 else 1.0
        total += weight * direction / max(spread, 1e-6)
    if float(np.linalg.norm(total)) < 1e-6:  # the same thing is both wanted and unwanted
        return directions[0]
    return total


def _of_all(
    confidences: Sequence[Confidence],
    weights: Sequence[float],
    vectors: Vectors,
    worded: Bool[np.ndarray, " rows"],
) -> Float32[np.ndarray, " rows"]:
    """Require every wanted part and no unwanted one: the lowest confidence of the wanted parts,
    times the probability that each unwanted part is absent."""
    total = np.full(len(vectors), 100.0, np.float32)
    for confidence, weight in zip(confidences, weights, strict=True):
        one = confidence(vectors, worded)
        if weight < 0:
            total *= 1 - one / 100
        else:
            np.minimum(total, one, out=total)
    return total
