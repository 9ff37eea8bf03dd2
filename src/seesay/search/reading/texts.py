"""Text files: split into passages that are embedded and found on their own."""

import re
from collections.abc import Iterator

from seesay.data.encodings import decode_text
from seesay.errors import DataError
from seesay.search.catalog.drafts import Place
from seesay.search.reading.files import RefusedError
from seesay.search.reading.messages import FileContent, FileReader, Passage
from seesay.text import Text

PIECE = 600  # characters of Latin text, about a hundred words: two windows of CLIP's context
_WIDE = 3  # a Chinese character counts as this many letters

_WIDE_SCRIPT = re.compile("[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_BLANK = re.compile(r"\n[ \t]*\n+|\n(?=#{1,6} )")
_SENTENCE = re.compile(r"(?<=[.!?;。！？；…\n])(?![.!?;。！？；…'\"”\u2019)）」』])\s*")
_SPACE = re.compile(r"\s+")


def read_text(data: bytes) -> FileContent:
    """Returns the passages of a text file. Raises RefusedError if it is not a text."""
    try:
        return FileContent(passages=text_passages(decode_text(data)))
    except DataError as error:
        raise RefusedError("text", error.text) from None


def text_passages(text: str) -> tuple[Passage, ...]:
    """Returns the passages of a text, with their places in it. Raises RefusedError if there are
    none."""
    passages = tuple(
        Passage(media_type="text", modality="text", text=text[a:b], place=Place(offsets=(a, b)))
        for a, b in pieces(text)
    )
    if not passages:
        raise RefusedError(
            "text",
            Text(
                "it holds no text. Expected some words. Leave it, or fill it.",
                "里面没有文字；应有一些文字；请补上内容，或不必理会",
            ),
        )
    return passages


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each passage starts and ends. Passages break at paragraphs, else sentences, else
    words, else anywhere; short paragraphs are merged."""
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
    """Yield parts of a text that are short enough, split no finer than needed."""
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


READER = FileReader(
    media_type="text",
    endings=frozenset((".txt", ".text", ".rst")),
    read=lambda file, settings, needed: read_text(file.data),
    recognises=lambda data: True,
)
