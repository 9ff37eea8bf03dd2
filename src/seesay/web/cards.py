"""Hits as HTML. Text from files and visitors is escaped; pictures are the server's thumbnails,
which the browser loads as they scroll into view."""

from collections.abc import Iterable
from html import escape
from pathlib import PurePath
from urllib.parse import quote

from seesay.search.asking.likeness import FoldedHit
from seesay.search.asking.results import Hit
from seesay.search.catalog.drafts import TEXT_TYPES, Place
from seesay.search.catalog.passages import Passage
from seesay.text import Text, to_unicode
from seesay.web import words
from seesay.web.report import both

_SNIPPET = 220  # characters of a text on its card


def thumbnail(unit: int, collection: str, size: int = 256) -> str:
    """The address of a unit's thumbnail."""
    return f"/v1/thumbnails/{unit}?collection={quote(collection, safe='')}&size={size}"


def grid(
    hits: Iterable[FoldedHit], collection: str, *, far: bool = False, removable: bool = False
) -> str:
    """Hits side by side. `far` greys out unlikely ones; `removable` adds a button that removes each
    from the collection."""
    cards = "".join(tile(one, collection, removable=removable) for one in hits)
    return f'<ul class="cards{" far" if far else ""}">{cards}</ul>' if cards else ""


def tile(folded: FoldedHit, collection: str, *, removable: bool = False) -> str:
    """One hit: its preview, confidence, copies and buttons."""
    hit = folded.hit
    share = "" if not hit.retrievers else _sure(hit.confidence)
    notes = _place(hit) + _caption(hit) + _copies(folded, collection)
    name = name_of(hit.path)
    acts = _why(hit) + (_remove(hit) if removable else "")
    return (
        f'<li class="card" data-unit="{hit.unit}">{preview(hit, collection)}<div class="told">'
        f'<span class="name" title="{_safe(hit.path)}">{_safe(name)}</span>{share}{notes}'
        f'<div class="acts">{button(words.SIMILAR, do="similar", unit=hit.unit)}{acts}</div>'
        "</div></li>"
    )


def preview(hit: Hit, collection: str) -> str:
    """A thumbnail that opens in the viewer, the beginning of a text, or both where the text stands
    on a page or in a video."""
    shown = picture(hit.unit, hit.path, collection, hit.locator) if hit.has_picture else ""
    quoted = f"<blockquote>{_safe(_cut(hit.text))}</blockquote>" if hit.kind in TEXT_TYPES else ""
    return shown + quoted


def picture(unit: int, path: str, collection: str, place: Place | None = None) -> str:
    """A thumbnail that opens in the viewer; of a moment of a video, with its time."""
    name = _safe(name_of(path))
    clock = place and place.clock
    at = f'<span class="at">▶ {clock}</span>' if clock else ""
    return (
        f'<button type="button" class="shown" {look(unit, path, collection, place)}'
        f' aria-label="{name}"><img loading="lazy" decoding="async" alt="{name}"'
        f' src="{_safe(thumbnail(unit, collection))}">{at}</button>'
    )


def look(unit: int, path: str, collection: str, place: Place | None = None) -> str:
    """What the viewer is told of a passage: which, and when a video is to start."""
    start = "" if place is None or place.start_s is None else f' data-start="{place.start_s}"'
    return (
        f'data-look data-unit="{unit}" data-path="{_safe(path)}"'
        f' data-name="{_safe(collection)}"{start}'
    )


def picked_tile(unit: Passage, path: str, collection: str) -> str:
    """A small card of what was chosen on a map."""
    if unit.media_type in TEXT_TYPES:
        inside = f"<blockquote>{_safe(_cut(unit.text))}</blockquote>"
    else:
        inside = picture(unit.id, path, collection)
    return f'<li class="card">{inside}</li>'


