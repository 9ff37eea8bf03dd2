"""What one vector lane answers to a query, and how sure its hits are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from seesay.search.planner import Ranking
from seesay.search.query.calibration import each_confidence, judged
from seesay.search.query.embedding import Embedded
from seesay.search.query.hits import Found
from seesay.search.query.rankings.combining import combined
from seesay.search.query.rankings.fusion import WEIGHTS, Ranked
from seesay.search.query.rankings.lanes import SpaceLanes
from seesay.search.query.results import Background, LaneReport
from seesay.search.store.filters.conditions import Filter
from seesay.search.store.records import Modality

_FIRST = 10  # hits that are judged each by itself


@dataclass(frozen=True, eq=False)
class Answered:
    """What a lane found, what it counts, and what is told of it."""

    found: Found
    rankings: list[tuple[float, Ranked]]
    report: LaneReport


def rank(
    lanes: SpaceLanes,
    modality: Modality,
    parts: Sequence[Embedded],
    count: int,
    within: Filter | None,
) -> Answered | None:
    """The nearest `count` units of a lane; None for a lane without vectors."""
    sample = lanes.sample(modality)
    if not sample.size:
        return None
    direction = combined(parts, sample.vectors)
    ranking = lanes.lanes[modality].search(direction, count, within=within)
    sure, against = _sure(lanes, modality, parts, ranking)
    found = Found(modality, ranking.units, ranking.scores, sure)
    weight = WEIGHTS[modality]
    report = LaneReport(
        lane=modality,
        weight=weight,
        found=len(ranking.units),
        plan=ranking.plan,
        background=against,
    )
    return Answered(found, [(weight, (ranking.units, ranking.scores))], report)


def _sure(
    lanes: SpaceLanes, modality: Modality, parts: Sequence[Embedded], ranking: Ranking
) -> tuple[Float32[np.ndarray, " found"], Background | None]:
    units, store, space = ranking.units, lanes.store, lanes.space
    if not len(units):
        return np.empty(0, np.float32), None
    size = ranking.plan.matching
    if len(parts) == 1 and not parts[0].part.negative:
        level = lanes.level(modality, parts[0].kind)
        numbers, vectors = store.vectors.get(space.id, units[:_FIRST].tolist(), lane=modality)
        if level is None or not len(numbers):
            return np.zeros(len(units), np.float32), None
        vector = parts[0].vector
        vectors = vectors[np.argsort(-(vectors @ vector))]
        return judged(level, vector, ranking.scores, vectors, size)
    numbers, vectors = store.vectors.get(space.id, units.tolist(), lane=modality)
    sure = np.full(len(numbers), 100.0, np.float32)
    for part in parts:
        level = lanes.level(modality, part.kind)
        if level is None:
            continue
        one = each_confidence(level, part.vector, vectors, size)
        if part.part.negative:
            sure *= 1 - one / 100
        else:
            np.minimum(sure, one, out=sure)
    given = np.zeros(len(units), np.float32)
    at = np.searchsorted(numbers, units)
    there = (at < len(numbers)) & (numbers[np.minimum(at, len(numbers) - 1)] == units)
    given[there] = sure[at[there]]
    return given, None
