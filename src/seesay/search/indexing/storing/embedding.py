"""What was read -> vectors: batches side by side, in order, and no content twice."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seesay.inference.embedder import Embedder
from seesay.search.catalog.store import Store
from seesay.search.indexing.storing.known import vectors_of_contents
from seesay.search.reading.messages import Outcome

_MOST_TEXTS = 256  # pieces in a batch
_MOST_FILES = 64  # in a batch, those without anything to embed included


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """A file that was read, with the vectors of its units."""

    outcome: Outcome
    vectors: Float[np.ndarray, "units embed"] | None
    """None where nothing is to be stored, or where the vectors of the same content are used."""


class Embedding:
    """Embeds the outcomes of one run."""

    def __init__(self, store: Store, embedder: Embedder, space: int) -> None:
        self._store = store
        self._embedder = embedder
        self._space = space
        self._underway: set[str] = set()
        self._most = embedder.images_per_batch

    def of(self, outcomes: Iterable[Outcome]) -> Iterator[Embedded]:
        """In the order of the outcomes."""
        for batch in self._embedder.map_in_order(self._embed, self._batches(outcomes)):
            yield from batch

    def stored(self, hashes: Iterable[str]) -> None:
        """From now on the collection itself knows these contents."""
        self._underway.difference_update(hashes)

    def _batches(self, outcomes: Iterable[Outcome]) -> Iterator[list[tuple[Outcome, bool]]]:
        batch: list[Outcome] = []
        images = texts = 0
        for outcome in outcomes:
            batch.append(outcome)
            images += bool(outcome.square)
            texts += len(outcome.units) if outcome.kind == "text" else 0
            if images >= self._most or texts >= _MOST_TEXTS or len(batch) >= _MOST_FILES:
                yield self._marked(batch)
                batch, images, texts = [], 0, 0
        if batch:
            yield self._marked(batch)

    def _marked(self, batch: list[Outcome]) -> list[tuple[Outcome, bool]]:
        """With each, whether it is to be embedded: the first of its content, that is not stored."""
        wanted = {o.content_hash or "" for o in batch if o.square or o.kind == "text"}
        known = vectors_of_contents(self._store, self._space, wanted)
        marked = []
        for outcome in batch:
            content = outcome.content_hash or ""
            new = content in wanted and content not in known and content not in self._underway
            marked.append((outcome, new and bool(outcome.square or outcome.kind == "text")))
            if new:
                self._underway.add(content)
        return marked

    def _embed(self, batch: list[tuple[Outcome, bool]]) -> list[Embedded]:
        new = [outcome for outcome, is_new in batch if is_new]
        pictures = [outcome for outcome in new if outcome.kind == "image"]
        texts = [unit.text or "" for o in new if o.kind == "text" for unit in o.units]
        of_pictures = iter(self._images(pictures))
        of_texts = self._embedder.embed_texts(texts).vectors if texts else ()
        at, found = 0, []
        for outcome, is_new in batch:
            vectors = None
            if is_new and outcome.kind == "image":
                vectors = next(of_pictures)[None]
            elif is_new:
                vectors = of_texts[at : at + len(outcome.units)]
                at += len(outcome.units)
            found.append(Embedded(outcome=_without_pixels(outcome), vectors=vectors))
        return found

    def _images(self, pictures: list[Outcome]) -> Float[np.ndarray, "images embed"]:
        if not pictures:
            return np.empty((0, self._embedder.dim), np.float32)
        shape = self._embedder.transform_config.shape
        joined = bytearray().join(picture.square for picture in pictures)
        pixels = np.frombuffer(joined, dtype=np.uint8)
        return self._embedder.encoder.images(pixels.reshape(len(pictures), *shape, 3))


def _without_pixels(outcome: Outcome) -> Outcome:
    return Outcome(**{**vars(outcome), "square": b""})
