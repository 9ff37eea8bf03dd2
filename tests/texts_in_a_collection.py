"""Collections of passages with real vectors, made without torch: of texts, as the reader of text
files cuts them, and of drafts that other readers would bring."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from seesay.search.catalog.drafts import PassageDraft
from seesay.search.catalog.files import FileDraft
from seesay.search.collection import Collection
from seesay.search.model import draft_of
from seesay.search.reading.texts import text_passages


def text_drafts(text: str) -> tuple[PassageDraft, ...]:
    return tuple(
        PassageDraft(modality="text", text=one.text, place=one.place) for one in text_passages(text)
    )


def make_collection(
    place: Path, files: Mapping[str, str | Sequence[PassageDraft]], model: str | None = None
) -> Collection:
    """A collection of files by their paths; the text half of its model embeds what has a text."""
    collection = Collection.open(place, create=True, model=model)
    embedder = collection.model.for_queries()
    with collection.store.writing("index"):
        space = collection.store.spaces.add(draft_of(embedder))
        drafts = [
            FileDraft(
                path=path,
                media_type="text",
                content_hash=f"content of {path}",
                size=1,
                mtime_ns=1,
                passages=text_drafts(one) if isinstance(one, str) else tuple(one),
            )
            for path, one in files.items()
        ]
        stored = collection.store.files.put(drafts)
        numbers = [number for one in stored for number in one.passages]
        texts = [passage.text or "" for draft in drafts for passage in draft.passages]
        vectors = embedder.embed_texts(texts, role="passage").vectors
        collection.store.vectors.put(space.id, numbers, vectors)
        collection.store.spaces.activate(space.id)
    return collection
