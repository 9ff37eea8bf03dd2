"""Tables as people and programs write them: what cannot be used costs its line or column alone."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from seesay.data.tables import MOST_CELL, MOST_COLUMNS, Table, restored, write_csv
from seesay.errors import DataError


def table(text, name="t.csv", **options):
    return Table(text.encode(), name, **options)


def rows(text, name="t.csv"):
    return [tuple(row.values()) for _, row in table(text, name)]


def test_a_quote_that_is_never_closed_costs_no_other_line():
    text = 'path,caption\na.jpg,"A dog\nb.jpg,"A cat, asleep"\nc.jpg,"said ""hi"""\n'
    assert rows(text) == [("a.jpg", '"A dog'), ("b.jpg", "A cat, asleep"), ("c.jpg", 'said "hi"')]


def test_a_quoted_cell_may_hold_lines_and_a_quote_within_a_cell_is_text():
    text = 'path,caption\n"a.jpg","two\nlines"\nb.jpg,"A" dog\nc.jpg,5" wide\nd.jpg, "x, y" \n'
    assert rows(text) == [
        *(("a.jpg", "two\nlines"), ("b.jpg", '"A" dog'), ("c.jpg", '5" wide'), ("d.jpg", "x, y")),
    ]


def test_lines_of_another_width_are_counted_and_empty_cells_behind_are_none():
    found = table("path,caption\n\na,b,,\n,,\na\na,b,c\nd,e\n")
    assert [number for number, _ in found] == [3, 7]
    assert found.unusable == [
        (5, "it has 1 cells instead of 2"),
        (6, "it has 3 cells instead of 2"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "a;b\n1;2\n"),
        ("t.csv", "a\tb\r\n1\t2"),
        ("t.TSV", "a\tb\r1\t2\r"),
        ("t.tab", "a\tb\n1\t2"),
    ],
)
def test_cells_are_parted_as_the_first_line_or_the_ending_says(name, text):
    assert list(table(text, name)) == [(2, {"a": "1", "b": "2"})]


def test_a_long_cell_is_read_and_an_absurd_one_costs_its_line():
    found = table(f'a,b\n1,"{"x" * 200_000}"\n2,{"y" * (MOST_CELL + 1)}\n3,"{"z" * MOST_CELL}\n4,5')
    assert [(n, len(row["b"])) for n, row in found] == [(2, 200_000), (5, 1)]
    assert [number for number, _ in found.unusable] == [3, 4]


def test_columns_beyond_the_limit_are_left_out_but_those_that_are_wanted():
    head = [f"c{n}" for n in range(50_000)]
    text = ",".join(head) + "\n" + ",".join(["1"] * len(head)) + "\n"
    found = table(text, wanted=("c49999",))
    ((_, row),) = found
    assert (len(row), len(found.left_out)) == (MOST_COLUMNS + 1, 50_000 - MOST_COLUMNS - 1)
    lines = "\n".join(json.dumps({f"k{n}": n, "path": "a"}) for n in range(2 * MOST_COLUMNS))
    found = table(lines, "t.jsonl", wanted=("path",))
    assert len({name for _, row in found for name in row}) == MOST_COLUMNS + 1
    assert len(found.left_out) == MOST_COLUMNS
    assert [*table(f"{'n' * 2**20},b\n1,2\n")] == [(2, {"b": "2"})]


def test_a_bad_line_of_json_costs_that_line():
    lines = [
        '{"a": "\\ud83d", "b": ["x\\u0000y", "\\ud83d\\ude00"]}',
        "[1]",
        '{"a":',
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        '{"a": NaN, "in": {"a": 1, "c": 2}}',
    ]
    found = table("\n".join(lines), "t.jsonl", inner="in")
    (first, last) = [row for _, row in found]
    assert first == {"a": "\ufffd", "b": ["xy", "😀"]}
    assert (str(last["a"]), last["c"]) == ("nan", 2)
    assert [number for number, _ in found.unusable] == [2, 3, 4, 5]
    assert "nested too deeply" in found.unusable[2][1]


def test_lines_with_bytes_of_no_encoding_are_named_and_used():
    data = b"a,b\n1,\xff\n" + "2,狗\n".encode() * 99
    found = Table(data, "t.csv")
    assert next(iter(found)) == (2, {"a": "1", "b": "\ufffd"})
    assert found.undecodable == [2]


def test_a_table_is_read_from_a_file_as_often_as_wanted(tmp_path):
    (tmp_path / "t.csv").write_bytes("a,b\n1,狗\nx\n".encode("gbk"))
    found = Table(tmp_path / "t.csv", "t.csv")
    assert list(found) == list(found) == [(2, {"a": "1", "b": "狗"})]
    assert len(found.unusable) == 1


def test_what_is_no_text_is_refused():
    with pytest.raises(DataError, match="Expected"):
        Table(bytes(range(256)), "t.csv")


FORMULAS = ["=1+1", "+cmd|x", "-2", "@sum", "\tx", "\rx", "\uff1d1", "'=1", "''@x"]


def test_no_spreadsheet_takes_a_text_for_a_formula_and_numbers_stay():
    stream = io.StringIO()
    write_csv(stream, [[*FORMULAS, "'tis", "a=b", -2, 1.5, None]])
    (row,) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert row == [*(f"'{text}" for text in FORMULAS), "'tis", "a=b", "-2", "1.5", ""]
    assert [restored(cell) for cell in row] == [*FORMULAS, "'tis", "a=b", "-2", "1.5", ""]


@given(some.text(alphabet="'=+-@\t\r\n a\uff1d"))
def test_every_text_is_restored_as_it_was(text):
    stream = io.StringIO()
    write_csv(stream, [[text, ""]])
    ((cell, _),) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert restored(cell) == text


@given(some.lists(some.lists(some.text(alphabet='",\n a狗;'), min_size=2, max_size=2), max_size=9))
def test_what_csv_writes_is_read_as_csv_reads_it(cells):
    stream = io.StringIO()
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *cells])
    expected = [tuple(cell.strip() for cell in row) for row in cells if any(map(str.strip, row))]
    assert [
        tuple(row.values()) for _, row in Table(stream.getvalue().encode(), "t.csv")
    ] == expected


@given(some.binary(max_size=200), some.sampled_from(["t.csv", "t.tsv", "t.jsonl"]))
def test_any_bytes_are_a_table_or_refused(data, name):
    try:
        list(Table(data, name))
    except DataError as error:
        assert "Expected" in str(error)
