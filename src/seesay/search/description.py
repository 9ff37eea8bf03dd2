"""All that is known of one unit: what a person or an assistant asks after finding it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from seesay.search.asking.likeness import ThumbnailOf, candidates_among, likenesses
from seesay.search.asking.results import Hit, Ranked, make_hits
from seesay.search.asking.searcher import Searcher
from seesay.search.catalog.metadata import DATE_KEY, EPOCH, Value, local_time
from seesay.search.catalog.passages import Locator, Unit
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space

_NEAR = 20  # of the nearest, as many are looked at


@dataclass(frozen=True, kw_only=True)
class Description:
    """A unit, the file it belongs to, and what looks the same."""

    unit: int
    item: int
    path: str
    kind: str
    """What the unit is: "image", "page", "moment" or "text"."""
    file_kind: str
    """What the file is: "image", "text" and so on."""
    locator: Locator
    text: str | None
    metadata: Mapping[str, Value | tuple[Value, ...]]
    size: int
    """Bytes of the file."""
    date: datetime
    """When the picture was taken, or else when the file was last changed: as the clock on the wall
    said, given as though in UTC."""
    modified: datetime
    """When the file was last changed, in UTC."""
    copies: tuple[str, ...]
    """Paths of files with the same content."""
    near_duplicates: tuple[str, ...]
    """Paths of copies of other sizes or formats, among the pictures nearest to it."""


def describe(
    store: Store, space: Space, searcher: Searcher, unit: int, thumbnail: ThumbnailOf
) -> Description:
    """Raises CollectionError where there is no such unit."""
    with store.database.snapshot():
        known, item = store.unit_with_item(unit)
        metadata = store.units.metadata([unit])[unit]
        same = store.items.by_hash([item.content_hash] if item.content_hash else [])
    copies = tuple(one.path for one in same if one.id != item.id)
    taken = metadata.get(DATE_KEY)
    near = _near(store, space, searcher, known, thumbnail) if known.kind == "image" else ()
    return Description(
        unit=unit,
        item=item.id,
        path=item.path,
        kind=known.kind,
        file_kind=item.kind,
        locator=known.locator,
        text=known.text,
        metadata=metadata,
        size=item.size,
        date=taken if isinstance(taken, datetime) else local_time(item.mtime_ns),
        modified=EPOCH + timedelta(microseconds=item.mtime_ns // 1000),
        copies=copies,
        near_duplicates=tuple(path for path in near if path not in {item.path, *copies}),
    )


def _near(
    store: Store, space: Space, searcher: Searcher, unit: Unit, thumbnail: ThumbnailOf
) -> Sequence[str]:
    if not len(store.vectors.get(space.id, [unit.id])[0]):
        return ()  # it came a moment ago, and its vector is still to come
    hits = [hit for hit in searcher.similar([unit.id], count=_NEAR).hits if hit.kind == "image"]
    pairs = candidates_among(store, [unit.id, *(hit.unit for hit in hits)])
    own = [pair for pair in pairs if pair[0] == unit.id]
    alike = {other for _, other in likenesses(store, thumbnail, own)}
    return [hit.path for hit in hits if hit.unit in alike]


def newest(store: Store, count: int) -> list[Hit]:
    """The pictures that came last, the last first, copies folded; where there is no picture, the
    same of texts. Numbers of units only grow, so the order is that of coming in."""
    for modality in ("image", "text"):
        rows = store.database.rows(
            "SELECT id FROM units WHERE modality = ? ORDER BY id DESC LIMIT ?",
            (modality, 2 * count),
        )
        if rows:
            units = np.array([number for (number,) in rows], np.int64)
            ranked = Ranked(units, np.zeros(len(units)), np.full(len(units), 100.0))
            return make_hits(store, ranked, slice(0, count))
    return []
