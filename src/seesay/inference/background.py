"""A background vocabulary: everyday words and scenes whose embeddings put a cosine into context.

The cosine of a text with pictures that do not show it depends on the model, the language and the
text itself: over the same photographs, seesay-mini averages 0.16 for "person" and -0.01 for "dog".
A model comes without pictures to measure this on, but captions do as well: the cosines of a word
with a hundred captions predict its cosines with photographs. With seesay-mini, 1,000 photographs
and 150 words, the predicted mean over photographs that do not show the word is off by 0.04; the
words themselves differ by up to 0.15.

Single words also share a component that says nothing about their meaning. Removing three quarters
of it raises the mean average precision of single-word searches from 0.68 to 0.71.
"""

import hashlib
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from jaxtyping import Float32
from safetensors import safe_open
from safetensors.numpy import save_file

from seesay.data.files import write_whole
from seesay.errors import DataError
from seesay.inference.cancelling import never_cancelled
from seesay.inference.prompts import concepts, scenes
from seesay.text import Language
from seesay.weights.catalog import find

if TYPE_CHECKING:
    from seesay.inference.embedder import Embedder
    from seesay.inference.text_embedder import TextEmbedder

_REMOVED = 0.75  # of the shared component; anything from 0.5 to 1 does about as well
_NULL_QUANTILE = 0.15  # of the cosines with all scenes: most scenes do not show the word
_MATCHES = 3  # scenes assumed to show a word
_SELF = 0.999  # the cosine of a text with itself
SMALLEST = 1e-6  # replaces a spread of 0, which an untrained model may have

BUILT_IN_FILE = "background.safetensors"
"""In the folder of a built-in model: the vectors of both languages, by key."""

Vectors = Float32[np.ndarray, "texts embed"]


class Background:
    """The background vocabulary of one language, as unit vectors of one model."""

    def __init__(
        self,
        words: Float32[np.ndarray, "words embed"],
        scenes: Float32[np.ndarray, "scenes embed"],
    ) -> None:
        self.scenes = scenes
        self._every = np.concatenate([words, scenes])
        mean = words.mean(axis=0)
        # The direction that all words share, and the words without it.
        self.shared: Float32[np.ndarray, " embed"] = (
            mean / max(float(np.linalg.norm(mean)), SMALLEST)
        ).astype(np.float32)
        self.directions = self.without_shared(words)
        # The cosine of each word with scenes that do not show it, and the spread of the cosines
        # that one word has with all scenes.
        self.word_nulls, _ = self.levels(self.directions)
        cosines = self.directions @ scenes.T
        self.spread = robust_spread(cosines - quantile(cosines, 0.5)[:, None])

    def without_shared(
        self, text: Float32[np.ndarray, "*texts embed"]
    ) -> Float32[np.ndarray, "*texts embed"]:
        """Returns the vectors with most of the shared component removed; they are shorter than
        1."""
        length = np.einsum("...j,j->...", text, self.shared)[..., None]
        return (text - _REMOVED * length * self.shared).astype(np.float32)

    def levels(
        self, vectors: Vectors
    ) -> tuple[Float32[np.ndarray, " texts"], Float32[np.ndarray, " texts"]]:
        """Returns the cosine of each text with scenes that do not show it, and with the nearest
        scenes."""
        cosines = np.einsum("ij,kj->ik", vectors, self.scenes)
        nearest = np.sort(cosines, axis=1)[:, -_MATCHES:]
        return quantile(cosines, _NULL_QUANTILE), nearest.mean(axis=1)

    @cached_property
    def centre(self) -> Float32[np.ndarray, " embed"]:
        """The mean of all words and scenes."""
        mean: Float32[np.ndarray, " embed"] = self._every.mean(axis=0)
        return mean

    @cached_property
    def spread_of_texts(self) -> float:
        """The standard deviation of the cosines between scenes and all texts here, around the
        mean of each scene."""
        cosines = self.scenes @ self._every.T
        own = cosines > _SELF
        return max(float((cosines - cosines.mean(axis=1, keepdims=True))[~own].std()), SMALLEST)

    @cached_property
    def between_scenes(self) -> Float32[np.ndarray, " pairs"]:
        """The cosines between different scenes."""
        cosines: Float32[np.ndarray, "scenes scenes"] = self.scenes @ self.scenes.T
        return cosines[np.triu_indices(len(self.scenes), 1)]


