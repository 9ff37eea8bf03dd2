"""What an engine must do to build and search the vector indexes of a collection."""

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from seesay.errors import SeesayError
from seesay.search.vectors.rows import Allowed, Rows, ScoredRows
from seesay.text import Text

Notes = Mapping[str, Any]
"""What an engine needs to open an index again, as JSON."""

_SPARE = 2  # times the expected need, since filters correlate with neighbourhoods
_LEAST = 50
_TRIED = 25  # an index that lost a part of its rows misses about as large a part of these
_CONNECT_S = 3.0


class IndexDamagedError(SeesayError):
    """An index is missing, damaged or cannot be reached. Searches scan all vectors instead."""


class IndexOutdatedError(IndexDamagedError):
    """An older version built the index; nothing else is wrong with it."""


@runtime_checkable
class OpenIndex(Protocol):
    """An index that can be searched. Any number of threads may search at once."""

    def search(
        self, query: Float[np.ndarray, " embed"], count: int, allowed: Allowed | None
    ) -> ScoredRows | None:
        """Allowed rows that should include the nearest `count`, best first, with the scores that
        `Rows` computes. None where scanning the allowed rows is better. Raises IndexDamagedError
        where the index can no longer be searched.
        """

    def close(self) -> None:
        """Release files and connections."""


@runtime_checkable
class Engine(Protocol):
    """Builds indexes of numbered rows and opens them again."""

    @property
    def name(self) -> str:
        """The name that manifests and settings store; `engine_of` turns it into the engine."""

    def reach(self) -> None:
        """Check that the engine can be used now. Raises IndexDamagedError where its server does
        not answer, MissingExtraError where its package is not installed."""

    def build(self, rows: Rows, folder: Path, name: str) -> Notes:
        """Index all rows. Files go into `folder`; an engine that stores data elsewhere stores it
        under `name`, which is unique. The notes say under "kind" what was built, "scan" for
        nothing. Raises IndexDamagedError where building fails."""

    def open(self, rows: Rows, folder: Path, notes: Notes) -> OpenIndex | None:
        """Open what `build` made; None where it made nothing because scanning is as fast. Raises
        IndexDamagedError where it is not what was built."""

    def drop(self, notes: Notes) -> None:
        """Remove what `build` stored outside the folder; the caller removes the folder. Raises
        IndexDamagedError where that fails."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateIndex:
    """An open index of an engine that returns row numbers and knows nothing of our filters: it is
    asked for more rows than needed, which are filtered and scored here."""

    engine: str
    """Its name in messages."""
    rows: Rows
    most: int
    """The most results that one query may ask for."""
    ask: Callable[[Float32[np.ndarray, " embed"], int], Iterable[object]]
    """Returns the numbers of that many rows, nearest first; may raise anything."""
    close: Callable[[], None]

    def search(
        self, query: Float32[np.ndarray, " embed"], count: int, allowed: Allowed | None
    ) -> ScoredRows | None:
        """The allowed rows among the nearest, of which enough should be allowed."""
        wanted = _how_many(count, allowed, len(self.rows), self.most)
        if wanted is None:
            return None
        try:
            named = np.array(list(self.ask(query, wanted)), np.int64)
        except Exception as error:  # the engine's own, and those of its transport
            raise failed(
                error, f"{self.engine} does not answer", f"{self.engine} 没有应答"
            ) from error
        known = named[(named >= 0) & (named < len(self.rows))]
        numbers = known if allowed is None else known[allowed.mask[known]]
        scores = self.rows.score(query, numbers)
        order = np.argsort(-scores)
        return numbers[order], scores[order]

    def check(self, held: int) -> None:
        """Raises IndexDamagedError where the index does not hold all rows, or does not find some
        of them by their own vectors. One miss in twelve is forgiven: a graph may lose a row."""
        missed, tried = 0, np.unique(np.linspace(0, len(self.rows) - 1, _TRIED).astype(int))
        for number in tried:
            vector = self.rows.vectors[number].astype(np.float32)
            found = self.search(vector, 1, None)
            if found is not None:  # otherwise there are so few rows that no search uses the index
                missed += int(found[1].max(initial=-1) < 0.999)  # it, or an equal row
        if held != len(self.rows) or missed > len(tried) // 12:
            raise IndexDamagedError(
                Text(
                    f"the index holds {held} rows, expected {len(self.rows)}, and missed {missed} "
                    f"of {len(tried)}",
                    f"索引里有 {held} 行，应为 {len(self.rows)} 行；抽查 {len(tried)} 行，"
                    f"有 {missed} 行没有找到",
                )
            )


def _how_many(count: int, allowed: Allowed | None, rows: int, most: int) -> int | None:
    """How many rows to ask for so that they include the nearest `count` allowed ones; None where
    scanning the allowed rows is better.

    The engine also returned everything nearer than the last row it returned. So if enough of the
    rows are allowed, these are the nearest allowed ones.
    """
    share = 1.0 if allowed is None else allowed.share
    wanted = max(_LEAST, round(_SPARE * count / max(share, 1e-9)))
    if wanted > most or wanted > max(rows // 10, _LEAST):
        return None
    return min(wanted, rows)


def failed(error: Exception, en: str, zh: str) -> IndexDamagedError:
    """What an engine's client raised, as the error that searches understand."""
    if isinstance(error, IndexDamagedError):
        return error
    reason = Text.of(error)
    return IndexDamagedError(Text(f"{en}: {reason.en}", f"{zh}：{reason.zh}"))


def connect(place: str) -> tuple[str, int]:
    """The host and port of "host:port", at which a server listens. Raises OSError within seconds
    where none does: the clients of servers keep trying for a minute."""
    host, _, port = place.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    return host, int(port)
