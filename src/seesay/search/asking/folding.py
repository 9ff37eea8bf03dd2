"""Copies of a picture among the hits of a page: the best-placed stands for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from seesay.search.asking.likeness import ThumbnailOf, candidates_among, likenesses
from seesay.search.asking.results import Hit
from seesay.search.catalog.store import Store


@dataclass(frozen=True, kw_only=True)
class FoldedHit:
    """A hit with those after it that show the same picture."""

    hit: Hit
    copies: tuple[Hit, ...] = ()
    """The same picture in other sizes and formats. Identical files are in `Hit.duplicates`."""

    @property
    def count(self) -> int:
        """How many files show the same, this one aside."""
        others = (self.hit, *self.copies)
        return len(self.copies) + sum(len(hit.duplicates) for hit in others)


def fold(store: Store, thumbnail: ThumbnailOf, hits: Sequence[Hit]) -> list[FoldedHit]:
    """The hits in their order, each picture once. A copy is one of the hit that stands for it, not
    of another copy, so that no chain of likenesses leads to a picture that differs.

    Fingerprints tell in microseconds that two pictures differ; only those that may be the same are
    compared, by thumbnails."""
    pairs = candidates_among(store, [hit.unit for hit in hits if hit.kind == "image"])
    alike = {frozenset(pair) for pair in likenesses(store, thumbnail, pairs)} if pairs else set()
    copies: dict[int, list[Hit]] = {}
    shown: list[Hit] = []
    for hit in hits:
        first = next((one for one in shown if frozenset((one.unit, hit.unit)) in alike), None)
        if first is None:
            shown.append(hit)
        else:
            copies.setdefault(first.unit, []).append(hit)
    return [FoldedHit(hit=hit, copies=tuple(copies.get(hit.unit, ()))) for hit in shown]
