"""From files that were read to vectors: batches side by side, in order, no content twice."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from seesay.errors import CollectionError
from seesay.inference.embedder import Embedder
from seesay.inference.text_embedder import TextEmbedder
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace, EmbeddingSpaceDraft, key_of
from seesay.search.reading.messages import Passage, ReadResult
from seesay.text import Text

Vectors = Float[np.ndarray, "passages embed"]

# Counted up when ordinary files would give other pixels, which makes every picture be read again.
# Corrections for rare kinds of files leave it: their vectors were wrong, and all others would have
# to be computed anew for them. `seesay index` reads such a file again when it changes.
_DECODE_RULES = 1
# As version 0.1.0 cleaned texts in open_clip's layouts: only unclean ones get another vector now.
_CLEANED_BEFORE = {"open_clip_lower": "clip", "open_clip_canonicalize": "siglip"}

_MOST_TEXTS = 256  # passages in a batch
_MOST_FILES = 64  # in a batch, with those that need no embedding
_REMEMBERED = 8192  # passages whose vectors are kept for copies, which may be read already


def embedding_space_of(store: Store, embedder: Embedder) -> EmbeddingSpace:
    """The embedding space of this model, added where there is none. The first of a collection is
    used at once; a later one is filled first (`fill`)."""
    draft = draft_of(embedder)
    found = next((space for space in store.spaces.all() if space.key == key_of(draft)), None)
    if found is not None:
        return found
    with store.writing("space"):
        space = store.spaces.add(draft)
        if store.spaces.active() is None:
            store.spaces.set_ready(space.id)
            store.spaces.activate(space.id)
        return store.spaces.get(space.id)


def draft_of(embedder: Embedder | TextEmbedder) -> EmbeddingSpaceDraft:
    """What makes the vectors of this model comparable."""
    # Settings that version 0.1.0 did not know are left out where they change nothing, so that its
    # collections go on with the same model.
    transform, texts = asdict(embedder.transform_config), asdict(embedder.tokenizer.config)
    if transform["resize"] != "patches":
        del transform["patch"], transform["patches"]
    if texts["end_mark"]:
        del texts["end_mark"]
    for name in ("query_prefix", "passage_prefix"):
        if not texts[name]:
            del texts[name]
    texts["clean"] = _CLEANED_BEFORE.get(texts["clean"], texts["clean"])
    facts = {
        "decode": [_DECODE_RULES, embedder.reduce_large],
        "transform": transform,
        "tokenizer": [texts, embedder.tokenizer.vocab_size],
    }
    text = json.dumps(facts, sort_keys=True)
    return EmbeddingSpaceDraft(
        model=embedder.name,
        revision=embedder.revision or embedder.fingerprint(),
        preprocessing=hashlib.sha256(text.encode()).hexdigest()[:16],
        dim=embedder.dim,
    )


def require_active(store: Store, space: EmbeddingSpace) -> None:
    """Raises CollectionError where searches use the embedding space of another model."""
    active = store.spaces.active()
    if active is not None and active.id != space.id:
        revision = active.revision or "unknown"
        raise CollectionError(
            Text(
                f"the collection in {store.folder} is searched with {active.model} (revision "
                f"{revision}), and {space.model} was given to index with; expected the same model; "
                "index with that one, or switch the collection to the other one first",
                f"资料库 {store.folder} 用 {active.model}（版本 {revision}）搜索，现在却要用 "
                f"{space.model} 收录；应为同一个模型；"
                "请用原来的模型收录，或先把资料库换成另一个模型",
            )
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedFile:
    """A file that was read, with the vectors of its passages."""

    file: ReadResult
    """Without payloads."""
    vectors: Vectors | None
    """None where the file has no passages."""
    is_new: bool
    """Whether the vectors were computed, and not those of a file of the same content."""


def embed_files(embedder: Embedder, files: Iterable[ReadResult]) -> Iterator[EmbeddedFile]:
    """The files in their order, each with its vectors: those that the reading process brought
    along, those of a copy that came shortly before, or new ones."""
    batches = _batches(embedder, files)
    for batch in embedder.map_in_order(partial(_embed, embedder), batches):
        for file, content, is_new in batch:  # a copy comes after its original: vectors are there
            passages = tuple(replace(one, payload=b"") for one in file.passages)
            yield EmbeddedFile(
                file=replace(file, passages=passages, vectors=b""),
                vectors=content.vectors,
                is_new=is_new,
            )


@dataclass(eq=False)
class _Content:
    """What several files of the same content share."""

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
            content = _Content(len(file.passages), _stored(embedder, file))
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


def _stored(embedder: Embedder, file: ReadResult) -> Vectors | None:
    if not file.vectors:
        return None
    rows = np.frombuffer(file.vectors, "<f2").astype(np.float32)
    return rows.reshape(len(file.passages), embedder.dim)


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
    shape = embedder.transform_config.shape
    joined = bytearray().join(passage.payload for passage in passages)
    pixels = np.frombuffer(joined, dtype=np.uint8)
    return embedder.encoder.images(pixels.reshape(len(passages), *shape, 3))


def _encode_texts(embedder: Embedder, passages: Sequence[Passage]) -> Vectors:
    return embedder.embed_texts([one.text or "" for one in passages], role="passage").vectors


_ENCODERS: dict[str, Callable[[Embedder, Sequence[Passage]], Vectors]] = {
    "image": _encode_images,
    "text": _encode_texts,
}
