"""Turns questions in Chinese and English into a plan for one of several tables, by rules.

A question becomes a plan only if every word of it is accounted for: as a column, a value in a cell,
a period, a comparison, what to compute, or grammar. Anything left may be a restriction that the
table does not know ("profit of the east" where there is no profit), and an answer without it would
be wrong. So such a question is refused, with the words that were not understood.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from seesay.data.spelling import fold
from seesay.rag.periods import (
    MONTH,
    QUARTER,
    QUARTERS,
    YEAR,
    Period,
    month_of,
    period_of,
)
from seesay.rag.plans import Comparison, Operation, Plan, PlanFilter, PlanRow, execute
from seesay.rag.table_words import (
    AMOUNT,
    BETWEEN,
    COMPARISONS,
    COUNTS,
    EACH,
    EN_WORDS,
    OPERATIONS,
    TOP,
    WHICH,
    ZH_WORDS,
    alternatives,
    as_words,
    is_name,
    variants,
)
from seesay.search.catalog.drafts import TableColumn, TableData
from seesay.search.reading.values import read_number, scaled_to
from seesay.text import Text

_MOST_VALUES = 20_000  # different texts of a column that a question may name
_OF_ONE_GROUP: Mapping[str, Operation]
_OF_ONE_GROUP = {"sum": "sum", "mean": "mean", "min": "min", "max": "max"}
_SPACE = "\0"  # stands where something was understood


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a question became no plan."""

    reason: Text


class _UnsureError(Exception):
    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.text = Text(en, zh)


def plan_of(question: str, tables: Mapping[int, TableData]) -> Plan | Refusal:
    """Returns the plan that answers a question from one of these tables, by the number of their
    first passage; a Refusal if none answers it, or several do."""
    found: list[tuple[int, Plan]] = []
    reasons: list[tuple[int, Text]] = []
    for number, data in tables.items():
        reader = _Question(question, number, data)
        try:
            plan = reader.plan()
            found.append((reader.named, plan))
        except _UnsureError as error:
            reasons.append((reader.named, error.text))
    if found:
        most = max(named for named, _ in found)
        best = [plan for named, plan in found if named == most]
        if len(best) == 1:
            return best[0]
        return Refusal(
            reason=Text(
                f"{len(best)} tables may answer this; name the one you mean",
                f"有 {len(best)} 个表格都可能回答这个问题；请说明是哪一个",
            )
        )
    if not reasons:
        return Refusal(reason=Text("there is no table to ask", "没有可以查询的表格"))
    return Refusal(reason=max(reasons, key=lambda one: one[0])[1])


@dataclass(frozen=True, kw_only=True)
class _Mention:
    """A part of a question that names a column."""

    start: int
    end: int
    column: TableColumn


@dataclass(kw_only=True)
class _Slot:
    """A restriction by the values of one column: one of several alternatives."""

    column: str
    is_period: bool = False
    alternatives: list[tuple[PlanFilter, ...]] = field(default_factory=list)

    def merged(self) -> tuple[PlanFilter, ...]:
        """Returns filters that hold for rows of any alternative."""
        if len(self.alternatives) == 1:
            return self.alternatives[0]
        values = [one.value for some in self.alternatives for one in some if one.comparison == "="]
        if len(values) < len(self.alternatives):
            raise _UnsureError(
                "it names several periods; ask for one", "问题里有几个时间；请只问一个"
            )
        flat = tuple(value for value in values if not isinstance(value, tuple))
        return (PlanFilter(column=self.column, comparison="in", value=flat),)


