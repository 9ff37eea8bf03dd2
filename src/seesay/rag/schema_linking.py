"""Links the words of a question to the columns and values of a table that they mean: parts of names
("Anna" for "Anna Weber"), other inflections ("join" for "Joined") and everyday words ("how far" for
"Distance (km)"; see `concepts`).

A word that may mean several columns is linked last, to the one that the other words point to.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from seesay.data.spelling import fold
from seesay.rag.concepts import Phrase, concepts_of, phrases
from seesay.rag.lexicon import lexicon
from seesay.rag.periods import BOUND
from seesay.rag.questions import stem
from seesay.rag.row_filters import read_filters, truths
from seesay.rag.table_reading import (
    Mention,
    TableReading,
    UnsureError,
    is_start,
    unsure_columns,
)
from seesay.rag.table_words import AMOUNT, COUNTS, EN_WORDS, GRAMMAR_ZH, WHEN
from seesay.text import HAN

_WORD = re.compile("[a-z]+")
_DOER = re.compile("ers?$")  # runners are not a run
_PROPER = re.compile(r"(?<=\s)[A-Z][a-z]+")
_HOW_MUCH = re.compile(
    r"how (?:much|many|far|long|old|tall|high|deep|heavy|big|large)|多[少高远长久重大]|几"
)
_RELATIVE_YEAR = re.compile("(?:this|last) year|[今去]年")
_RELATIVE = re.compile(
    r"(?:last|next|this|past|previous) (?:week|month|quarter|year|summer|winter)|yesterday|today"
    r"|tomorrow|[上下本这]个?[月周年]|昨天|今天|明天|去年|今年|明年|前年"
)
_MORE = re.compile(
    r"(?<![a-z])(?:more|higher|bigger|larger|greater)(?![a-z])|(?:更|得|比较)?[多高大长]$"
)
_LESS = re.compile(r"(?<![a-z])(?:fewer|less|lower|smaller)(?![a-z])|(?:更|得|比较)?[少低小短]$")
_SEVERAL = re.compile(
    r"(?<![a-z])(two|three|four|five|ten|\d{1,2})\s\0"
    r"|\0的?\s*([两二三四五六七八九十]|\d{1,2})[样个种名位项座本家款条]"
)


@dataclass(kw_only=True)
class Linked:
    """What linked words ask for other than columns."""

    operations: set[str] = field(default_factory=set)
    flows: bool = False
    """Whether they ask for a total if several rows fit."""
    top: int | None = None
    """How many of the first or last are asked for."""
    names_rows: bool = False
    """Whether they ask which row it is, as "the dearest tea" does."""


@dataclass(kw_only=True)
class _Vague:
    """A part of a question that may mean several columns, and the phrases that say so for each."""

    start: int
    end: int
    columns: dict[str, list[Phrase]]


def link_values(reading: TableReading) -> None:
    """Restricts the rows to values that the question names in part. Raises UnsureError for a part
    that several people's names share."""
    periods = reading.period_columns
    for column, values in reading.texts:
        if column.name in periods or truths(values):
            continue
        people = "person" in concepts_of(column)
        for (start, end), named in _parts(reading, values, people=people):
            if people and len(named) > 1:
                raise UnsureError(
                    f"several fit: {', '.join(named)}", f"符合的不止一个：{'、'.join(named)}"
                )
            reading.named += end - start
            reading.blot(start, end)
            for value in named:
                reading.add_value(column.name, value, is_period=False)


def _parts(
    reading: TableReading, names: Sequence[str], *, people: bool
) -> list[tuple[tuple[int, int], list[str]]]:
    """Returns parts of the question, the longest first, each with the names that it stands for."""
    found: dict[tuple[int, int], list[str]] = {}
    proper = {word.lower() for word in _PROPER.findall(reading.question)}
    for name in names:
        main = re.split(r"\s*[(\[（,，/]|\s-\s", fold(name))[0].strip()
        span = _words_of(reading.rest, main, proper, people=people) or _ending_of(
            reading.rest, main
        )
        if span:
            found.setdefault(span, []).append(name)
    apart: dict[tuple[int, int], list[str]] = {}
    for start, end in sorted(found, key=lambda one: one[0] - one[1]):
        if all(end <= one or start >= other for one, other in apart):
            apart[start, end] = found[start, end]
    return [*apart.items()]


