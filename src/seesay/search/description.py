"""All that is known about one passage: what a person or an assistant asks after finding it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from seesay.search.asking.likeness import ThumbnailOf, candidates_among, likenesses
from seesay.search.asking.query import Query
from seesay.search.asking.results import Hit, Ranked, has_picture, make_hits
from seesay.search.asking.searcher import Searcher
from seesay.search.catalog.drafts import Place
from seesay.search.catalog.metadata import DATE_KEY, EPOCH, Value, local_time
from seesay.search.catalog.passages import Passage
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.text import Text

_NEAR = 20  # nearest hits that are checked for copies


@dataclass(frozen=True, kw_only=True)
class Description:
    """A passage, its file, and pictures that look the same."""

    unit: int
    item: int
    path: str
    kind: str
    """What the passage is: "image", "page", "moment", "text" or "table"."""
    has_picture: bool
    """Whether it has a thumbnail: a text has one of the page or moment that it stands in."""
    file_kind: str
    """What the file is: "image", "text" and so on."""
    locator: Place
    at: Text | None
    """The same in words; None for a whole file."""
    text: str | None
    metadata: Mapping[str, Value | tuple[Value, ...]]
    size: int
    """Bytes of the file."""
    date: datetime
    """When the picture was taken, or else when the file was last changed: local time, labelled as
    UTC."""
    modified: datetime
    """When the file was last changed, in UTC."""
    copies: tuple[str, ...]
    """Paths of files with the same content."""
    near_duplicates: tuple[str, ...]
    """Paths of copies in other sizes or formats, among the nearest pictures."""


def describe(
    store: Store, space: EmbeddingSpace, searcher: Searcher, passage: int, thumbnail: ThumbnailOf
) -> Description:
    """Raises CollectionError if the passage does not exist."""
    with store.database.snapshot():
        known, file = store.passage_with_file(passage)
        metadata = store.metadata.get([passage])[passage]
        same = store.files.by_hash([file.content_hash] if file.content_hash else [])
    copies = tuple(one.path for one in same if one.id != file.id)
    taken = metadata.get(DATE_KEY)
    near = _near(store, space, searcher, known, thumbnail) if known.media_type == "image" else ()
    return Description(
        unit=passage,
        item=file.id,
        path=file.path,
        kind=known.media_type,
        has_picture=has_picture(known, file),
        file_kind=file.media_type,
        locator=known.place,
        at=known.place.label,
        text=known.text,
        metadata=metadata,
        size=file.size,
        date=taken if isinstance(taken, datetime) else local_time(file.mtime_ns),
        modified=EPOCH + timedelta(microseconds=file.mtime_ns // 1000),
        copies=copies,
        near_duplicates=tuple(path for path in near if path not in {file.path, *copies}),
    )


def _near(
    store: Store,
    space: EmbeddingSpace,
    searcher: Searcher,
    passage: Passage,
    thumbnail: ThumbnailOf,
) -> Sequence[str]:
    if not len(store.vectors.get(space.id, [passage.id])[0]):
        return ()  # just added; its vector is not there yet
    like = Query(like=(passage.id,), count=_NEAR)
    hits = [hit for hit in searcher.search(like).hits if hit.kind == "image"]
    pairs = candidates_among(store, [passage.id, *(hit.unit for hit in hits)])
    own = [pair for pair in pairs if pair[0] == passage.id]
    alike = {other for _, other in likenesses(store, thumbnail, own)}
    return [hit.path for hit in hits if hit.unit in alike]


def newest(store: Store, count: int) -> list[Hit]:
    """Returns the pictures added last, newest first, copies folded; if there are no pictures, the
    texts added last. Passage numbers only grow, so their order is the order of adding."""
    for modality in ("image", "text"):
        rows = store.database.rows(
            "SELECT id FROM units WHERE modality = ? ORDER BY id DESC LIMIT ?",
            (modality, 2 * count),
        )
        if rows:
            passages = np.array([number for (number,) in rows], np.int64)
            ranked = Ranked(passages, np.zeros(len(passages)), np.full(len(passages), 100.0))
            return make_hits(store, ranked, slice(0, count))
    return []
