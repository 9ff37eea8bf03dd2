"""Answers computed from the tables in the evidence: question -> plan -> value, with its cells.

No model is involved: `plan_of` makes a plan only if it understands every word of the question, and
the plan is executed exactly. The cells used become evidence of their own and are cited like any
passage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from seesay.errors import DataError
from seesay.rag.claims import Claim, plain_text
from seesay.rag.evidence import Evidence
from seesay.rag.plans import Operation, Plan, PlanResult, PlanRow, execute
from seesay.rag.questions import Question
from seesay.rag.table_questions import plan_of
from seesay.search.catalog.drafts import Cell, TableData
from seesay.search.collection import Collection
from seesay.text import Text

_MOST_ROWS = 20  # of an answer that lists
_MOST_RANGES = 12  # cells in more places are cited as the whole table
_PLACES = 4  # decimals of a computed value
_BEFORE_NUMBER = ("¥", "$", "€", "£")
_COMMA, _SEMICOLON = Text(", ", "，"), Text("; ", "；")
_MORE = Text(" … ({count} in all)", " …（共 {count} 项）")
_NAMES: Mapping[Operation, Text] = {
    "value": Text("as it stands in the table", "表中所列"),
    "sum": Text("total", "合计"),
    "mean": Text("average", "平均"),
    "min": Text("lowest", "最低"),
    "max": Text("highest", "最高"),
    "count": Text("number of rows", "行数"),
    "distinct": Text("number of different values", "不同取值的个数"),
    "difference": Text("difference", "差"),
    "ratio": Text("ratio", "倍数"),
    "growth": Text("growth", "增长率"),
    "share": Text("share", "占比"),
}


@dataclass(frozen=True, kw_only=True)
class Computed:
    """A value computed from a table."""

    claim: Claim
    cells: Evidence
    """The cells it was computed from, and how: the only evidence of the claim."""


def computed(
    collection: Collection, question: Question, evidence: Sequence[Evidence]
) -> Computed | None:
    """Returns the answer computed from one of the tables in the evidence; None if no plan is
    certain. Raises MissingExtraError without duckdb."""
    shown = {one.unit: one for one in evidence if one.kind == "table"}
    found = collection.store.cells.of_passages(shown)
    tables = dict(found.values())
    plan = plan_of(question.text, tables)
    if not isinstance(plan, Plan):
        return None
    data = tables[plan.table]
    try:
        result = execute(plan, data)
    except DataError:  # such as a table that takes too long
        return None
    rows = [one for one in result.rows if one.value is not None]
    if not rows:
        return None
    one = next(one for unit, one in shown.items() if found.get(unit, (None,))[0] == plan.table)
    value = _listed(rows, result.unit, question.language)
    cells = replace(
        one,
        id=len(evidence) + 1,
        unit=plan.table,
        locator=replace(one.locator, box=None, cells=_cells(result, data)),
        text=f"{_told(plan).in_language(question.language)}: {value}",
    )
    mark = "？" if question.language == "zh" else "?"
    text = f"{question.text.rstrip('?？ ')}{mark} {value}"
    return Computed(claim=Claim(text=text, evidence=(cells.id,), verdict="supported"), cells=cells)


def _cells(result: PlanResult, data: TableData) -> str:
    few = 0 < len(result.cells) <= _MOST_RANGES
    return ", ".join(result.cells) if few else data.cells


def _listed(rows: Sequence[PlanRow], unit: str, language: str) -> str:
    parts = []
    for row in rows[:_MOST_ROWS]:
        value = _written(row.value, unit)
        is_named = row.label is not None and row.label != row.value
        parts.append(f"{plain_text(row.label or '')} {value}" if is_named else value)
    text = _SEMICOLON.in_language(language).join(parts)
    if len(rows) > _MOST_ROWS:
        text += _MORE.format(count=len(rows)).in_language(language)
    return text


def _written(value: Cell, unit: str) -> str:
    if not isinstance(value, int | float):
        return plain_text(str(value))
    number = f"{round(value, _PLACES) if abs(value) >= 0.01 else value:.15g}"
    if unit in _BEFORE_NUMBER:
        return f"{unit}{number}"
    return f"{number}{unit}" if unit in ("", "%") else f"{number} {plain_text(unit)}"


def _told(plan: Plan) -> Text:
    """What was computed, such as "total of revenue, region = east"."""
    name, column = _NAMES[plan.operation], plan.column
    parts = [name if column is None else Text(f"{column}, {name.en}", f"{column}，{name.zh}")]
    if plan.group_by is not None:
        parts.append(Text(f"for each {plan.group_by}", f"按{plan.group_by}"))
    if plan.limit is not None:
        en, zh = ("highest", "最高") if plan.order == "descending" else ("lowest", "最低")
        parts.append(Text(f"{en} {plan.limit}", f"{zh} {plan.limit} 项"))
    sides = [
        _COMMA.join(
            Text.of(f"{one.column} {one.comparison} {one.other or _value(one.value)}")
            for one in filters
        )
        for filters in (plan.filters, plan.against)
        if filters
    ]
    if sides:
        parts.append(Text(" / ", " / ").join(sides))
    told = _COMMA.join(parts)
    return Text(plain_text(told.en), plain_text(told.zh))


def _value(value: object) -> str:
    return " | ".join(map(str, value)) if isinstance(value, tuple) else str(value)
