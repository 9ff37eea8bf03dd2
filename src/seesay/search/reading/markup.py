"""HTML, as a person sees it: headings, texts and tables, without what is hidden.

Text that no reader of the page sees may still address a model that reads it for them ("ignore your
instructions"). So elements are left out that are hidden by an attribute, by their style or by a
plain rule of a style sheet, that have the colour of their background, or that are too small to
read.
"""

import codecs
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

from seesay.data.encodings import decode_text
from seesay.search.reading.blocks import Block
from seesay.search.reading.files import FileData
from seesay.search.reading.grids import Grid, document_content
from seesay.search.reading.messages import FileContent, FileReader

Part = Block | Grid
_Attributes = Mapping[str, str]

_VOID_TAGS = "area base br col embed hr img input link meta param source track wbr"
_LEFT_OUT_TAGS = (
    "script style noscript template head svg canvas iframe object audio video map nav"
    " button select textarea datalist dialog"
)
_BLOCK_TAGS = (
    "address article aside blockquote body caption dd details div dl dt fieldset"
    " figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr html li main ol p pre"
    " section summary table tbody td tfoot th thead tr ul"
)
_VOID = frozenset(_VOID_TAGS.split())
_LEFT_OUT = frozenset(_LEFT_OUT_TAGS.split())
_BLOCKS = frozenset(_BLOCK_TAGS.split())
# What a start tag ends, and the element beyond which it does not look.
_CLOSES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "li": (("li",), ("ul", "ol")),
    "dt": (("dt", "dd"), ("dl",)),
    "dd": (("dt", "dd"), ("dl",)),
    "tr": (("tr", "td", "th", "caption"), ("table",)),
    "td": (("td", "th"), ("tr",)),
    "th": (("td", "th"), ("tr",)),
    "tbody": (("tbody", "thead", "tfoot", "tr", "td", "th"), ("table",)),
    "tfoot": (("tbody", "thead", "tfoot", "tr", "td", "th"), ("table",)),
}
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|font-size\s*:\s*0*[01]?(?:\.\d+)?"
    r"(?:px|pt|em|rem|%)?\s*(?:;|!|$)|(?<![\w-])opacity\s*:\s*0*(?:\.0\d*)?\s*(?:;|!|$)"
    r"|(?:left|top|text-indent|margin-left)\s*:\s*-\d{3,}|clip\s*:\s*rect\(\s*[01](?:px)?\s*,"
    r"|(?<![\w-])(?:height|width|max-height)\s*:\s*0(?:px)?\s*(?:;|!|$)|clip-path\s*:\s*inset\(\s*100%",
    re.I,
)
_VISIBLE_SIZE = re.compile(r"font-size\s*:\s*1(?:\.\d+)?(?:em|rem)", re.I)
_COLOUR = re.compile(r"(?<![\w-])(color|background(?:-color)?)\s*:\s*([^;!]+)", re.I)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_SELECTOR = re.compile(r"(?:[a-z][a-z0-9]*|[.#][\w-]+)", re.I)
_WHITE = "#ffffff"
_NAMES = {"white": _WHITE, "snow": _WHITE, "black": "#000000", "transparent": "transparent"}
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]{2,20})", re.I)
_MOST_SPAN = 200
_MOST_FILLED = 200_000  # cells of a table, those of spans included
_MOST_DEPTH = 5000


@dataclass(frozen=True, kw_only=True)
class _Open:
    """An element that is not closed yet."""

    tag: str
    is_hidden: bool = False
    colour: str = "#000000"
    ground: str = _WHITE


@dataclass(eq=False)
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    caption: str = ""
    is_layout: bool = False
    below: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Cells that reach into rows below: how many, and their text, by column."""
    span: tuple[int, int] = (1, 1)
    filled: int = 0


def html_parts(text: str) -> list[Part]:
    """Returns the headings, texts and tables of a page, in order."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    reader.finish()
    levels = [one.heading for one in reader.parts if isinstance(one, Block)]
    if reader.title and 1 not in levels:
        return [Block(text=reader.title, heading=1), *reader.parts]
    return reader.parts


