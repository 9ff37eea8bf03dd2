"""What a lane holds at one moment: the rows of a generation, what came after, and what has gone.

A lane is the vectors of one modality in one space. A view never changes, so that threads may search
it while another one makes the next.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float16, Int

from seesay.search.catalog.filters import Filter
from seesay.search.catalog.ledger import START, Position
from seesay.search.catalog.passages import Modality
from seesay.search.catalog.vectors import HALF, Vectors
from seesay.search.vectors.engine import Allowed, OpenIndex
from seesay.search.vectors.generations import Generation
from seesay.search.vectors.rows import Rows

_REMEMBERED = 32  # filters whose rows are kept


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows, which unit each belongs to, and which of them still count."""

    rows: Rows
    units: Int[np.ndarray, " rows"]
    alive: Bool[np.ndarray, " rows"]
    index: OpenIndex | None = None
    remembered: dict[Filter | None, Allowed | None] = field(default_factory=dict)

    def allowed(
        self, condition: Filter | None, units: Bool[np.ndarray, " units"] | None
    ) -> Allowed | None:
        """The living rows whose units a filter takes, as `units` says; None for all rows."""
        if condition not in self.remembered:
            if len(self.remembered) >= _REMEMBERED:
                self.remembered.pop(next(iter(self.remembered)), None)
            mask = self.alive if units is None else self.alive & units[self.units]
            count = int(np.count_nonzero(mask))
            every = units is None and count == len(mask)
            self.remembered[condition] = None if every else Allowed(mask, count)
        return self.remembered[condition]

    def without(self, units: Int[np.ndarray, " gone"]) -> "Part":
        """The same rows after a change, of which those of `units` no longer count. What filters
        took before is forgotten: the change may have been one of metadata."""
        alive = self.alive
        if len(units) and len(self.units):
            gone = np.zeros(max(int(units.max()), int(self.units.max())) + 1, bool)
            gone[units] = True
            alive = alive & ~gone[self.units]
        return Part(self.rows, self.units, alive, self.index)

    @cached_property
    def dead(self) -> int:
        """How many rows no longer count."""
        return len(self.alive) - int(np.count_nonzero(self.alive))


@dataclass(frozen=True, eq=False)
class View:
    """A lane as it was when the collection stood at `position`."""

    position: Position
    base: Part
    recent: Part
    generation: Generation | None
    buffer: "Buffer"
    problem: str | None = None
    """Why the newest index is not used."""

    def without_index(self, problem: str) -> "View":
        """The same where the index cannot be asked any more."""
        return replace(self, base=replace(self.base, index=None), problem=problem)


class Buffer:
    """Rows in memory, to which more are added at the end. What was added stays where it is for
    those who still use it."""

    def __init__(self, dim: int) -> None:
        self._vectors = np.empty((0, dim), HALF)
        self._units = np.empty(0, np.int64)
        self._size = 0

    def cut(self, size: int) -> None:
        """Take back what was added after the first `size` rows and never came into use."""
        self._size = size

    def add(
        self, units: Int[np.ndarray, " rows"], vectors: Float16[np.ndarray, "rows embed"]
    ) -> None:
        """Add rows."""
        end = self._size + len(units)
        if end > len(self._units):
            room = max(2 * len(self._units), end)
            self._vectors = _grown(self._vectors, room)
            self._units = _grown(self._units, room)
        self._vectors[self._size : end] = vectors
        self._units[self._size : end] = units
        self._size = end

    def part(self, alive: Bool[np.ndarray, " earlier"]) -> Part:
        """All rows; `alive` speaks of those that were there before, the others count."""
        added = np.ones(self._size - len(alive), bool)
        vectors, units = self._vectors[: self._size], self._units[: self._size]
        return Part(Rows(vectors), units, np.concatenate([alive, added]))


def opened(generation: Generation | None, index: OpenIndex | None, dim: int) -> View:
    """The view of a generation as it was built, or of nothing."""
    buffer = Buffer(dim)
    recent = buffer.part(np.empty(0, bool))
    if generation is None:
        return View(START, recent, recent, None, buffer)
    alive = np.ones(len(generation.units), bool)
    base = Part(Rows(generation.vectors), generation.units, alive, index)
    return View(generation.manifest.position, base, recent, generation, buffer)


def followed(
    view: View, vectors: Vectors, lane: tuple[int, Modality], position: Position
) -> View | None:
    """The view at a later position, which the open snapshot shows. None where it is too old to be
    told what was removed."""
    space, modality = lane
    since = view.position.seq
    removed = vectors.removed_since(space, modality, since) if since else np.empty(0, np.int64)
    if removed is None:
        return None
    alive = view.recent.without(removed).alive
    view.buffer.cut(len(alive))
    for units, raw in vectors.written_since(space, modality, since):
        view.buffer.add(units, raw.astype(HALF))
    recent = view.buffer.part(alive)
    base = view.base.without(removed)
    return replace(view, position=position, base=base, recent=recent)


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    larger = np.empty((size, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def row_count(parts: Iterable[Part]) -> int:
    """Living rows of all parts."""
    return sum(len(part.alive) - part.dead for part in parts)
