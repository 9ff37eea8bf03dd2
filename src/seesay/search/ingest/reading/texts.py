"""A text file's bytes -> pieces that are embedded and found on their own."""

import codecs
import re
from collections.abc import Iterator

from seesay.search.ingest.reading.files import RefusedError
from seesay.search.store.records import Locator, UnitDraft

PIECE = 600  # of a Latin text, about a hundred words: two windows of CLIP's context
_WIDE = 3  # letters that a Chinese character counts for

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE_SCRIPT = re.compile("[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
# What Chinese is written with: the 6,763 characters of GB 2312 and the punctuation around them.
_PLAUSIBLE = 0.95
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_BLANK = re.compile(r"\n[ \t]*\n+|\n(?=#{1,6} )")
_SENTENCE = re.compile(r"(?<=[.!?;。！？；…\n])(?![.!?;。！？；…'\"”\u2019)）」』])\s*")
_SPACE = re.compile(r"\s+")


def decode_text(data: bytes) -> str:
    """The text of a file in UTF-8, UTF-16, UTF-32 or GB18030. Raises RefusedError for anything
    else: a guess among the Western code pages would be wrong too often to be searched."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return _checked(_decoded(data, name), name)
    text = None if b"\0" in data else _decoded(data, "utf-8")  # of UTF-16, every other byte is zero
    if text is not None:
        return _checked(text, "utf-8")
    for name in _unmarked_utf16(data):
        return _checked(_decoded(data, name), name)
    text = _decoded(data, "gb18030")
    if text is not None and _is_chinese(text):
        return _checked(text, "gb18030")
    raise RefusedError(
        "text",
        "its bytes are no text in UTF-8, UTF-16 or GB18030. Expected one of these. "
        "Save it as UTF-8.",
    )


def text_units(text: str) -> tuple[UnitDraft, ...]:
    """The pieces of a text, with where they lie. Raises RefusedError where there is none."""
    units = tuple(
        UnitDraft(kind="text", text=text[a:b], locator=Locator(offsets=(a, b)))
        for a, b in pieces(text)
    )
    if not units:
        raise RefusedError("text", "it holds no text. Expected some words. Leave it, or fill it.")
    return units


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """Where each piece begins and ends. They break where a paragraph does, else a sentence, else a
    word, else anywhere; short paragraphs are put together."""
    start = end = size = 0
    for a, b in _parts(text, 0, len(text), (_BLANK, _SENTENCE, _SPACE)):
        width = _width(text[a:b])
        if size and size + width > PIECE:
            yield from _stripped(text, start, end)
            start, size = a, 0
        end, size = b, size + width
    yield from _stripped(text, start, end)


def _parts(
    text: str, start: int, end: int, breaks: tuple[re.Pattern[str], ...]
) -> Iterator[tuple[int, int]]:
    """Parts of a text that are short enough, divided no finer than needed."""
    if _width(text[start:end]) <= PIECE:
        yield start, end
        return
    if not breaks:
        step = PIECE // _WIDE
        yield from ((a, min(a + step, end)) for a in range(start, end, step))
        return
    before = start
    for found in breaks[0].finditer(text, start, end):
        if found.end() > before:
            yield from _parts(text, before, found.end(), breaks[1:])
            before = found.end()
    if before < end:
        yield from _parts(text, before, end, breaks[1:])


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    if stripped := piece.strip():
        yield start, start + len(stripped)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return len(text) + (_WIDE - 1) * len(_WIDE_SCRIPT.findall(text))


def _decoded(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        return None


def _checked(text: str | None, name: str) -> str:
    if text is None or _CONTROL.search(text):
        raise RefusedError(
            "text",
            f"it begins like {name} but holds bytes that no text has. Expected a text file. "
            "Check that it is one and whole.",
        )
    return text


def _unmarked_utf16(data: bytes) -> Iterator[str]:
    """UTF-16 without a mark shows in the line breaks and spaces, whose other byte is zero."""
    if len(data) % 2 or not data:
        return
    for name in ("utf-16-le", "utf-16-be"):
        text = _decoded(data, name)
        marks = sum(text.count(mark) for mark in "\n \u3000\u3002\uff0c") if text else 0
        if text and not _CONTROL.search(text) and (marks or text.isascii()):
            yield name


def _is_chinese(text: str) -> bool:
    """Whether what is not ASCII are characters in use; a Western code page read as GB18030 gives
    rare ones."""
    strange = [c for c in text if not c.isascii()]
    good = sum(_in_gb2312(c) for c in strange)
    return good >= _PLAUSIBLE * len(strange)


def _in_gb2312(character: str) -> bool:
    try:
        return len(character.encode("gb2312")) == 2
    except UnicodeEncodeError:
        return False