def decode_page(data: bytes) -> str:
    """Returns the text of a page in the encoding that it names, if that fits. Raises DataError if
    it is not text."""
    if found := _CHARSET.search(data[:2048]):
        name = found[1].decode().lower()
        name = "gb18030" if name in ("gb2312", "gbk") else name
        try:
            codecs.lookup(name)
            return data.decode(name)
        except (LookupError, UnicodeDecodeError):
            pass
    return decode_text(data)


class _Reader(HTMLParser):
    """Keeps the open elements, the text since the last block, and the open tables."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[Part] = []
        self.title = ""
        self._open: list[_Open] = []
        self._counts: Counter[str] = Counter()
        self._text: list[str] = []
        self._tables: list[_Table] = []
        self._hiding: set[str] = set()
        """Selectors of the page's style sheets that hide elements."""

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "br":
            self._text.append(" ")
        if tag in _VOID:
            return
        if tag in _BLOCKS:
            self._end_block()
            if self._counts["p"] and tag not in ("html", "body"):
                self._close(("p",), ("table", "div", "section", "article"))
        if tag in _CLOSES:
            self._close(*_CLOSES[tag])
        if len(self._open) < _MOST_DEPTH:
            self._open.append(self._opened(tag, given))
            self._counts[tag] += 1
        if not self._is_hidden():
            self._begin_cells(tag, given)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "br":
            self._text.append(" ")
        if not self._counts[tag]:
            return
        while self._open:
            if self._pop() == tag:
                return

    def handle_data(self, data: str) -> None:
        if not self._open or not self._is_hidden():
            self._text.append(data)
            return
        innermost = self._open[-1].tag
        if innermost == "title" and self._counts["head"] and not self._counts["svg"]:
            self.title = f"{self.title}{data}".strip()[:500]
        elif innermost == "style":
            for selectors, rules in _RULE.findall(data):
                if _hides(rules):
                    names = (one.strip() for one in selectors.split(","))
                    self._hiding.update(one for one in names if _SELECTOR.fullmatch(one))

    def finish(self) -> None:
        """Ends what the page left open."""
        while self._open:
            self._pop()
        self._end_block()

    def _is_hidden(self) -> bool:
        return bool(self._open) and self._open[-1].is_hidden

    def _opened(self, tag: str, given: _Attributes) -> _Open:
        above = self._open[-1] if self._open else _Open(tag="")
        style = given.get("style", "")
        selectors = {
            tag,
            f"#{given.get('id', '')}",
            *(f".{c}" for c in given.get("class", "").split()),
        }
        is_hidden = (
            above.is_hidden
            or tag in _LEFT_OUT
            or "hidden" in given
            or given.get("aria-hidden", "").strip().lower() == "true"
            or _hides(style)
            or bool(selectors & self._hiding)
        )
        colour = _colour(given.get("color", "")) or above.colour
        ground = _colour(given.get("bgcolor", "")) or above.ground
        for name, value in _COLOUR.findall(style):
            found = _colour(value)
            if name.lower() == "color":
                colour = found or colour
            elif found != "transparent":
                ground = found or ("?" if value.strip() else ground)  # a picture, or a gradient
        return _Open(
            tag=tag,
            is_hidden=is_hidden or colour in (ground, "transparent"),
            colour=colour,
            ground=ground,
        )

    def _close(self, tags: tuple[str, ...], borders: tuple[str, ...]) -> None:
        """Closes the open elements of these tags inside of the innermost border."""
        outermost = None
        for at in range(len(self._open) - 1, -1, -1):
            if self._open[at].tag in borders:
                break
            if self._open[at].tag in tags:
                outermost = at
            elif len(self._open) - at > 64:
                break
        if outermost is not None:
            while len(self._open) > outermost:
                self._pop()

    def _pop(self) -> str:
        one = self._open[-1]
        if not one.is_hidden:
            self._end_cells(one.tag)
            if one.tag in _BLOCKS:
                self._end_block(int(one.tag[1]) if re.fullmatch("h[1-6]", one.tag) else 0)
        self._open.pop()
        self._counts[one.tag] -= 1
        return one.tag

    def _end_block(self, heading: int = 0) -> None:
        """Ends a paragraph; inside of a table it stays in its cell."""
        text = " ".join("".join(self._text).split())
        if self._tables and not self._tables[-1].is_layout:
            self._text = [f"{text} "] if text else []
            return
        self._text = []
        if text:
            self.parts.append(Block(text=text, heading=heading))

    def _begin_cells(self, tag: str, given: _Attributes) -> None:
        if tag == "table":
            for outer in self._tables:
                self._dissolve(outer)
            self._tables.append(_Table())
            self._text = []
        elif self._tables and tag == "tr":
            self._tables[-1].rows.append([])
        elif self._tables and tag in ("td", "th"):
            if not self._tables[-1].rows:
                self._tables[-1].rows.append([])
            spans = (_span(given.get("colspan", "")), _span(given.get("rowspan", "")))
            self._tables[-1].span = spans
            self._text = []

    def _end_cells(self, tag: str) -> None:
        if not self._tables or tag not in ("table", "caption", "td", "th", "tr"):
            return
        table = self._tables[-1]
        text = " ".join("".join(self._text).split())
        if tag == "table":
            self._tables.pop()
            self._emit(table)
        elif tag == "tr":
            if table.rows:
                self._fill(table)
            return
        elif not table.is_layout:
            if tag == "caption":
                table.caption = text
            else:
                self._add(table, text)
            self._text = []

    def _add(self, table: _Table, text: str) -> None:
        """Adds a cell to the last row, in each row and column that it takes."""
        self._fill(table)
        if not table.rows:
            return
        columns, rows = table.span
        for _ in range(columns):
            if table.filled >= _MOST_FILLED:
                return
            if rows > 1:
                table.below[len(table.rows[-1])] = (rows - 1, text)
            table.rows[-1].append(text)
            table.filled += 1

    def _fill(self, table: _Table) -> None:
        """Adds the cells that reach down from the rows above."""
        row = table.rows[-1] if table.rows else []
        while (found := table.below.get(len(row))) and table.filled < _MOST_FILLED:
            left, text = found
            if left > 1:
                table.below[len(row)] = (left - 1, text)
            else:
                del table.below[len(row)]
            row.append(text)
            table.filled += 1

    def _dissolve(self, table: _Table) -> None:
        """Turns a table that only arranges a page into texts."""
        if not table.is_layout:
            table.is_layout = True
            texts = [cell for row in table.rows for cell in row if cell]
            texts += [" ".join("".join(self._text).split())]
            self._text = []
            self.parts += [Block(text=text) for text in texts if text]
            table.rows = [[]]

    def _emit(self, table: _Table) -> None:
        if table.is_layout:
            return
        rows = [row for row in table.rows if any(row)]
        if len(rows) < 2 or max(map(len, rows), default=0) < 2:
            self._dissolve(replace(table, rows=rows))
        else:
            self.parts.append(Grid.of_rows(rows, table.caption))


