"""Questions about tables in everyday words become the plan that is meant, or none."""

import pytest

from seesay.rag.plans import Plan, execute
from seesay.rag.table_questions import Refusal, plan_of
from seesay.search.catalog.drafts import TableColumn, TableData

pytest.importorskip("duckdb")


def table(title, columns, *rows):
    return TableData(
        title=title,
        sheet=None,
        left=1,
        head=1,
        columns=tuple(TableColumn(name=name, type=type, unit=unit) for name, type, unit in columns),
        numbers=tuple(range(2, 2 + len(rows))),
        rows=rows,
    )


RUNNERS = table(
    "running club",
    [
        ("Name", "text", ""),
        ("Joined", "date", ""),
        ("Age", "number", ""),
        ("Distance (km)", "number", "km"),
        ("Paid?", "text", ""),
        ("Home town", "text", ""),
    ],
    ("Anna Weber", "2019-03-12", 34.0, 42.5, "yes", "Marlow"),
    ("Tom Hart", "2021-09-01", 58.0, 21.0, "no", "Henley"),
    ("Joan Pike", "2017-06-20", 61.0, 30.0, "no", "Marlow"),
)
COSTS = table(
    "school trip",
    [
        ("Item", "text", ""),
        ("Category", "text", ""),
        ("Budget (£)", "number", "£"),
        ("Actual (£)", "number", "£"),
        ("Paid on", "date", ""),
    ],
    ("Coach hire", "travel", 780.0, 845.0, "2024-04-22"),
    ("Train tickets", "travel", 160.0, 142.5, "2024-05-02"),
    ("Ghost walk", "fun", 90.0, 96.0, "2024-06-10"),
)
CLUB = table(
    "羽毛球社会员名单",
    [
        ("姓名", "text", ""),
        ("入社日期", "date", ""),
        ("年龄", "number", ""),
        ("会费(元)", "number", "元"),
        ("交费了吗", "text", ""),
    ],
    ("李晓东", "2021-03-14", 29.0, 300.0, "是"),
    ("王佳怡", "2022-09-03", 24.0, 200.0, "否"),
    ("唐国栋", "2019-05-26", 66.0, 300.0, "否"),
)
OUTING = table(
    "春游经费",
    [
        ("项目", "text", ""),
        ("预算(元)", "number", "元"),
        ("实际(元)", "number", "元"),
        ("负责人", "text", ""),
    ],
    ("租大巴", 2400.0, 2600.0, "何老师"),
    ("植物园门票", 1350.0, 1260.0, "沈老师"),
    ("午餐", 1500.0, 1575.0, "何老师"),
)


@pytest.mark.parametrize(
    ("data", "question", "answers"),
    [
        (RUNNERS, "Who runs the farthest?", ["Anna Weber"]),
        (RUNNERS, "How far did Tom run?", [21.0]),
        (RUNNERS, "When did Anna join?", ["2019-03-12"]),
        (RUNNERS, "How many still haven't paid?", [2]),
        (RUNNERS, "Who has not paid?", ["Tom Hart", "Joan Pike"]),
        (RUNNERS, "Which of the runners are unpaid?", ["Tom Hart", "Joan Pike"]),
        (RUNNERS, "Has Joan paid?", ["no"]),
        (RUNNERS, "Who is older, Anna or Tom?", ["Tom Hart"]),
        (RUNNERS, "Who joined before 2020?", ["Anna Weber", "Joan Pike"]),
        (RUNNERS, "Who are the two youngest?", ["Anna Weber", "Tom Hart"]),
        (RUNNERS, "What's the average age of the runners from Marlow?", [47.5]),
        (RUNNERS, "List everyone who is older than 50", ["Tom Hart", "Joan Pike"]),
        (RUNNERS, "What is the total distance of those who paid?", [42.5]),
        (COSTS, "Which items went over budget?", ["Coach hire", "Ghost walk"]),
        (COSTS, "Which items did not exceed the budget?", ["Train tickets"]),
        (COSTS, "How much did we spend on travel?", [987.5]),
        (COSTS, "What was the dearest thing on the trip?", ["Coach hire"]),
        (COSTS, "Which ones did we overspend on?", ["Coach hire", "Ghost walk"]),
        (COSTS, "Which items were paid after 1 May 2024?", ["Train tickets", "Ghost walk"]),
        (CLUB, "社里年纪最大的是谁？", ["唐国栋"]),
        (CLUB, "还有几个人没交钱？", [2]),
        (CLUB, "谁还没交费？", ["王佳怡", "唐国栋"]),
        (CLUB, "晓东是哪天入会的？", ["2021-03-14"]),
        (CLUB, "2020年5月以前入会的有谁？", ["唐国栋"]),
        (CLUB, "李晓东和王佳怡谁年纪大？", ["李晓东"]),
        (OUTING, "春游哪几项超支了？", ["租大巴", "午餐"]),
        (OUTING, "何老师一共花了多少钱？", [4175.0]),
        (OUTING, "哪些项目没有超过预算？", ["植物园门票"]),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_everyday_words_mean_columns_and_rows(data, question, answers):
    plan = plan_of(question, {1: data})
    assert isinstance(plan, Plan), plan.reason.en
    rows = execute(plan, data).rows
    assert [row.label or row.value for row in rows] == answers


@pytest.mark.parametrize(
    ("data", "question"),
    [
        (RUNNERS, "How heavy is Tom?"),
        (RUNNERS, "Where was Anna born?"),
        (RUNNERS, "How far did Bella run?"),
        (RUNNERS, "Who ran the farthest last month?"),
        (RUNNERS, "When did Anna leave the club?"),
        (RUNNERS, "Who did not join and did not pay?"),
        (COSTS, "Is the ghost walk over budget?"),
        (COSTS, "Who booked the coach?"),
        (COSTS, "Which hotels went over budget?"),
        (COSTS, "How much did we spend on food?"),
        (CLUB, "李晓东多高？"),
        (CLUB, "王佳怡住在哪里？"),
        (CLUB, "上个月有几个人入社？"),
        (OUTING, "租大巴是谁付的钱？"),
        (OUTING, "秋游花了多少钱？"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_a_table_does_not_know_is_refused_in_everyday_words_too(data, question):
    refusal = plan_of(question, {1: data})
    assert isinstance(refusal, Refusal), refusal
    assert refusal.reason.en != refusal.reason.zh


def test_a_part_of_two_names_is_refused():
    twins = table(
        "staff",
        [("Name", "text", ""), ("Age", "number", "")],
        ("Anna Weber", 34.0),
        ("Anna Pike", 40.0),
    )
    refusal = plan_of("How old is Anna?", {1: twins})
    assert isinstance(refusal, Refusal) and "several fit" in refusal.reason.en


def test_other_words_that_name_nothing_of_a_table_mean_the_likeliest_one():
    sizes = table("rooms", [("Room", "text", ""), ("Age", "number", "")], ("Hall", 90.0))
    plan = plan_of("Who is the oldest?", {1: RUNNERS, 2: sizes})
    assert isinstance(plan, Plan) and plan.table == 1
    assert isinstance(plan_of("What is the dearest?", {1: sizes, 2: COSTS}), Refusal)
