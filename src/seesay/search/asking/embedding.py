"""The vectors of a query's parts: embedded once, remembered, or taken from the collection."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from seesay.data.images import ImageSource, describe_source
from seesay.errors import CollectionError
from seesay.inference.embedder import Embedder, Embeddings
from seesay.inference.text_embedder import TextEmbedder
from seesay.search.asking.asking import Part
from seesay.search.asking.results import PartReport
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space
from seesay.text import Language, detect_language

REMEMBERED = 256


class Embedded:
    """A part of a query with its direction."""

    def __init__(
        self,
        part: Part,
        vector: Float32[np.ndarray, " embed"],
        text: str | None,
        report: PartReport,
    ) -> None:
        """`text` is None for a picture."""
        self.part, self.vector, self.text, self.report = part, vector, text, report
        self.language: Language | None = None if text is None else detect_language(text)


class PartEmbedder:
    """Embeds parts of queries. Any number of threads may use it."""

    def __init__(self, store: Store, embedder: Embedder | TextEmbedder) -> None:
        self.embedder = embedder
        self._store = store
        self._known: OrderedDict[object, tuple[Float32[np.ndarray, " embed"], int]] = OrderedDict()
        self._mutex = threading.Lock()

    def embed(self, part: Part, space: Space) -> Embedded:
        """Raises ImageError for a picture that cannot be read, CollectionError for a unit that has
        no vector."""
        if part.unit is not None:
            return self._of_unit(part, space)
        if part.image is not None:
            vector, _ = self._remembered(_key(part.image), part)
            shown, windows = describe_source(part.image), 1
        else:
            vector, windows = self._remembered(part.text, part)
            shown = str(part.text)
        report = PartReport(
            kind="text" if part.text is not None else "image",
            shown=shown,
            weight=part.weight,
            windows=windows,
        )
        return Embedded(part, vector, part.text, report)

    def expect(self, texts: Iterable[str]) -> None:
        """Embed texts that are asked for in a moment, all at once: together each takes a quarter of
        what it takes alone."""
        with self._mutex:
            fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(fresh) < 2:
            return
        found = self.embedder.embed_texts(fresh)
        with self._mutex:
            for row, vector, windows in zip(found.rows, found.vectors, found.windows, strict=True):
                self._remember(fresh[row], (vector, windows))

    def _of_unit(self, part: Part, space: Space) -> Embedded:
        assert part.unit is not None
        numbers, vectors = self._store.vectors.get(space.id, [part.unit])
        if not len(numbers):
            raise CollectionError(
                f"unit {part.unit} has no vector of {space.model}, expected one of a search's "
                "hits; search again, since it may have changed"
            )
        (unit,) = self._store.units.get([part.unit])
        (item,) = self._store.items.get([unit.item])
        text = None if unit.modality == "image" else unit.text or ""
        report = PartReport(kind="unit", shown=item.path, weight=part.weight)
        return Embedded(part, vectors[0].astype(np.float32), text, report)

    def _remembered(self, key: object, part: Part) -> tuple[Float32[np.ndarray, " embed"], int]:
        with self._mutex:
            if key is not None and key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = self._made(part)
        result = found.vectors[0], found.windows[0]
        if key is not None:
            with self._mutex:
                self._remember(key, result)
        return result

    def _remember(self, key: object, result: tuple[Float32[np.ndarray, " embed"], int]) -> None:
        self._known[key] = result
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _made(self, part: Part) -> Embeddings:
        if part.image is not None:
            found = self.embedder.embed_images([part.image])
        else:
            found = self.embedder.embed_texts([str(part.text)])
        for failure in found.failures:
            raise failure.error
        return found


def _key(image: ImageSource) -> object:
    """What a picture is known by while it stays the same; None where that would take longer than
    looking at it."""
    if isinstance(image, bytes):
        return hashlib.sha256(image).digest()
    if isinstance(image, str | Path):
        try:
            facts = Path(image).stat()
        except (OSError, ValueError):
            return None
        return str(image), facts.st_mtime_ns, facts.st_size
    return None
