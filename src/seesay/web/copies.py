"""Files that are there more than once, as the page shows them."""

from html import escape
from pathlib import PurePath

from seesay.errors import SeesayError
from seesay.search.collection import Collection
from seesay.search.query.duplicates import DuplicateGroup
from seesay.search.report.page import both
from seesay.text import to_unicode
from seesay.web import words
from seesay.web.answering import failed
from seesay.web.cards import notice, picture

_MOST = 60  # groups on the page
_MEMBERS = 12


def duplicates_told(collection: Collection, name: str) -> str:
    """Every group with the file to keep first; the first groups where there are many."""
    try:
        groups = collection.duplicates()
    except SeesayError as error:
        return failed(error)
    if not groups:
        return notice(words.NO_DUPLICATES, kind="hint")
    told = f"<p>{both(words.told(words.GROUPS, count=len(groups)))}</p>"
    shown = "".join(_group(collection, name, group) for group in groups[:_MOST])
    rest = len(groups) - _MOST
    more = f"<p>{both(words.told(words.MORE_GROUPS, count=rest))}</p>" if rest > 0 else ""
    return told + shown + more


def _group(collection: Collection, name: str, group: DuplicateGroup) -> str:
    share = f"{100 * group.similarity:.1f}"
    title = words.EXACT if group.kind == "exact" else words.told(words.NEAR, share=share)
    files = zip(group.paths[:_MEMBERS], group.sizes[:_MEMBERS], strict=True)
    cards = "".join(
        _file(collection, name, path, size, keep=not number)
        for number, (path, size) in enumerate(files)
    )
    return f'<section class="group"><h3>{both(title)}</h3><ul class="cards">{cards}</ul></section>'


def _file(collection: Collection, name: str, path: str, size: int, *, keep: bool) -> str:
    units = collection.units_of(path)
    kinds = [unit.kind for unit in collection.store.units.get(units[:1])]
    shown = picture(units[0], path, name) if kinds == ["image"] else "<blockquote>…</blockquote>"
    mark = f'<span class="keep">{both(words.KEEP)}</span>' if keep else ""
    file = PurePath(path)
    label, folder = escape(to_unicode(file.name)), escape(to_unicode(str(file.parent)))
    return (
        f'<li class="card">{shown}<div class="told"><span class="name">{label}</span>'
        f'<span class="note">{folder}</span><span class="note">{_bytes(size)} {mark}</span>'
        "</div></li>"
    )


def _bytes(size: int) -> str:
    if size < 1e3:
        return f"{size} B"
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