def _words_of(text: str, name: str, proper: set[str], *, people: bool) -> tuple[int, int] | None:
    """Returns where a text has the last words of a name ("lamp" for "table lamp", but not "table"),
    or any words of a person's name or with a capital."""
    words = [*map(stem, _WORD.findall(name))]
    asked = [*_WORD.finditer(text)]
    for size in range(min(len(words), len(asked)), 0, -1):
        parts = {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}
        for at in range(len(asked) - size + 1):
            some = [one[0] for one in asked[at : at + size]]
            part = tuple(map(stem, some))
            is_last = part == tuple(words[-size:])
            is_enough = people or is_last or proper.issuperset(some)
            if part in parts and is_enough and not EN_WORDS.issuperset(some):
                return asked[at].start(), asked[at + size - 1].end()
    return None


def _ending_of(text: str, name: str) -> tuple[int, int] | None:
    """Returns where a text has the last characters of a Chinese name, at least two."""
    for at in range(len(name) - 1) if HAN.search(name) and len(name) > 2 else ():
        if (start := text.find(name[at:])) >= 0:
            return start, start + len(name) - at
    return None


def link(reading: TableReading) -> Linked:
    """Finds the columns that the question means, what it asks for, and which rows count. Raises
    UnsureError for words that may mean several columns, times such as "last week", and negations
    of several things."""
    linked = Linked()
    reading.is_linked = True
    reading.grammar = reading.grammar | _light()
    reading.grammar_zh = _light_zh()
    _read_measures(reading)
    _resolve(reading, [*_inflected(reading), *_everyday(reading)], linked)
    linked.names_rows = bool(linked.operations) and not _HOW_MUCH.search(reading.text)
    read_filters(reading)
    if any(len(slot.alternatives) == 2 for slot in reading.slots) and not linked.operations:
        linked.operations |= {
            name for words, name in ((_MORE, "max"), (_LESS, "min")) if reading.take(words)
        }
    elif linked.operations and (match := reading.take(_SEVERAL)):
        count = match[1] or match[2]
        linked.top = COUNTS.get(count) or int(count)
    if _RELATIVE.search(reading.rest):
        raise UnsureError("it names a time relative to today", "问题里的时间是相对今天说的")
    return linked


def _read_measures(reading: TableReading) -> None:
    """Finds "older than 50" and the like."""
    for text, meant in _meanings(reading, compares=True).items():
        for match in [*re.finditer(rf"(?<![a-z]){text} than {AMOUNT}", reading.rest)]:
            if len(meant) > 1:
                raise unsure_columns([reading.column(name) for name in meant])
            ((name, (phrase, *_)),) = meant.items()
            sign = ">" if phrase.role == "high" else "<"
            reading.limit(reading.column(name), sign, match["number"], match["unit"])
            reading.blot(*match.span())


@cache
def _light() -> frozenset[str]:
    return frozenset(lexicon()["columns"]["light"].split())


@cache
def _light_zh() -> re.Pattern[str]:
    words = {*lexicon()["columns"]["light_zh"].split(), *GRAMMAR_ZH}
    return re.compile("|".join(sorted(map(re.escape, words), key=len, reverse=True)))


def _resolve(reading: TableReading, vague: Sequence[_Vague], linked: Linked) -> None:
    """Adds the column that each part means: the unambiguous ones first, then those that a column
    already named decides."""
    left = sorted(vague, key=lambda one: len(one.columns))
    while left:
        named = {one.column.name for one in reading.mentions}
        best = min(left, key=lambda one: len(one.columns) > 1 and not named & {*one.columns})
        left.remove(best)
        known = [name for name in best.columns if name in named] or [*best.columns]
        if len(known) > 1:
            others = [one.columns for one in left if not one.columns.keys().isdisjoint(known)]
            shared = [name for name in known if all(name in one for one in others)]
            known = _likelier(reading, shared or known)
        if len(known) > 1:
            raise unsure_columns([reading.column(name) for name in known])
        for phrase in best.columns[known[0]]:
            linked.flows |= phrase.flows
            if phrase.role != "word":
                linked.operations.add("max" if phrase.role == "high" else "min")
        if known[0] not in named:
            column = reading.column(known[0])
            reading.mentions.append(Mention(start=best.start, end=best.end, column=column))


def _likelier(reading: TableReading, names: Sequence[str]) -> list[str]:
    """Returns the likelier of several columns: a date beside "before May", a number
    after "how much", and what was spent rather than what was planned."""
    columns = [reading.column(name) for name in names]
    beside_bound = any(pattern.search(reading.rest) for pattern in BOUND)
    yes_no = [column.name for column, values in reading.texts if truths(values)]
    for is_meant in (
        lambda one: not beside_bound or one.type == "date",
        lambda one: not _HOW_MUCH.search(reading.text) or one.type == "number",
        lambda one: not WHEN.search(reading.text) or one.type == "date",
        lambda one: one.name not in yes_no,
        lambda one: "planned" not in concepts_of(one),
    ):
        columns = [one for one in columns if is_meant(one)] or columns
    return [one.name for one in columns]


