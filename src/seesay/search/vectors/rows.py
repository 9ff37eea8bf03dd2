"""Unit vectors in half precision, scanned exactly.

They are in memory, mapped from a file, or, if an engine holds them on its server, in the
collection's own file. They are never copied or widened as a whole: FAISS computes on half precision
directly. All scores come from the same kernel, so equal vectors get equal scores to the last bit,
however a row was found.

Without FAISS, numpy does the same several times slower. numpy also serves small collections while
FAISS is not loaded: loading it takes longer than one such search.
"""

import sys
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int, UInt8

from seesay.errors import MissingExtraError
from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.vectors import EmbeddingSpace, Vectors
from seesay.search.vectors.pushdown import Expression

_FEW = 0.05  # copying a smaller part of the rows out is faster than skipping the others
_COPIED_AT_ONCE = 16_384
_SCORED_AT_ONCE = 256  # FAISS sorts what it returns, which is slow for thousands
_SMALL = 20_000  # rows that numpy scans in about the time that loading FAISS takes
_WIDENED_AT_ONCE = 4096  # rows, for numpy

ScoredRows = tuple[Int[np.ndarray, " found"], Float32[np.ndarray, " found"]]
"""Row numbers, and the inner product of each row with the query."""


@dataclass(frozen=True)
class Allowed:
    """The rows that a search may return. One object serves all searches with the same filter, so an
    engine may cache derived data in `kept`."""

    mask: Bool[np.ndarray, " rows"]
    count: int
    expression: Expression | None = None
    """The filter behind the mask, for an engine that can apply it."""
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The allowed share of all rows, 0 to 1."""
        return self.count / max(len(self.mask), 1)

    @cached_property
    def bits(self) -> UInt8[np.ndarray, " bytes"]:
        """The mask with one bit per row, lowest bit first."""
        return np.packbits(self.mask, bitorder="little")

    @cached_property
    def numbers(self) -> Int[np.ndarray, " allowed"]:
        """The allowed rows, ascending."""
        return np.flatnonzero(self.mask)


@dataclass(eq=False)
class Rows:
    """Unit vectors by row number. Any number of threads may use them at once."""

    vectors: Float16[np.ndarray, "rows embed"]

    @cached_property
    def _codes(self) -> UInt8[np.ndarray, "rows bytes"]:
        return self.vectors.view(np.uint8)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self.vectors.shape[1]

    def take(self, numbers: Int[np.ndarray, " taken"]) -> Float16[np.ndarray, "taken embed"]:
        """The vectors of these rows."""
        return self.vectors[numbers]

    @cached_property
    def flat(self) -> Any:
        """Returns all rows as a FAISS index, which reads them in place and must not outlive this
        object."""
        index = empty_index(self.dim)
        _lend(index, self._codes)
        return index

    def score(
        self, query: Float32[np.ndarray, " embed"], numbers: Int[np.ndarray, " found"]
    ) -> Float32[np.ndarray, " found"]:
        """The inner product of the query with each of these rows."""
        if self._by_numpy:
            return _products(self.vectors[numbers], query)
        scores = np.empty(len(numbers), np.float32)
        for start in range(0, len(numbers), _SCORED_AT_ONCE):
            some = numbers[start : start + _SCORED_AT_ONCE]
            found, order = self._copied(some).search(query[None], len(some))
            scores[start + order[0]] = found[0]
        return scores

    def best(
        self,
        query: Float32[np.ndarray, " embed"],
        count: int,
        allowed: Allowed | None = None,
    ) -> ScoredRows:
        """Returns the nearest `count` allowed rows and their scores, in no order; more if others
        tie with the last one."""
        if self._by_numpy:
            numbers = np.arange(len(self)) if allowed is None else allowed.numbers
            rows = self.vectors if allowed is None else self.vectors[numbers]
            return _cut(numbers, _products(rows, query), count)
        if allowed is not None and allowed.count < max(_FEW * len(self), _SCORED_AT_ONCE):
            return self._best_of_copied(query, count, allowed.numbers)
        in_this_thread()
        return _nearest(self.flat, query, count, allowed)

    @property
    def _by_numpy(self) -> bool:
        return sys.modules.get("faiss") is None and (len(self) <= _SMALL or not load_faiss())

    def _best_of_copied(
        self,
        query: Float32[np.ndarray, " embed"],
        count: int,
        allowed: Int[np.ndarray, " allowed"],
    ) -> ScoredRows:
        numbers, scores = np.empty(0, np.int64), np.empty(0, np.float32)
        for start in range(0, len(allowed), _COPIED_AT_ONCE):
            some = allowed[start : start + _COPIED_AT_ONCE]
            found, of_found = _nearest(self._copied(some), query, count, None)
            numbers = np.concatenate([numbers, some[found]])
            scores = np.concatenate([scores, of_found])
        return _cut(numbers, scores, count)

    def _copied(self, numbers: Int[np.ndarray, " found"]) -> Any:
        """Returns an index of some rows, valid until this thread's next call. Copies them to memory
        that is reused: allocating a megabyte per query took ten times as long as the rest.
        """
        size = len(numbers) * self._codes.shape[1]
        if len(getattr(_SCRATCH, "memory", ())) < size:
            _SCRATCH.memory = np.empty(size, np.uint8)
        copied = _SCRATCH.memory[:size].reshape(len(numbers), self._codes.shape[1])
        np.take(self._codes, numbers, axis=0, out=copied, mode="clip")  # "raise" would buffer it
        index = empty_index(self.dim)
        _lend(index, copied)
        return index


_SCRATCH = threading.local()


class StoredRows:
    """Unit vectors read on demand from the collection's file, with rows in ascending order of their
    passages. Within one snapshot, any number of threads may use them at once."""

    def __init__(
        self,
        vectors: Vectors,
        space: EmbeddingSpace,
        modality: Modality,
        units: Int[np.ndarray, " rows"],
    ) -> None:
        self.units = units
        self.dim = space.dim
        """The length of a vector."""
        self._vectors = vectors
        self._space = space.id
        self._modality = modality

    def __len__(self) -> int:
        return len(self.units)

    def numbers_of(self, units: Int[np.ndarray, " units"]) -> Int[np.ndarray, " known"]:
        """Returns the rows of the passages that have one."""
        places = np.searchsorted(self.units, units)
        known = places < len(self.units)
        known[known] = self.units[places[known]] == units[known]
        return places[known]

    def take(self, numbers: Int[np.ndarray, " taken"]) -> Float16[np.ndarray, "taken embed"]:
        """Returns the vectors of these rows; zeros for those that are gone."""
        wanted = self.units[numbers]
        stored, vectors = self._vectors.get(self._space, wanted.tolist(), modality=self._modality)
        taken = np.zeros((len(wanted), self.dim), np.float16)
        if len(stored):
            places = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
            there = stored[places] == wanted
            taken[there] = vectors[places[there]].astype(np.float16)
        return taken

    def score(
        self, query: Float32[np.ndarray, " embed"], numbers: Int[np.ndarray, " found"]
    ) -> Float32[np.ndarray, " found"]:
        """The inner product of the query with each of these rows."""
        self._choose_kernel()
        return Rows(self.take(numbers)).score(query, np.arange(len(numbers)))

    def best(
        self,
        query: Float32[np.ndarray, " embed"],
        count: int,
        allowed: Allowed | None = None,
    ) -> ScoredRows:
        """Like `Rows.best`, but reads one page at a time."""
        self._choose_kernel()
        candidates = np.arange(len(self)) if allowed is None else allowed.numbers
        numbers, scores = np.empty(0, np.int64), np.empty(0, np.float32)
        for start in range(0, len(candidates), _COPIED_AT_ONCE):
            some = candidates[start : start + _COPIED_AT_ONCE]
            found, of_found = Rows(self.take(some)).best(query, count)
            numbers = np.concatenate([numbers, some[found]])
            scores = np.concatenate([scores, of_found])
        return _cut(numbers, scores, count)

    def _choose_kernel(self) -> None:
        """Score all pages with FAISS if there are enough rows in total to justify loading it."""
        if len(self) > _SMALL:
            load_faiss()


def empty_index(dim: int) -> Any:
    """Returns an empty FAISS index that stores half precision and compares by inner product."""
    faiss = in_this_thread()
    kind = faiss.ScalarQuantizer.QT_fp16
    return faiss.IndexScalarQuantizer(dim, kind, faiss.METRIC_INNER_PRODUCT)


def selector(allowed: Allowed) -> Any:
    """Restrict a FAISS search to the allowed rows."""
    if "selector" not in allowed.kept:
        faiss = import_faiss()
        # FAISS stores only the address of the bits, which `allowed` keeps alive.
        bits = faiss.swig_ptr(allowed.bits)
        allowed.kept["selector"] = faiss.IDSelectorBitmap(len(allowed.bits), bits)
    return allowed.kept["selector"]


def import_faiss() -> Any:
    """Import FAISS. Raises MissingExtraError if it is not installed."""
    try:
        import faiss
    except ModuleNotFoundError:
        raise MissingExtraError("faiss-cpu", "search") from None
    return faiss


def load_faiss() -> bool:
    """Load FAISS if it is installed; for programs that search more than once."""
    try:
        import_faiss()
    except MissingExtraError:
        return False
    return True


def in_this_thread() -> Any:
    """Returns FAISS limited to the calling thread: one query is too short for several threads."""
    faiss = import_faiss()
    faiss.omp_set_num_threads(1)
    return faiss


def _lend(index: Any, codes: np.ndarray) -> None:
    """Let an index read rows in place, as FAISS does for files that it maps itself. The caller
    keeps `codes` alive."""
    start = import_faiss().swig_ptr(codes)
    held = index.codes
    held.is_owned = False
    held.view_data = held.c_ptr = start
    held.view_size = held.c_size = codes.size
    index.ntotal = len(codes)


def _nearest(
    index: Any,
    query: Float32[np.ndarray, " embed"],
    count: int,
    allowed: Allowed | None,
) -> ScoredRows:
    """Returns the nearest `count` rows of an index, and all that tie with the last one."""
    possible = index.ntotal if allowed is None else allowed.count
    only = None if allowed is None else import_faiss().SearchParameters(sel=selector(allowed))
    wanted = min(count, possible)
    scores, numbers = np.empty(0, np.float32), np.empty(0, np.int64)
    while len(scores) < possible and (len(scores) < count or scores[-1] == scores[count - 1]):
        wanted = min(2 * wanted, possible)
        (scores,), (numbers,) = index.search(query[None], wanted, params=only)
    return _cut(numbers, scores, count)


def _products(
    rows: Float16[np.ndarray, "rows embed"], query: Float32[np.ndarray, " embed"]
) -> Float32[np.ndarray, " rows"]:
    """Returns inner products, summed row by row: a matrix product may round equal rows
    differently."""
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _WIDENED_AT_ONCE):
        some = slice(start, start + _WIDENED_AT_ONCE)
        scores[some] = (rows[some].astype(np.float32) * query).sum(axis=1)
    return scores


def _cut(
    numbers: Int[np.ndarray, " given"], scores: Float32[np.ndarray, " given"], count: int
) -> ScoredRows:
    """Returns the best `count`, and all that tie with the last one."""
    if len(scores) <= count:
        return numbers, scores
    kept = scores >= np.partition(scores, -count)[-count]
    return numbers[kept], scores[kept]
