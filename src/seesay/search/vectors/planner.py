"""Answers a search: scans the rows that a filter keeps if they are few, else asks the index.

An index alone misses rows when a filter keeps few of them (measured with HNSW: 3 of 100 found where
it keeps one in a thousand). So small parts are scanned exactly, the index is asked for more until
enough of the rows it returns pass the filter, and all scores are those of the stored vectors.
Changes since the index was built are scanned as well.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.filters import Filter
from seesay.search.catalog.store import START, Position, Store
from seesay.search.catalog.vectors import HALF, EmbeddingSpace
from seesay.search.vectors.engine import IndexDamagedError, OpenIndex
from seesay.search.vectors.generations import Generation
from seesay.search.vectors.pushdown import Expression
from seesay.search.vectors.rows import Allowed, Rows, StoredRows
from seesay.text import Text

_ROUNDS = 3
_REMEMBERED = 32  # filters per part

Page = tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows embed"]]
"""Passages and their vectors."""


@dataclass(frozen=True, eq=False)
class Part:
    """Rows with their passages, and which of the rows are still valid."""

    rows: Rows | StoredRows
    units: Int[np.ndarray, " rows"]
    alive: Bool[np.ndarray, " rows"]
    index: OpenIndex | None = None
    remembered: dict[Filter | None, Allowed | None] = field(default_factory=dict)

    def allowed(
        self,
        filter: Filter | None,
        units: Bool[np.ndarray, " units"] | None,
        expression: Expression | None = None,
    ) -> Allowed | None:
        """Returns the valid rows whose passages a filter keeps, by the mask `units`; None for all
        rows. `expression` is the same filter for an engine that can apply it."""
        if filter not in self.remembered:
            if len(self.remembered) >= _REMEMBERED:
                self.remembered.pop(next(iter(self.remembered)), None)
            mask = self.alive if units is None else self.alive & units[self.units]
            count = int(np.count_nonzero(mask))
            every = units is None and count == len(mask)
            self.remembered[filter] = None if every else Allowed(mask, count, expression)
        return self.remembered[filter]

    def without(self, units: Int[np.ndarray, " gone"]) -> "Part":
        """Returns the same rows after a change, with those of `units` invalid. Forgets filter
        results, since the change may have been to metadata."""
        alive = self.alive
        if len(units) and len(self.units):
            gone = np.zeros(max(int(units.max()), int(self.units.max())) + 1, bool)
            gone[units] = True
            alive = alive & ~gone[self.units]
        return Part(self.rows, self.units, alive, self.index)

    @cached_property
    def dead(self) -> int:
        """Number of invalid rows."""
        return len(self.alive) - int(np.count_nonzero(self.alive))


@dataclass(frozen=True, eq=False)
class View:
    """A vector index for the collection at `position`: the rows of a generation, newer rows, and
    which rows are gone. It never changes, so threads may search it while another thread makes the
    next one."""

    position: Position
    base: Part
    recent: Part
    generation: Generation | None
    buffer: "Buffer"
    problem: Text | None = None
    """Why the newest index is not used."""

    @staticmethod
    def empty(dim: int) -> "View":
        """Returns an empty view, which can always be updated."""
        buffer = Buffer(dim)
        recent = buffer.extended(np.empty(0, bool), ())
        return View(START, recent, recent, None, buffer)

    @staticmethod
    def of(generation: Generation, rows: Rows | StoredRows, index: OpenIndex | None) -> "View":
        """Returns the view of a generation as it was built."""
        alive = np.ones(len(generation.units), bool)
        base = Part(rows, generation.units, alive, index)
        position = generation.manifest.position
        return replace(View.empty(rows.dim), position=position, base=base, generation=generation)

    def followed(
        self, store: Store, space: EmbeddingSpace, modality: Modality, position: Position
    ) -> "View | None":
        """Returns the view at a later position, that of the open snapshot. None if the view is too
        old to tell what was removed since."""
        since, vectors = self.position.seq, store.vectors
        nothing = np.empty(0, np.int64)
        removed = vectors.removed_since(space.id, modality, since) if since else nothing
        if removed is None:
            return None
        base = self.base.without(removed)
        pages: Iterator[Page] = vectors.written_since(space.id, modality, since)
        if isinstance(base.rows, StoredRows):
            # The engine filters these passages by their old metadata.
            rows = base.rows.numbers_of(described_since(store, space, modality, since))
            described = base.units[rows[base.alive[rows]]]
            pages = chain(pages, [vectors.get(space.id, described.tolist(), modality=modality)])
            base = base.without(described)
        recent = self.buffer.extended(self.recent.without(removed).alive, pages)
        return replace(self, position=position, base=base, recent=recent)

    def without_index(self, problem: Text) -> "View":
        """Returns the same view without its index, which can no longer be searched."""
        return replace(self, base=replace(self.base, index=None), problem=problem)

    @property
    def is_held(self) -> bool:
        """Whether an engine holds the vectors."""
        return isinstance(self.base.rows, StoredRows)

    @property
    def row_count(self) -> int:
        """Number of valid rows."""
        return sum(len(part.alive) - part.dead for part in (self.base, self.recent))


class Buffer:
    """Rows in memory that can be appended to. Appended rows stay in place for readers that still
    use them."""

    def __init__(self, dim: int) -> None:
        self._vectors = np.empty((0, dim), HALF)
        self._units = np.empty(0, np.int64)

    def extended(self, alive: Bool[np.ndarray, " earlier"], pages: Iterable[Page]) -> Part:
        """Returns the first `len(alive)` rows followed by those of the pages."""
        size = len(alive)
        for units, vectors in pages:
            end = size + len(units)
            if end > len(self._units):
                room = max(len(self._units), end - len(self._units))  # twice as much, or more
                more = np.empty((room, self._vectors.shape[1]), HALF)
                self._vectors = np.concatenate([self._vectors, more])
                self._units = np.concatenate([self._units, np.empty(room, np.int64)])
            self._vectors[size:end] = vectors.astype(HALF)
            self._units[size:end] = units
            size = end
        added = np.ones(size - len(alive), bool)
        rows = Rows(self._vectors[:size])
        return Part(rows, self._units[:size], np.concatenate([alive, added]))


def described_since(
    store: Store, space: EmbeddingSpace, modality: Modality, seq: int
) -> Int[np.ndarray, " units"]:
    """Returns the passages with a vector whose filter fields changed after `seq`."""
    rows = store.database.rows(
        "SELECT v.unit FROM units u JOIN vectors v ON v.unit = u.id AND v.space = ?"
        " AND v.modality = ? WHERE u.seq > ?",
        (space.id, modality, seq),
    )
    return np.fromiter((unit for (unit,) in rows), np.int64, len(rows))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a search was answered."""

    path: Literal["nothing", "scan", "index"]
    """Whether the index selected candidates, or all rows that the filter keeps were compared."""
    reason: str
    rows: int
    """All vectors of this index."""
    matching: int
    """Number of vectors that the filter keeps."""
    scored: int
    """Number of vectors scored: all matching ones, or the candidates of the index."""
    rounds: int
    """How often the index was asked."""
    recent: int
    """Number of vectors newer than the index, which were scanned."""
    generation: int | None
    """The number of the index on disk."""
    problem: Text | None
    """Why an existing index was not used; a full scan then found everything."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Passages, nearest first; ties in the order of their numbers."""

    units: Int[np.ndarray, " found"]
    scores: Float32[np.ndarray, " found"]
    """Cosines."""
    plan: Plan


