"""What one vector lane answers to a query, and how sure its hits are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from seesay.search.planner import Ranking
from seesay.search.query.confidence import Judge
from seesay.search.query.embedding import Embedded
from seesay.search.query.hits import Found
from seesay.search.query.rankings.combining import combined
from seesay.search.query.rankings.fusion import WEIGHTS, Ranked
from seesay.search.query.rankings.lanes import SpaceLanes
from seesay.search.query.results import Comparison, LaneReport
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
    judges = [lanes.judge(modality, part) for part in parts]
    direction = combined(
        [judge.searched for judge in judges],
        [part.part.weight for part in parts],
        sample.vectors,
    )
    ranking = lanes.lanes[modality].search(direction, count, within=within)
    sure, comparison = _sure(lanes, modality, parts, judges, ranking)
    found = Found(modality, ranking.units, ranking.scores, sure)
    weight = WEIGHTS[modality]
    report = LaneReport(
        lane=modality,
        weight=weight,
        found=len(ranking.units),
        plan=ranking.plan,
        comparison=comparison,
    )
    return Answered(found, [(weight, (ranking.units, ranking.scores))], report)


def _sure(
    lanes: SpaceLanes,
    modality: Modality,
    parts: Sequence[Embedded],
    judges: Sequence[Judge],
    ranking: Ranking,
) -> tuple[Float32[np.ndarray, " found"], Comparison | None]:
    """Every wanted part has to be there and none of the unwanted ones: the least of the wanted
    ones' confidences, times the chance that an unwanted one is not there."""
    units, store, space = ranking.units, lanes.store, lanes.space
    alone = len(parts) == 1 and not parts[0].part.negative
    looked_at = units[:_FIRST] if alone else units
    numbers, vectors = store.vectors.get(space.id, looked_at.tolist(), lane=modality)
    if not len(numbers):
        return np.zeros(len(units), np.float32), None
    if alone:
        rank = {unit: place for place, unit in enumerate(looked_at.tolist())}
        order = np.argsort([rank[number] for number in numbers.tolist()])
        return judges[0].ranked(ranking.scores, vectors[order])
    sure = np.full(len(numbers), 100.0, np.float32)
    for part, judge in zip(parts, judges, strict=True):
        one = judge.each(vectors)
        if part.part.negative:
            sure *= 1 - one / 100
        else:
            np.minimum(sure, one, out=sure)
    given = np.zeros(len(units), np.float32)
    at = np.searchsorted(numbers, units)
    there = (at < len(numbers)) & (numbers[np.minimum(at, len(numbers) - 1)] == units)
    given[there] = sure[at[there]]
    return given, None
