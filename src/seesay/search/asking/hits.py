"""Units as hits: what is shown of them, and copies of the same content folded into one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from seesay.search.asking.asking import LaneName
from seesay.search.asking.results import Hit, LaneHit
from seesay.search.catalog.files import Item
from seesay.search.catalog.passages import Unit
from seesay.search.catalog.store import Store

Ranked = tuple[Int[np.ndarray, " found"], Float[np.ndarray, " found"], Float[np.ndarray, " found"]]


_SLACK = 3


@dataclass(frozen=True, eq=False)
class Found:
    """What one lane found, the best first."""

    lane: LaneName
    units: Int[np.ndarray, " found"]
    scores: Float[np.ndarray, " found"]
    confidences: Float32[np.ndarray, " found"]


def make_hits(store: Store, ranked: Ranked, lanes: Sequence[Found], place: slice) -> list[Hit]:
    """The hits at `place` of a ranking (units, scores, confidences) in which copies have been
    folded together. Units that were removed in the meantime are left out."""
    looked_at = place.stop + _SLACK
    with store.database.snapshot():
        while True:
            some = ranked[0][:looked_at]
            known = {unit.id: unit for unit in store.units.get(some)}
            items = {item.id: item for item in store.items.get({u.item for u in known.values()})}
            folded = _folded(known, items, some)
            # Copies of a hit come right after it: with one more hit, those of the last are there.
            if len(folded) > place.stop or looked_at >= len(ranked[0]):
                break
            looked_at *= 2
        shown = folded[place]
        metadata = store.units.metadata([unit for unit, _ in shown])
    rows = {unit: row for row, unit in enumerate(ranked[0].tolist())}
    places = {lane.lane: {u: i for i, u in enumerate(lane.units.tolist())} for lane in lanes}
    return [
        Hit(
            unit=number,
            item=known[number].item,
            path=items[known[number].item].path,
            kind=known[number].kind,
            locator=known[number].locator,
            text=known[number].text,
            score=float(ranked[1][rows[number]]),
            confidence=float(ranked[2][rows[number]]),
            lanes=tuple(_lane_hits(number, lanes, places)),
            duplicates=tuple(copies),
            metadata=metadata[number],
        )
        for number, copies in shown
    ]


def _folded(
    known: Mapping[int, Unit], items: Mapping[int, Item], units: Int[np.ndarray, " found"]
) -> list[tuple[int, list[str]]]:
    """Units with the paths of their copies; the same place in the same content is a copy."""
    folded: dict[tuple[str, int], tuple[int, list[str]]] = {}
    for number in units.tolist():
        unit = known.get(number)
        if unit is None or unit.item not in items:
            continue
        item = items[unit.item]
        key = (item.content_hash or f"item {item.id}", unit.position)
        if key in folded:
            folded[key][1].append(item.path)
        else:
            folded[key] = (number, [])
    return list(folded.values())


def _lane_hits(
    unit: int, lanes: Sequence[Found], places: Mapping[LaneName, Mapping[int, int]]
) -> list[LaneHit]:
    return [
        LaneHit(lane=lane.lane, rank=at + 1, score=float(lane.scores[at]))
        for lane in lanes
        if (at := places[lane.lane].get(unit)) is not None
    ]
