"""How far an index of FAISS must look: measured on the collection itself when it is built.

No setting is right for every collection. So some queries are answered exactly and by the index, for
all rows and for random parts of them, and the cheapest effort that finds what is there is kept.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float32, Int

from seesay.search.vectors.rows import Rows

RECALL = 0.997  # of the nearest, over the queries tried; searches must find at least 0.99
TOPS = (10, 100)
_QUERIES = 96
_PAGE = 8192

# Seconds, on one core of a small machine: only their ratios matter.
_PER_LIST = 2e-8
_PER_CODE = 2e-8
_PER_CANDIDATE = 2e-7
_PER_EXACT_ROW = 1.3e-7

Queries = Float32[np.ndarray, "queries embed"]
Search = Callable[[Queries, int, int, Bool[np.ndarray, " rows"]], np.ndarray]
"""Queries, lists to look into, candidates, allowed rows -> row numbers ("queries candidates"), the
best first."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What it takes to find the nearest `top` of a part of the rows."""

    share: float
    """How large a part; 1 is all rows."""
    top: int
    lists: int
    """Lists to look into, of all."""
    candidates: int
    """Rows to score exactly."""
    recall: float
    """What was measured."""


def measure(
    rows: Rows, search: Search, lists: int, shares: Sequence[float], seed: int = 0
) -> list[Effort]:
    """The cheapest effort for each share and top that finds RECALL of what is there; left out where
    scanning the part is as cheap, or nothing finds enough."""
    rng = np.random.default_rng(seed)
    queries, own = _queries(rows, rng)
    masks = [rng.random(len(rows)) < share for share in shares]
    truth = _nearest(rows, queries, own, masks)
    efforts = []
    for share, mask, nearest in zip(shares, masks, truth, strict=True):
        tried = {
            looked: search(queries, looked, min(_CANDIDATES[-1], len(rows)), mask)
            for looked in _ladder(lists)
        }
        for top in TOPS:
            best = _cheapest(tried, nearest[:, :top], _Setting(len(rows), lists, share, top))
            efforts += [best] if best else []
    return efforts


def as_notes(efforts: Iterable[Effort]) -> list[dict[str, float]]:
    """For the manifest."""
    return [asdict(effort) for effort in efforts]


def from_notes(notes: object, lists: int) -> list[Effort]:
    """What `as_notes` gave, of an index of so many lists. Raises TypeError or ValueError for
    anything else."""
    if not isinstance(notes, list):
        raise TypeError("efforts are not a list")
    efforts = [Effort(**effort) for effort in notes]
    for effort in efforts:
        looked = type(effort.lists) is int and 1 <= effort.lists <= lists
        if not looked or effort.top not in TOPS or effort.candidates not in _CANDIDATES:
            raise ValueError(f"{effort} is none that was measured")
        if type(effort.share) is not float or not 0 < effort.share <= 1:
            raise ValueError(f"{effort} is of no part of the rows")
    return efforts


_CANDIDATES = (50, 100, 200, 400, 800, 1600)


@dataclass(frozen=True)
class _Setting:
    rows: int
    lists: int
    share: float
    top: int


def _ladder(lists: int) -> list[int]:
    """Numbers of lists to try, up to all of them."""
    steps = [4 * 2**step for step in range(20)]
    return [*(step for step in steps if step < lists), lists]


def _cheapest(
    tried: dict[int, Int[np.ndarray, "queries candidates"]],
    nearest: Int[np.ndarray, "queries top"],
    setting: _Setting,
) -> Effort | None:
    best, lowest = None, setting.rows * setting.share * _PER_EXACT_ROW
    for looked, candidates in product(tried, _CANDIDATES):
        if candidates < 2 * setting.top:
            continue
        codes = looked / setting.lists * setting.rows * setting.share
        cost = setting.lists * _PER_LIST + codes * _PER_CODE + candidates * _PER_CANDIDATE
        if cost >= lowest:
            continue
        recall = _recall(tried[looked][:, :candidates], nearest)
        if recall >= RECALL:
            lowest = cost
            best = Effort(
                share=setting.share,
                top=setting.top,
                lists=looked,
                candidates=candidates,
                recall=recall,
            )
    return best


def _recall(
    found: Int[np.ndarray, "queries candidates"], nearest: Int[np.ndarray, "queries top"]
) -> float:
    pairs = zip(found, nearest, strict=True)
    return float(np.mean([np.isin(true[true >= 0], some).mean() for some, true in pairs]))


def _queries(
    rows: Rows, rng: "np.random.Generator"
) -> tuple[Float32[np.ndarray, "queries embed"], Int[np.ndarray, " queries"]]:
    """Rows, and mixtures of two: a real query, of another modality above all, lies where no row
    does. With each the row that is not to count as found."""
    count = min(_QUERIES, len(rows))
    own = rng.choice(len(rows), count, replace=False)
    others = rng.choice(len(rows), count)
    queries = rows.vectors[own].astype(np.float32)
    mixed = np.arange(count) % 2 == 1
    queries[mixed] += 0.7 * rows.vectors[others[mixed]].astype(np.float32)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True), own


def _nearest(
    rows: Rows,
    queries: Float32[np.ndarray, "queries embed"],
    own: Int[np.ndarray, " queries"],
    masks: Sequence[Bool[np.ndarray, " rows"]],
) -> list[Int[np.ndarray, "queries top"]]:
    """The nearest rows of each query among the rows of each mask, its own left out; -1 where there
    are too few."""
    top = TOPS[-1]
    empty = np.full((len(queries), top), -np.inf, np.float32), np.full((len(queries), top), -1)
    best = [empty for _ in masks]
    for start in range(0, len(rows), _PAGE):
        page = rows.vectors[start : start + _PAGE].astype(np.float32)
        scores = queries @ page.T
        numbers = np.arange(start, start + len(page))
        scores[own[:, None] == numbers] = -np.inf
        for number, mask in enumerate(masks):
            here = mask[start : start + len(page)]
            best[number] = _merged(best[number], scores[:, here], numbers[here])
    return [np.where(np.isfinite(scores), found, -1) for scores, found in best]


def _merged(
    best: tuple[np.ndarray, np.ndarray], scores: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best of what was known and of a page, the best first."""
    top = best[0].shape[1]
    known = np.concatenate([best[0], scores], axis=1)
    named = np.concatenate([best[1], np.broadcast_to(numbers, scores.shape)], axis=1)
    kept = np.argpartition(-known, top - 1, axis=1)[:, :top]
    kept = np.take_along_axis(
        kept, np.argsort(-np.take_along_axis(known, kept, axis=1), axis=1), axis=1
    )
    return np.take_along_axis(known, kept, axis=1), np.take_along_axis(named, kept, axis=1)
