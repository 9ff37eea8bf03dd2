"""The interface of engines that build and search the vector indexes of a collection."""

import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int

from seesay.errors import SeesayError
from seesay.search.catalog.filters import Operator
from seesay.search.catalog.store import Position
from seesay.search.vectors.pushdown import Expression, FilterColumns
from seesay.search.vectors.rows import Allowed, Rows, ScoredRows, StoredRows
from seesay.text import Text

Notes = Mapping[str, Any]
"""JSON data that an engine needs to reopen an index."""

_SPARE = 2  # times the expected need, since filters correlate with neighbourhoods
_LEAST = 50
_TRIED = 25  # an index that lost some of its rows misses about the same share of these
_READ = 2000  # stored rows that can be scanned about as fast as a server answers
_CONNECT_S = 3.0
_Answer = TypeVar("_Answer")


class IndexDamagedError(SeesayError):
    """An index is missing, damaged or unreachable. Searches scan all vectors instead."""


class IndexOutdatedError(IndexDamagedError):
    """An older version built the index; nothing else is wrong with it."""


@runtime_checkable
class OpenIndex(Protocol):
    """An index that can be searched. Any number of threads may search at once."""

    def search(
        self, query: Float[np.ndarray, " embed"], count: int, allowed: Allowed | None
    ) -> ScoredRows | None:
        """Allowed rows that should include the nearest `count`, best first, with the scores that
        `Rows` computes. None if scanning the allowed rows is better. Raises IndexDamagedError if
        the index can no longer be searched.
        """

    def close(self) -> None:
        """Release files and connections."""


@runtime_checkable
class Engine(Protocol):
    """Builds and opens indexes. It is either a `LocalEngine` or a `HoldingEngine`."""

    @property
    def name(self) -> str:
        """The name that manifests and settings store; `engine_of` turns it into the engine."""

    def reach(self) -> None:
        """Check that the engine can be used now. Raises IndexDamagedError if its server does not
        answer, MissingExtraError if its package is not installed."""

    def drop(self, notes: Notes) -> None:
        """Remove data stored outside the folder of a generation; the caller removes the folder.
        Raises IndexDamagedError if that fails."""


@runtime_checkable
class LocalEngine(Engine, Protocol):
    """Indexes numbered rows, which are on this machine and never change."""

    def build(self, rows: Rows, folder: Path, name: str) -> Notes:
        """Index all rows into files in `folder`. `name` is unique. The notes tell under "kind" what
        was built, "scan" if nothing. Raises IndexDamagedError if building fails."""

    def open(self, rows: Rows, folder: Path, notes: Notes) -> OpenIndex | None:
        """Open the index that `build` made; None if it made none because scanning is as fast.
        Raises IndexDamagedError if the index is not the one that was built."""


class Progress(NamedTuple):
    """How far an engine has received the collection's vectors."""

    filled: Position
    """Nothing up to here is missing."""
    sending: Position
    """Changes up to here may have arrived; equal to `filled` when all have."""


class Batch(NamedTuple):
    """Passages to store or replace."""

    units: Int[np.ndarray, " rows"]
    vectors: Float32[np.ndarray, "rows embed"]
    columns: Sequence[FilterColumns]


