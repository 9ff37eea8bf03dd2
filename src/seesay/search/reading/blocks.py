"""Documents as blocks (headings, paragraphs, cells) -> passages of 200 to 400 characters.

A passage holds whole sentences of neighbouring blocks under the same headings, which stand before
its text so that it can be found and understood alone. It begins with the last sentence of the
passage before it, if that is short: an answer is often spread over two sentences.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from seesay.search.catalog.drafts import Place
from seesay.search.reading.messages import Passage

LONGEST = 400
"""Characters of a passage, without its headings."""
_ENOUGH = 200  # characters: what is shorter takes in the block that follows
_OVERLAP = 80  # characters: a longer sentence is not repeated
_LONG_PAUSE_S = 10.0
_HEADING = 120  # characters of a heading that are repeated in each passage
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；…])(?![.!?;。！？；…'\"”\u2019)）」』])\s*")
_WORD = re.compile(r"(?<=[\s，、,：:])")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A heading, a paragraph or a row of cells in a document."""

    text: str
    heading: int = 0
    """Level of a heading, from 1; 0 for everything else."""
    place: Place = field(default_factory=Place)
    """Where it is: page, box, sheet or cells."""


@dataclass(frozen=True)
class _Sentence:
    text: str
    place: Place
    ends_block: bool


def passages_of(
    blocks: Iterable[Block], headings: list[tuple[int, str]] | None = None
) -> Iterator[Passage]:
    """Yields the passages of a document, in order; none for blocks without text. A passage stays on
    one page, and its box is around the blocks of its sentences, but for one that is repeated.

    A document that is read page by page gives the same list of headings, empty at first, for each
    page: it holds those under which the next page begins."""
    headings = [] if headings is None else headings
    waiting: list[_Sentence] = []
    title: Block | None = None  # the last heading, while nothing has stood under it
    for block in blocks:
        text = " ".join(block.text.split())
        if not text:
            continue
        if block.heading:
            yield from _cut(waiting, headings)
            if title and title.heading >= block.heading:
                yield _passage(title.text, title.place, headings[:-1])
            waiting, headings[:] = [], [one for one in headings if one[0] < block.heading]
            headings.append((block.heading, text[:_HEADING]))
            title = block
            continue
        if waiting and not _together(waiting[-1].place, block.place):
            yield from _cut(waiting, headings)
            waiting = []
        waiting += _sentences(text, block.place)
        title = None
    yield from _cut(waiting, headings)
    if title:
        yield _passage(title.text, title.place, headings[:-1])


def _sentences(text: str, place: Place) -> list[_Sentence]:
    parts = [part for part in _SENTENCE.split(text) if part]
    short = [piece for part in parts for piece in _pieces(part)]
    return [_Sentence(one, place, at == len(short) - 1) for at, one in enumerate(short)]


def _pieces(sentence: str) -> Iterator[str]:
    """Cuts a sentence that is too long at words, and a word that is too long anywhere."""
    while len(sentence) > LONGEST:
        ends = [found.end() for found in _WORD.finditer(sentence, 1, LONGEST)]
        cut = ends[-1] if ends else LONGEST
        yield sentence[:cut].rstrip()
        sentence = sentence[cut:].lstrip()
    if sentence:
        yield sentence


def _cut(waiting: Sequence[_Sentence], headings: Sequence[tuple[int, str]]) -> Iterator[Passage]:
    """Yields the passages of sentences that may stand together."""
    some: list[_Sentence] = []
    fresh = 0  # sentences in `some` that no passage has had
    for sentence in waiting:
        length = len(_joined([*some, sentence]))
        paragraph_ends = bool(some) and some[-1].ends_block and len(_joined(some)) >= _ENOUGH
        if fresh and (length > LONGEST or paragraph_ends):
            yield _of(some, fresh, headings)
            last = some[-1]
            overlaps = len(last.text) <= _OVERLAP and len(last.text) + len(sentence.text) < LONGEST
            some, fresh = [last] if overlaps else [], 0
        some.append(sentence)
        fresh += 1
    if fresh:
        yield _of(some, fresh, headings)


def _of(sentences: Sequence[_Sentence], fresh: int, headings: Sequence[tuple[int, str]]) -> Passage:
    boxes = [one.place.box for one in sentences[-fresh:] if one.place.box]
    box, end_s = around(boxes) if boxes else None, sentences[-1].place.end_s
    place = replace(sentences[0].place, box=box, end_s=end_s, cues=_cues(sentences))
    return _passage(_joined(sentences), place, headings)


def _cues(sentences: Sequence[_Sentence]) -> tuple[tuple[int, float], ...] | None:
    """Returns where each of several subtitles starts in a passage, which has no headings then."""
    cues: list[tuple[int, float]] = []
    for at, one in enumerate(sentences):
        start_s = one.place.start_s
        if start_s is not None and (not cues or cues[-1][1] != start_s):
            cues.append((len(_joined(sentences[: at + 1])) - len(one.text), start_s))
    return tuple(cues) if len(cues) > 1 else None


def _passage(text: str, place: Place, headings: Sequence[tuple[int, str]]) -> Passage:
    text = "\n".join((*(heading for _, heading in headings), text))
    return Passage(media_type="text", modality="text", text=text, place=place)


def _joined(sentences: Sequence[_Sentence]) -> str:
    text = ""
    for before, one in zip((None, *sentences[:-1]), sentences, strict=True):
        if before is not None:
            text += "\n" if before.ends_block else " " if one.text[0].isascii() else ""
        text += one.text
    return text


def _together(one: Place, other: Place) -> bool:
    pause = (other.start_s or 0.0) - (one.end_s or 0.0)  # between subtitles
    return (one.page, one.sheet) == (other.page, other.sheet) and pause <= _LONG_PAUSE_S


def around(boxes: Sequence[Box]) -> Box:
    """Returns the smallest box around some boxes."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)
