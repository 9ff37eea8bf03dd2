"""What a score means: the vectors of everyday things, which a query's scores are held against.

For words these are some 200 plain nouns in the language of the query, each in a few sentences; for
a picture they are other pictures of the collection. Embedding the words takes a large model some
seconds, so their vectors are kept in the user's cache folder, and embedded again where the first of
them no longer comes out the same.
"""

import hashlib
import threading
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from seesay.data.atomic import write_whole
from seesay.errors import DataError
from seesay.inference.cancelling import never_cancelled
from seesay.inference.classifier import PLAIN, ensemble
from seesay.inference.embedder import Embedder
from seesay.inference.prompts import Language, concepts, fill, templates
from seesay.inference.text_embedder import TextEmbedder
from seesay.search.store.keywords import cache_folder


class Everyday:
    """Vectors of everyday words. Any number of threads may use it."""

    def __init__(self, embedder: Embedder | TextEmbedder, folder: Path | None = None) -> None:
        self._embedder = embedder
        self._folder = folder or cache_folder() / "everyday"
        self._known: dict[str, Float32[np.ndarray, "words embed"]] = {}
        self._mutex = threading.Lock()

    def vectors(self, language: Language) -> Float32[np.ndarray, "words embed"]:
        """One vector for each word."""
        with self._mutex:
            if language not in self._known:
                with never_cancelled():  # every later search uses them
                    self._known[language] = self._read_or_made(language)
            return self._known[language]

    def _read_or_made(self, language: Language) -> Float32[np.ndarray, "words embed"]:
        sentences = [
            [fill(template, word) for template in templates(language)[:PLAIN]]
            for word in concepts(language)
        ]
        facts = [self._embedder.name, self._embedder.revision, *chain(*sentences)]
        name = hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:24]
        file = self._folder / f"{name}.npy"
        kept = _read(file, (len(sentences), self._embedder.dim))
        if kept is not None:
            first = ensemble(self._embedder, sentences[:1])
            if float((first[0] * kept[0]).sum()) > _SAME:
                return kept
        vectors = ensemble(self._embedder, sentences).astype(np.float32)
        with suppress(OSError, DataError):  # no room or no right: it is embedded again next time
            self._folder.mkdir(parents=True, exist_ok=True)
            with write_whole(file) as unfinished, unfinished.open("wb") as stream:
                np.save(stream, vectors)
        return vectors


_SAME = 0.9999


def _read(file: Path, shape: tuple[int, int]) -> Float32[np.ndarray, "words embed"] | None:
    try:
        vectors = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return vectors if vectors.shape == shape and vectors.dtype == np.float32 else None
