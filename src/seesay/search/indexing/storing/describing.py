"""Puts together what is known of a picture and what tables say of it.

Text and metadata of a picture are made anew from its own description and its annotations whenever
one of them changes: captions of several tables stand below each other; of columns of the same name
that of the last table, by its path, counts. What a table no longer says is gone then.

Which pictures have to be described is stored with each change of annotations, so that it does not
matter who made the change, who describes, or who is killed meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np

from seesay.inference.embedder import Embedder
from seesay.search.catalog.annotations import Annotation, OwnDescription
from seesay.search.catalog.metadata import Metadata
from seesay.search.catalog.passages import Unit
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space
from seesay.search.indexing.storing.captions import LANE, caption_vectors

ADOPTED = "captions_adopted"  # the setting of collections from before annotations were kept apart
AT_ONCE = 500  # pictures, and so in a transaction


@dataclass(frozen=True, kw_only=True)
class _Description:
    """What is to be known of a picture."""

    unit: Unit
    known: Metadata
    text: str | None
    metadata: Metadata
    own: OwnDescription | None
    """None where nothing is annotated."""

    @property
    def has_other_text(self) -> bool:
        return self.text != self.unit.text

    @property
    def has_other_metadata(self) -> bool:
        return self.metadata != self.known


def describe(store: Store, embedder: Embedder, space: Space, *, run: int, stopping: Event) -> None:
    """Describe every picture whose annotations have changed."""
    while not stopping.is_set() and (items := store.annotations.undescribed(AT_ONCE)):
        vectors = _embedded(embedder, _descriptions(store, items), {})  # others need not wait yet
        with store.writing("describe", run=run):
            found = _descriptions(store, items)
            _write(store, space, found, _embedded(embedder, found, vectors))
            store.annotations.set_described(items)
    if store.settings.get(ADOPTED) and not stopping.is_set():
        with store.writing("captions", run=run):
            store.settings.set(ADOPTED, False)


def _descriptions(store: Store, items: Sequence[int]) -> list[_Description]:
    units = [unit for unit in store.units.of_items(items) if unit.kind == "image"]
    numbers = [unit.id for unit in units]
    known, own = store.units.metadata(numbers), store.annotations.own(numbers)
    rows = store.annotations.of_items(items)
    adopt = bool(store.settings.get(ADOPTED))
    found = []
    for unit in units:
        if unit.id in own:
            text, metadata = own[unit.id].text, own[unit.id].metadata_of(known[unit.id])
        elif adopt:
            text, metadata = _not_of_rows(unit, known[unit.id], rows[unit.item])
        else:
            text, metadata = unit.text, known[unit.id]
        found.append(_description(unit, known[unit.id], (text, metadata), rows[unit.item]))
    return found


def _description(
    unit: Unit, known: Metadata, own: tuple[str | None, Metadata], rows: Sequence[Annotation]
) -> _Description:
    text, metadata = own[0], dict(own[1])
    if not rows:
        return _Description(unit=unit, known=known, text=text, metadata=metadata, own=None)
    given = {key: value for row in rows for key, value in row.metadata.items()}
    hidden = {key: value for key, value in metadata.items() if key in given}
    return _Description(
        unit=unit,
        known=known,
        text=_joined([text, *(row.text for row in rows)]),
        metadata=metadata | given,
        own=OwnDescription(text=text, metadata=hidden, keys=sorted(given)),
    )


def _not_of_rows(
    unit: Unit, known: Metadata, rows: Sequence[Annotation]
) -> tuple[str | None, Metadata]:
    """The same where annotations were not kept apart: what a row says in the same words is its."""
    given = {(key, value) for row in rows for key, value in row.metadata.items()}
    text = None if unit.text in {row.text for row in rows} else unit.text
    return text, {key: value for key, value in known.items() if (key, value) not in given}


def _embedded(
    embedder: Embedder, descriptions: Iterable[_Description], known: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The vectors of the captions that change, by text."""
    wanted = dict.fromkeys(one.text for one in descriptions if one.text and one.has_other_text)
    fresh = [text for text in wanted if text is not None and text not in known]
    if not fresh:
        return dict(known)
    return {**known, **dict(zip(fresh, caption_vectors(embedder, fresh), strict=True))}


def _write(
    store: Store,
    space: Space,
    descriptions: Sequence[_Description],
    vectors: Mapping[str, np.ndarray],
) -> None:
    """The words, what is found by them, and their vectors, all in one transaction."""
    store.annotations.set_own({one.unit.id: one.own for one in descriptions})
    for one in descriptions:
        text = (one.text or "") if one.has_other_text else None
        metadata = one.metadata if one.has_other_metadata else None
        if text is not None or metadata is not None:
            store.units.describe(one.unit.id, text=text, metadata=metadata)
    anew = [one for one in descriptions if one.has_other_text]
    store.vectors.remove_captions(one.unit.id for one in anew)
    captioned = {one.unit.id: vectors[one.text] for one in anew if one.text}
    if captioned:
        rows = np.stack(list(captioned.values()))
        store.vectors.put(space.id, list(captioned), rows, lane=LANE)


def _joined(texts: Iterable[str | None]) -> str | None:
    """All lines, each once."""
    lines = (line for text in texts if text for line in text.splitlines() if line.strip())
    return "\n".join(dict.fromkeys(lines)) or None