def _inflected(reading: TableReading) -> Iterator[_Vague]:
    """Yields words that occur in names of columns, in any form. Takes out the name of the rows."""
    columns = reading.data.columns
    for match in [*_RELATIVE_YEAR.finditer(reading.rest)]:
        if meant := [one.name for one in columns if match[0] in fold(one.name)]:
            yield _taken(reading, match.span(), meant)
    for match in [*_WORD.finditer(reading.rest)]:
        if meant := [one.name for one in columns if _has_word(fold(one.name), match[0], reading)]:
            yield _taken(reading, match.span(), meant)
    names = fold(reading.first_text.name) if reading.first_text else ""
    if (thing := re.sub("(?:名|名称|名字)$", "", names)) and HAN.match(thing):
        for match in [*re.finditer(re.escape(thing), reading.rest)]:  # 山 for the column 山名
            reading.blot(*match.span())
            reading.named += len(thing)
    for match in [*re.finditer(f"{HAN.pattern}{{2,}}", reading.rest)]:
        yield from _shared(reading, match.start(), match[0])


def _has_word(name: str, word: str, reading: TableReading) -> bool:
    """Whether the name of a column has a word in some form. A word of the table's title says
    nothing about a column."""
    if word in EN_WORDS or (_DOER.search(word) and word.rstrip("s") not in name):
        return False
    titled = map(stem, _WORD.findall(fold(reading.data.title)))
    own = (stem(one) for one in _WORD.findall(name) if one not in EN_WORDS)
    return stem(word) not in titled and any(is_start(one, stem(word)) for one in own)


def _taken(reading: TableReading, span: tuple[int, int], columns: Iterable[str]) -> _Vague:
    reading.blot(*span)
    reading.named += span[1] - span[0]
    return _Vague(start=span[0], end=span[1], columns={one: [] for one in columns})


def _shared(reading: TableReading, start: int, text: str) -> Iterator[_Vague]:
    """Yields the parts of a Chinese text that occur in column names, the longest at each place."""
    empty = lexicon()["columns"]["empty"].split()
    at = 0
    while at < len(text) - 1:
        for size in range(len(text) - at, 1, -1):
            part = text[at : at + size]
            meant = [one.name for one in reading.data.columns if part in fold(one.name)]
            if meant and part not in empty:
                yield _taken(reading, (start + at, start + at + size), meant)
                at += size - 1
                break
        at += 1


def _everyday(reading: TableReading) -> Iterator[_Vague]:
    """Yields everyday words for what columns hold, and units."""
    two = any(len(slot.alternatives) == 2 for slot in reading.slots)
    meanings = _meanings(reading) | (_meanings(reading, compares=True) if two else {})
    for text, meant in meanings.items():
        for start, end in _places(reading.rest, text, next(iter(meant.values()))[0].stems):
            reading.blot(start, end)
            yield _Vague(start=start, end=end, columns=meant)
    for unit, said in lexicon()["unit_names"].items():
        words = said.split(", ")
        columns = [one.name for one in reading.data.columns if fold(one.unit) in (unit, *words)]
        pattern = "|".join(rf"(?<![a-z]){one}(?![a-z])" if one.isascii() else one for one in words)
        for match in [*re.finditer(pattern, reading.rest)] if columns else ():
            yield _taken(reading, match.span(), columns)


def _meanings(
    reading: TableReading, *, compares: bool = False
) -> dict[str, dict[str, list[Phrase]]]:
    """Returns the phrases that may mean columns of the table, the longest first: with `compares`
    those that compare two things, else the others. Text columns have no highest."""
    holding: dict[str, list[str]] = {}
    for column in reading.data.columns:
        for concept in concepts_of(column):
            holding.setdefault(concept, []).append(column.name)
    texts = {column.name for column, _ in reading.texts}
    found: dict[str, dict[str, list[Phrase]]] = {}
    for one in phrases():
        for name in holding.get(one.concept, ()) if one.compares == compares else ():
            if one.role == "word" or name not in texts:
                found.setdefault(one.text, {}).setdefault(name, []).append(one)
    return found


def _places(text: str, phrase: str, stems: Sequence[str]) -> list[tuple[int, int]]:
    """Returns where a text has a phrase, English in any inflection."""
    if not phrase[0].isascii():
        return [match.span() for match in re.finditer(re.escape(phrase), text)]
    words = [*_WORD.finditer(text)]
    size = len(stems)
    found = []
    for at in range(len(words) - size + 1):
        some = [one[0] for one in words[at : at + size]]
        is_doer = _DOER.search(some[-1]) and not _DOER.search(phrase)
        if tuple(map(stem, some)) == tuple(stems) and not is_doer:
            found.append((words[at].start(), words[at + size - 1].end()))
    return found
