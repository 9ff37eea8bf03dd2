"""Answers from a collection as HTML: claims with marks and numbered citations, and the evidence.

All text of files, models and visitors is escaped. A citation is a button that the viewer opens: a
page with the block marked, a video at its moment, a picture; and where there is no picture, the
text or table that stands hidden beside the evidence.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from seesay.data.spelling import visible
from seesay.errors import CollectionError
from seesay.rag.answer import AnswerStream
from seesay.rag.claims import CitedAnswer, Claim, Quote, place_of
from seesay.rag.evidence import Evidence
from seesay.search.asking.results import has_picture
from seesay.search.catalog.drafts import Place, TableData, column_letters
from seesay.search.collection import Collection
from seesay.text import Text, to_unicode
from seesay.web import words
from seesay.web.cards import look, name_of, picture
from seesay.web.report import both

_SNIPPET = 260  # characters of evidence in the list
_BEFORE = 80  # of these before what is quoted
_MOST_ROWS, _MOST_COLUMNS = 200, 40  # of a table in the viewer
_RANGE = re.compile(r"([A-Z]+)(\d+)(?::([A-Z]+)(\d+))?")

Span = tuple[int, int]
Corners = tuple[int, int, int, int]
"""Left, top, right, bottom of a range of cells: numbers of columns and rows, from 1."""


@dataclass(frozen=True)
class PartialAnswer:
    """An answer as far as it has come."""

    html: str = ""
    """Claims and evidence."""
    waiting: Text = words.LOOKING
    """What is being done."""
    understood: str | None = None
    """The question that was answered; None until the answer is whole."""

    def written(self) -> str:
        """As a turn of the conversation that is still being written."""
        dots = f'<p class="waiting">{both(self.waiting)}</p>'
        return f'<div class="turn model cited writing" aria-live="polite">{self.html}{dots}</div>'

    def done(self) -> str:
        """As a turn of the conversation: the whole answer, or one that was stopped."""
        note = _note(words.STOPPED) if self.understood is None else ""
        return f'<div class="turn model cited">{self.html}{note}</div>'


def rendered(steps: AnswerStream, collection: Collection, name: str) -> Iterator[PartialAnswer]:
    """Yields the answer as HTML after each step of `stream_answer`."""
    claims: list[Claim] = []
    view = _View(collection, name, ())

    def whole() -> Iterator[tuple[Evidence, ...] | Claim | CitedAnswer]:
        yield (yield from steps)

    for step in whole():
        if isinstance(step, tuple):
            view = _View(collection, name, step)
            yield PartialAnswer(waiting=words.CHECKING.format(count=len(step)))
        elif isinstance(step, Claim):
            claims.append(step)
            yield PartialAnswer(view.so_far(claims))
        else:
            yield PartialAnswer(view.answer(step), understood=step.understood)


def question_html(question: str) -> str:
    """A question as a turn of the conversation."""
    return f'<div class="turn you"><p>{_safe(question)}</p></div>'


class _View:
    """The evidence of one question, and how claims cite it."""

    def __init__(self, collection: Collection, name: str, evidence: Sequence[Evidence]) -> None:
        self._collection, self._name = collection, name
        self._evidence = {one.id: one for one in evidence}

    def answer(self, answer: CitedAnswer) -> str:
        """The whole answer."""
        told = [*answer.notes]
        if answer.understood != answer.question:
            told.insert(0, words.UNDERSTOOD.format(question=answer.understood))
        if answer.model is not None and answer.claims:
            told.append(words.WRITTEN_BY.format(model=answer.model))
        notes = "".join(map(_note, told))
        others = [one for one in answer.evidence if one not in answer.cited]
        if answer.status == "not found":
            near = words.NEAREST if answer.cited else words.NOTHING_NEAR
            head = f'<p class="none"><strong>{both(words.NOT_FOUND)}</strong></p>{notes}'
            head += f"<p>{both(near)}</p>"
        else:
            head = self._claims(answer.claims) + notes
        folds = _fold(words.LEFT_OUT, len(answer.dropped), self._claims(answer.dropped))
        folds += _fold(words.OTHERS, len(others), self._sources(others, answer.dropped))
        nearest = (
            Claim(text=one.text, evidence=(one.evidence,), quotes=(one,)) for one in answer.nearest
        )
        return head + self._sources(answer.cited, [*answer.claims, *nearest]) + folds

    def so_far(self, claims: Sequence[Claim]) -> str:
        """The claims that have come, with the evidence that they cite."""
        used = {number for claim in claims for number in claim.evidence}
        cited = [one for number, one in self._evidence.items() if number in used]
        return self._claims(claims) + self._sources(cited, claims)

    def _claims(self, claims: Sequence[Claim]) -> str:
        return "".join(map(self._claim, claims))

    def _sources(self, evidence: Iterable[Evidence], claims: Sequence[Claim]) -> str:
        """The list of the evidence, with what `claims` quote marked."""
        items = "".join(self._source(one, _quotes(one, claims)) for one in evidence)
        return f'<ol class="evidence" data-among>{items}</ol>' if items else ""

    def _claim(self, claim: Claim) -> str:
        cites = "".join(self._cite(number, claim) for number in claim.evidence)
        why = f' <small class="note">{both(claim.reason)}</small>' if claim.reason else ""
        return (
            f'<div class="claim" data-verdict="{claim.verdict}">'
            f'<span class="mark">{both(words.VERDICTS[claim.verdict])}</span>'
            f"<p>{_safe(claim.text)}<span>{cites}</span></p>{why}</div>"
        )

    def _cite(self, number: int, claim: Claim) -> str:
        one = self._evidence.get(number)
        if one is None:
            return ""
        data = self._look(one, _quotes(one, [claim]))
        label = words.EVIDENCE_OF.format(number=number)
        title = f"{label.en} {label.zh}: {name_of(one.path)}"
        return (
            f'<span data-among><button type="button" class="cite" {data}'
            f' title="{_safe(title)}">{number}</button></span>'
        )

    def _source(self, one: Evidence, quotes: Sequence[Quote]) -> str:
        unit, is_picture = self._place(one, quotes)
        at = place_of(one, quotes)
        shown = picture(unit, one.path, self._name, at) if is_picture else ""
        place = None if is_picture and at.clock else at.label
        told = f'<span class="note">{both(place)}</span>' if place else ""
        text = f"<blockquote>{_snippet(one.text, quotes)}</blockquote>" if one.text else ""
        act, hidden = "", ""
        if not is_picture:
            data = self._look(one, quotes)
            act = f'<button type="button" class="do" {data}>{both(words.OPEN)}</button>'
            hidden = f'<div class="excerpt" hidden>{self._excerpt(one, quotes)}</div>'
        return (
            f'<li data-number="{one.id}"><span class="number">{one.id}</span>{shown}'
            f'<div class="told"><span class="name" title="{_safe(one.path)}">'
            f"{_safe(name_of(one.path))}</span>{told}{text}{act}</div>{hidden}</li>"
        )

    def _look(self, one: Evidence, quotes: Sequence[Quote]) -> str:
        """What the viewer is told of evidence."""
        unit, is_picture = self._place(one, quotes)
        excerpt = "" if is_picture else f' data-excerpt="{one.id}"'
        return look(unit, one.path, self._name, place_of(one, quotes)) + excerpt

    def _place(self, one: Evidence, quotes: Sequence[Quote]) -> tuple[int, bool]:
        """The passage that evidence stands in, and whether there is a picture of it to show. A
        table is shown as such, also where it stands on a page."""
        try:
            unit = self._unit_of(one, quotes)
            found = self._collection.store.passage_with_file(unit)
        except CollectionError:  # removed since
            return one.unit, False
        return unit, one.kind != "table" and has_picture(*found)

    def _unit_of(self, one: Evidence, quotes: Sequence[Quote]) -> int:
        """The passage that holds a quote: evidence may be neighbours joined, and only one of them
        gave it its number. Raises CollectionError where that is gone."""
        if not quotes or one.locator.offsets is None:
            return one.unit
        store = self._collection.store
        known, file = store.passage_with_file(one.unit)
        if known.place.offsets == one.locator.offsets:
            return one.unit
        for passage in store.passages.of_files([file.id]):
            text = visible(passage.text or "")
            if _is_inside(passage.place, one.locator) and quotes[0].text in text:
                return passage.id
        return one.unit

    def _excerpt(self, one: Evidence, quotes: Sequence[Quote]) -> str:
        """The whole text of evidence, or its table with the cells that count."""
        if one.kind == "table":
            found = self._collection.store.cells.of_passages([one.unit]).get(one.unit)
            if found is not None:
                return _table(found[1], [*_marks(one, quotes, found[1])])
        return _marked(one.text, [(quote.start, quote.end) for quote in quotes])


def _quotes(one: Evidence, claims: Iterable[Claim]) -> list[Quote]:
    return [quote for claim in claims for quote in claim.quotes if quote.evidence == one.id]


def _note(text: Text) -> str:
    return f'<p class="note">{both(text)}</p>'


def _fold(label: Text, count: int, inside: str) -> str:
    if not count:
        return ""
    summary = both(label.format(count=count))
    return f'<details class="why"><summary>{summary}</summary>{inside}</details>'


def _is_inside(place: Place, whole: Place) -> bool:
    if place.offsets is None or whole.offsets is None:
        return False
    same = (place.page, place.sheet) == (whole.page, whole.sheet)
    return same and whole.offsets[0] <= place.offsets[0] and place.offsets[1] <= whole.offsets[1]


def _snippet(text: str, quotes: Sequence[Quote]) -> str:
    """A part of a text, around what is quoted."""
    spans = [(quote.start, quote.end) for quote in quotes]
    begin = max(0, min((start for start, _ in spans), default=0) - _BEFORE)
    if begin:  # at the beginning of a word, where words have spaces between them
        begin += next((at + 1 for at, one in enumerate(text[begin : begin + 20]) if one == " "), 0)
        begin = min(begin, *(start for start, _ in spans))
    end = max(begin + _SNIPPET, min((last for _, last in spans), default=0))
    inside = [(max(start - begin, 0), min(last, end) - begin) for start, last in spans]
    shown = _marked(text[begin:end], [(start, last) for start, last in inside if start < last])
    return ("… " if begin else "") + shown + (" …" if end < len(text) else "")


def _marked(text: str, spans: Sequence[Span]) -> str:
    """A text with these spans marked."""
    html, at = "", 0
    for start, end in sorted(spans):
        start = max(start, at)
        if start < end:
            html += f"{_safe(text[at:start])}<mark>{_safe(text[start:end])}</mark>"
            at = end
    return html + _safe(text[at:])


def _marks(one: Evidence, quotes: Sequence[Quote], data: TableData) -> Iterator[Corners]:
    """The cells that evidence stands for: those a value was computed from, or else the rows that
    are quoted."""
    ranges = [_corners(found) for found in _RANGE.finditer(one.locator.cells or "")]
    if not quotes:
        yield from ranges
        return
    for left, top, right, bottom in ranges:
        rows = [number for number in data.numbers if top <= number <= bottom]
        lines = one.text.split("\n")  # the last ones are the rows, one each
        for quote in quotes:
            below = one.text.count("\n", quote.start) + 1
            if below <= min(len(rows), len(lines)):
                yield left, rows[-below], right, rows[-below]


def _corners(found: re.Match[str]) -> Corners:
    left, top, right, bottom = found.groups()
    return _column(left), int(top), _column(right or left), int(bottom or top)


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number


def _table(data: TableData, marks: Sequence[Corners]) -> str:
    """A table as it stands in its sheet, with these cells marked. Of a long one the marked rows are
    shown, and those at its beginning."""
    columns = range(data.left, data.left + min(len(data.columns), _MOST_COLUMNS))
    hits = [
        {
            column
            for left, top, right, bottom in marks
            if top <= number <= bottom
            for column in columns
            if left <= column <= right
        }
        for number in data.numbers
    ]
    chosen = sorted(sorted(range(len(hits)), key=lambda at: not hits[at])[:_MOST_ROWS])
    letters = "".join(f"<th>{column_letters(column)}</th>" for column in columns)
    names = "".join(f"<th>{_safe(one.name)}</th>" for one in data.columns[: len(columns)])
    body = ""
    for at in chosen:
        # Columns beyond the most that are shown are cut off.
        cells = "".join(
            f'<td class="hit">{_cell(value)}</td>'
            if column in hits[at]
            else f"<td>{_cell(value)}</td>"
            for column, value in zip(columns, data.rows[at], strict=False)
        )
        body += f"<tr><th>{data.numbers[at]}</th>{cells}</tr>"
    rest = len(hits) - len(chosen)
    more = f"<p>{both(words.MORE_ROWS.format(count=rest))}</p>" if rest else ""
    title = " · ".join(dict.fromkeys(filter(None, (data.sheet, data.title))))
    return (
        f'<table class="cells"><caption>{_safe(title)}</caption><thead><tr><th></th>{letters}</tr>'
        f"<tr><th>{data.head or ''}</th>{names}</tr></thead><tbody>{body}</tbody></table>{more}"
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.15g}" if isinstance(value, float) else _safe(str(value))


def _safe(text: str) -> str:
    return escape(to_unicode(text))
