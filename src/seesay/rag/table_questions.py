"""Turns questions in Chinese and English into a plan for one of several tables, by rules.

A question becomes a plan only if every word of it is accounted for: as a column, a value in a cell,
a period, a comparison, what to compute, or grammar. Anything left may be a restriction that the
table does not know ("profit of the east" where there is no profit), and an answer without it would
be wrong. So such a question is refused, with the words that were not understood.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from seesay.rag.concepts import PEOPLE, concepts_of
from seesay.rag.plans import Operation, Plan, PlanFilter, PlanRow, execute
from seesay.rag.schema_linking import Linked, link, link_values
from seesay.rag.table_reading import (
    Slot,
    TableReading,
    UnsureError,
    unsure_columns,
    unsure_groups,
)
from seesay.rag.table_words import WHEN, WHICH
from seesay.search.catalog.drafts import TableColumn, TableData
from seesay.text import Language, Text, detect_language

_OF_ONE_GROUP: Mapping[str, Operation]
_OF_ONE_GROUP = {"sum": "sum", "mean": "mean", "min": "min", "max": "max"}


_ROWS = re.compile("[多少几]+[笔次]")
_WHO = re.compile(
    r"(?<!those )(?<!people )(?<!everyone )(?<!anyone )(?<!ones )(?<![a-z])who(?:m|se)?(?![a-z])|谁"
)
_WHERE = re.compile(r"^(?:where|at which|in which|on which)(?![a-z])|在?哪[里儿]")
_WHICH_THING = re.compile("哪[一几]?[样件项笔种]")
_MONEY = ("price", "purchase", "selling price", "revenue", "salary")
_HOW_MANY = re.compile(
    ".*(?:how many (?!dollars|euros|pounds|yuan)|(?<!哪)几[个位名]|多少[个人位名])"
)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Says why a question has no plan."""

    reason: Text


def plan_of(question: str, tables: Mapping[int, TableData]) -> Plan | Refusal:
    """Returns the plan that answers a question from one of the tables, or a Refusal if none or
    several do. Keys are the numbers of their first passages, the likeliest first.

    If the table is in the language of the question, other words than its own are understood; if
    the question names nothing in it, only for the first table."""
    plan = _planned(question, tables, _Planner)
    if isinstance(plan, Plan):
        return plan
    spoken = detect_language(question)
    same = {number: data for number, data in tables.items() if _language(data) == spoken}
    return _planned(question, same, _LinkingPlanner) if same else plan


def _planned(
    question: str, tables: Mapping[int, TableData], planner: type["_Planner"]
) -> Plan | Refusal:
    found: list[tuple[int, Plan]] = []
    reasons: list[tuple[int, Text]] = []
    for number, data in tables.items():
        reading = TableReading(question, data)
        try:
            plan = planner(number, reading).plan()
            if planner is _LinkingPlanner and not reading.named and number != next(iter(tables)):
                raise UnsureError("it names nothing in the table", "问题没有提到表中的内容")
            found.append((reading.named, plan))
        except UnsureError as error:
            reasons.append((reading.named, error.text))
    if found:
        most = max(named for named, _ in found)
        best = [plan for named, plan in found if named == most]
        if len(best) == 1:
            return best[0]
        return Refusal(
            reason=Text(
                f"{len(best)} tables may answer this; name the one you mean",
                f"有 {len(best)} 个表格都可能有答案；请说明是哪一个",
            )
        )
    if not reasons:
        return Refusal(reason=Text("there is no table to query", "没有可以查询的表格"))
    return Refusal(reason=max(reasons, key=lambda one: one[0])[1])


def _language(data: TableData) -> Language:
    return detect_language(" ".join(one.name for one in data.columns))


