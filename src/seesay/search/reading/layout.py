"""Lines of text as they stand on a page -> blocks in reading order.

Columns are found by the white gutter between them, which runs through neighbouring lines; what
stands side by side without being columns of prose is a table or a form, and is read row by row.
After Nagy and Seth, "Hierarchical representation of optically scanned documents" (1984).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from seesay.search.catalog.drafts import Place
from seesay.search.reading.blocks import Block, Box, around
from seesay.text import HAN

_GUTTER = 0.8  # least width of a gutter, in heights of a line
_PROSE = 16  # letters of a usual line of a column; cells of tables are shorter
_COLUMN = 3  # least lines of a column
_MOST_LINES = 2000  # on a page; more are read in the order of the file
_HEADINGS = ((1.8, 1), (1.4, 2), (1.15, 3))  # least size compared with the body, and level
_LONGEST_HEADING = 120
_MARGIN = 0.09  # of the height of a page: where running heads, feet and page numbers stand
_BULLET = re.compile(r"[•·▪◦●○■□–—*-]\s|\(?\d{1,3}[.)、）]|[（(][一二三四五六七八九十]+[)）]")
_PAGE_NUMBER = re.compile(
    r"[-–—·\s]*((page|p\.?|第)\s*)?(\d{1,5}|[ivxlc]{1,7})(\s*(页|頁))?"
    r"(\s*(/|of|共)\s*\d{1,5}(\s*(页|頁))?)?[-–—·\s]*",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\d+")
_DIGITS_AND_MARKS = "0123456789,. "
_ENDED = re.compile(r"[.!?;:。！？；：…][\"'”\u2019)）」』\]]*$")
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of text, or the part of one that stands in one column."""

    text: str
    box: Box
    """Left, top, right, bottom, in points from the top left of the page."""
    size: float
    """Of the font, in points."""
    cells: int = 1
    """Parts that stand side by side in it."""

    @property
    def width(self) -> int:
        """Letters of its text, a Chinese character counting as two."""
        return len(self.text) + len(HAN.findall(self.text))


@dataclass(frozen=True, kw_only=True)
class PageText:
    """The lines of a page, in any order."""

    number: int
    """From 1."""
    width: float
    """In points."""
    height: float
    lines: Sequence[Line]

    def is_marginal(self, line: Line) -> bool:
        """Whether a line stands where headers, footers and page numbers do."""
        return line.box[3] < _MARGIN * self.height or line.box[1] > (1 - _MARGIN) * self.height

    def fractions(self, box: Box) -> Box:
        """Returns a box on this page as fractions of its width and height."""
        left, right = (round(min(max(x / self.width, 0.0), 1.0), 4) for x in (box[0], box[2]))
        top, bottom = (round(min(max(y / self.height, 0.0), 1.0), 4) for y in (box[1], box[3]))
        return left, top, right, bottom


@dataclass(frozen=True, kw_only=True)
class Style:
    """What the pages of a document have in common."""

    body: float
    """Size of most of its text, in points; 0 if unknown."""
    running: frozenset[str] = frozenset()
    """Headers and footers that stand on many pages."""


