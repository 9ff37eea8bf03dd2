"""Reads which rows of a table count: by a yes/no column ("who hasn't paid") or by two columns of
each row ("over budget").
"""

import re
from collections.abc import Mapping, Sequence

from seesay.data.spelling import fold
from seesay.rag.concepts import concepts_of
from seesay.rag.plans import Comparison, PlanFilter
from seesay.rag.questions import stem
from seesay.rag.table_reading import Mention, TableReading, UnsureError
from seesay.rag.table_words import YES_NO
from seesay.search.catalog.drafts import TableColumn

_OVER = (
    r"over|above|exceed(?:s|ed|ing)?|more than|higher than|beat|beats"
    r"|超出了?|超过了?|超|高于|多于|大于"
)
_UNDER = (
    r"under|below|(?:less|fewer|lower|cheaper) than|short of|miss(?:ed)?"
    r"|不如|低于|少于|小于|不到|没达到|未达到|没完成|未完成"
)
_REACHED = r"reach(?:ed)?|met|meet|hit|achieved?|达到了?|达成了?|完成了?"
_BEFORE_COLUMN = r"(?:\s*(?:the|their|its|our|his|her|they|we|was|were|is|are|had))*\s*$"
_THAN_PLANNED: tuple[tuple[str, Comparison], ...] = (
    (rf"(?<![a-z])(?:{_UNDER}){_BEFORE_COLUMN}", "<"),
    (rf"(?<![a-z])(?:{_OVER}){_BEFORE_COLUMN}", ">"),
    (rf"(?<![a-z])(?:{_REACHED}){_BEFORE_COLUMN}", ">="),
)
_THAN: tuple[tuple[str, Comparison], ...] = (
    (r"(?<![a-z])(?:fewer|less|lower|cheaper)(?![a-z])|不如|不及|少|低", "<"),
    (r"(?<![a-z])(?:more|higher|greater|dearer)(?![a-z])|多|高", ">"),
)
_OPPOSITE: Mapping[Comparison, Comparison] = {">": "<=", "<": ">=", ">=": "<"}
_OVERSPENT = re.compile(r"overspen[dt]|超支了?")
_NEGATION = re.compile(
    r"(?:still )?(?:have|has|needs?|yet) to be(?![a-z])"
    "|(?:have|has|had|did|do|does|is|are|was|were)n['\u2019]?t(?![a-z])"
    r"|(?<![a-z])(?:not|never)(?![a-z])|还没有?|没有?|尚未|未|不是|不"
)
_UN = re.compile(r"(?<![a-z])un([a-z]+)")
_CHOICE = re.compile(r"\0+不\0+")  # 来不来 asks, and denies nothing
_OR_NOT = re.compile("没有?$")


def read_filters(reading: TableReading) -> None:
    """Restricts the rows. Raises UnsureError if it is not clear what is negated."""
    _read_yes_and_no(reading)
    numbers = [one for one in reading.numbers() if one.name not in reading.period_columns]
    for read in (_read_overspent, _read_two, _read_one):
        if read(reading, numbers):
            break


def truths(values: Sequence[str]) -> dict[str, bool]:
    """Returns for each value of a yes/no column whether it means yes; empty for other columns."""
    folded = {value: fold(value).strip() for value in values}
    known = {value: YES_NO.get(one) for value, one in folded.items()}
    if len(known) == 2 and None in known.values():
        short, long = sorted(folded.values(), key=len)
        denied = {f"{word}{short}" for word in ("不", "没", "未", "not ", "un")}
        if long in denied or (short.startswith("已") and long == f"未{short[1:]}"):
            return {value: text == short for value, text in folded.items()}
    found = {value: one for value, one in known.items() if one is not None}
    return found if len(found) == len(known) else {}


def _read_yes_and_no(reading: TableReading) -> None:
    """Restricts the rows by yes/no columns that are named: to "yes", or to "no" after a
    negation. "Has Ann paid?" restricts nothing: it asks for the cell."""
    known = {column.name: found for column, values in reading.texts if (found := truths(values))}
    reading.take_all(_CHOICE)
    _read_prefix(reading, known)
    named = [one for one in reading.mentions if one.column.name in known]
    if not named or reading.asks_yes_or_no:
        reading.take(_OR_NOT)
        return
    negations = reading.take_all(_NEGATION)
    if len(negations) > 1 or (negations and len(named) > 1):
        raise UnsureError("it is not clear what is negated", "不清楚否定的是哪一项")
    for one in named:
        reading.mentions.remove(one)
        for value, is_true in known[one.column.name].items():
            if is_true != bool(negations):
                reading.add_value(one.column.name, value, is_period=False)


def _read_prefix(reading: TableReading, known: Mapping[str, Mapping[str, bool]]) -> None:
    """Reads "unsold" as "not sold"."""
    for match in [*_UN.finditer(reading.rest)]:
        word = stem(match[1])
        meant = [name for name in known if word in map(stem, re.findall("[a-z]+", fold(name)))]
        if len(meant) == 1:
            start, end = match.span()
            reading.rest = f"{reading.rest[:start]}not{reading.rest[start + 3 :]}"
            reading.blot(start + 3, end)
            column = reading.column(meant[0])
            reading.mentions.append(Mention(start=start, end=end, column=column))


def _read_overspent(reading: TableReading, numbers: Sequence[TableColumn]) -> bool:
    """Reads "overspent", if there is one column of what was planned and one of what was spent."""
    planned = [one for one in numbers if "planned" in concepts_of(one)]
    actual = [one for one in numbers if "actual" in concepts_of(one)]
    if len(planned) != 1 or len(actual) != 1 or not reading.take(_OVERSPENT):
        return False
    _compare(reading, actual[0], ">", planned[0])
    return True


def _read_two(reading: TableReading, numbers: Sequence[TableColumn]) -> bool:
    """Reads "fewer this year than last year", where both columns are named."""
    both = [one for one in reading.mentions if one.column in numbers]
    if len(both) != 2 or both[0].column.unit != both[1].column.unit or reading.asks_yes_or_no:
        return False
    one, other = sorted(both, key=lambda some: some.start)
    for words, sign in _THAN:
        if match := reading.take(re.compile(words)):
            if match.start() > other.start and "比" in reading.rest[: one.start]:
                one, other = other, one  # 比去年今年多
            _compare(reading, one.column, sign, other.column)
            return True
    return False


def _read_one(reading: TableReading, numbers: Sequence[TableColumn]) -> bool:
    """Reads "over budget", where only the column to compare with is named."""
    for one in [*reading.mentions]:
        others = [other for other in numbers if other.unit == one.column.unit]
        others = [other for other in others if other is not one.column]
        mentioned = [other.column for other in reading.mentions if other.column in others]
        others = mentioned or [o for o in others if "actual" in concepts_of(o)] or others
        if one.column not in numbers or len(others) != 1:
            continue
        before = reading.rest[: one.start].replace("\0", " ")
        for words, sign in _THAN_PLANNED:
            if match := re.search(words, before):
                reading.blot(match.start(), one.start)
                negation = reading.take(_NEGATION)
                _compare(reading, others[0], _OPPOSITE[sign] if negation else sign, one.column)
                return True
    return False


def _compare(
    reading: TableReading, column: TableColumn, sign: Comparison, other: TableColumn
) -> None:
    """Keeps only the rows where the comparison of the two columns holds."""
    both = (column, other)
    reading.mentions = [one for one in reading.mentions if one.column not in both]
    reading.limits.append(PlanFilter(column=column.name, comparison=sign, other=other.name))
