"""Reads what a question names in a table: columns, values, comparisons, periods, what to compute.

Each step takes what it understood out of the question; what is left at the end was not understood.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from itertools import product

from seesay.data.spelling import fold
from seesay.rag.periods import (
    BEFORE,
    BOUND,
    MONTH,
    QUARTER,
    QUARTERS,
    YEAR,
    Period,
    bounds_of,
    month_of,
    period_of,
)
from seesay.rag.plans import Comparison, PlanFilter
from seesay.rag.questions import stem
from seesay.rag.table_words import (
    AMOUNT,
    BETWEEN,
    COMPARISONS,
    COUNTS,
    EACH,
    EN_WORDS,
    OPERATIONS,
    TOP,
    ZH_WORDS,
    alternatives,
    as_words,
    is_name,
    variants,
)
from seesay.search.catalog.drafts import TableColumn, TableData
from seesay.search.reading.values import read_number, scaled_to
from seesay.text import Text

_MOST_VALUES = 20_000  # distinct texts of a column that are looked for
_YES_NO_QUESTION = re.compile(
    r"^(?:is|are|was|were|do|does|did|has|have|had|can|will)(?![a-z])|吗$|没有?$|是否|是不是|有没有|(.)不\1"
)
_START = 5  # letters
_SPACE = "\0"  # stands where something was understood


class UnsureError(Exception):
    """Says why a question has no plan."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.text = Text(en, zh)


@dataclass(frozen=True, kw_only=True)
class Mention:
    """A part of a question that names a column."""

    start: int
    end: int
    column: TableColumn


@dataclass(kw_only=True)
class Slot:
    """Restricts one column to one of several alternatives."""

    column: str
    is_period: bool = False
    alternatives: list[tuple[PlanFilter, ...]] = field(default_factory=list)

    def merged(self) -> tuple[PlanFilter, ...]:
        """Returns filters that hold for rows of any alternative."""
        if len(self.alternatives) == 1:
            return self.alternatives[0]
        values = [one.value for some in self.alternatives for one in some if one.comparison == "="]
        if len(values) < len(self.alternatives):
            raise UnsureError(
                "it names several periods; ask for one", "问题里不止一个时间，请只问一个"
            )
        flat = tuple(value for value in values if not isinstance(value, tuple))
        return (PlanFilter(column=self.column, comparison="in", value=flat),)


