"""The result of embedding: vectors, and the inputs that have none."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from seesay.errors import SeesayError


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One input that has no vector."""

    index: int
    """Which input it was, counted from 0."""
    source: str
    """Its path, or its type."""
    error: SeesayError
    """Why; its text is for people to read."""


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """Unit vectors in the order of the inputs. Inputs that failed have no row."""

    vectors: Float[np.ndarray, "rows embed"]
    """Float32, each of length one, so that a dot product is a cosine."""
    rows: tuple[int, ...]
    """For each vector the index of its input."""
    failures: tuple[Failure, ...] = ()
    """The inputs without a vector, in order."""
    sources: tuple[str, ...] = ()
    """For each vector of a picture its path, or its type."""
    windows: tuple[int, ...] = ()
    """For each vector how many parts of its input were averaged: 1, or more for a long text."""

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        rows, dim = self.vectors.shape
        return f"Embeddings({rows} x {dim}, {len(self.failures)} failed)"

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> Float[np.ndarray, "rows embed"]:
        return np.array(self.vectors, dtype=dtype, copy=copy)


FINGERPRINTED = 16
"""How many numbers of every parameter `fingerprint` reads, in bfloat16."""


def fingerprint(
    weights: Iterable[tuple[str, tuple[int, ...], Float[np.ndarray, " some"]]],
) -> str:
    """A hash of names, shapes and first numbers, in the order of the names."""
    digest = hashlib.sha256()
    for name, shape, some in weights:
        digest.update(f"{name} {shape}".encode() + some.tobytes())
    return f"weights {digest.hexdigest()[:16]}"


def mean_of_windows(
    vectors: Float[np.ndarray, "windows embed"], owners: Int[np.ndarray, " windows"], texts: int
) -> Float[np.ndarray, "texts embed"]:
    """The unit vector of each text from those of its windows; `owners` ascends."""
    sums = np.zeros((texts, vectors.shape[1]), np.float32)
    np.add.at(sums, owners, vectors)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def join(parts: Sequence[Embeddings], dim: int) -> Embeddings:
    """One result from consecutive ones; `dim` is the width when there are none."""
    vectors = [part.vectors for part in parts] or [np.empty((0, dim), dtype=np.float32)]
    return Embeddings(
        vectors=np.concatenate(vectors),
        rows=tuple(row for part in parts for row in part.rows),
        failures=tuple(failure for part in parts for failure in part.failures),
        sources=tuple(source for part in parts for source in part.sources),
        windows=tuple(count for part in parts for count in part.windows),
    )
