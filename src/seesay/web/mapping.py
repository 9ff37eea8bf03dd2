"""The maps of a collection, by similarity and by place, and what a visitor picks on them."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import PurePath
from typing import Literal

from seesay.search.catalog.drafts import TEXT_TYPES
from seesay.search.catalog.map import Map, Point
from seesay.search.collection import Collection
from seesay.text import Text, to_unicode
from seesay.web import words
from seesay.web.cards import notice, picked_tile
from seesay.web.report import both

Content = Literal["image", "text", "place"]
_MOST_PICKED = 48
_MOST_LABEL = 120


def draw(collection: Collection, name: str, shown: Content) -> tuple[str, str]:
    """The map as an element that browser/plane.py fills, and a line about it. Raises
    CollectionError for an empty collection."""
    drawn = collection.places() if shown == "place" else collection.map(shown)
    if not drawn.points:
        nothing = words.NO_PLACES if shown == "place" else words.NOTHING_ON_MAP
        return "", notice(nothing, kind="hint")
    points = [_point(point, drawn) for point in drawn.points]
    data = escape(json.dumps(points, ensure_ascii=False, separators=(",", ":")))
    labels = escape(json.dumps(words.PLANE_LABELS, default=vars, ensure_ascii=False))
    plane = (
        f'<div class="plane" data-shown="{shown}" data-name="{escape(name)}"'
        f' data-labels="{labels}" data-points="{data}"></div>'
    )
    told = "".join(f"{both(one)} " for one in _remarks(drawn, shown))
    return plane, f'<p class="remark">{told.strip()}</p>'


def picked(collection: Collection, name: str, units: Sequence[int]) -> str:
    """Those that were chosen on a map."""
    known = collection.store.passages.get(units[:_MOST_PICKED])
    items = {one.id: one for one in collection.store.files.get({unit.file for unit in known})}
    cards = "".join(
        picked_tile(unit, items[unit.file].path, name) for unit in known if unit.file in items
    )
    told = both(words.PICKED.format(count=len(units)))
    return f'<h3>{told}</h3><ul class="cards small">{cards}</ul>' if units else ""


def _remarks(drawn: Map, shown: Content) -> list[Text]:
    counts = {"shown": len(drawn.points), "total": drawn.total}
    if shown == "place":
        return [words.PLACES_TOLD.format(**counts), words.CLICK_PICTURES]
    share = f"{100 * drawn.explained:.0f}"
    remarks = [words.MAP_TOLD.format(**counts, share=share)]
    if captions := sum(_is_caption(point, drawn) for point in drawn.points):
        remarks.append(words.CAPTIONS_TOLD.format(captions=captions))
    return [*remarks, words.CLICK_TEXTS if shown == "text" else words.CLICK_PICTURES]


def _point(point: Point, drawn: Map) -> tuple[int, float, float, str, str]:
    """Number, place, "image", "text" or "caption", and how it is called: a picture by its path."""
    kind = (
        "caption" if _is_caption(point, drawn) else "text" if point.kind in TEXT_TYPES else "image"
    )
    label = point.path if kind == "image" else _label(point)
    return point.unit, point.x, point.y, kind, to_unicode(label)


def _is_caption(point: Point, drawn: Map) -> bool:
    return drawn.modality == "text" and point.kind not in TEXT_TYPES


def _label(point: Point) -> str:
    """The name of the file, and how its text begins."""
    text = " ".join((point.text or "").split())
    return f"{PurePath(point.path).name}: {text}"[:_MOST_LABEL]
