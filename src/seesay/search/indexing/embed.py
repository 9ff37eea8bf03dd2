"""Embeds files that were read: batches in parallel, results in order, no content twice.

Every passage is embedded once: text passages by the collection's text embedder, if it has one, and
everything else by its main model.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from seesay.inference.embedder import Embedder
from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.search.model import draft_of
from seesay.search.reading.messages import Passage, ReadResult

Vectors = Float[np.ndarray, "passages embed"]
Rows = Sequence[Float[np.ndarray, " _embed"]]
"""One vector for each passage; those of texts may be of another width."""

_MOST_TEXTS = 256  # passages in a batch
_MOST_FILES = 64  # in a batch, including files that need no embedding
_REMEMBERED = 8192  # passages whose vectors are kept for copies
_NO_VECTOR = np.full(1, np.nan, np.float32)


@dataclass(eq=False)
class IndexingModels:
    """The models that a collection is indexed with, and their embedding spaces."""

    store: Store
    main: Embedder
    load_texts: Callable[[], Embedder] | None = None
    """Loads the text embedder; None if the main model embeds text passages too."""

    def __post_init__(self) -> None:
        with self.store.writing("space"):
            self.space = self.store.spaces.add(draft_of(self.main))
        self._text_space: EmbeddingSpace | None = None

    @property
    def embedding_spaces(self) -> tuple[int, int]:
        """The number of the main space, and that of text passages: 0 before the first of them."""
        if self.load_texts is None:
            return self.space.id, self.space.id
        found = self.store.spaces.active("text")
        return self.space.id, 0 if found is None else found.id

    def embedder_of(self, modality: Modality) -> Embedder:
        """Returns the model for passages of this modality, loading it if needed."""
        if modality == "text" and self.load_texts is not None:
            return self.load_texts()
        return self.main

    def dim_of(self, modality: Modality) -> int:
        if modality == "text" and self.load_texts is not None:
            found = self.store.spaces.active("text")
            return self.load_texts().dim if found is None else found.dim
        return self.main.dim

    def put(self, passages: Sequence[int], modalities: Sequence[Modality], vectors: Rows) -> None:
        """Store the vectors of passages in the space of their modality. Works only inside
        `store.writing`."""
        apart = self.load_texts is not None
        for texts in (False, True):
            rows = [n for n, one in enumerate(modalities) if (apart and one == "text") == texts]
            if not rows:
                continue
            # Without a vector yet, too, they belong to this space, and a later run looks there.
            space = self._space_of_texts() if texts else self.space
            rows = [row for row in rows if vectors[row] is not _NO_VECTOR]
            if rows:
                some = np.stack([vectors[row] for row in rows])
                self.store.vectors.put(space.id, [passages[row] for row in rows], some)

    def _space_of_texts(self) -> EmbeddingSpace:
        """Returns the space of text passages; the first passage of a collection adds it."""
        if self._text_space is None:
            self._text_space = self.store.spaces.active("text")
        if self._text_space is None:
            draft = draft_of(self.embedder_of("text"))
            self._text_space = self.store.spaces.add(draft, "text", at_once=True)
        return self._text_space


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedFile:
    """A file that was read, with the vectors of its passages."""

    file: ReadResult
    """Without payloads."""
    vectors: Rows | None
    """None if the file has no passages."""
    is_new: bool
    """Whether the vectors were computed, not reused from a file with the same content."""


def embed_files(
    models: IndexingModels, files: Iterable[ReadResult], *, without: Collection[str] = ()
) -> Iterator[EmbeddedFile]:
    """Yield the files in order, each with its vectors: from the reading process, from a recent
    copy, or newly computed. The parts of a long file are embedded as they come, and yielded as
    one file after the last. Passages of the media types in `without` get NaN instead of a
    vector, which is not stored."""
    from seesay.inference.devices import map_in_order, worker_count  # torch, which is loaded by now

    batches, workers = _batches(models, files), worker_count(models.main.device)
    pending: dict[str, list[EmbeddedFile]] = {}
    for batch in map_in_order(partial(_embed, models, without), batches, workers=workers):
        for file, content, is_new in batch:  # a copy follows its original, which has vectors
            passages = tuple(replace(one, payload=b"") for one in file.passages)
            one = EmbeddedFile(
                file=replace(file, passages=passages, vectors=b""),
                vectors=content.vectors,
                is_new=is_new,
            )
            if not file.part:
                pending[file.path] = []
            pending[file.path].append(one)
            if not file.more:
                yield _joined(pending.pop(file.path))


def _joined(parts: Sequence[EmbeddedFile]) -> EmbeddedFile:
    """Returns the whole file."""
    if len(parts) == 1:
        return parts[0]
    vectors = [one for part in parts if part.vectors is not None for one in part.vectors]
    passages = tuple(passage for part in parts for passage in part.file.passages)
    return EmbeddedFile(
        file=replace(parts[-1].file, passages=passages, part=0),
        vectors=vectors or None,
        is_new=any(part.is_new for part in parts),
    )


@dataclass(eq=False)
class _Content:
    """Data shared by files with the same content."""

    count: int
    """Passages."""
    vectors: Rows | None
    """None until they are computed."""


_Batch = list[tuple[ReadResult, _Content, bool]]  # the last: whether it must be embedded


def _batches(models: IndexingModels, files: Iterable[ReadResult]) -> Iterator[_Batch]:
    most = {"image": models.main.images_per_batch, "text": _MOST_TEXTS}
    recent: dict[tuple[object, ...], _Content] = {}
    remembered = 0
    batch, counts = _Batch(), Counter[str]()
    for file in files:
        name = (file.content_hash, file.media_type, file.part, file.more, len(file.passages))
        content = recent.get(name)
        is_new = content is None and bool(file.passages) and not file.vectors
        if content is None:
            content = _Content(len(file.passages), _stored(models, file) if file.vectors else None)
        if is_new:
            recent[name] = content
            remembered += content.count
            while remembered > _REMEMBERED and len(recent) > 1:
                remembered -= recent.pop(next(iter(recent))).count
            counts.update(passage.modality for passage in file.passages)
        batch.append((file, content, is_new))
        full = any(counts[modality] >= number for modality, number in most.items())
        if full or len(batch) >= _MOST_FILES:
            yield batch
            batch, counts = [], Counter()
    if batch:
        yield batch


def _stored(models: IndexingModels, file: ReadResult) -> Rows:
    """Cuts the vectors that the collection has of this content into those of its passages."""
    flat = np.frombuffer(file.vectors, "<f2").astype(np.float32)
    width = {one: models.dim_of(one) for one in {passage.modality for passage in file.passages}}
    return np.split(flat, np.cumsum([width[one.modality] for one in file.passages])[:-1])


def _embed(models: IndexingModels, without: Collection[str], batch: _Batch) -> _Batch:
    new = [(file, content) for file, content, is_new in batch if is_new]
    passages = [passage for file, _ in new for passage in file.passages]
    vectors = [_NO_VECTOR] * len(passages)
    rows_of: dict[Modality, list[int]] = {}
    for row, passage in enumerate(passages):
        if passage.media_type not in without:
            rows_of.setdefault(passage.modality, []).append(row)
    for modality, rows in rows_of.items():
        embedder = models.embedder_of(modality)
        found = _ENCODERS[modality](embedder, [passages[row] for row in rows])
        for row, vector in zip(rows, found, strict=True):
            vectors[row] = vector
    at = 0
    for _, content in new:
        content.vectors = vectors[at : at + content.count]
        at += content.count
    return batch


def _encode_images(embedder: Embedder, passages: Sequence[Passage]) -> Vectors:
    shape, most = embedder.transform_config.shape, embedder.images_per_batch
    vectors = []
    for start in range(0, len(passages), most):  # a video has hundreds
        some = passages[start : start + most]
        joined = bytearray().join(passage.payload for passage in some)
        pixels = np.frombuffer(joined, dtype=np.uint8)
        vectors.append(embedder.encoder.images(pixels.reshape(len(some), *shape, 3)))
    return np.concatenate(vectors)


def _encode_texts(embedder: Embedder, passages: Sequence[Passage]) -> Vectors:
    return embedder.embed_texts([one.text or "" for one in passages], role="passage").vectors


_ENCODERS: dict[str, Callable[[Embedder, Sequence[Passage]], Vectors]] = {
    "image": _encode_images,
    "text": _encode_texts,
}
