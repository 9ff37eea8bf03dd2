"""Sheets become tables: headings, titles, totals, several tables, and the types of columns."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seesay.search.catalog.drafts import Place, TableData, column_letters
from seesay.search.reading.grids import Grid, document_content
from seesay.search.reading.tables import read_table
from seesay.search.reading.values import Number, read_day, read_number


def tables_of(rows, **more):
    lines = {
        number: {at: cell for at, cell in enumerate(row, 1) if cell not in (None, "")}
        for number, row in enumerate(rows, 1)
    }
    lines = {number: line for number, line in lines.items() if line}
    grid = Grid(lines=lines, place=Place(sheet="S"), is_sheet=True, **more)
    return [one.table for one in document_content([grid]).passages if one.table]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("1,234.50", (1234.5, "")), ("(1,200)", (-1200, "")), ("1.2亿", (120_000_000, ""))],
        *[("3万", (30_000, "")), ("¥1,000", (1000, "¥")), ("12.5%", (12.5, "%"))],
        *[("-0.4％", (-0.4, "%")), ("三千五百", (3500, "")), ("一百二十万", (1_200_000, ""))],
        *[("$2.5 million", (2_500_000, "$")), ("25元", (25, "元")), ("1e3", (1000, ""))],
        *[("00123", None), ("12,34", None), ("1234567890123456", None), ("3班", None)],
        *[("三", None), ("千万", None), ("", None), ("2024-05-31", None)],
    ],
)
def test_numbers_are_read_as_people_write_them(text, number):
    assert read_number(text) == (number and Number(*number))


@given(st.decimals(-(10**9), 10**9, places=2))
def test_numbers_with_separators_are_exact(number):
    assert read_number(f"{number:,}") == Number(float(number))


def test_days_and_months_are_dates():
    assert read_day("2024年5月") == datetime(2024, 5, 1)
    assert read_day("2024/5/31") == datetime(2024, 5, 31)
    assert read_day("2024") is None and read_day("5/31") is None


def test_titles_totals_and_notes_are_told_from_rows():
    (table,) = tables_of(
        [
            ["销售（单位：万元）"],
            ["地区", "收入", "比例"],
            ["华东", "1,200", "15%"],
            ["华北", "-", "20%"],
            ["合 计", "1,200", "35%"],
            ["注：来自年报"],
        ]
    )
    assert (table.title, table.cells, table.head) == ("销售（单位：万元）", "A2:C4", 2)
    assert [one.unit for one in table.columns] == ["", "万元", "%"]
    assert table.rows == (("华东", 1200.0, 15.0), ("华北", None, 20.0))
    assert table.address(0, 1) == "B3"


@pytest.mark.parametrize(
    ("cells", "heading", "unit", "values"),
    [
        (["1.2亿", "300", "5千万元"], "收入（万元）", "万元", (12_000, 300, 5_000)),
        (["25元", "三千五百", "3万"], "收入（万元）", "万元", (0.0025, 3_500, 3)),
        (["1.2亿", "300"], "收入（元）", "元", (120_000_000, 300)),
        (["2bn", "40"], "Income (million)", "million", (2_000, 40)),
        (["$1.2亿", "$300"], "收入（万元）", "", ("$1.2亿", "$300")),
        (["12%", "9%"], "收入（万元）", "", ("12%", "9%")),
        (["3千", "40"], "重量（千克）", "千克", (3_000, 40)),
    ],
)
def test_numbers_with_a_scale_of_their_own_are_converted_to_the_unit(cells, heading, unit, values):
    (table,) = tables_of([["地区", heading], *([f"区{n}", one] for n, one in enumerate(cells))])
    assert table.columns[1].unit == unit
    assert tuple(row[1] for row in table.rows) == values


def test_numbers_are_converted_to_the_unit_in_the_title():
    rows = [["收入（单位：万元）"], ["地区", "收入"], ["华东", "1.2亿元"], ["华北", "300"]]
    (table,) = tables_of(rows)
    assert table.columns[1].unit == "万元"
    assert table.rows == (("华东", 12_000.0), ("华北", 300.0))


def test_blank_rows_and_columns_separate_tables():
    first, second, third = tables_of(
        [
            ["a", "b", None, "c", "d"],
            ["x", Number(1), None, "u", Number(3)],
            ["y", Number(2), None, "v", Number(4)],
            [],
            ["e", "f"],
            ["z", Number(5)],
        ]
    )
    assert [one.cells for one in (first, second, third)] == ["A1:B3", "D1:E3", "A5:B6"]


def test_rows_below_a_blank_one_without_a_heading_go_on():
    (table,) = tables_of([["a", "b"], ["x", Number(1)], [], ["y", Number(2)]])
    assert table.numbers == (2, 4) and table.cells == "A1:B4"


def test_two_rows_of_heading_are_joined():
    (table,) = tables_of(
        [
            ["Region", "2023", None, "2024", None],
            [None, "Sales", "Costs", "Sales", "Costs"],
            ["East", Number(1), Number(2), Number(3), Number(4)],
            ["West", Number(5), Number(6), Number(7), Number(8)],
        ]
    )
    names = [one.name for one in table.columns]
    assert names == ["Region", "2023 Sales", "2023 Costs", "2024 Sales", "2024 Costs"]


def test_a_column_with_a_cell_of_another_type_is_text():
    (table,) = tables_of([["a", "b"], ["x", Number(1)], ["y", "about 2"]])
    assert table.columns[1].type == "text" and table.rows[0][1] == "1"


def test_a_csv_without_paths_is_a_table_in_passages_with_its_heading():
    lines = "".join(f"place {n},{n}\n" for n in range(2, 200))
    content = read_table(f"name,count\n{lines}".encode(), "/x/visits.csv")
    assert content.media_type == "sheet" and len(content.passages) > 2
    assert all(one.text.startswith("visits\nname | count\n") for one in content.passages)
    assert content.passages[0].place.cells.startswith("A1:B")
    assert content.passages[-1].place.cells.endswith("B199")
    assert [one.table is None for one in content.passages] == [False] + [True] * (
        len(content.passages) - 1
    )


def test_a_csv_with_paths_still_describes_pictures():
    content = read_table(b"path,count\na.png,2\n", "a.csv")
    assert len(content.rows) == 1 and not content.passages


def test_a_table_is_stored_and_read_as_it_is():
    (table,) = tables_of([["a", "b"], ["x", Number(0.1)], ["y", datetime(2024, 5, 1)]])
    assert vars(TableData.from_json(table.to_json())) == {
        name: value for name, value in vars(table).items() if name != "cells"
    }


@given(st.integers(1, 20_000))
def test_letters_of_columns_count_up(number):
    import openpyxl.utils

    if number <= 18_278:
        assert column_letters(number) == openpyxl.utils.get_column_letter(number)