@dataclass(eq=False)
class TableReading:
    """One question, read for one table."""

    question: str
    data: TableData
    named: int = 0
    """How many characters of the question name something in this table."""

    def __post_init__(self) -> None:
        self.text = " ".join(fold(self.question).split()).rstrip("?。.! ")
        self.rest = self.text
        self.slots: list[Slot] = []
        self.limits: list[PlanFilter] = []
        """Comparisons with numbers, dates and other columns."""
        self.mentions: list[Mention] = []
        self.grammar, self.grammar_zh = EN_WORDS, ZH_WORDS
        self.is_linked = False
        """Whether everyday words were linked to columns: then none is guessed."""

    def read_names(self) -> None:
        """Finds names of columns, and values of columns of text, the longest first."""
        names = sorted(self._names(), key=lambda one: -len(one[0]))
        owners: dict[str, set[str]] = {}
        for name, column, value in names:
            if value is not None:
                owners.setdefault(name, set()).add(column.name)
        found: list[tuple[int, TableColumn, str]] = []
        for name, column, value in names:
            matches = re.finditer(as_words(name), self.rest) if name in self.rest else ()
            for match in matches:
                self.blot(*match.span())
                self.named += len(name)
                if value is None:
                    start, end = match.span()
                    self.mentions.append(Mention(start=start, end=end, column=column))
                elif len(owners[name]) > 1:
                    raise UnsureError(
                        f"{value!r} occurs in several columns", f"“{value}”在好几列里都有"
                    )
                else:
                    found.append((match.start(), column, value))
        for _, column, value in sorted(found, key=lambda one: one[0]):
            self.add_value(column.name, value, is_period=False)

    def _names(self) -> Iterator[tuple[str, TableColumn, str | None]]:
        """Yields what a question may name: columns, and values with their columns."""
        for column in self.data.columns:
            yield from ((name, column, None) for name in variants(column.name))
        periods = self.period_columns
        for column, values in self.texts:
            for value in values if column.name not in periods else ():
                if is_name(name := fold(value).strip()):
                    yield name, column, value

    def add_value(self, column: str, value: str | int | float, *, is_period: bool) -> None:
        slot = next((one for one in self.slots if one.column == column), None)
        if slot is None:
            slot = Slot(column=column, is_period=is_period)
            self.slots.append(slot)
        restriction = (PlanFilter(column=column, comparison="=", value=value),)
        if restriction not in slot.alternatives:
            slot.alternatives.append(restriction)

    def read_comparisons(self) -> None:
        """Finds "more than 300" and the like, each for the nearest column of numbers."""
        while match := BETWEEN.search(self.rest):
            column = self.compared_column(match)
            for number, comparison in ((match["low"], ">="), (match["number"], "<=")):
                self.limit(column, comparison, number, match["unit"])
            self.blot(*match.span())
        for before, after, sign in COMPARISONS:
            patterns = [rf"(?:{before})\s*(?:了|到)?\s*{AMOUNT}(?!\s*年)"]
            patterns += [rf"{AMOUNT}\s*(?:{after})"] if after else []
            for pattern in patterns:
                while match := re.search(pattern, self.rest):
                    self.limit(self.compared_column(match), sign, match["number"], match["unit"])
                    self.blot(*match.span())

    def compared_column(self, match: re.Match[str]) -> TableColumn:
        near = [
            (min(abs(match.start() - one.end), abs(one.start - match.end())), at)
            for at, one in enumerate(self.mentions)
            if one.column.type == "number"
        ]
        if near:
            return self.mentions.pop(min(near)[1]).column
        unit = fold(match["unit"])
        same = [one for one in self.data.columns if unit and fold(one.unit) == unit]
        if len(same) == 1:
            return same[0]
        return self.number([])

    def limit(self, column: TableColumn, sign: str, number: str, unit: str) -> None:
        known = read_number(number)
        if known is None or (known.unit == "%" and column.unit != "%"):
            raise UnsureError(
                f"{number!r} does not fit {column.name}", f"“{number}”不适用于“{column.name}”列"
            )
        value = scaled_to(known, f"{number}{unit}", column.unit)
        comparison: Comparison = sign  # type: ignore[assignment]
        self.limits.append(PlanFilter(column=column.name, comparison=comparison, value=value))

    def read_bounds(self) -> None:
        """Finds "before May 2024" and the like, for the column of dates that is named or the only
        one."""
        dates = [one for one in self.data.columns if one.type == "date"]
        named = [one for one in self.mentions if one.column in dates]
        for pattern in BOUND:
            match = pattern.search(self.rest)
            if match is None or not dates:
                continue
            if len(named or dates) > 1:
                raise unsure_columns([one.column for one in named] or dates)
            column = named[0].column if named else dates[0]
            self.mentions = [one for one in self.mentions if one not in named]
            year, month, day, side = bounds_of(match)
            years = self._years(column)
            if year is None and len(years) != 1:
                raise UnsureError("it does not say which year", "没有说明是哪一年")
            first, following = _days(year or years[0], month, day)
            sign: Comparison = "<" if side in BEFORE else ">="
            value = following if side in ("after", "以后", "之后", "后", "until", "till") else first
            self.limits.append(PlanFilter(column=column.name, comparison=sign, value=value))
            self.blot(*match.span())

    def _years(
        self, column: TableColumn, quarter: int | None = None, month: int | None = None
    ) -> list[int]:
        """Returns the years of the dates in a column, or of those in a quarter or month."""
        at = self.data.columns.index(column)
        days = [str(row[at]) for row in self.data.rows if row[at] is not None]
        return sorted(
            {
                int(day[:4])
                for day in days
                if month in (None, int(day[5:7])) and quarter in (None, (int(day[5:7]) + 2) // 3)
            }
        )

    def read_periods(self) -> None:
        """Finds years, quarters and months, and the columns that hold them."""
        years = [int(one[1]) for one in self.take_all(YEAR)]
        quarters = [QUARTERS[next(filter(None, one.groups()))] for one in self.take_all(QUARTER)]
        months = [month_of(one) for one in self.take_all(MONTH)]
        given = [list(dict.fromkeys(some)) for some in (years, quarters, months)]
        if not any(given):
            return
        parts: list[list[int | None]] = [[*some] if some else [None] for some in given]
        wanted: list[Period] = [*product(parts[0], parts[1], parts[2])]
        served = [not some for some in given]
        for name, periods in self.period_columns.items():
            serves = [any(one[at] is not None for one in periods.values()) for at in range(3)]
            if any(s and g for s, g in zip(serves, given, strict=True)):
                self._add_periods(name, periods, wanted, serves)
                served = [one or s for one, s in zip(served, serves, strict=True)]
        dates = [one for one in self.data.columns if one.type == "date"]
        title = fold(f"{self.data.title} {self.data.sheet or ''}")
        if not all(served) and len(dates) == 1:
            self._add_ranges(dates[0], wanted)
        elif not served[0] and all(served[1:]) and all(str(year) in title for year in given[0]):
            self.named += 4
        elif not all(served):
            raise UnsureError(
                "it names a period that the table has no column for",
                "表中没有与问题里的时间对应的列",
            )

    def _add_periods(
        self,
        name: str,
        periods: Mapping[str | int | float, Period],
        wanted: Sequence[Period],
        serves: Sequence[bool],
    ) -> None:
        """Restricts a column of periods to those that are wanted."""
        for period in wanted:
            part = [one if s else None for one, s in zip(period, serves, strict=True)]
            self.add_value(name, _holding(periods, part), is_period=True)

    @cached_property
    def period_columns(self) -> dict[str, dict[str | int | float, Period]]:
        """The period that each value of a column stands for, for columns of periods."""
        found: dict[str, dict[str | int | float, Period]] = {}
        for at, column in enumerate(self.data.columns):
            values = {row[at] for row in self.data.rows[:_MOST_VALUES] if row[at] is not None}
            if column.type == "date" or not values or len(values) > 500:
                continue
            periods = {value: period_of(value, column) for value in values if value is not None}
            if all(any(period) for period in periods.values()):
                found[column.name] = periods
        return found

    def _add_ranges(self, column: TableColumn, wanted: Sequence[Period]) -> None:
        """Restricts a column of dates to periods."""
        years = self._years(column)
        slot = Slot(column=column.name, is_period=True)
        for year, quarter, month in wanted:
            if year is None and len(years) != 1:
                years = self._years(column, quarter, month)
            if year is None and len(years) != 1:
                raise UnsureError("it does not say which year", "没有说明是哪一年")
            first, last = (3 * quarter - 2, 3 * quarter) if quarter else (month or 1, month or 12)
            year = years[0] if year is None else year
            end = f"{year + last // 12:04d}-{last % 12 + 1:02d}-01"
            slot.alternatives.append(
                (
                    PlanFilter(
                        column=column.name, comparison=">=", value=f"{year:04d}-{first:02d}-01"
                    ),
                    PlanFilter(column=column.name, comparison="<", value=end),
                )
            )
        self.slots.append(slot)

    def read_top(self) -> int | None:
        match = self.take(TOP)
        if match is None:
            return None
        text = next(filter(None, match.groups()))
        if match[0].startswith("bottom"):
            raise UnsureError(
                'say "lowest" instead of "bottom"', "请用“最低”（lowest），不要用 bottom"
            )
        return int(text) if text.isdigit() else COUNTS[text]

    def read_operations(self) -> set[str]:
        found = set()
        for name, words in OPERATIONS:
            pattern = "|".join(
                f"(?<![a-z])(?:{one})(?![a-z])" if one[0].isascii() else one
                for one in alternatives(words)
            )
            if self.take_all(re.compile(pattern)):
                found.add(name)
        if "count" in found and found & {"max", "min", "mean"}:
            found.discard("count")
        if found >= {"count", "sum"}:
            found.discard("sum")
        if found >= {"percent", "growth"}:
            found.discard("percent")
        return found

    def group(self) -> TableColumn | None:
        for one in self.mentions:
            if one.column.type != "number" or one.column.name in self.period_columns:
                before = self.rest[: one.start]
                if match := EACH.search(before):
                    self.blot(*match.span())
                    return one.column
        return None

    def label(self, which: re.Match[str] | None) -> TableColumn:
        for slot in self.slots:
            if len(slot.alternatives) == 2 and not slot.is_period:
                return self.column(slot.column)  # "which is dearer, A or B"
        taken = {slot.column for slot in self.slots}
        asks_who = which is not None and which[0] in ("who", "谁")
        end = which.end() if which else len(self.text)
        texts = [
            one.column
            for one in sorted(self.mentions, key=lambda one: abs(one.start - end))
            if one.column.name not in taken
            and (
                one.column.type == "text"
                if asks_who
                else one.column.type != "number" or one.column.name in self.period_columns
            )
        ]
        if which and which[0].endswith("年") and not texts:
            years = [
                name
                for name, some in self.period_columns.items()
                if all(one[0] for one in some.values())
            ]
            texts = [one for one in self.data.columns if one.name in years]
        return texts[0] if texts else self.names_of_rows()

    def names_of_rows(self) -> TableColumn:
        """Returns the column whose texts name the rows."""
        taken = {slot.column for slot in self.slots}
        mentioned = [one.column for one in self.mentions if one.column.type == "text"]
        for one in (*mentioned, *self.data.columns):
            if one.type == "text" and one.name not in taken:
                return one
        raise UnsureError("the table has no column of names", "表中没有名称列")

    def number(
        self, measured: Sequence[TableColumn], types: Sequence[str] = ("number",)
    ) -> TableColumn:
        """Returns the one column that is asked for, or the only column of numbers."""
        if len(measured) > 1:
            raise unsure_columns(measured)
        if measured and measured[0].type in types:
            return measured[0]
        periods = self.period_columns
        some = [
            one for one in self.data.columns if one.type == "number" and one.name not in periods
        ]
        if measured or len(some) != 1 or self.is_linked:
            raise UnsureError("it does not say which column", "没有说明是哪一列")
        return some[0]

    def require_understood(self) -> None:
        """Raises UnsureError if words are left that are not grammar."""
        title = fold(f"{self.data.title} {self.data.sheet or ''}")
        words = {stem(one) for one in re.findall("[a-z]+", title)}
        left = []
        for one in re.findall(r"[a-z]+|\d[\d.,]*|[^\W\da-z_]+", self.rest):
            if one.isascii():
                understood = one in self.grammar
                is_titled = any(is_start(stem(one), word) for word in words)
                understood |= is_titled or (one in title and one.isdigit())
                self.named += len(one) if is_titled else 0
                left += [] if understood else [one]
                continue
            kept = one
            for size in range(len(one), 1, -1):
                for at in range(len(one) - size + 1):
                    part = one[at : at + size]
                    if part in title and part in kept:
                        kept = kept.replace(part, " ")
                        self.named += size
            left += self.grammar_zh.sub(" ", kept).split()
        if left:
            told = ", ".join(dict.fromkeys(left))
            raise UnsureError(f"not in the table: {told}", f"表中没有：{told}")

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        if match := pattern.search(self.rest):
            self.blot(*match.span())
        return match

    def take_all(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        found = list(pattern.finditer(self.rest))
        for match in found:
            self.blot(*match.span())
        return found

    def blot(self, start: int, end: int) -> None:
        """Takes a part out of what is left to understand."""
        self.rest = self.rest[:start] + _SPACE * (end - start) + self.rest[end:]

    def column(self, name: str) -> TableColumn:
        return next(one for one in self.data.columns if one.name == name)

    def numbers(self) -> list[TableColumn]:
        return [one for one in self.data.columns if one.type == "number"]

    @cached_property
    def texts(self) -> Sequence[tuple[TableColumn, list[str]]]:
        """The text columns with their distinct values."""
        columns = [*enumerate(self.data.columns)]
        found = []
        for at, column in (one for one in columns if one[1].type == "text"):
            values = (str(row[at]) for row in self.data.rows if row[at] is not None)
            found.append((column, [*dict.fromkeys(values)][:_MOST_VALUES]))
        return found

    @property
    def first_text(self) -> TableColumn | None:
        """The first text column, which mostly names the rows."""
        return next((column for column, _ in self.texts), None)

    @property
    def asks_yes_or_no(self) -> bool:
        return _YES_NO_QUESTION.search(self.text) is not None


def is_start(one: str, other: str) -> bool:
    """Whether two words are the same, or one begins with the other: "refereed" with "referee"."""
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) >= _START and long.startswith(short))