def button(label: Text, *, kind: str = "", **data: object) -> str:
    """A button whose data the page's script sends to the server."""
    told = " ".join(f'data-{name}="{_safe(str(value))}"' for name, value in data.items())
    return f'<button type="button" class="do {kind}" {told}>{both(label)}</button>'


def notice(head: Text, told: Text | None = None, detail: Text | None = None, kind: str = "") -> str:
    """A message on the page."""
    more = f"<p>{both(told)}</p>" if told else ""
    exact = f'<p class="detail">{both(detail)}</p>' if detail else ""
    return (
        f'<div class="notice {kind}" role="status"><strong>{both(head)}</strong>{more}{exact}</div>'
    )


def _copies(folded: FoldedHit, collection: str) -> str:
    """Other files of the same picture, folded away."""
    if not folded.count:
        return ""
    label = words.COPY if folded.count == 1 else words.COPIES.format(count=folded.count)
    looked = "".join(
        f"<li>{picture(one.unit, one.path, collection)}{_file(one.path)}</li>"
        for one in folded.copies
    )
    same = "".join(
        f"<li>{_file(path)}</li>" for hit in (folded.hit, *folded.copies) for path in hit.duplicates
    )
    return (
        f'<details class="same"><summary>{both(label)}</summary><ul>{looked}{same}</ul></details>'
    )


def _file(path: str) -> str:
    return f'<span title="{_safe(path)}">{_safe(name_of(path))}</span>'


def _sure(confidence: float) -> str:
    share = min(max(confidence, 0.0), 100.0)
    label = both(words.MATCH.format(share=f"{share:.0f}"))
    return (
        f'<span class="sure">{label}</span>'
        f'<i class="bar" aria-hidden="true"><i style="width:{share:.0f}%"></i></i>'
    )


def _why(hit: Hit) -> str:
    if not hit.retrievers:
        return ""
    rows = "".join(f"<li>{both(one)}</li>" for one in reasons_of(hit))
    return f'<details class="why"><summary>{both(words.WHY)}</summary><ul>{rows}</ul></details>'


def _remove(hit: Hit) -> str:
    """Unfolds into what removing means, and a button that does it."""
    act = button(words.REMOVE_NOW, kind="grave", do="remove", unit=hit.unit)
    return (
        f'<details class="why remove"><summary>{both(words.REMOVE)}</summary>'
        f"<p>{both(words.REMOVE_TOLD)}</p>{act}</details>"
    )


def reasons_of(hit: Hit) -> list[Text]:
    """A hit's rank by each retriever, in words; the text of a picture is its caption."""
    names = words.RETRIEVERS if hit.kind in TEXT_TYPES else words.CAPTION_RETRIEVERS
    told = []
    for one in hit.retrievers:
        name = names[one.retriever]
        keyword = one.retriever == "keyword"
        en = f"score {one.score:.2f}" if keyword else f"similarity {one.score:.3f}"
        zh = f"得分 {one.score:.2f}" if keyword else f"相似度 {one.score:.3f}"
        told.append(
            Text(f"number {one.rank} by {name.en} ({en})", f"按{name.zh}排第 {one.rank}（{zh}）")
        )
    return told


def _place(hit: Hit) -> str:
    """Where a passage stands, unless its picture shows it: the time in a video."""
    place = hit.locator.label
    if place is None or hit.locator.clock is not None:
        return ""
    return f'<span class="note">{both(place)}</span>'


def _caption(hit: Hit) -> str:
    """The caption of a picture, where it was found by its caption."""
    if hit.kind in TEXT_TYPES or all(one.retriever == "image" for one in hit.retrievers):
        return ""
    return f'<span class="note">{both(words.CAPTION)}{_safe(_cut(hit.text))}</span>'


def _cut(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= _SNIPPET else line[:_SNIPPET].rstrip() + " …"


def name_of(path: str) -> str:
    """The name of a file; the whole of what has none, such as an address of a site."""
    return PurePath(path).name or path


def _safe(text: str) -> str:
    return escape(to_unicode(text))