@dataclass(frozen=True, eq=False)
class Question:
    """The query for every part."""

    direction: Float32[np.ndarray, " embed"]
    count: int
    exact: bool
    """Always scan."""


def answer(view: View, question: Question, allowed: tuple[Allowed | None, ...]) -> Ranking:
    """Returns the nearest passages of a view. `allowed` gives the rows that may be returned from
    its base and from its recent rows."""
    results = [
        _of_part(part, question, rows)
        for part, rows in zip((view.base, view.recent), allowed, strict=True)
        if len(part.rows)
    ]
    if len(results) == 1:
        units, scores = results[0].units, results[0].scores
    else:
        units = np.concatenate([np.empty(0, np.int64), *(one.units for one in results)])
        scores = np.concatenate([np.empty(0, np.float32), *(one.scores for one in results)])
    order = np.lexsort((units, -scores))[: question.count]
    plan = _plan(view, results, question.exact)
    return Ranking(units=units[order], scores=scores[order], plan=plan)


@dataclass(frozen=True, eq=False)
class _Result:
    """The result of one part."""

    units: Int[np.ndarray, " found"]
    scores: Float32[np.ndarray, " found"]
    matching: int
    scored: int
    rounds: int = 0
    problem: Text | None = None


def _of_part(part: Part, question: Question, allowed: Allowed | None) -> _Result:
    possible, problem = len(part.rows) if allowed is None else allowed.count, None
    if part.index is not None and possible > question.count and not question.exact:
        try:
            result = _from_index(part, question, allowed, possible)
        except IndexDamagedError as error:  # such as a server that went away
            result, problem = None, error.text
        if result is not None:
            return result
    numbers, scores = part.rows.best(question.direction, question.count, allowed)
    return _Result(part.units[numbers], scores, possible, possible, problem=problem)


def _from_index(
    part: Part, question: Question, allowed: Allowed | None, possible: int
) -> _Result | None:
    """Ask the index for more until enough rows pass the filter; None if scanning is better."""
    assert part.index is not None
    wanted, scored = question.count, 0
    for rounds in range(1, _ROUNDS + 1):
        named = part.index.search(question.direction, wanted, allowed)
        if named is None:
            return None
        numbers, scores = named
        scored += len(numbers)
        if _is_enough(scores, question.count):
            return _Result(part.units[numbers], scores, possible, scored, rounds)
        wanted *= 4
    return None


def _is_enough(scores: Float32[np.ndarray, " found"], count: int) -> bool:
    """Whether there are enough rows, and the last one is worse than the last needed: otherwise
    equally near rows may be missing, and the index must not choose among them."""
    return len(scores) > count and bool(scores[-1] < scores[count - 1])


def _plan(view: View, results: Iterable[_Result], exact: bool) -> Plan:
    results = list(results)
    rounds = sum(one.rounds for one in results)
    matching = sum(one.matching for one in results)
    problem = next((one.problem for one in results if one.problem), view.problem)
    return Plan(
        path="index" if rounds else "scan" if matching else "nothing",
        reason="a scan was asked for" if exact else _reason(view, rounds, matching, problem),
        rows=view.row_count,
        matching=matching,
        scored=sum(one.scored for one in results),
        rounds=rounds,
        recent=len(view.recent.rows),
        generation=view.generation.number if view.generation else None,
        problem=problem,
    )


def _reason(view: View, rounds: int, matching: int, problem: Text | None) -> str:
    if rounds:
        return "many rows match: the index named candidates, which were compared exactly"
    if problem is not None:
        return "the index cannot be used: all matching rows were compared"
    if view.generation is None:
        return "there is no index: all matching rows were compared"
    if view.base.index is None:
        return "the collection is small: all matching rows were compared"
    return f"{matching} rows match: all of them were compared"