def style_of(pages: Iterable[PageText]) -> Style:
    """Returns the style of a document, from some of its pages."""
    sizes, marginal = Counter[float](), Counter[str]()
    written = 0
    for page in pages:
        written += bool(page.lines)
        for line in page.lines:
            sizes[round(line.size, 1)] += line.width
        marginal.update({_pattern(line) for line in page.lines if page.is_marginal(line)})
    enough = max(3, written // 2)
    running = frozenset(pattern for pattern, count in marginal.items() if count >= enough)
    return Style(body=sizes.most_common(1)[0][0] if sizes else 0.0, running=running)


def blocks_of(page: PageText, style: Style) -> Iterator[Block]:
    """Yields the blocks of a page in reading order, without page numbers, headers and
    footers."""
    kept = [
        line
        for line in page.lines
        if line.text.strip() and not (page.is_marginal(line) and _is_running(line, style))
    ]
    for column in _columns(kept):
        for rows in _paragraphs(column):
            yield _block(rows, page, style)


def _pattern(line: Line) -> str:
    return _DIGITS.sub("#", "".join(line.text.split())).casefold()


def _is_running(line: Line, style: Style) -> bool:
    return bool(_PAGE_NUMBER.fullmatch(line.text.strip())) or _pattern(line) in style.running


def _columns(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yields the rows of each column, or part of a page that is as wide as the page."""
    if not lines:
        return
    if len(lines) > _MOST_LINES:
        yield list(lines)
        return
    least = _GUTTER * median(line.box[3] - line.box[1] for line in lines)
    edges = min(line.box[0] for line in lines), max(line.box[2] for line in lines)
    waiting: list[Line] = []  # rows as wide as the page
    some: list[Line] = []
    gaps = [edges]
    for band in _bands(lines):
        narrower = _common(gaps, _gaps(band, edges), least)
        if not narrower:
            yield from _split(some, gaps, waiting)
            some, narrower = [], _gaps(band, edges)
        some += band
        gaps = narrower
    yield from _split(some, gaps, waiting)
    if waiting:
        yield waiting


def _split(
    lines: Sequence[Line], gaps: Sequence[tuple[float, float]], waiting: list[Line]
) -> Iterator[list[Line]]:
    """Yields the columns on both sides of a gutter; without one, adds rows to those waiting."""
    for start, end in sorted(gaps, key=lambda gap: gap[0] - gap[1]):
        left = [line for line in lines if line.box[2] <= start + 1e-6]
        right = [line for line in lines if line.box[0] >= end - 1e-6]
        if _is_prose(left) and _is_prose(right):
            if waiting:
                yield [*waiting]
                waiting.clear()
            sides = (left, right)
            if _is_right_to_left("".join(line.text for line in lines)):
                sides = (right, left)
            for side in sides:
                yield from _columns(side)
            return
    waiting += [_row(band) for band in _bands(lines)]


def _is_prose(lines: Sequence[Line]) -> bool:
    return len(lines) >= _COLUMN and median(line.width for line in lines) >= _PROSE


def _bands(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yields groups of lines that stand beside each other, from the top."""
    band: list[Line] = []
    bottom = 0.0
    for line in sorted(lines, key=lambda one: (one.box[1] + one.box[3], one.box[0])):
        middle = (line.box[1] + line.box[3]) / 2
        if band and middle > bottom:
            yield band
            band = []
        if not band:
            bottom = line.box[3]
        band.append(line)
    if band:
        yield band


def _gaps(lines: Sequence[Line], edges: tuple[float, float]) -> list[tuple[float, float]]:
    """Returns the parts of the width that no line covers."""
    gaps, at = [], edges[0]
    for left, right in sorted((line.box[0], line.box[2]) for line in lines):
        if left > at:
            gaps.append((at, left))
        at = max(at, right)
    if at < edges[1]:
        gaps.append((at, edges[1]))
    return gaps


def _common(
    some: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]], least: float
) -> list[tuple[float, float]]:
    """Returns the parts that are in both, if wide enough."""
    both = ((max(a, c), min(b, d)) for a, b in some for c, d in others)
    return [(start, end) for start, end in both if end - start >= least]


def _row(band: Sequence[Line]) -> Line:
    """Joins what stands side by side."""
    if len(band) == 1:
        return band[0]
    backwards = _is_right_to_left("".join(line.text for line in band))
    parts = sorted(band, key=lambda line: -line.box[2] if backwards else line.box[0])
    return Line(
        text=" ".join(line.text.strip() for line in parts),
        box=around([line.box for line in parts]),
        size=max(line.size for line in parts),
        cells=len(parts),
    )