def robust_spread(deviations: Float32[np.ndarray, "..."]) -> float:
    """Estimates the standard deviation from the median absolute deviation, which ignores
    outliers."""
    return max(1.4826 * median(np.abs(deviations)), SMALLEST)


def median(values: Float32[np.ndarray, "..."]) -> float:
    return float(quantile(values.ravel(), 0.5))


def quantile(
    values: Float32[np.ndarray, "*rows columns"], share: float
) -> Float32[np.ndarray, "*rows"]:
    """Quantile along the last axis. `np.quantile` and `np.median` do the same, but import numpy.ma,
    which takes longer than a whole search."""
    last = values.shape[-1] - 1
    low = int(share * last)
    high = min(low + 1, last)
    ordered = np.partition(values, (low, high), axis=-1)
    below, above = ordered[..., low], ordered[..., high]
    return np.asarray(below + np.float32(share * last - low) * (above - below))


class Backgrounds:
    """The background vocabularies of a model, embedded at first use. Thread-safe. With a `folder`,
    the vectors are kept on disk for other processes, or read from the files of a built-in model."""

    def __init__(self, embedder: "Embedder | TextEmbedder", folder: Path | None = None) -> None:
        self._embedder = embedder
        self._folder = folder
        self._known: dict[Language, Background] = {}
        self._mutex = threading.Lock()

    def of(self, language: Language) -> Background:
        with self._mutex:
            if language not in self._known:
                words, sentences = concepts(language), scenes(language)
                with never_cancelled():  # every later search uses it
                    vectors = self._vectors([*words, *sentences])
                self._known[language] = Background(vectors[: len(words)], vectors[len(words) :])
            return self._known[language]

    def _vectors(self, texts: list[str]) -> Vectors:
        """Embeds the texts, which takes a large model some seconds, or reads their vectors from
        disk."""
        if self._folder is None:
            return self._embed(texts)
        key = key_of(self._embedder, texts)
        if (known := _built_in(self._embedder.name, key)) is not None:
            return known
        file = self._folder / f"{key}.npy"
        with suppress(OSError, ValueError, EOFError):  # not there yet, or damaged
            known = np.load(file, allow_pickle=False)
            if known.shape == (len(texts), self._embedder.dim) and known.dtype == np.float32:
                return known
        vectors = self._embed(texts)
        with suppress(OSError, DataError):  # disk full or not writable: embedded again next time
            self._folder.mkdir(parents=True, exist_ok=True)
            with write_whole(file) as unfinished, unfinished.open("wb") as stream:
                np.save(stream, vectors)
        return vectors

    def _embed(self, texts: list[str]) -> Vectors:
        return self._embedder.embed_texts(texts).vectors.astype(np.float32)


def key_of(embedder: "Embedder | TextEmbedder", texts: Sequence[str]) -> str:
    """Identifies the vectors of texts: other weights or another tokenizer have another key."""
    tokenizer = embedder.tokenizer
    facts = [
        embedder.name,
        embedder.revision or embedder.fingerprint(),
        f"{tokenizer.config} {tokenizer.vocab_size}",
        *texts,
    ]
    return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def write_built_in(embedder: "Embedder", folder: Path) -> None:
    """Writes BUILT_IN_FILE for a model that is to come with seesay: its first search then embeds
    the query alone."""
    texts = [[*concepts(language), *scenes(language)] for language in get_args(Language)]
    vectors = {key_of(embedder, some): embedder.embed_texts(some).vectors for some in texts}
    file = folder / BUILT_IN_FILE
    save_file({key: some.astype(np.float16) for key, some in vectors.items()}, file)
    file.chmod(0o644)  # else nobody else may read it


def _built_in(name: str, key: str) -> Vectors | None:
    """Returns vectors that came with a model."""
    entry = find(name)
    folder = None if entry is None else entry.built_in
    if folder is None or not (folder / BUILT_IN_FILE).is_file():
        return None
    with safe_open(folder / BUILT_IN_FILE, framework="numpy") as file:
        if key not in file.keys():  # noqa: SIM118 - it is no dict
            return None
        vectors: Vectors = file.get_tensor(key).astype(np.float32)
    return vectors
