"""What was asked, as the query string of the page's address, so that a link can be sent.

A picture that was dropped on the page is not part of it: it exists only in that browser."""

from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qs, urlencode

from seesay.search.catalog.database import path_to_text, text_to_path
from seesay.text import to_unicode
from seesay.web import words
from seesay.web.asking import MOST_CHARACTERS, SearchForm

LONGEST = MOST_CHARACTERS
"""Characters of an address; browsers and proxies cut longer ones."""
_MOST_FOLDERS = 50
_LAST_PAGE = 10_000
_LAST_UNIT = 2**53
_SHORT = 20  # characters of a day
_WHERE = 500
_TITLE = 80


def to_address(asked: SearchForm) -> str:
    """The query string, with its question mark; empty where nothing is asked of the default
    collection. Pages count from 1."""
    given: list[tuple[str, object]] = [
        ("q", asked.words.strip()),
        ("without", asked.without.strip()),
        ("similar", asked.unit),
        ("min_match", f"{asked.min_match:g}" if asked.min_match else None),
        ("kind", asked.kind),
        *(("folder", path_to_text(one)) for one in asked.folders),
        ("since", asked.since.strip()),
        ("until", asked.until.strip()),
        ("where", asked.where.strip()),
        ("page", asked.page + 1 if asked.page else None),
        ("collection", asked.collection),
    ]
    query = urlencode([(name, value) for name, value in given if value not in ("", None)])
    return f"?{query}" if query else ""


def from_address(text: str) -> SearchForm:
    """What an address asks for. It may be anything that somebody typed: a value that cannot be
    meant is left out."""
    known = _Values(parse_qs(text[:LONGEST].lstrip("?"), errors="replace"))
    return SearchForm(
        collection=known.text("collection", 200) or None,
        words=known.text("q", MOST_CHARACTERS),
        without=known.text("without", MOST_CHARACTERS),
        unit=known.number("similar", _LAST_UNIT) or None,
        min_match=float(known.number("min_match", 100)),
        kind=kind if (kind := known.text("kind", _SHORT)) in ("image", "moment", "text") else None,
        folders=tuple(map(text_to_path, known.values.get("folder", [])[:_MOST_FOLDERS])),
        since=known.text("since", _SHORT),
        until=known.text("until", _SHORT),
        where=known.text("where", _WHERE),
        page=max(0, known.number("page", _LAST_PAGE) - 1),
    )


def title_of(asked: str) -> str:
    """What stands on the tab of the browser."""
    short = " ".join(to_unicode(asked).split())[:_TITLE]
    return f"{short} · {words.TITLE}" if short else words.TITLE


def addressed(asked: SearchForm, *, restored: bool = False) -> str:
    """A mark in the results by which the script sets the address; an answer that was `restored`
    from an address leaves the history as it is."""
    kind = " data-restored" if restored else ""
    address, title = escape(to_address(asked)), escape(title_of(asked.words))
    return f'<span hidden data-address="{address}" data-title="{title}"{kind}></span>'


@dataclass(frozen=True)
class _Values:
    values: dict[str, list[str]]

    def text(self, name: str, most: int) -> str:
        return self.values.get(name, [""])[0].replace("\0", "")[:most]

    def number(self, name: str, most: int) -> int:
        given = self.text(name, _SHORT)
        return min(int(given), most) if given.isascii() and given.isdigit() else 0