def _paragraphs(rows: Sequence[Line]) -> Iterator[list[Line]]:
    steps = [lower.box[1] - upper.box[1] for upper, lower in pairwise(rows)]
    usual = median(steps) if steps else 0.0
    right = max(row.box[2] for row in rows)
    some: list[Line] = []
    for row in rows:
        if some and _begins(row, some, usual, right):
            yield some
            some = []
        some.append(row)
    yield some


def _begins(row: Line, some: Sequence[Line], usual: float, right: float) -> bool:
    """Whether a row begins another paragraph than the rows before it."""
    last = some[-1]
    letter = row.size or row.box[3] - row.box[1]
    short = last.box[2] < right - 0.25 * (right - last.box[0])
    return (
        row.cells > 1
        or last.cells > 1
        or abs(row.size - last.size) > 0.12 * max(row.size, last.size)
        or row.box[1] - last.box[1] > 1.3 * max(usual, letter)
        or (len(some) > 1 and row.box[0] > min(one.box[0] for one in some) + 0.8 * letter)
        or bool(_BULLET.match(row.text))
        or (short and bool(_ENDED.search(last.text)))
    )


def _block(rows: Sequence[Line], page: PageText, style: Style) -> Block:
    text = rows[0].text.strip()
    for row in rows[1:]:
        text = _joined(text, row.text.strip())
    box = page.fractions(around([row.box for row in rows]))
    place = Place(page=page.number, box=box)
    return Block(text=text, heading=_level(text, rows, style), place=place)


def _joined(text: str, more: str) -> str:
    """Joins two lines of a paragraph; a hyphen at the end of a line is not part of its word."""
    if text.endswith(("-", "\u00ad")) and text[-2:-1].isalpha() and more[:1].islower():
        return text[:-1] + more
    wide = bool(text and more) and _is_wide(text[-1]) and _is_wide(more[0])
    return f"{text}{'' if wide or _cut_number(text, more) else ' '}{more}"


def _cut_number(text: str, more: str) -> bool:
    """Whether a line of Chinese ends within a number, which has no place of its own to end at."""
    before, after = text.rstrip(_DIGITS_AND_MARKS)[-1:], more.lstrip(_DIGITS_AND_MARKS)[:1]
    is_chinese = any(one and _is_wide(one) for one in (before, after))
    return is_chinese and text[-1:].isdecimal() and more[:1].isdecimal()


def _is_wide(character: str) -> bool:
    return bool(HAN.match(character)) or "\u3000" <= character <= "\u303f" or character >= "\uff00"


def _level(text: str, rows: Sequence[Line], style: Style) -> int:
    if not style.body or len(text) > _LONGEST_HEADING or len(rows) > 3 or rows[0].cells > 1:
        return 0
    ratio = median(row.size for row in rows) / style.body
    return next((level for least, level in _HEADINGS if ratio >= least), 0)


def _is_right_to_left(text: str) -> bool:
    return 2 * len(RIGHT_TO_LEFT.findall(text)) > sum(map(str.isalpha, text))


def merged(lines: Iterable[Line], gap: float) -> list[Line]:
    """Joins neighbouring parts of a line, in their order, where the space between them is at most
    `gap` letters wide: fonts and colours change within a sentence."""
    found: list[Line] = []
    for line in lines:
        last = found[-1] if found else None
        if last is None or not _continues(last, line, gap):
            found.append(line)
            continue
        found[-1] = replace(
            last,
            text=last.text + line.text,
            box=around([last.box, line.box]),
            size=last.size if last.width >= line.width else line.size,
        )
    return found


def _continues(last: Line, line: Line, gap: float) -> bool:
    top, bottom = max(last.box[1], line.box[1]), min(last.box[3], line.box[3])
    height = min(last.box[3] - last.box[1], line.box[3] - line.box[1])
    apart = max(line.box[0] - last.box[2], last.box[0] - line.box[2])
    return bottom - top > 0.5 * height and apart <= gap * max(last.size, line.size)
