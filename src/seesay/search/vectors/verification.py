"""Checks that a vector index contains the stored vectors and finds them."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float32

from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import HALF, EmbeddingSpace
from seesay.search.checking.findings import Finding, FindingType
from seesay.search.vectors.planner import Part, Ranking, View

_QUERIES, _NEAREST = 100, 10
_RECALL = 0.95  # an index is tuned for 0.99: less than this is no accident
_ALIKE = 1e-5  # difference of the scores of copies of a picture


def check_rows(
    store: Store, space: EmbeddingSpace, modality: Modality, view: View, where: str
) -> Iterator[Finding]:
    """Check that the valid rows are those stored, each with the vector of its passage. Reads every
    vector; the caller holds a snapshot at the view's position."""
    held = [part.units[part.alive] for part in (view.base, view.recent)]
    rows = [np.flatnonzero(part.alive) for part in (view.base, view.recent)]
    units = np.concatenate(held)
    order = np.argsort(units, kind="stable")
    units = units[order]
    met = np.zeros(len(units), bool)
    absent: list[int] = []
    different: list[int] = []
    for some, raw in store.vectors.written_since(space.id, modality, 0):
        places = np.searchsorted(units, some)
        known = places < len(units)
        known[known] = units[places[known]] == some[known]
        absent += some[~known].tolist()
        met[places[known]] = True
        expected = raw[known].astype(HALF)
        at = order[places[known]]
        first = at < len(rows[0])
        found = np.empty_like(expected)
        found[first] = view.base.rows.take(rows[0][at[first]])
        found[~first] = view.recent.rows.take(rows[1][at[~first] - len(rows[0])])
        different += some[known][~(found == expected).all(axis=1)].tolist()
    absent += units[~met].tolist()  # a passage twice is one too many
    yield from _finding("index rows", absent, where)
    yield from _finding("index vectors", different, where)


def check_recall(
    store: Store,
    space: EmbeddingSpace,
    base: Part,
    search: Callable[[Float32[np.ndarray, " embed"], int, bool], Ranking],
    where: str,
) -> Iterator[Finding]:
    """Check that the index finds some vectors and their nearest neighbours, as a scan does.
    `search` takes a query, a count, and whether to scan."""
    if base.index is None:
        return
    rng = np.random.default_rng(0)
    living = base.units[base.alive]
    tried = rng.choice(living, min(_QUERIES, len(living)), replace=False)
    _, vectors = store.vectors.get(space.id, tried.tolist())
    shares = []
    for query in vectors:
        nearest, found = search(query, _NEAREST, True).scores, search(query, _NEAREST, False).scores
        as_near = np.count_nonzero(found >= nearest[-1] - _ALIKE)
        shares.append(min(1.0, as_near / len(nearest)))
    if shares and np.mean(shares) < _RECALL:
        percent = f"{100 * np.mean(shares):.0f}%"
        yield Finding(kind="index recall", where=where, count=len(shares), detail=percent)


def _finding(kind: FindingType, units: list[int], where: str) -> Iterator[Finding]:
    if units:
        yield Finding(kind=kind, where=where, count=len(units), detail=str(min(units)))
