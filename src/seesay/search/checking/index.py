"""Does an index hold what is stored, and find it?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import HALF
from seesay.search.checking.findings import Finding, Kind
from seesay.search.vectors.view import View

if TYPE_CHECKING:
    from seesay.search.vectors.vector_index import VectorIndex

_ASKED, _NEAREST = 100, 10
_RECALL = 0.95  # an index is tuned for 0.99: less than this is not chance
_ALIKE = 1e-5  # scores of copies of a picture


def check_rows(lane: "VectorIndex", view: View, store: Store) -> Iterator[Finding]:
    """Whether the rows that count are those stored, each with the vector of its unit. Every vector
    is read; the caller holds a snapshot that the view belongs to."""
    held = [part.units[part.alive] for part in (view.base, view.recent)]
    rows = [np.flatnonzero(part.alive) for part in (view.base, view.recent)]
    units = np.concatenate(held)
    order = np.argsort(units, kind="stable")
    units = units[order]
    met = np.zeros(len(units), bool)
    absent: list[int] = []
    different: list[int] = []
    for some, raw in store.vectors.written_since(lane.space.id, lane.modality, 0):
        places = np.searchsorted(units, some)
        known = places < len(units)
        known[known] = units[places[known]] == some[known]
        absent += some[~known].tolist()
        met[places[known]] = True
        expected = raw[known].astype(HALF)
        at = order[places[known]]
        first = at < len(rows[0])
        found = np.empty_like(expected)
        found[first] = view.base.rows.vectors[rows[0][at[first]]]
        found[~first] = view.recent.rows.vectors[rows[1][at[~first] - len(rows[0])]]
        different += some[known][~(found == expected).all(axis=1)].tolist()
    absent += units[~met].tolist()  # a unit twice is one too many
    yield from _of("index rows", absent, lane)
    yield from _of("index vectors", different, lane)


def check_recall(lane: "VectorIndex", view: View, store: Store) -> Iterator[Finding]:
    """Whether it finds some vectors, and what is nearest to them, as a scan does."""
    if view.base.index is None:
        return
    rng = np.random.default_rng(0)
    living = view.base.units[view.base.alive]
    asked = rng.choice(living, min(_ASKED, len(living)), replace=False)
    _, vectors = store.vectors.get(lane.space.id, asked.tolist())
    shares = []
    for query in vectors:
        nearest = lane.search(query, _NEAREST, exact=True).scores
        found = lane.search(query, _NEAREST).scores
        as_near = np.count_nonzero(found >= nearest[-1] - _ALIKE)
        shares.append(min(1.0, as_near / len(nearest)))
    if shares and np.mean(shares) < _RECALL:
        yield Finding(
            kind="index recall",
            where=str(lane.folder),
            count=len(shares),
            detail=f"{100 * np.mean(shares):.0f}%",
        )


def _of(kind: Kind, units: list[int], lane: "VectorIndex") -> Iterator[Finding]:
    if units:
        yield Finding(kind=kind, where=str(lane.folder), count=len(units), detail=str(min(units)))
