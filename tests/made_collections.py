"""Small collections for tests: items with vectors, text and metadata that follow from a number."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from seesay.data.squares import ImageTransformConfig
from seesay.search.catalog.drafts import PassageDraft
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace, EmbeddingSpaceDraft
from seesay.search.reading.files import ReadLimits
from seesay.search.reading.messages import ListedFile, ReadSettings
from seesay.search.reading.process import read
from seesay.search.reading.registry import media_type_of

DIM = 16


def unit_vectors(count: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    """Random float32 vectors of length 1."""
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(count: int, dim: int, seed: int = 0, centres: int = 50) -> np.ndarray:
    """Vectors of length 1 around some centres, which depend on `dim` and `centres` alone."""
    middle = np.random.default_rng(99).standard_normal((centres, dim)).astype(np.float32)
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, dim)).astype(np.float32)
    vectors = middle[rng.integers(0, centres, count)] + noise
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def photo(number: int, **changes: object) -> FileDraft:
    """A photograph; `changes` go to its one unit."""
    return FileDraft(
        path=f"/photos/{number % 3}/{number}.jpg",
        media_type="image",
        content_hash=f"{number:032x}",
        size=1000 + number,
        mtime_ns=number * 1_000_000_000,
        passages=(
            PassageDraft(**{"modality": "image", "metadata": {"number": number}, **changes}),
        ),
    )


def note(name: str, text: str) -> FileDraft:
    """A file that holds this text."""
    return FileDraft(
        path=f"/notes/{name}.txt",
        media_type="text",
        content_hash=f"note {name}",
        size=1,
        mtime_ns=1,
        passages=(PassageDraft(modality="text", text=text),),
    )


def add_space(store: Store, dim: int = DIM, model: str = "small") -> EmbeddingSpace:
    with store.writing("space"):
        return store.spaces.add(
            EmbeddingSpaceDraft(model=model, revision="1", preprocessing="none", dim=dim)
        )


def add_photos(
    store: Store, space: EmbeddingSpace, vectors: np.ndarray, first: int = 0
) -> list[int]:
    """A photograph for each vector; returns the numbers of their units."""
    with store.writing("index"):
        stored = store.files.put([photo(first + number) for number in range(len(vectors))])
        units = [one.passages[0] for one in stored]
        store.vectors.put(space.id, units, vectors)
    return units


@contextmanager
def read_only(folder: Path) -> Iterator[bool]:
    """`folder` cannot be written in the block, not even by root; yields whether that worked."""
    if os.geteuid():
        folder.chmod(0o555)
        try:
            yield True
        finally:
            folder.chmod(0o755)
        return
    if subprocess.run(["mount", "--bind", folder, folder], check=False).returncode:
        yield False
        return
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield True
    finally:
        subprocess.run(["umount", folder], check=True)


def add_files(store: Store, paths: Iterable[Path]) -> None:
    """Files as indexing stores them, whatever else they are names of, without vectors."""
    settings = ReadSettings(
        transform=ImageTransformConfig(), reduce_large=True, limits=ReadLimits()
    )
    results = [
        result
        for path in paths
        for result in read(
            ListedFile(path=str(path), expected=media_type_of(str(path)) or "any"), settings
        )
    ]
    with store.writing("index"):
        store.files.put(
            [
                FileDraft(
                    path=one.path,
                    media_type=one.media_type or one.error.en,
                    content_hash=one.content_hash,
                    size=one.size,
                    mtime_ns=one.mtime_ns,
                    passages=one.passages,
                )
                for one in results
            ]
        )
