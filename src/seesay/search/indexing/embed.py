"""Embeds files that were read: batches in parallel, results in order, no content twice."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from seesay.inference.embedder import Embedder
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.search.model import draft_of
from seesay.search.reading.messages import Passage, ReadResult

Vectors = Float[np.ndarray, "passages embed"]

_MOST_TEXTS = 256  # passages in a batch
_MOST_FILES = 64  # in a batch, including files that need no embedding
_REMEMBERED = 8192  # passages whose vectors are kept for copies


def embedding_space_of(store: Store, embedder: Embedder) -> EmbeddingSpace:
    """Returns the embedding space of this model, adding it if needed."""
    with store.writing("space"):
        return store.spaces.add(draft_of(embedder))


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedFile:
    """A file that was read, with the vectors of its passages."""

    file: ReadResult
    """Without payloads."""
    vectors: Vectors | None
    """None if the file has no passages."""
    is_new: bool
    """Whether the vectors were computed, not reused from a file with the same content."""


def embed_files(embedder: Embedder, files: Iterable[ReadResult]) -> Iterator[EmbeddedFile]:
    """Yield the files in order, each with its vectors: from the reading process, from a recent
    copy, or newly computed."""
    from seesay.inference.devices import map_in_order, worker_count  # torch, which is loaded by now

    batches, workers = _batches(embedder, files), worker_count(embedder.device)
    for batch in map_in_order(partial(_embed, embedder), batches, workers=workers):
        for file, content, is_new in batch:  # a copy follows its original, which has vectors
            passages = tuple(replace(one, payload=b"") for one in file.passages)
            yield EmbeddedFile(
                file=replace(file, passages=passages, vectors=b""),
                vectors=content.vectors,
                is_new=is_new,
            )


@dataclass(eq=False)
class _Content:
    """Data shared by files with the same content."""

    count: int
    """Passages."""
    vectors: Vectors | None
    """None until they are computed."""


_Batch = list[tuple[ReadResult, _Content, bool]]  # the last: whether it must be embedded


def _batches(embedder: Embedder, files: Iterable[ReadResult]) -> Iterator[_Batch]:
    most = {"image": embedder.images_per_batch, "text": _MOST_TEXTS}
    recent: dict[tuple[str, str], _Content] = {}
    remembered = 0
    batch, counts = _Batch(), Counter[str]()
    for file in files:
        name = (file.content_hash, file.media_type)
        content = recent.get(name)
        is_new = content is None and bool(file.passages) and not file.vectors
        if content is None:
            rows = np.frombuffer(file.vectors, "<f2").astype(np.float32)  # of the collection
            stored = rows.reshape(len(file.passages), embedder.dim) if file.vectors else None
            content = _Content(len(file.passages), stored)
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


def _embed(embedder: Embedder, batch: _Batch) -> _Batch:
    new = [(file, content) for file, content, is_new in batch if is_new]
    passages = [passage for file, _ in new for passage in file.passages]
    vectors = np.empty((len(passages), embedder.dim), np.float32)
    for modality in {passage.modality for passage in passages}:
        rows = [row for row, passage in enumerate(passages) if passage.modality == modality]
        vectors[rows] = _ENCODERS[modality](embedder, [passages[row] for row in rows])
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
