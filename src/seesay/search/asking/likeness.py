"""Finds pictures that show the same thing: made smaller, saved again, or rotated by EXIF.

Pixels decide, not a model. With seesay-mini a copy of half the size may have a cosine as low as
0.29, and two different photographs reach 0.97 (benchmarks/duplicates.py), so no cosine threshold
tells copies from other photographs of the same scene. The means of small blocks do: they hardly
change when a picture is made smaller or compressed, and change at once where something in it moves.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Float32, Int, UInt8
from PIL import Image

from seesay.errors import CollectionError, SeesayError
from seesay.inference.cancelling import check_cancelled
from seesay.search.asking.results import Hit
from seesay.search.catalog.metadata import DATE_KEY, Metadata
from seesay.search.catalog.store import Store
from seesay.search.indexing.options import default_workers
from seesay.text import Text

THRESHOLD = 0.98
"""Pictures at least this similar are copies. Among 1,000 photographs copies had at least 0.985,
different photographs at most 0.87, and a shift by one pixel of 224 at most 0.987, usually 0.95."""

_CORRELATION = 0.98  # of fingerprints: copies had at least 0.9968
_FLAT = 16.0  # norm of a uniformly grey fingerprint, up to noise
_TOGETHER = 10_000  # fingerprints that are all compared with each other
_PER_CENTRE = 5_000
_BLOCK_ROWS = 512
_MOST = 12  # candidates per picture: thousands of screenshots may look alike
_SIDE = 512  # pixels, of the thumbnails that are compared
_BLOCK = 16  # pixels
_LEAST_BLOCKS = 6  # along the shorter side, if there are enough pixels
_COLOURS = 8 / 255  # copies: at most 5.4 / 255; a saturation changed by 0.4: usually 16 / 255

ThumbnailOf = Callable[[int, int], bytes]
"""(unit, longest side) -> a picture; raises SeesayError if the file is not the indexed one."""
Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How alike two pictures are."""

    similarity: float
    """1 less the largest difference in brightness between two blocks in the same place (0-1)."""
    same_colours: bool
    """False for a copy in grey, or one whose colours were edited."""


IDENTICAL = Likeness(similarity=1.0, same_colours=True)


@dataclass(frozen=True, kw_only=True)
class FoldedHit:
    """A hit with the later hits that show the same picture."""

    hit: Hit
    copies: tuple[Hit, ...] = ()
    """The same picture in other sizes and formats. Identical files are in `Hit.duplicates`."""

    @property
    def count(self) -> int:
        """The number of other files that show the same picture."""
        others = (self.hit, *self.copies)
        return len(self.copies) + sum(len(hit.duplicates) for hit in others)


def likenesses(
    store: Store, thumbnail: ThumbnailOf, pairs: Sequence[Pair], threshold: float = THRESHOLD
) -> dict[Pair, Likeness]:
    """Returns the pairs of pictures, given by their units, that are at least this similar.
    Photographs that their cameras date at different times are not copies, however similar."""
    taken = {
        unit: known.get(DATE_KEY)
        for unit, known in own_metadata(store, {u for pair in pairs for u in pair}).items()
    }
    asked = [(a, b) for a, b in pairs if not _differ(taken.get(a), taken.get(b))]
    picture = lru_cache(maxsize=64)(partial(_picture, store, thumbnail))
    with ThreadPoolExecutor(default_workers()) as pool:
        found = zip(asked, pool.map(partial(_compared, picture), asked), strict=True)
        return {pair: one for pair, one in found if one and one.similarity >= threshold}


def fold(store: Store, thumbnail: ThumbnailOf, hits: Sequence[Hit]) -> list[FoldedHit]:
    """Returns the hits in order, each picture once. A copy must resemble the hit shown for it, not
    another copy, so no chain of similar pictures reaches one that differs.

    Fingerprints tell in microseconds that two pictures differ; only the remaining pairs are
    compared, by thumbnails."""
    pairs = candidates_among(store, [hit.unit for hit in hits if hit.kind == "image"])
    alike = {frozenset(pair) for pair in likenesses(store, thumbnail, pairs)} if pairs else set()
    copies: dict[int, list[Hit]] = {}
    shown: list[Hit] = []
    for hit in hits:
        first = next((one for one in shown if frozenset((one.unit, hit.unit)) in alike), None)
        if first is None:
            shown.append(hit)
        else:
            copies.setdefault(first.unit, []).append(hit)
    return [FoldedHit(hit=hit, copies=tuple(copies.get(hit.unit, ()))) for hit in shown]


def candidates(pixels: UInt8[np.ndarray, "rows levels"]) -> list[Pair]:
    """Returns pairs of rows whose fingerprints are so similar that the pictures may be copies: at
    most the best _MOST per row."""
    vectors = pixels.astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.where(lengths > _FLAT, vectors / np.maximum(lengths, _FLAT), 0)
    found: set[Pair] = set()
    for rows in _cells(vectors):
        check_cancelled()
        for left, right in _alike(vectors[rows]):
            found.update(zip(rows[left].tolist(), rows[right].tolist(), strict=True))
    return sorted(found)


