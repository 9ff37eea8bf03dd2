"""The vectors of a query's parts: embedded once and cached, or taken from the collection.

A part has a vector in each embedding space in use that can hold one: pictures have none in a text
space.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from seesay.data.images import ImageSource, describe_source
from seesay.errors import CollectionError
from seesay.inference.embedder import Embedder
from seesay.inference.text_embedder import TextEmbedder
from seesay.search.asking.query import Part
from seesay.search.asking.results import PartReport
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.text import Text

_REMEMBERED = 256

Vector = Float32[np.ndarray, " embed"]


@dataclass(frozen=True, eq=False)
class EmbeddedPart:
    part: Part
    vector: Vector
    text: str | None
    """None for a picture."""
    report: PartReport


class PartEmbedder:
    """Embeds the parts of queries. Any number of threads may use it."""

    def __init__(self, store: Store, embedder: Embedder | TextEmbedder) -> None:
        self.embedder = embedder
        self._store = store
        self._known: OrderedDict[object, tuple[Vector, int]] = OrderedDict()
        self._mutex = threading.Lock()

    def embed(self, part: Part, space: EmbeddingSpace) -> EmbeddedPart:
        """Raises ImageError for a picture that cannot be read, CollectionError for a passage that
        has no vector."""
        if part.unit is not None:
            return self._of_passage(part.unit, part, space)
        text = part.text
        shown = describe_source(part.image) if text is None else text
        vector, windows = self._embedded(text, part.image)
        report = PartReport(
            kind="image" if text is None else "text",
            shown=shown,
            weight=part.weight,
            windows=windows,
        )
        return EmbeddedPart(part, vector, text, report)

    def embed_for_texts(self, parts: Iterable[Part], space: EmbeddingSpace) -> list[EmbeddedPart]:
        """Embeds the parts that have a vector in a text space, all but pictures. Returns none
        unless one of them is wanted. Raises as `embed`."""
        parts = [part for part in parts if part.image is None]
        numbers = {part.unit for part in parts if part.unit is not None}
        texts = {p.id for p in self._store.passages.get(numbers) if p.modality == "text"}
        found = [self.embed(part, space) for part in parts if part.text or part.unit in texts]
        return found if any(one.part.weight > 0 for one in found) else []

    def _embedded(self, text: str | None, image: ImageSource | None) -> tuple[Vector, int]:
        key = _key(image) if text is None else text
        with self._mutex:
            known = None if key is None else self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
        if known is None:
            found = (
                self.embedder.embed_images([image])
                if text is None
                else self.embedder.embed_texts([text])
            )
            for failure in found.failures:
                raise failure.error
            known = found.vectors[0], found.windows[0]
            self._remember({key: known})
        return known

    def expect(self, texts: Iterable[str]) -> None:
        """Embed texts that will be searched for soon, all at once: each then takes a quarter of the
        time that it takes alone."""
        with self._mutex:
            fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(fresh) > 1:
            found = self.embedder.embed_texts(fresh)
            embedded = zip(found.rows, found.vectors, found.windows, strict=True)
            self._remember({fresh[row]: (vector, windows) for row, vector, windows in embedded})

    def _of_passage(self, number: int, part: Part, space: EmbeddingSpace) -> EmbeddedPart:
        units = self._store.passages.get([number])
        numbers, vectors = self._store.vectors.get(space.id, [number])
        elsewhere = space.role == "main" and self._store.spaces.active("text") is not None
        if units and not len(numbers) and elsewhere and units[0].modality == "text":
            # The text space has it. In this one, its text finds pictures and captions.
            vector, _ = self._embedded(units[0].text or "", None)
            numbers, vectors = np.array([number]), vector[None]
        if not len(numbers) or not units:
            raise CollectionError(
                Text(
                    f"unit {number} has no vector of {space.model}, expected one of a search's "
                    "hits; search again, since it may have changed",
                    f"条目 {number} 没有 {space.model} 的向量；应为某次搜索结果中的条目；"
                    "它可能已经改变，请重新搜索",
                )
            )
        (unit,) = units
        (item,) = self._store.files.get([unit.file])
        text = None if unit.modality == "image" else unit.text or ""
        report = PartReport(kind="unit", shown=item.path, weight=part.weight)
        return EmbeddedPart(part, vectors[0].astype(np.float32), text, report)

    def _remember(self, embedded: dict[object, tuple[Vector, int]]) -> None:
        with self._mutex:
            self._known.update(embedded)
            self._known.pop(None, None)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _key(image: ImageSource | None) -> object:
    """Returns a key that identifies a picture while it is unchanged; None if computing it would
    take longer than embedding."""
    if isinstance(image, bytes):
        return hashlib.sha256(image).digest()
    if isinstance(image, str | Path):
        try:
            facts = Path(image).stat()
        except (OSError, ValueError):
            return None
        return str(image), facts.st_mtime_ns, facts.st_size
    return None