@dataclass(eq=False)
class _Question:
    """One question, read for one table. What was understood is blotted out of `rest`."""

    question: str
    table: int
    data: TableData
    named: int = 0
    """Characters of the question that name something of this table."""

    def __post_init__(self) -> None:
        self.text = " ".join(fold(self.question).split()).rstrip("?。.! ")
        self.rest = self.text
        self.slots: list[_Slot] = []
        self.limits: list[PlanFilter] = []
        """Comparisons with numbers."""
        self.mentions: list[_Mention] = []

    def plan(self) -> Plan:
        """Returns the plan. Raises _UnsureError."""
        self._read_names()
        self._read_comparisons()
        self._read_periods()
        top = self._read_top()
        operations = self._read_operations()
        which = self._take(WHICH)
        group = self._group()
        label = self._label(which) if which or top else None
        self._require_understood()
        used = {slot.column for slot in self.slots} | {group and group.name, label and label.name}
        measured = [one.column for one in self.mentions if one.column.name not in used]
        measured = list({one.name: one for one in measured}.values())
        plan = self._built(operations, measured, group, label, top)
        if isinstance(plan.column, str) and not self._result(plan):
            raise _UnsureError("no row fits", "没有符合条件的行")
        return plan

    def _built(
        self,
        operations: set[str],
        measured: Sequence[TableColumn],
        group: TableColumn | None,
        label: TableColumn | None,
        top: int | None,
    ) -> Plan:
        if top or (label and operations & {"max", "min"}):
            return self._best(operations, self._number(measured), label, top)
        if operation := self._comparing(operations):
            return self._compared(operation, operations, self._number(measured))
        if operations & {"count", "distinct"}:
            return self._counted(operations, measured, group, label)
        if len(operations) > 1:
            raise _UnsureError("it asks for several things at once", "一次问了几件事")
        if operations:
            return self._single(operations.pop(), self._number(measured), group)
        if group is not None:
            raise _UnsureError("it does not say what to compute", "没有说明要计算什么")
        return self._looked_up(measured, label)

    def _looked_up(self, measured: Sequence[TableColumn], label: TableColumn | None) -> Plan:
        """One cell; or the names of the rows that fit."""
        if label and not measured and (self.limits or self.slots):
            return self._plan("value", label)
        plan = self._plan("value", self._number(measured, types=("number", "text", "date")))
        if len(self._result(plan)) > 1:
            raise _UnsureError(
                "several rows fit; ask for their total, average, highest or lowest",
                "符合的行不止一行；请说明要合计、平均、最高还是最低",
            )
        return plan

    def _single(self, operation: str, column: TableColumn, group: TableColumn | None) -> Plan:
        return self._plan(_OF_ONE_GROUP[operation], column, group_by=group.name if group else None)

    def _comparing(self, operations: set[str]) -> Operation | None:
        """Returns the way of comparing two groups that is asked for."""
        if "growth" in operations or operations >= {"percent", "change"}:
            return "growth"
        if operations & {"difference", "change", "decline"}:
            if operations & {"mean", "percent"}:
                raise _unsure_groups()
            return "difference"
        return "share" if "percent" in operations else "ratio" if "ratio" in operations else None

    def _counted(
        self,
        operations: set[str],
        measured: Sequence[TableColumn],
        group: TableColumn | None,
        label: TableColumn | None,
    ) -> Plan:
        """Counts rows, or the different values of a column of text; a column of numbers, as in "how
        many visitors", is summed."""
        by = group.name if group else None
        named = [*measured, *([label] if label else [])]
        if len(named) > 1:
            raise _unsure_columns(named)
        if not named and "distinct" in operations:
            raise _UnsureError("it does not say of what", "没有说明是什么的种数")
        if not named:
            return self._plan("count", None, group_by=by)
        if named[0].type == "number":
            return self._plan("sum", named[0], group_by=by)
        return self._plan("distinct", named[0], group_by=by)

    def _best(
        self,
        operations: set[str],
        column: TableColumn,
        label: TableColumn | None,
        top: int | None,
    ) -> Plan:
        """The rows, or with "total" or "average" the groups, with the highest or lowest values."""
        label = label or self._names_of_rows()
        if operations >= {"max", "min"}:
            raise _UnsureError("it asks for the highest and the lowest", "同时问了最高和最低")
        grouped = operations & {"sum", "mean"}
        if not grouped:
            rows = self._result(self._plan("value", column, label=label.name))
            if len({row.label for row in rows}) < len(rows):
                raise _UnsureError(
                    f"{label.name} has several rows each; ask for the highest total or average",
                    f"{label.name} 各有多行；请说明是合计最高还是平均最高",
                )
            plan = self._plan("value", column, label=label.name)
        else:
            measure: Operation = "sum" if "sum" in grouped else "mean"
            plan = self._plan(measure, column, group_by=label.name)
        low = "min" in operations
        return replace(plan, order="ascending" if low else "descending", limit=top or 1)

    def _compared(self, operation: Operation, operations: set[str], column: TableColumn) -> Plan:
        """Two groups of rows, which differ in one restriction."""
        if operation == "share":
            parts = [slot for slot in self.slots if not slot.is_period]
            if len(parts) != 1 or self.limits:
                raise _unsure_groups()
            whole = self._filters([slot for slot in self.slots if slot is not parts[0]])
            return self._plan("share", column, self._filters(self.slots), whole)
        pairs = [slot for slot in self.slots if len(slot.alternatives) == 2]
        if len(pairs) != 1 or any(len(slot.alternatives) > 2 for slot in self.slots):
            raise _unsure_groups()
        one, other = pairs[0].alternatives
        if pairs[0].is_period and operations & {"growth", "change", "decline"}:
            other, one = sorted((one, other), key=lambda some: str(some[0].value))
            if "decline" in operations:
                one, other = other, one
        elif operations & {"growth", "change", "decline"}:
            raise _unsure_groups()
        common = self._filters([slot for slot in self.slots if slot is not pairs[0]])
        return self._plan(operation, column, (*common, *one), (*common, *other))

    def _plan(
        self,
        operation: Operation,
        column: TableColumn | None,
        filters: tuple[PlanFilter, ...] | None = None,
        against: tuple[PlanFilter, ...] = (),
        **more: object,
    ) -> Plan:
        return Plan(
            table=self.table,
            operation=operation,
            column=column.name if column else None,
            filters=self._filters(self.slots) if filters is None else filters,
            against=against,
            **more,  # type: ignore[arg-type]
        )

    def _filters(self, slots: Sequence[_Slot]) -> tuple[PlanFilter, ...]:
        return (*(one for slot in slots for one in slot.merged()), *self.limits)

    def _result(self, plan: Plan) -> Sequence[PlanRow]:
        return execute(plan, self.data).rows

    # Reading: each of these blots out what it understood.

    def _read_names(self) -> None:
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
                self._blot(match)
                self.named += len(name)
                if value is None:
                    start, end = match.span()
                    self.mentions.append(_Mention(start=start, end=end, column=column))
                elif len(owners[name]) > 1:
                    raise _UnsureError(
                        f"{value!r} stands in several columns", f"{value!r} 出现在几列中"
                    )
                else:
                    found.append((match.start(), column, value))
        for _, column, value in sorted(found, key=lambda one: one[0]):
            self._add_value(column.name, value, is_period=False)

    def _names(self) -> Iterator[tuple[str, TableColumn, str | None]]:
        """Yields what a question may name: columns, and values with their columns."""
        for column in self.data.columns:
            yield from ((name, column, None) for name in variants(column.name))
        periods = self._period_columns()
        for at, column in enumerate(self.data.columns):
            if column.type == "text" and column.name not in periods:
                values = dict.fromkeys(
                    str(row[at]) for row in self.data.rows if row[at] is not None
                )
                for value in [*values][:_MOST_VALUES]:
                    if is_name(name := fold(value).strip()):
                        yield name, column, value

    def _add_value(self, column: str, value: str | int | float, *, is_period: bool) -> None:
        slot = next((one for one in self.slots if one.column == column), None)
        if slot is None:
            slot = _Slot(column=column, is_period=is_period)
            self.slots.append(slot)
        restriction = (PlanFilter(column=column, comparison="=", value=value),)
        if restriction not in slot.alternatives:
            slot.alternatives.append(restriction)

    def _read_comparisons(self) -> None:
        """Finds "more than 300" and the like, each for the nearest column of numbers."""
        while match := BETWEEN.search(self.rest):
            column = self._compared_column(match)
            for number, comparison in ((match["low"], ">="), (match["number"], "<=")):
                self._limit(column, comparison, number, match["unit"])
            self._blot(match)
        for before, after, sign in COMPARISONS:
            patterns = [rf"(?:{before})\s*(?:了|到)?\s*{AMOUNT}(?!\s*年)"]
            patterns += [rf"{AMOUNT}\s*(?:{after})"] if after else []
            for pattern in patterns:
                while match := re.search(pattern, self.rest):
                    self._limit(self._compared_column(match), sign, match["number"], match["unit"])
                    self._blot(match)

    def _compared_column(self, match: re.Match[str]) -> TableColumn:
        near = [
            (min(abs(match.start() - one.end), abs(one.start - match.end())), at)
            for at, one in enumerate(self.mentions)
            if one.column.type == "number"
        ]
        if near:
            return self.mentions.pop(min(near)[1]).column
        return self._number([])

    def _limit(self, column: TableColumn, sign: str, number: str, unit: str) -> None:
        known = read_number(number)
        if known is None or (known.unit == "%" and column.unit != "%"):
            raise _UnsureError(
                f"{number!r} does not fit {column.name}", f"{number!r} 与 {column.name} 不符"
            )
        value = scaled_to(known, f"{number}{unit}", column.unit)
        comparison: Comparison = sign  # type: ignore[assignment]
        self.limits.append(PlanFilter(column=column.name, comparison=comparison, value=value))

    def _read_periods(self) -> None:
        """Finds years, quarters and months, and the columns that hold them."""
        years = [int(one[1]) for one in self._take_all(YEAR)]
        quarters = [QUARTERS[next(filter(None, one.groups()))] for one in self._take_all(QUARTER)]
        months = [month_of(one) for one in self._take_all(MONTH)]
        given = [list(dict.fromkeys(some)) for some in (years, quarters, months)]
        if not any(given):
            return
        parts: list[list[int | None]] = [[*some] if some else [None] for some in given]
        wanted: list[Period] = [*product(parts[0], parts[1], parts[2])]
        served = [not some for some in given]
        for name, periods in self._period_columns().items():
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
            raise _UnsureError(
                "it names a period that the table has no column for",
                "问题里的时间在表中没有对应的列",
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
            for value in _holding(periods, part):
                self._add_value(name, value, is_period=True)

    def _period_columns(self) -> dict[str, dict[str | int | float, Period]]:
        """Returns the period that each value of a column stands for, for columns of periods."""
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
        at = self.data.columns.index(column)
        years = sorted({int(str(row[at])[:4]) for row in self.data.rows if row[at] is not None})
        slot = _Slot(column=column.name, is_period=True)
        for year, quarter, month in wanted:
            if year is None and len(years) != 1:
                raise _UnsureError("it does not say of which year", "没有说明是哪一年")
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

    def _read_top(self) -> int | None:
        match = self._take(TOP)
        if match is None:
            return None
        text = next(filter(None, match.groups()))
        if match[0].startswith("bottom"):
            raise _UnsureError(
                "ask for the lowest instead of the bottom", "请问最低的，而不是末尾的"
            )
        return int(text) if text.isdigit() else COUNTS[text]

    def _read_operations(self) -> set[str]:
        found = set()
        for name, words in OPERATIONS:
            pattern = "|".join(
                f"(?<![a-z])(?:{one})(?![a-z])" if one[0].isascii() else one
                for one in alternatives(words)
            )
            if self._take_all(re.compile(pattern)):
                found.add(name)
        if "count" in found and found & {"max", "min", "mean"}:
            found.discard("count")
        if found >= {"count", "sum"}:
            found.discard("sum")
        if found >= {"percent", "growth"}:
            found.discard("percent")
        return found

    def _group(self) -> TableColumn | None:
        for one in self.mentions:
            if one.column.type != "number" or one.column.name in self._period_columns():
                before = self.rest[: one.start]
                if match := EACH.search(before):
                    self._blot(match)
                    return one.column
        return None

    def _label(self, which: re.Match[str] | None) -> TableColumn:
        taken = {slot.column for slot in self.slots}
        end = which.end() if which else len(self.text)
        texts = [
            one.column
            for one in sorted(self.mentions, key=lambda one: abs(one.start - end))
            if (one.column.type != "number" or one.column.name in self._period_columns())
            and one.column.name not in taken
        ]
        if which and which[0].endswith("年") and not texts:
            years = [
                name
                for name, some in self._period_columns().items()
                if all(one[0] for one in some.values())
            ]
            texts = [one for one in self.data.columns if one.name in years]
        return texts[0] if texts else self._names_of_rows()

    def _names_of_rows(self) -> TableColumn:
        """Returns the column whose texts name the rows."""
        taken = {slot.column for slot in self.slots}
        mentioned = [one.column for one in self.mentions if one.column.type == "text"]
        for one in (*mentioned, *self.data.columns):
            if one.type == "text" and one.name not in taken:
                return one
        raise _UnsureError("the table has no column of names", "表中没有名称列")

    def _number(
        self, measured: Sequence[TableColumn], types: Sequence[str] = ("number",)
    ) -> TableColumn:
        """Returns the one column that is asked for."""
        if len(measured) > 1:
            raise _unsure_columns(measured)
        if measured and measured[0].type in types:
            return measured[0]
        periods = self._period_columns()
        some = [
            one for one in self.data.columns if one.type == "number" and one.name not in periods
        ]
        if measured or len(some) != 1:
            raise _UnsureError("it does not say which column", "没有说明是哪一列")
        return some[0]

    def _require_understood(self) -> None:
        title = fold(f"{self.data.title} {self.data.sheet or ''}")
        words = set(re.findall("[a-z]+", title))
        words |= {f"{one}s" for one in words} | {one.removesuffix("s") for one in words}
        left = []
        for one in re.findall(r"[a-z]+|\d[\d.,]*|[^\W\da-z_]+", self.rest):
            if one.isascii():
                understood = one in EN_WORDS or one in words or (one in title and one.isdigit())
                left += [] if understood else [one]
                continue
            kept = one
            for size in range(len(one), 1, -1):
                for at in range(len(one) - size + 1):
                    part = one[at : at + size]
                    if part in title and part in kept:
                        kept = kept.replace(part, " ")
                        self.named += size
            left += ZH_WORDS.sub(" ", kept).split()
        if left:
            told = ", ".join(dict.fromkeys(left))
            raise _UnsureError(f"the table does not know: {told}", f"表中没有：{told}")

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        if match := pattern.search(self.rest):
            self._blot(match)
        return match

    def _take_all(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        found = list(pattern.finditer(self.rest))
        for match in found:
            self._blot(match)
        return found

    def _blot(self, match: re.Match[str]) -> None:
        blank = _SPACE * (match.end() - match.start())
        self.rest = self.rest[: match.start()] + blank + self.rest[match.end() :]


def _holding(
    periods: Mapping[str | int | float, Period], part: Sequence[int | None]
) -> list[str | int | float]:
    """Returns the values that are, or lie in, a period."""
    found = [
        value
        for value, known in periods.items()
        if all(p is None or p == k for p, k in zip(part, known, strict=True))
    ]
    if not found:
        raise _UnsureError("the table has no row of that period", "表中没有这个时间的数据")
    if len(found) > 1:
        raise _UnsureError("several periods of the table fit", "表中有几个时间都符合")
    return found


def _unsure_columns(columns: Sequence[TableColumn]) -> _UnsureError:
    names = ", ".join(one.name for one in columns)
    return _UnsureError(f"it names several columns ({names})", f"问题里有几列（{names}）")


def _unsure_groups() -> _UnsureError:
    return _UnsureError(
        "it does not say which two values of one column to compare", "没有说明比较同一列的哪两项"
    )