def candidates_among(store: Store, units: Sequence[int]) -> list[Pair]:
    """Returns the same for those units that have a fingerprint; the first of a pair comes first in
    `units`."""
    prints = store.fingerprints.of_passages(units)
    known = [unit for unit in dict.fromkeys(units) if unit in prints]
    if len(known) < 2:
        return []
    pixels = np.stack([prints[unit] for unit in known])
    return [(known[a], known[b]) for a, b in candidates(pixels)]


def own_metadata(store: Store, units: Iterable[int]) -> dict[int, Metadata]:
    """Returns the metadata from the files of these units themselves, without annotations."""
    units = list(units)
    own, known = store.annotations.own(units), store.metadata.get(units)
    return {n: own[n].metadata_of(known[n]) if n in own else known[n] for n in units}


def compared(one: Image.Image, other: Image.Image) -> Likeness | None:
    """Compare two upright pictures at the size of the smaller; returns None if their shapes
    differ."""
    width, height = min(one.size, other.size, key=lambda size: size[0] * size[1])
    if any(abs(p.width * height - p.height * width) > 2 * max(p.size) for p in (one, other)):
        return None
    side = min(_BLOCK, max(2, min(width, height) // _LEAST_BLOCKS))
    columns, rows = max(width // side, 1), max(height // side, 1)
    shape = (rows, side, columns, side, 3)
    first, second = (
        np.asarray(
            p.convert("YCbCr").resize((columns * side, rows * side), Image.Resampling.LANCZOS),
            np.float32,
        )
        .reshape(shape)
        .mean(axis=(1, 3))
        for p in (one, other)
    )
    difference = np.abs(first - second).max(axis=(0, 1)) / 255
    return Likeness(
        similarity=round(1 - float(difference[0]), 4),
        same_colours=bool(difference[1:].max() <= _COLOURS),
    )


def _compared(picture: Callable[[int], Image.Image], pair: Pair) -> Likeness | None:
    try:
        one, other = map(picture, pair)
    except SeesayError:
        return None  # a file is gone, or is not the indexed one
    return compared(one, other)


def _picture(store: Store, thumbnail: ThumbnailOf, unit: int) -> Image.Image:
    """Returns the unit's picture, or if its file is gone or changed, that of another file with the
    same content."""
    try:
        made = thumbnail(unit, _SIDE)
    except SeesayError:
        made = _of_twin(store, thumbnail, unit)
    with Image.open(io.BytesIO(made)) as image:
        return image.convert("RGB")


def _of_twin(store: Store, thumbnail: ThumbnailOf, unit: int) -> bytes:
    """Raises CollectionError if no file with this content is left."""
    contents = [
        item.content_hash for item in store.files.get(u.file for u in store.passages.get([unit]))
    ]
    twins = [item.id for item in store.files.by_hash(contents)]
    for twin in store.passages.of_files(twins):
        if twin.id != unit:
            with suppress(SeesayError):
                return thumbnail(twin.id, _SIDE)
    raise CollectionError(
        Text(
            f"no file that unit {unit} was indexed from is left as it was, expected one; index "
            "again",
            f"收录条目 {unit} 时的文件都已改变或不在了，至少应有一个保持原样；请重新收录",
        )
    )


def _differ(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other


def _cells(vectors: Float32[np.ndarray, "rows levels"]) -> Iterator[Int[np.ndarray, " some"]]:
    """Yield rows to compare with each other: all, or if there are many, those around the same
    centre. Each row belongs to its two nearest centres, so nearly equal rows meet somewhere."""
    count = len(vectors)
    if count <= _TOGETHER:
        yield np.arange(count)
        return
    rng = np.random.default_rng(0)
    centres = vectors[rng.choice(count, -(-count // _PER_CENTRE), replace=False)]
    nearest = np.concatenate(
        [
            np.argpartition(-(vectors[at : at + _TOGETHER] @ centres.T), 1, axis=1)[:, :2]
            for at in range(0, count, _TOGETHER)
        ]
    )
    for number in range(len(centres)):
        yield np.flatnonzero((nearest == number).any(axis=1))


def _alike(
    vectors: Float32[np.ndarray, "rows levels"],
) -> Iterator[tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]]:
    """Yield pairs of rows of a cell, a block of rows at a time; the first of a pair is the
    smaller."""
    for start in range(0, len(vectors), _BLOCK_ROWS):
        scores = vectors[start : start + _BLOCK_ROWS] @ vectors[start:].T
        left, right = np.nonzero(np.triu(scores, 1) >= _CORRELATION)
        order = np.lexsort((-scores[left, right], left))
        left, right = left[order], right[order]
        first = np.searchsorted(left, left)  # where the pairs of the same row begin
        use = np.arange(len(left)) - first < _MOST
        yield start + left[use], start + right[use]
