"""Plans for tables give what plain Python gives, and nothing leaves the table."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_office import file_of
from made_tables import questions, sheets, workbook
from seesay.errors import DataError
from seesay.rag.plans import Plan, PlanFilter, execute
from seesay.rag.table_questions import Refusal, plan_of
from seesay.search.catalog.drafts import TableColumn, TableData
from seesay.search.reading.workbooks import read_workbook

pytest.importorskip("duckdb")
pytest.importorskip("openpyxl")

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["华东", "华北", "East", None]),
        st.one_of(st.none(), st.decimals(-(10**6), 10**6, places=2).map(float)),
        st.integers(2019, 2024).map(float),
    ),
    min_size=1,
    max_size=12,
)


def table_of(rows):
    return TableData(
        title="t",
        sheet="S",
        left=2,
        head=3,
        columns=(
            TableColumn(name="地区", type="text"),
            TableColumn(name="收入", type="number", unit="万元"),
            TableColumn(name="年份", type="number"),
        ),
        numbers=tuple(range(4, 4 + len(rows))),
        rows=tuple(rows),
    )


def total(values):
    return float(sum(Fraction(repr(one)) for one in values)) if values else None


MEASURES = {
    "sum": total,
    "mean": lambda values: total(values) / len(values) if values else None,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
}
COMPARE = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@settings(max_examples=25)
@given(ROWS, st.sampled_from([*MEASURES]), st.sampled_from([*COMPARE]), st.integers(2018, 2025))
def test_measures_over_filtered_rows_are_those_of_python(rows, measure, sign, year):
    restriction = PlanFilter(column="年份", comparison=sign, value=year)
    plan = Plan(table=1, operation=measure, column="收入", filters=(restriction,))
    kept = [row[1] for row in rows if row[1] is not None and COMPARE[sign](row[2], year)]
    result = execute(Plan.from_json(plan.to_json()), table_of(rows))
    assert result.value == MEASURES[measure](kept)
    assert result.unit == "万元" and result.sheet == "S"
    cells = [
        n for n, row in enumerate(rows, 4) if row[1] is not None and COMPARE[sign](row[2], year)
    ]
    assert len(cells) == sum(map(_size, result.cells))


def _size(cells):
    first, _, last = cells.partition(":")
    return int((last or first)[1:]) - int(first[1:]) + 1


@settings(max_examples=10)
@given(ROWS)
def test_groups_and_their_order_are_those_of_python(rows):
    plan = Plan(
        table=1, operation="sum", column="收入", group_by="地区", order="descending", limit=1
    )
    groups = {}
    for name, value, _ in rows:
        groups.setdefault(name, []).extend([] if value is None else [value])
    sums = {name: total(values) for name, values in groups.items() if name and values}
    best = max(sums.values(), default=None)
    found = {
        row.label: row.value for row in execute(plan, table_of(rows)).rows if row.value is not None
    }
    assert found == {name: value for name, value in sums.items() if value == best}


TABLE = table_of([("华东", 0.1, 2023.0), ("華東", 0.2, 2024.0), ("华北", 4.0, 2024.0)])


def test_sums_are_decimal_and_texts_match_in_either_script():
    east = (PlanFilter(column="地区", comparison="=", value="華东"),)
    result = execute(Plan(table=1, operation="sum", column="收入", filters=east), TABLE)
    assert (result.value, result.cells) == (0.3, ("C4:C5",))


@pytest.mark.parametrize(
    "value",
    ["' OR 1=1 --", "'; DROP TABLE t; --", "华东') UNION SELECT * FROM read_csv('/etc/passwd'"],
)
def test_a_value_is_never_part_of_the_query(value):
    restriction = PlanFilter(column="地区", comparison="=", value=value)
    plan = Plan(table=1, operation="count", filters=(restriction,))
    assert execute(plan, TABLE).value == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"column": "利润"}, "one of"),
        ({"column": "地区"}, "number"),
        ({"filters": (PlanFilter(column="收入", comparison="=", value="x"),)}, "number"),
        ({"group_by": "x"}, "one of"),
    ],
)
def test_a_plan_that_does_not_fit_the_table_is_refused(change, words):
    with pytest.raises(DataError, match=words):
        execute(replace(Plan(table=1, operation="sum", column="收入"), **change), TABLE)


@pytest.mark.parametrize("text", ["[]", "{", '{"table": 1}', '{"table": 1, "operation": "drop"}'])
def test_json_that_is_no_plan_is_refused(text):
    with pytest.raises(DataError):
        Plan.from_json(text)


ROWS_BY_SHEET = sheets(7)


@pytest.fixture(scope="module")
def tables():
    content = read_workbook(file_of("a.xlsx", workbook(ROWS_BY_SHEET)))
    found = (one.table for one in content.passages if one.table)
    return {one.sheet: (number, one) for number, one in enumerate(found, 1)}


@pytest.mark.parametrize("one", questions(ROWS_BY_SHEET)[::4], ids=lambda one: one.text)
def test_questions_are_answered_exactly(one, tables):
    number, table = tables[one.sheet]
    plan = plan_of(one.text, {number: table})
    assert isinstance(plan, Plan), plan.reason.en
    rows = execute(plan, table).rows
    if isinstance(one.answer, str):
        assert one.answer in (rows[0].label, rows[0].value)
    elif isinstance(one.answer, list):
        values = [row.label for row in rows] if isinstance(one.answer[0], str) else rows
        assert [v if isinstance(v, str) else (v.label, v.value) for v in values] == one.answer
    else:
        assert [row.value for row in rows] == [one.answer]


@pytest.mark.parametrize(
    ("sheet", "text"),
    [
        ("门店销售", "三季度的利润合计是多少？"),
        ("门店销售", "西安门店的销售额是多少？"),
        ("门店销售", "哪个门店的销售额最高？"),
        ("员工", "研发部明年的平均工资是多少？"),
        ("员工", "技术部的工资合计"),
        ("年度财务", "2030年的收入是多少？"),
        ("Orders", "What is the total profit of laptops?"),
        ("Orders", "What is the total amount of fridges?"),
        ("Orders", "What is the amount in 2023?"),
        ("Cities", "What is the population of London?"),
        ("Energy", "What will the output of Hilltop be in 2025?"),
        ("Books", "Who wrote Red Sea?"),
    ],
)
def test_what_a_table_does_not_know_is_not_answered(sheet, text, tables):
    number, table = tables[sheet]
    refusal = plan_of(text, {number: table})
    assert isinstance(refusal, Refusal)
    assert refusal.reason.en != refusal.reason.zh