def _days(year: int, month: int, day: int | None) -> tuple[str, str]:
    """Returns the first day of a year, month or day, and the day after it ends. Raises UnsureError
    for a date that does not exist."""
    try:
        first = date(year, month or 1, day or 1)
    except ValueError:
        raise UnsureError(
            f"{year}-{month}-{day or 1} is not a date", f"{year}-{month}-{day or 1} 不是日期"
        ) from None
    if day:
        following = first + timedelta(days=1)
    else:
        following = date(year + 1, 1, 1) if month in (0, 12) else date(year, month + 1, 1)
    return first.isoformat(), following.isoformat()


def _holding(
    periods: Mapping[str | int | float, Period], part: Sequence[int | None]
) -> str | int | float:
    """Returns the one value that is, or lies in, a period."""
    found = [
        value
        for value, known in periods.items()
        if all(p is None or p == k for p, k in zip(part, known, strict=True))
    ]
    if not found:
        raise UnsureError("the table has no row of that period", "表中没有这个时间的数据")
    if len(found) > 1:
        raise UnsureError("several periods of the table match", "表中符合的时间不止一个")
    return found[0]


def unsure_columns(columns: Sequence[TableColumn]) -> UnsureError:
    names = ", ".join(one.name for one in columns)
    return UnsureError(f"it may mean several columns ({names})", f"可能指好几列（{names}）")


def unsure_groups() -> UnsureError:
    return UnsureError(
        "it does not say which two values of one column to compare", "没有说明比较同一列的哪两项"
    )
