"""Duplicate files as HTML."""

from html import escape
from pathlib import PurePath

from seesay.errors import SeesayError
from seesay.search.asking.duplicates import DuplicateFile, DuplicateGroup, Duplicates
from seesay.search.collection import Collection
from seesay.text import Text, to_unicode
from seesay.web import words
from seesay.web.answering import failed
from seesay.web.cards import notice, picture
from seesay.web.report import both

_MOST = 60  # groups on the page
_MEMBERS = 12


def duplicates_html(collection: Collection, name: str) -> str:
    """The first groups of duplicates, each with the file to keep first."""
    try:
        found = collection.duplicates()
    except SeesayError as error:
        return failed(error)
    remarks = _remarks(found)
    if not found.groups:
        return notice(words.NO_DUPLICATES, kind="hint") + remarks
    told = f"<p>{both(words.GROUPS.format(count=found.total))}</p>"
    shown = "".join(_group(collection, name, group) for group in found.groups[:_MOST])
    rest = found.total - _MOST
    more = f"<p>{both(words.MORE_GROUPS.format(count=rest))}</p>" if rest > 0 else ""
    return told + remarks + shown + more


def _remarks(found: Duplicates) -> str:
    counts = ((words.CHANGED, found.changed), (words.UNCOMPARED, found.uncompared))
    return "".join(f"<p>{both(text.format(count=n))}</p>" for text, n in counts if n)


def _group(collection: Collection, name: str, group: DuplicateGroup) -> str:
    share = f"{100 * group.similarity:.1f}"
    title = words.EXACT if group.kind == "exact" else words.NEAR.format(share=share)
    cards = "".join(
        _file(collection, name, file, first=not number)
        for number, file in enumerate(group.files[:_MEMBERS])
    )
    return f'<section class="group"><h3>{both(title)}</h3><ul class="cards">{cards}</ul></section>'


def _file(collection: Collection, name: str, file: DuplicateFile, *, first: bool) -> str:
    units = collection.passages_of(file.path)
    kinds = [unit.media_type for unit in collection.store.passages.get(units[:1])]
    is_picture = kinds == ["image"]
    shown = picture(units[0], file.path, name) if is_picture else "<blockquote>…</blockquote>"
    path = PurePath(file.path)
    label, folder = escape(to_unicode(path.name)), escape(to_unicode(str(path.parent)))
    facts = _bytes(file.size) + (f", {file.width} x {file.height}" if is_picture else "")
    state = "keep" if file.keep else "note"
    return (
        f'<li class="card">{shown}<div class="told"><span class="name">{label}</span>'
        f'<span class="note">{folder}</span><span class="note">{facts}</span>'
        f'<span class="{state}">{both(_advice(file, first=first))}</span></div></li>'
    )


def _advice(file: DuplicateFile, *, first: bool) -> Text:
    advice = words.MAY_GO if not file.keep else words.KEEP if first else words.KEEP_TOO
    return advice.format(reason=file.reason)


def _bytes(size: int) -> str:
    if size < 1e3:
        return f"{size} B"
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
