"""Maps of a collection: similar passages close together, as far as two dimensions allow, or
pictures at the place where they were taken."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int

from seesay.errors import ConfigError
from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.text import Text

MOST_POINTS = 20_000
_LEAST = 1e-6  # spread of an axis without differences
# If a table gives a key several values, the first counts: a passage is one point.
_PLACES = (
    "SELECT a.unit, min(a.value), min(b.value) FROM metadata a"
    " JOIN metadata_keys ka ON ka.id = a.key AND ka.name = 'latitude' AND ka.type = 'number'"
    " JOIN metadata b ON b.unit = a.unit"
    " JOIN metadata_keys kb ON kb.id = b.key AND kb.name = 'longitude' AND kb.type = 'number'"
    " WHERE a.value BETWEEN -90 AND 90 AND b.value BETWEEN -180 AND 180"
    " GROUP BY a.unit ORDER BY a.unit DESC"
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A passage on the map."""

    unit: int
    path: str
    kind: str
    text: str | None
    """The beginning of its text."""
    x: float
    """From -1 to 1, like `y`; on a map of places the longitude, and `y` the latitude."""
    y: float


@dataclass(frozen=True, kw_only=True)
class Map:
    """The map of one modality: pictures and texts lie in separate regions, and the difference
    between them would hide the differences among pictures."""

    modality: Modality
    """On the map of texts, captions are points of their pictures."""
    points: tuple[Point, ...]
    total: int
    """Number of passages of this modality; larger than the number of points if sampled."""
    explained: float
    """Share (0-1) of the differences that the two axes show."""


def draw_map(
    store: Store, space: EmbeddingSpace, modality: Modality = "image", *, most: int = MOST_POINTS
) -> Map:
    """Compute the first two principal components of the vectors; beyond `most` vectors, of an even
    sample that is always the same. Raises ConfigError if `most` is below 1."""
    _check_most(most)
    with store.database.snapshot():
        total = store.vectors.count(space.id, modality)
        passages, vectors = _sampled(store, space, modality, total, most)
        known = {passage.id: passage for passage in store.passages.get(passages)}
        files = {one.id: one for one in store.files.get({u.file for u in known.values()})}
    places, explained = _flattened(vectors)
    points = [
        Point(
            unit=number,
            path=files[known[number].file].path,
            kind=known[number].media_type,
            text=(known[number].text or "")[:80] or None,
            x=round(float(x), 4),
            y=round(float(y), 4),
        )
        for number, (x, y) in zip(passages.tolist(), places, strict=True)
        if number in known
    ]
    return Map(modality=modality, points=tuple(points), total=total, explained=explained)


def draw_places(store: Store, *, most: int = MOST_POINTS) -> Map:
    """Return every picture with a position: `x` is its longitude and `y` its latitude, in degrees.
    Beyond `most` pictures, only the newest. Raises ConfigError if `most` is below 1."""
    _check_most(most)
    with store.database.snapshot():
        rows = store.database.rows(_PLACES)
        shown = {passage: (latitude, longitude) for passage, latitude, longitude in rows[:most]}
        passages = store.passages.get(shown)
        files = {one.id: one for one in store.files.get({passage.file for passage in passages})}
    points = tuple(
        Point(
            unit=passage.id,
            path=files[passage.file].path,
            kind=passage.media_type,
            text=None,
            x=shown[passage.id][1],
            y=shown[passage.id][0],
        )
        for passage in passages
        if passage.file in files
    )
    return Map(modality="image", points=points, total=len(rows), explained=1.0)


def _check_most(most: int) -> None:
    if most < 1:
        raise ConfigError(
            Text(
                f"the map is asked for {most} points; expected at least 1; leave the number out "
                f"for {MOST_POINTS}",
                f"地图要求显示 {most} 个点；应至少 1 个；不写数目则为 {MOST_POINTS}",
            )
        )


def _sampled(
    store: Store, space: EmbeddingSpace, modality: Modality, total: int, most: int
) -> tuple[Int[np.ndarray, " rows"], Float32[np.ndarray, "rows embed"]]:
    """Sample vectors page by page, so that a large collection is never in memory as a whole."""
    keep = np.arange(total)
    if total > most:
        keep = np.sort(np.random.default_rng(0).choice(total, most, replace=False))
    numbers, rows = [np.empty(0, np.int64)], [np.empty((0, space.dim), np.float32)]
    for start, passages, vectors in _pages(store, space, modality):
        own = keep[(keep >= start) & (keep < start + len(passages))] - start
        numbers.append(passages[own])
        rows.append(vectors[own].astype(np.float32))
    return np.concatenate(numbers), np.concatenate(rows)


def _pages(
    store: Store, space: EmbeddingSpace, modality: Modality
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    start = 0
    for passages, vectors in store.vectors.written_since(space.id, modality, 0):
        yield start, passages, vectors
        start += len(passages)


def _flattened(
    vectors: Float32[np.ndarray, "rows embed"],
) -> tuple[Float64[np.ndarray, "rows 2"], float]:
    """Project rows on their first two principal axes, from -1 to 1; also returns the axes' share of
    the variance."""
    if len(vectors) < 2:
        return np.zeros((len(vectors), 2)), 1.0
    away = (vectors - vectors.mean(axis=0)).astype(np.float64)
    spreads, axes = np.linalg.eigh(away.T @ away)  # ascending; dim x dim, however many rows
    axes, all_of_it = axes[:, :-3:-1], float(spreads.clip(0).sum())
    if axes.shape[1] < 2 or all_of_it < _LEAST:
        return np.zeros((len(vectors), 2)), 1.0
    # An axis may point either way: fix its sign, so that the same data gives the same map
    # everywhere.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    places = away @ axes
    places /= np.maximum(np.abs(places).max(axis=0), _LEAST)
    return places, round(float(spreads[-2:].sum()) / all_of_it, 4)
