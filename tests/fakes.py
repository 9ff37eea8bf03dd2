"""An embedder whose vectors mean something: a picture of a dog lies near texts with "dog" in them.

It learns nothing and reads no file: the picture of a thing is the file's name ("dog-3.jpg").
"""

import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from seesay.errors import ImageError
from seesay.inference.embedder import Embedder, Embeddings, Failure

DIM = 512
CHINESE = {"狗": "dog", "猫": "cat", "马": "horse", "车": "car", "鱼": "fish"}


class FakeEmbedder(Embedder):
    """`level` is the cosine that any picture has with any text, as real models have one."""

    def __init__(self, *, level: float = 0.0, scale: float = 100.0, bias: float | None = None):
        self.name, self.dim = "fake", DIM
        self.scale, self.bias = scale, bias
        self.level = level
        self.texts: list[str] = []

    def embed_texts(self, texts: Iterable[str], **_: object) -> Embeddings:
        texts = list(texts)
        self.texts += texts
        vectors = [self._lift(_unit(_words(text).sum(axis=0))) for text in texts]
        return Embeddings(
            vectors=_stack(vectors), rows=tuple(range(len(texts))), windows=(1,) * len(texts)
        )

    def embed_images(self, images: Iterable[object], *, on_progress=None) -> Embeddings:
        images = list(images)
        names = [Path(str(image)).stem for image in images]
        rows = [i for i, name in enumerate(names) if not name.startswith("broken")]
        failures = tuple(
            Failure(index=i, source=str(images[i]), error=ImageError(f"{images[i]}: is broken."))
            for i in sorted(set(range(len(images))) - set(rows))
        )
        vectors = [self._lift(self._picture(names[row])) for row in rows]
        if on_progress:
            on_progress(len(images), len(images), len(failures))
        return Embeddings(
            vectors=_stack(vectors),
            rows=tuple(rows),
            failures=failures,
            windows=(1,) * len(rows),
        )

    def _picture(self, name: str) -> np.ndarray:
        thing = _words(name.split("-")[0]).sum(axis=0)
        return _unit(0.6 * _unit(thing) + 0.8 * _unit(_random(f"noise of {name}")))

    def _lift(self, vector: np.ndarray) -> np.ndarray:
        """A direction that all share, with a weight that gives any two the cosine `level` more."""
        shared = np.eye(1, DIM)[0]
        vector = _unit(np.where(shared > 0, 0, vector))
        return (np.sqrt(self.level) * shared + np.sqrt(1 - self.level) * vector).astype(np.float32)


def _words(text: str) -> np.ndarray:
    if any("\u4e00" <= character <= "\u9fff" for character in text):
        parts: Sequence[str] = [c for c in text if "\u4e00" <= c <= "\u9fff"]
    else:
        parts = text.lower().replace("_", " ").split()
    meant = [CHINESE.get(part, part) for part in parts]
    return np.stack([_random(part) for part in meant or ["nothing"]])


@cache
def _random(seed: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(seed.encode())).standard_normal(DIM)


def _stack(vectors: list[np.ndarray]) -> np.ndarray:
    return np.stack(vectors) if vectors else np.empty((0, DIM), np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
