"""What engines have in common that know nothing of our filters and check nothing of their files."""

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from seesay.search.vectors.engine import Allowed, IndexDamagedError, OpenIndex
from seesay.search.vectors.rows import Found, Rows

_SPARE = 2  # so many times what should be enough, since filters and neighbours go together
_LEAST = 50
_TRIED = 25  # of a half-copied index as large a part is missed as it lacks
_KNOCK_S = 3.0


def knock(place: str) -> tuple[str, int]:
    """The host and port of "host:port", at which something listens. Raises OSError soon where
    nothing does: the clients of servers go on trying for a minute."""
    host, _, port = place.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _KNOCK_S).close()
    return host, int(port)


def how_many(count: int, allowed: Allowed | None, rows: int, most: int) -> int | None:
    """Of how many rows the nearest `count` allowed ones should be part; None where scanning the
    allowed ones is better than asking for so many.

    All of what lies nearer than the last one found was found too, filter or not. So if enough of
    them are allowed, those are the nearest allowed ones.
    """
    share = 1.0 if allowed is None else allowed.share
    wanted = max(_LEAST, round(_SPARE * count / max(share, 1e-9)))
    if wanted > most or wanted > max(rows // 10, _LEAST):
        return None
    return min(wanted, rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenOutside:
    """An index of another engine that is ready to be asked."""

    engine: str
    """As messages call it."""
    rows: Rows
    most: int
    """Results of one query."""
    ask: Callable[[Float32[np.ndarray, " embed"], int], Iterable[object]]
    """The numbers of so many rows, the nearest first; it may raise anything."""
    close: Callable[[], None]

    def search(
        self, query: Float32[np.ndarray, " embed"], count: int, allowed: Allowed | None
    ) -> Found | None:
        """The nearest rows that are allowed, of so many that enough of them should be."""
        wanted = how_many(count, allowed, len(self.rows), self.most)
        if wanted is None:
            return None
        try:
            named = np.array(list(self.ask(query, wanted)), np.int64)
        except Exception as error:  # their own, and those of their transport
            raise IndexDamagedError(f"{self.engine} does not answer: {error}") from error
        return _scored(self.rows, query, named, allowed)


def _scored(
    rows: Rows,
    query: Float32[np.ndarray, " embed"],
    named: Int[np.ndarray, " named"],
    allowed: Allowed | None,
) -> Found:
    """The allowed ones among the rows that an engine named, with their scores, the best first."""
    known = named[(named >= 0) & (named < len(rows))]
    numbers = known if allowed is None else known[allowed.mask[known]]
    scores = rows.score(query, numbers)
    order = np.argsort(-scores)
    return numbers[order], scores[order]


def check(index: OpenIndex, rows: Rows, held: int) -> None:
    """Raises IndexDamagedError where an index does not hold all rows, or does not find some of them
    by their own vectors. One miss in twelve is forgiven: a graph may lose a row."""
    missed, tried = 0, np.unique(np.linspace(0, len(rows) - 1, _TRIED).astype(int))
    for number in tried:
        vector = rows.vectors[number].astype(np.float32)
        found = index.search(vector, 1, None)
        if found is not None:  # else there are so few that the index will not be asked
            missed += int(found[1].max(initial=-1) < 0.999)  # or its equal
    if held != len(rows) or missed > len(tried) // 12:
        raise IndexDamagedError(
            f"the index holds {held} rows, expected {len(rows)}, and missed {missed} of "
            f"{len(tried)}"
        )
