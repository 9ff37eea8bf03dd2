"""What one vector lane answers to a query, and how sure its hits are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from seesay.search.asking.asking import LaneName
from seesay.search.asking.confidence import Confidence
from seesay.search.asking.embedding import Embedded
from seesay.search.asking.hits import Found
from seesay.search.asking.rankings.combining import combined
from seesay.search.asking.rankings.fusion import WEIGHTS, Ranked
from seesay.search.asking.rankings.lanes import SpaceLanes
from seesay.search.asking.results import LaneReport
from seesay.search.catalog.filters import Filter


@dataclass(frozen=True, eq=False)
class Answered:
    """What a lane found, what it counts, and what is told of it."""

    found: Found
    rankings: list[tuple[float, Ranked]]
    report: LaneReport


def rank(
    lanes: SpaceLanes,
    modality: LaneName,
    parts: Sequence[Embedded],
    count: int,
    within: Filter | None,
) -> Answered | None:
    """The nearest `count` units of a lane; None for a lane without vectors."""
    sample = lanes.sample(modality).vectors
    if not len(sample):
        return None
    confidences = [lanes.confidence(modality, part) for part in parts]
    direction = combined(
        [confidence.scale.direction for confidence in confidences],
        [part.part.weight for part in parts],
        sample,
    )
    ranking = lanes.lanes[modality].search(direction, count, filter=within)
    numbers, vectors = lanes.store.vectors.get(
        lanes.space.id, ranking.units.tolist(), lane=modality
    )
    known = np.isin(ranking.units, numbers)  # the others were removed meanwhile
    sure = np.zeros(len(ranking.units), np.float32)
    at = np.searchsorted(numbers, ranking.units[known])
    sure[known] = _of_all(parts, confidences, vectors)[at]
    found = Found(modality, ranking.units, ranking.scores, sure)
    weight = WEIGHTS[modality]
    alone = len(parts) == 1 and not parts[0].part.negative and len(numbers)
    report = LaneReport(
        lane=modality,
        weight=weight,
        found=len(ranking.units),
        plan=ranking.plan,
        comparison=confidences[0].comparison(vectors) if alone else None,
    )
    return Answered(found, [(weight, (ranking.units, ranking.scores))], report)


def _of_all(
    parts: Sequence[Embedded],
    confidences: Sequence[Confidence],
    vectors: Float32[np.ndarray, "rows embed"],
) -> Float32[np.ndarray, " rows"]:
    """Every wanted part has to be there and none of the unwanted ones: the least confidence of the
    wanted ones, times the probability that each unwanted one is absent."""
    total = np.full(len(vectors), 100.0, np.float32)
    for part, confidence in zip(parts, confidences, strict=True):
        one = confidence(vectors)
        if part.part.negative:
            total *= 1 - one / 100
        else:
            np.minimum(total, one, out=total)
    return total
