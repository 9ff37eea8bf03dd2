"""Answer a search: scan what a filter keeps where that is little, ask the index where it is much.

An index alone forgets rows when a filter keeps few of them (measured with HNSW: 3 of 100 found
where it keeps one in a thousand). So small parts are scanned exactly, the index is asked for more
until enough rows that pass the filter are named, and all scores are those of the stored vectors.
What changed since it was built is scanned too.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int

from seesay.search.vectors.engine import Allowed, IndexDamagedError
from seesay.search.vectors.view import Part, View, row_count

_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a search was answered."""

    path: Literal["nothing", "scan", "index"]
    """Whether the index named candidates, or all rows that the filter keeps were compared."""
    reason: str
    rows: int
    """Vectors in the lane."""
    matching: int
    """Those that the filter keeps."""
    scored: int
    """Those that competed: all that match, or those that the index named."""
    rounds: int
    """How often the index was asked."""
    recent: int
    """Vectors that came after the index was built, and were scanned."""
    generation: int | None
    """Number of the index on disk."""
    problem: str | None
    """Why an index that is there was not used: then all was scanned, and nothing is missing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Units, the nearest first; equally near ones in the order of their numbers."""

    units: Int[np.ndarray, " found"]
    scores: Float32[np.ndarray, " found"]
    """Cosines."""
    plan: Plan


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of every part of a lane."""

    direction: Float32[np.ndarray, " embed"]
    count: int
    exact: bool
    """Scan in any case."""


def answer(view: View, question: Question, allowed: tuple[Allowed | None, ...]) -> Ranking:
    """The nearest units of a view; `allowed` are the rows that may be found, of its base and of
    what is recent."""
    parts = (view.base, view.recent)
    found = [
        _of_part(part, question, may_be)
        for part, may_be in zip(parts, allowed, strict=True)
        if len(part.rows)
    ]
    units, scores = _together(found)
    order = np.lexsort((units, -scores))[: question.count]
    plan = _plan(view, found, question.exact)
    return Ranking(units=units[order], scores=scores[order], plan=plan)


@dataclass(frozen=True, eq=False)
class _Found:
    units: Int[np.ndarray, " found"]
    scores: Float32[np.ndarray, " found"]
    matching: int
    scored: int
    rounds: int = 0
    problem: str | None = None


def _together(
    found: list[_Found],
) -> tuple[Int[np.ndarray, " found"], Float32[np.ndarray, " found"]]:
    if len(found) == 1:
        return found[0].units, found[0].scores
    units = np.concatenate([np.empty(0, np.int64), *(part.units for part in found)])
    scores = np.concatenate([np.empty(0, np.float32), *(part.scores for part in found)])
    return units, scores


def _of_part(part: Part, question: Question, allowed: Allowed | None) -> _Found:
    possible, problem = len(part.rows) if allowed is None else allowed.count, None
    if part.index is not None and possible > question.count and not question.exact:
        try:
            named = _from_index(part, question, allowed, possible)
        except IndexDamagedError as error:  # such as a server that went away
            named, problem = None, str(error)
        if named is not None:
            return named
    numbers, scores = part.rows.best(question.direction, question.count, allowed)
    return _Found(part.units[numbers], scores, possible, possible, problem=problem)


def _from_index(
    part: Part, question: Question, allowed: Allowed | None, possible: int
) -> _Found | None:
    """Ask the index for more until enough passes the filter; None where scanning is better."""
    assert part.index is not None
    wanted, scored = question.count, 0
    for rounds in range(1, _ROUNDS + 1):
        named = part.index.search(question.direction, wanted, allowed)
        if named is None:
            return None
        numbers, scores = named
        scored += len(numbers)
        if _is_enough(scores, question.count):
            return _Found(part.units[numbers], scores, possible, scored, rounds)
        wanted *= 4
    return None


def _is_enough(scores: Float32[np.ndarray, " found"], count: int) -> bool:
    """Whether there are enough, and the last one is beaten by the last that counts: rows as near as
    that might be missing, and the choice among them must not be the index's."""
    return len(scores) > count and bool(scores[-1] < scores[count - 1])


def _plan(view: View, found: list[_Found], exact: bool) -> Plan:
    rounds = sum(part.rounds for part in found)
    matching = sum(part.matching for part in found)
    problem = next((part.problem for part in found if part.problem), view.problem)
    return Plan(
        path="index" if rounds else "scan" if matching else "nothing",
        reason="a scan was asked for" if exact else _reason(view, rounds, matching, problem),
        rows=row_count((view.base, view.recent)),
        matching=matching,
        scored=sum(part.scored for part in found),
        rounds=rounds,
        recent=len(view.recent.rows),
        generation=view.generation.number if view.generation else None,
        problem=problem,
    )


def _reason(view: View, rounds: int, matching: int, problem: str | None) -> str:
    if rounds:
        return "many rows match: the index named candidates, which were compared exactly"
    if problem is not None:
        return "the index cannot be used: all matching rows were compared"
    if view.generation is None:
        return "there is no index: all matching rows were compared"
    if view.base.index is None:
        return "the collection is small: all matching rows were compared"
    return f"{matching} rows match: all of them were compared"
