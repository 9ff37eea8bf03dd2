"""Files of the same content, and pictures that look the same.

Near-duplicates are grouped around one picture each: all members are that near to it. Joining
whatever touches would chain a whole holiday together, picture by picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int

from seesay.errors import ConfigError
from seesay.inference.cancelling import check_cancelled
from seesay.search.lane import Lane
from seesay.search.store.records import Item, Space
from seesay.search.store.store import Store

THRESHOLD = 0.98
_EXACT_UP_TO = (
    50_000  # pictures that are all compared with each other; beyond, the index names some
)
_BLOCK = 1024
_NEIGHBOURS = 20


@dataclass(frozen=True, kw_only=True)
class DuplicateGroup:
    """Files that are one, or look like one. The first is the one to keep: the largest file."""

    kind: Literal["exact", "near"]
    items: tuple[int, ...]
    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    """Bytes."""
    similarity: float
    """The smallest cosine with the picture that the group was made around; 1 for the same bytes."""


def duplicates(store: Store, space: Space, *, threshold: float = THRESHOLD) -> list[DuplicateGroup]:
    """Groups of the same content first, then groups of pictures whose cosine with the middle of
    their group is at least `threshold`; in these a content that several files have counts once.

    Raises ConfigError for a threshold that is no cosine above 0.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(
            f"the threshold is {threshold:g}; expected a cosine above 0 and up to 1; "
            f"{THRESHOLD} finds pictures that were made smaller or saved again"
        )
    by_content: dict[str, list[Item]] = {}
    for item in store.items.all():
        by_content.setdefault(item.content_hash or f"item {item.id}", []).append(item)
    groups = [_group("exact", same, 1.0) for same in by_content.values() if len(same) > 1]
    first = {same[0].id: same[0] for same in by_content.values()}
    return groups + list(_near(store, space, threshold, first))


def _near(
    store: Store, space: Space, threshold: float, items: dict[int, Item]
) -> Iterator[DuplicateGroup]:
    units, vectors = _pictures(store, space)
    owner = {unit.id: unit.item for unit in store.units.get(units)}
    kept = np.array([owner.get(int(unit)) in items for unit in units], bool)
    units, vectors = units[kept], vectors[kept]
    if len(units) <= _EXACT_UP_TO:
        pairs = _compared(vectors, threshold)
    else:
        pairs = _from_index(store, space, units, vectors, threshold)
    for rows, similarity in _stars(len(units), *pairs):
        own = {owner[int(units[row])]: None for row in rows}
        if len(own) > 1:
            yield _group("near", [items[number] for number in own], similarity)


def _pictures(
    store: Store, space: Space
) -> tuple[Int[np.ndarray, " rows"], Float32[np.ndarray, "rows embed"]]:
    with store.database.snapshot():
        pages = list(store.vectors.written_since(space.id, "image", 0))
    units = np.concatenate([np.empty(0, np.int64), *(page for page, _ in pages)])
    vectors = np.concatenate(
        [np.empty((0, space.dim), np.float32), *(v.astype(np.float32) for _, v in pages)]
    )
    order = np.argsort(units)
    return units[order], vectors[order]


Pairs = tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"], Float32[np.ndarray, " pairs"]]


def _compared(vectors: Float32[np.ndarray, "rows embed"], threshold: float) -> Pairs:
    """Every pair of rows that is near, a block of rows at a time."""
    left, right, near = [], [], []
    for start in range(0, len(vectors), _BLOCK):
        check_cancelled()
        scores = vectors[start : start + _BLOCK] @ vectors[start:].T
        rows, columns = np.nonzero(scores >= threshold)
        later = columns > rows
        left.append(start + rows[later])
        right.append(start + columns[later])
        near.append(scores[rows[later], columns[later]])
    return _joined(left), _joined(right), _joined(near).astype(np.float32)


def _from_index(
    store: Store,
    space: Space,
    units: Int[np.ndarray, " rows"],
    vectors: Float32[np.ndarray, "rows embed"],
    threshold: float,
) -> Pairs:
    lane = Lane(store, space, "image")
    left, right, near = [], [], []
    try:
        for row, vector in enumerate(vectors):
            check_cancelled()
            found = lane.search(vector, _NEIGHBOURS)
            at = np.minimum(np.searchsorted(units, found.units), len(units) - 1)
            use = (units[at] == found.units) & (at > row) & (found.scores >= threshold)
            left.append(np.full(int(use.sum()), row))
            right.append(at[use])
            near.append(found.scores[use])
    finally:
        lane.close()
    return _joined(left), _joined(right), _joined(near).astype(np.float32)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *parts])


def _stars(
    count: int,
    left: Int[np.ndarray, " pairs"],
    right: Int[np.ndarray, " pairs"],
    near: Float32[np.ndarray, " pairs"],
) -> Iterator[tuple[list[int], float]]:
    """Rows around the one with the most neighbours that are not taken yet, until none are left."""
    neighbours: dict[int, list[tuple[int, float]]] = {}
    for one, other, score in zip(left.tolist(), right.tolist(), near.tolist(), strict=True):
        neighbours.setdefault(one, []).append((other, score))
        neighbours.setdefault(other, []).append((one, score))
    taken = np.zeros(count, bool)
    for middle in sorted(neighbours, key=lambda row: (-len(neighbours[row]), row)):
        if taken[middle]:
            continue
        free = [(row, score) for row, score in neighbours[middle] if not taken[row]]
        if free:
            rows = [middle, *(row for row, _ in free)]
            taken[rows] = True
            yield rows, min(score for _, score in free)


def _group(kind: Literal["exact", "near"], items: list[Item], similarity: float) -> DuplicateGroup:
    ordered = sorted(items, key=lambda item: (-item.size, item.path))
    return DuplicateGroup(
        kind=kind,
        items=tuple(item.id for item in ordered),
        paths=tuple(item.path for item in ordered),
        sizes=tuple(item.size for item in ordered),
        similarity=round(min(similarity, 1.0), 4),
    )