@runtime_checkable
class HoldingEngine(Engine, Protocol):
    """Holds the vectors by passage, and the fields for filters, so that searches need no copy in
    this machine's memory. It receives changes and may lag behind, as `Progress` tells: its results
    are checked against the collection."""

    @property
    def operators(self) -> Collection[Operator]:
        """The filter operators that the engine applies itself."""

    def create(self, name: str, dim: int) -> Notes:
        """Create an empty index. Raises IndexDamagedError if that fails."""

    def send(
        self, notes: Notes, progress: Progress, batches: Iterable[Batch], gone: Sequence[int]
    ) -> None:
        """Record `progress`, store the batches and remove the passages that are gone; once searches
        see all changes, record that `sending` is reached. Safe to repeat after a failure. Raises
        IndexDamagedError if it fails."""

    def open(self, rows: StoredRows, notes: Notes) -> "CandidateIndex":
        """Open the index, which the caller checks. Raises IndexDamagedError if it does not
        exist."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateIndex:
    """An open index of an engine that returns numbers: this asks for more rows than needed, then
    checks and scores the results itself."""

    engine: str
    """The engine's name in messages."""
    rows: Rows | StoredRows
    most: int
    """The most results that one query may request."""
    ask: Callable[[Float32[np.ndarray, " embed"], int, Expression | None], Iterable[object]]
    """Returns this many row numbers, nearest first, or passages if the engine holds them; may raise
    anything."""
    close: Callable[[], None]
    held: Callable[[], int]
    """Returns the number of rows in the engine; may raise anything."""
    read_progress: Callable[[], Progress] | None = None
    """For a holding engine; may raise anything."""

    def search(
        self, query: Float32[np.ndarray, " embed"], count: int, allowed: Allowed | None
    ) -> ScoredRows | None:
        """Returns the allowed rows among the nearest, asking for enough to be allowed."""
        wanted = self._how_many(count, allowed)
        if wanted is None:
            return None
        expression = None if allowed is None else allowed.expression
        named = self._answer(lambda: np.array([*self.ask(query, wanted, expression)], np.int64))
        if isinstance(self.rows, StoredRows):
            numbers = self.rows.numbers_of(named)
        else:
            numbers = named[(named >= 0) & (named < len(self.rows))]
        if allowed is not None:
            numbers = numbers[allowed.mask[numbers]]
        scores = self.rows.score(query, numbers)
        order = np.argsort(-scores)
        return numbers[order], scores[order]

    def progress(self) -> Progress:
        """Returns the progress of a holding engine. Raises IndexDamagedError if it does not
        answer."""
        assert self.read_progress is not None
        return self._answer(self.read_progress)

    def check(
        self, unchanged: Int[np.ndarray, " rows"] | None = None, *, counted: bool = True
    ) -> None:
        """Raises IndexDamagedError if the index does not find a sample of the rows (None: of all)
        by their own vectors, or has a different number of rows (`counted`). Tolerates one miss in
        twelve: a graph may lose a row."""
        rows = np.arange(len(self.rows)) if unchanged is None else unchanged
        steps = np.linspace(0, len(rows) - 1, min(_TRIED, len(rows))).astype(int)
        missed, tried = 0, rows[np.unique(steps)]
        for vector in self.rows.take(tried).astype(np.float32):
            found = self.search(vector, 1, None)
            if found is not None:  # otherwise there are so few rows that no search uses the index
                missed += int(found[1].max(initial=-1) < 0.999)  # it, or an equal row
        expected = len(self.rows)
        held = self._answer(self.held) if counted else expected
        if held != expected or missed > len(tried) // 12:
            raise IndexDamagedError(
                Text(
                    f"the index holds {held} rows, expected {expected}, and missed {missed} of "
                    f"{len(tried)}",
                    f"索引里有 {held} 行，应为 {expected} 行；抽查 {len(tried)} 行，"
                    f"有 {missed} 行没有找到",
                )
            )

    def _how_many(self, count: int, allowed: Allowed | None) -> int | None:
        """Returns how many rows to request to get the nearest `count` allowed ones; None if
        scanning the allowed rows is better.

        The engine also returned everything nearer than the last row it returned. So if enough of
        the rows are allowed, these are the nearest allowed ones.
        """
        rows = len(self.rows)
        share = 1.0 if allowed is None or allowed.expression else allowed.share
        wanted = max(_LEAST, round(_SPARE * count / max(share, 1e-9)))
        if isinstance(self.rows, StoredRows):
            scanned = rows if allowed is None else allowed.count
            return None if wanted > self.most or scanned <= _READ else min(wanted, rows)
        if wanted > self.most or wanted > max(rows // 10, _LEAST):
            return None
        return min(wanted, rows)

    def _answer(self, ask: "Callable[[], _Answer]") -> "_Answer":
        try:
            return ask()
        except Exception as error:  # the engine's own, and those of its transport
            en, zh = f"{self.engine} does not answer", f"{self.engine} 没有应答"
            raise failed(error, en, zh) from error


def failed(error: Exception, en: str, zh: str) -> IndexDamagedError:
    """Convert an error of an engine's client to the error that searches handle."""
    if isinstance(error, IndexDamagedError):
        return error
    reason = Text.of(error)
    return IndexDamagedError(Text(f"{en}: {reason.en}", f"{zh}：{reason.zh}"))


def connect(place: str) -> tuple[str, int]:
    """Returns the host and port of "host:port" after checking that a server listens there. Raises
    OSError within seconds if none does: clients of servers keep trying for a minute."""
    host, _, port = place.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    return host, int(port)