@dataclass(frozen=True)
class _Planner:
    """Makes the plan for a question about one table."""

    table: int
    reading: TableReading

    def plan(self) -> Plan:
        """Returns the plan. Raises UnsureError if the table does not answer the question."""
        reading = self.reading
        reading.read_names()
        self._link_values()
        reading.read_comparisons()
        top = reading.read_top()
        linked = self._linked()
        reading.read_bounds()
        reading.read_periods()
        top = top or linked.top
        operations = reading.read_operations() | linked.operations
        which = reading.take(WHICH)
        group = reading.group()
        names_rows = linked.names_rows or self._asks_for_rows(operations)
        label = reading.label(which) if which or top or names_rows else None
        reading.require_understood()
        used = {slot.column for slot in reading.slots} | {
            group and group.name,
            label and label.name,
        }
        measured = [one.column for one in reading.mentions if one.column.name not in used]
        measured = self._measured({one.name: one for one in measured})
        plan = self._built(operations, measured, group, label, top, linked.flows)
        self._check(plan)
        if isinstance(plan.column, str) and not self._result(plan):
            raise UnsureError("no row matches", "没有符合条件的行")
        return plan

    def _link_values(self) -> None:
        """Finds values that are named in part."""

    def _linked(self) -> Linked:
        """Finds what everyday words mean."""
        return Linked()

    def _asks_for_rows(self, operations: set[str]) -> bool:
        """Whether the question asks where the highest or lowest value is."""
        return False

    def _check(self, plan: Plan) -> None:
        """Refuses a plan of another kind than the question asks for: "who" needs people, "when" a
        date, "where" a place, and "how many" no money."""
        text = self.reading.text
        told = [self.reading.column(name) for name in (plan.label, plan.column) if name]
        concepts = {concept for one in told for concept in concepts_of(one)}
        names_rows = self.reading.first_text in told
        is_person = any(
            one.type == "text" and not concepts_of(one).isdisjoint(PEOPLE) for one in told
        )
        is_when = any(one.type == "date" or one.name in self.reading.period_columns for one in told)
        for is_asked, is_told, unsure in (
            (_WHO.search(text), is_person or names_rows, ("who", "谁")),
            (WHEN.search(text), is_when, ("when", "什么时候")),
            (_WHERE.search(text), "place" in concepts or names_rows, ("where", "哪里")),
            (_WHICH_THING.search(text), names_rows or not is_person, ("which", "哪一项")),
            (_HOW_MANY.match(text), concepts.isdisjoint(_MONEY), ("how many", "多少")),
        ):
            if is_asked and not is_told:
                raise UnsureError(f"the table does not say {unsure[0]}", f"表里没有写是{unsure[1]}")

    def _measured(self, named: Mapping[str, TableColumn]) -> list[TableColumn]:
        """Returns the columns that are asked for."""
        return [*named.values()]

    def _built(
        self,
        operations: set[str],
        measured: Sequence[TableColumn],
        group: TableColumn | None,
        label: TableColumn | None,
        top: int | None,
        flows: bool,
    ) -> Plan:
        if top or (label and operations & {"max", "min"}):
            types = ("number",) if operations & {"sum", "mean"} else ("number", "date")
            return self._best(operations, self.reading.number(measured, types), label, top)
        if operation := self._comparing(operations):
            return self._compared(operation, operations, self.reading.number(measured))
        if operations & {"count", "distinct"}:
            return self._counted(operations, measured, group, label)
        if len(operations) > 1:
            raise UnsureError("it asks for several things at once", "一次问了好几件事")
        if operations:
            return self._single(operations.pop(), self.reading.number(measured), group)
        if group is not None:
            raise UnsureError("it does not say what to compute", "没有说明要计算什么")
        return self._looked_up(measured, label, flows)

    def _looked_up(
        self, measured: Sequence[TableColumn], label: TableColumn | None, flows: bool
    ) -> Plan:
        """One cell; or the names or values of the rows that match; or a total."""
        if label and not measured and (self.reading.limits or self.reading.slots):
            return self._plan("value", label)
        column = self.reading.number(measured, types=("number", "text", "date"))
        plan = self._plan("value", column)
        if len(self._result(plan)) > 1:
            if label and column.type == "number" and label is not column:
                return self._plan("value", column, label=label.name)
            if flows and column.type == "number":
                return self._plan("sum", column)
            raise UnsureError(
                "several rows match; ask for their total, average, highest or lowest",
                "符合条件的不止一行；请说明要合计、平均、最高还是最低",
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
                raise unsure_groups()
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
            raise unsure_columns(named)
        if not named and "distinct" in operations:
            raise UnsureError("it does not say what kinds to count", "没有说明要数什么的种类")
        is_number = bool(named) and named[0].type == "number"
        if not named or (is_number and _ROWS.search(self.reading.text)):
            return self._plan("count", None, group_by=by)
        return self._plan("sum" if is_number else "distinct", named[0], group_by=by)

    def _best(
        self,
        operations: set[str],
        column: TableColumn,
        label: TableColumn | None,
        top: int | None,
    ) -> Plan:
        """The rows, or with "total" or "average" the groups, with the highest or lowest values."""
        label = label or self.reading.names_of_rows()
        if operations >= {"max", "min"}:
            raise UnsureError("it asks for both the highest and the lowest", "同时问了最高和最低")
        grouped = operations & {"sum", "mean"}
        if not grouped:
            plan = self._plan("value", column, label=label.name)
            rows = self._result(plan)
            if len({row.label for row in rows}) < len(rows):
                raise UnsureError(
                    f"several rows have the same {label.name}; ask for the highest or lowest total "
                    "or average",
                    f"同一“{label.name}”有多行；请说明按合计还是按平均比较",
                )
        else:
            measure: Operation = "sum" if "sum" in grouped else "mean"
            plan = self._plan(measure, column, group_by=label.name)
        low = "min" in operations
        return replace(plan, order="ascending" if low else "descending", limit=top or 1)

    def _compared(self, operation: Operation, operations: set[str], column: TableColumn) -> Plan:
        """Two groups of rows, which differ in one restriction."""
        if operation == "share":
            parts = [slot for slot in self.reading.slots if not slot.is_period]
            if len(parts) != 1 or self.reading.limits:
                raise unsure_groups()
            whole = self._filters([slot for slot in self.reading.slots if slot is not parts[0]])
            return self._plan("share", column, self._filters(self.reading.slots), whole)
        pairs = [slot for slot in self.reading.slots if len(slot.alternatives) == 2]
        if len(pairs) != 1 or any(len(slot.alternatives) > 2 for slot in self.reading.slots):
            raise unsure_groups()
        one, other = pairs[0].alternatives
        if pairs[0].is_period and operations & {"growth", "change", "decline"}:
            other, one = sorted((one, other), key=lambda some: str(some[0].value))
            if "decline" in operations:
                one, other = other, one
        elif operations & {"growth", "change", "decline"}:
            raise unsure_groups()
        common = self._filters([slot for slot in self.reading.slots if slot is not pairs[0]])
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
            filters=self._filters(self.reading.slots) if filters is None else filters,
            against=against,
            **more,  # type: ignore[arg-type]
        )

    def _filters(self, slots: Sequence[Slot]) -> tuple[PlanFilter, ...]:
        return (*(one for slot in slots for one in slot.merged()), *self.reading.limits)

    def _result(self, plan: Plan) -> Sequence[PlanRow]:
        return execute(plan, self.reading.data).rows


class _LinkingPlanner(_Planner):
    """Understands other words for columns and values than the table's own."""

    def _link_values(self) -> None:
        link_values(self.reading)

    def _linked(self) -> Linked:
        return link(self.reading)

    def _measured(self, named: Mapping[str, TableColumn]) -> list[TableColumn]:
        """Leaves out the column that names the rows: "teas" in "What do the organic teas cost?"."""
        others = [one for one in named.values() if one != self.reading.first_text]
        return others or [*named.values()]

    def _asks_for_rows(self, operations: set[str]) -> bool:
        return bool(operations & {"max", "min"}) and _WHERE.search(self.reading.text) is not None
