"""The text of a PDF page as runs: characters of one object on one line.

PDFium numbers characters in the order of the file and adds spaces and line ends where it sees gaps.
"""

import ctypes
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from seesay.search.reading.blocks import Box
from seesay.search.reading.layout import RIGHT_TO_LEFT, Line

_HYPHEN = re.compile("[\x02\ufffe]")  # what PDFium makes of one at the end of a line
_LINE = re.compile(r"[^\r\n]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Consecutive characters of one text object."""

    line: Line
    row: int
    """The number of the line it is on, from 0."""
    mode: int
    colour: tuple[int, int, int, int]
    """Red, green, blue and opacity."""
    embedded: bool
    """Whether the file holds its font; if this machine lacks it as well, nothing is drawn."""
    unknown: int
    """Estimated number of characters that its font does not map to Unicode."""


def runs_of(raw: Any, page: Any, text_page: Any, height: float) -> Iterator[Run]:
    """Yields the text of a page, an object at a time, with the space that stands before it."""
    text = _characters(raw, text_page)
    objects = objects_of(text, lambda at: _address(raw.FPDFText_GetTextObject(text_page, at)))
    start = row = 0
    space = ""
    while start < len(text):
        if objects[start] is None or text[start] in " \r\n":  # None: PDFium saw a gap
            row += text[start] == "\n"
            space = " "
            start += 1
            continue
        end = start + 1
        while end < len(text) and (
            objects[end] == objects[start]
            or (text[end] == " " and objects[end + 1 : end + 2] == [objects[start]])
        ):
            end += 1
        shown = _HYPHEN.sub("-", text[start:end]).rstrip()
        run = _run(raw, (page, text_page), (start, start + len(shown)), space + shown, height)
        if run is not None:
            yield replace(run, row=row)
        space = " " if text[end - 1].isspace() else ""
        start = end


def objects_of(text: str, object_of: Callable[[int], int | None]) -> list[int | None]:
    """Returns the object of each character. Asking PDFium for each would be the slowest step, so
    whatever lies on a line between two characters of one object counts as part of that object:
    PDFium adds an object at a time, and changes that order only where text runs from right to
    left."""
    if RIGHT_TO_LEFT.search(text):
        return [object_of(at) for at in range(len(text))]
    objects: list[int | None] = [None] * len(text)
    asked = cache(object_of)
    spans = [found.span() for found in _LINE.finditer(text)]
    while spans:
        start, end = spans.pop()
        first, last = asked(start), asked(end - 1)
        if first == last and first is not None:
            objects[start:end] = [first] * (end - start)
        elif end - start > 1:
            middle = (start + end) // 2
            spans += (start, middle), (middle, end)
    return objects


def _run(
    raw: Any, where: tuple[Any, Any], span: tuple[int, int], text: str, height: float
) -> Run | None:
    page, text_page = where
    start, end = span
    one = raw.FPDFText_GetTextObject(text_page, start)
    matrix, first, last = raw.FS_MATRIX(), raw.FS_RECTF(), raw.FS_RECTF()
    raw.FPDFText_GetMatrix(text_page, start, matrix)
    size = raw.FPDFText_GetFontSize(text_page, start) * (matrix.c**2 + matrix.d**2) ** 0.5
    if not raw.FPDFText_GetLooseCharBox(text_page, start, first):
        return None
    raw.FPDFText_GetLooseCharBox(text_page, end - 1, last)
    around = raw.FS_RECTF(
        left=min(first.left, last.left),
        bottom=min(first.bottom, last.bottom),
        right=max(first.right, last.right),
        top=max(first.top, last.top),
    )
    colour = [ctypes.c_uint(level) for level in (0, 0, 0, 255)]
    raw.FPDFPageObj_GetFillColor(one, *colour)
    red, green, blue, alpha = (level.value for level in colour)
    step = max(1, (end - start) // 4)  # about four samples are enough
    errors = [
        raw.FPDFText_HasUnicodeMapError(text_page, at) == 1 or _is_unassigned(text[at - end])
        for at in range(start, end, step)
    ]
    return Run(
        line=Line(text=text, box=on_page(raw, page, height, around), size=round(size, 1)),
        row=0,
        mode=raw.FPDFTextObj_GetTextRenderMode(one),
        colour=(red, green, blue, alpha),
        embedded=raw.FPDFFont_GetIsEmbedded(raw.FPDFTextObj_GetFont(one)) == 1,
        unknown=round(sum(errors) / len(errors) * (end - start)),
    )


def _is_unassigned(character: str) -> bool:
    """Whether a character has no meaning outside its font."""
    return character == "\ufffd" or "\ue000" <= character <= "\uf8ff" or character < "\t"


def on_page(raw: Any, page: Any, height: float, rectangle: Any) -> Box:
    """Returns a rectangle of the file in points from the top left of the page as it is shown."""
    units = 100  # per point; PDFium's device coordinates are integers
    width = raw.FPDF_GetPageWidthF(page)
    sides = round(width * units), round(height * units)
    xs, ys = [], []
    for x, y in ((rectangle.left, rectangle.top), (rectangle.right, rectangle.bottom)):
        across, down = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page, 0, 0, *sides, 0, x, y, across, down)
        xs.append(across.value / units)
        ys.append(down.value / units)
    return min(xs), min(ys), max(xs), max(ys)


def _characters(raw: Any, text_page: Any) -> str:
    """Returns the text of a page, one character for each that PDFium counts."""
    count = raw.FPDFText_CountChars(text_page)
    if count <= 0:
        return ""
    buffer = (ctypes.c_ushort * (count + 1))()
    written = raw.FPDFText_GetText(text_page, 0, count, buffer)
    units = buffer[:count]
    if written == count + 1 and not any(0xD800 <= unit < 0xE000 for unit in units):
        return "".join(map(chr, units))
    codes = (raw.FPDFText_GetUnicode(text_page, at) for at in range(count))
    return "".join(chr(code) if 0 < code < 0x110000 else "\ufffd" for code in codes)


def _address(one: Any) -> int | None:
    return ctypes.cast(one, ctypes.c_void_p).value