def _hides(style: str) -> bool:
    """Whether a style hides its element."""
    return bool(style) and _HIDING.search(_VISIBLE_SIZE.sub("", style)) is not None


def _colour(value: str) -> str:
    """Returns a colour in one form; empty for one that is not known."""
    plain = value.strip().lower()
    if plain in _NAMES:
        return _NAMES[plain]
    if re.fullmatch("#[0-9a-f]{3}", plain):
        plain = "#" + "".join(2 * one for one in plain[1:])
    if re.fullmatch("#[0-9a-f]{6}", plain):
        return _WHITE if all(int(plain[at : at + 2], 16) >= 250 for at in (1, 3, 5)) else plain
    if found := re.fullmatch(r"rgba?\(([^)]*)\)", plain):
        numbers = re.findall(r"[\d.]+", found[1])
        if len(numbers) == 4 and float(numbers[3]) == 0:
            return "transparent"
        if len(numbers) >= 3:
            return _colour("#" + "".join(f"{min(int(float(one)), 255):02x}" for one in numbers[:3]))
    return ""


def _span(text: str) -> int:
    return min(max(int(text), 1), _MOST_SPAN) if text.strip().isdecimal() else 1


def read_page(file: FileData) -> FileContent:
    """Returns the passages of a web page. Raises RefusedError if it has no visible text."""
    return document_content(html_parts(decode_page(file.data)))


READER = FileReader(
    media_type="web page",
    endings=frozenset((".html", ".htm", ".xhtml")),
    read=lambda file, settings, needed: read_page(file),
    recognises=lambda data: data[:1000].lstrip().lower().startswith((b"<!doctype html", b"<html")),
)
