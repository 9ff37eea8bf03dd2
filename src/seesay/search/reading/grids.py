"""Sheets and tables of documents -> tables with named, typed columns, and the passages that show
them.

A sheet may hold several tables with blank rows or columns between them, titles above and notes
below. A table's first row names its columns if it reads like names; rows of totals are shown but
not computed with, since they would count twice. A column is of numbers or dates only if every cell
is one or is marked as missing: an answer must not silently leave cells out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby, pairwise

from seesay.data.spelling import fold
from seesay.search.catalog.drafts import Cell, Place, TableColumn, TableData, column_letters
from seesay.search.reading.blocks import Block, passages_of
from seesay.search.reading.messages import FileContent, Passage
from seesay.search.reading.packages import refused
from seesay.search.reading.values import MISSING, Number, read_day, read_number, scale_of, scaled_to
from seesay.text import Text

MOST_ROWS = 100_000
"""Rows of a sheet that are read."""
MOST_CELLS = 1_000_000
"""Cells of a sheet that are read."""
_LONGEST = 600  # characters of the rows in a passage
_MOST_PASSAGES = 500  # of a table; answers use rows beyond them, searches do not
_MOST_CELL, _MOST_SHOWN = 2000, 200  # characters of a cell that are stored, and shown in a row
_LOOKED_AT = 50  # rows that tell whether the first one is a heading
_TOTALS = frozenset(
    ("合计", "总计", "小计", "总和", "汇总", "total", "totals", "subtotal", "grandtotal", "sum")
)
_NOTE = re.compile(r"(注|备注|说明|资料来源|数据来源|来源|notes?|sources?)\s*[:：\d]", re.I)
_UNIT = re.compile(r"[（(\[]([^（()）\[\]]{1,8})[)）\]]\s*$")
_TITLE_UNIT = re.compile(r"(?:单位|unit)\s*[:：]\s*([^\s，,)）]{1,8})", re.I)
_OTHER_MONEY = frozenset(("$", "€", "£", "usd", "eur", "gbp", "hk$", "us$"))
_OF_OTHER = frozenset(("美元", "欧元", "港元"))
_PERIOD = re.compile(r"(19|20)\d\d|\d{1,2}\s*月|q[1-4]|[1-4]季度", re.I)

RawCell = str | Number | datetime
Line = Mapping[int, RawCell]
"""The cells of a row that hold something, by the number of their column, from 1."""


@dataclass(kw_only=True)
class Grid:
    """Cells by the numbers of their row and column, from 1; blank ones are left out."""

    lines: dict[int, dict[int, RawCell]] = field(default_factory=dict)
    title: str = ""
    place: Place = field(default_factory=Place)
    is_sheet: bool = False
    """Whether it may hold several tables, and text between them."""

    @staticmethod
    def of_rows(
        rows: Iterable[Sequence[str]], title: str = "", place: Place | None = None
    ) -> "Grid":
        """Returns the grid of a table in a document."""
        lines: dict[int, dict[int, RawCell]] = {
            number: {at: text.strip() for at, text in enumerate(row, start=1) if text.strip()}
            for number, row in enumerate(rows, start=1)
        }
        lines = {number: line for number, line in lines.items() if line}
        return Grid(lines=lines, title=title, place=place or Place())


@dataclass(frozen=True, kw_only=True)
class _Region:
    """A part of a sheet without blank rows or columns through it."""

    rows: list[tuple[int, Line]]
    left: int
    right: int

    @property
    def cells(self) -> str:
        first, last = self.rows[0][0], self.rows[-1][0]
        one, other = (column_letters(at) for at in (self.left, self.right))
        return f"{one}{first}" if (one, first) == (other, last) else f"{one}{first}:{other}{last}"


def document_content(
    parts: Iterable[Block | Grid], title: str = "", complaints: Sequence[Text] = ()
) -> FileContent:
    """Returns the passages of a document: those of its texts, then those of its tables, each with
    the headings above it. Raises RefusedError if it holds neither."""
    blocks: list[Block] = []
    passages: list[Passage] = []
    told = list(complaints)
    headings: dict[int, str] = {}
    for part in parts:
        if isinstance(part, Grid):
            name = part.title or " · ".join(headings.values()) or title
            for one in _parts_of(replace(part, title=name)):
                if isinstance(one, Block):
                    blocks.append(one)
                else:
                    some = list(_passages(*one, part.place))
                    passages += some[:_MOST_PASSAGES]
                    if len(some) > _MOST_PASSAGES:
                        told.append(_unsearched(some[_MOST_PASSAGES].place.cells or ""))
            continue
        blocks.append(part)
        if part.heading:
            headings = {level: text for level, text in headings.items() if level < part.heading}
            headings[part.heading] = part.text
    pages = groupby(blocks, lambda block: block.place.page)  # a title alone on a slide is found
    passages = [*(one for _, some in pages for one in passages_of(some)), *passages]
    if not passages:
        raise refused(
            "it holds no visible text. Expected some words. Leave it, or fill it",
            "里面没有可见的文字；应有一些文字；请补上内容，或不必理会",
        )
    complaint = Text(" ", "").join(told) if told else None
    return FileContent(passages=tuple(passages), complaint=complaint)


def as_text(value: RawCell | Cell) -> str:
    """Returns a value as text: 1200 without a fraction, a day without a time."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat().removesuffix("T00:00:00")
    number = value.value if isinstance(value, Number) else value
    unit = value.unit if isinstance(value, Number) else ""
    text = str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
    return f"{text}%" if unit == "%" else f"{unit}{text}"


_Table = tuple[TableData, list[tuple[int, str]]]


def _parts_of(grid: Grid) -> Iterator[Block | _Table]:
    """Yields the tables of a grid with their shown rows, and what is text between them."""
    regions = list(_regions(sorted(grid.lines.items()))) if grid.is_sheet else _whole(grid)
    title = ""
    before: tuple[_Region, int, str] | None = None
    for region in regions:
        titles, notes, body = _peeled(region)
        place = replace(grid.place, cells=region.cells)
        inner = replace(region, rows=body)
        is_table = len(body) > 1 and any(len(line) > 1 for _, line in body)
        heads = _heads(inner) if is_table else 0
        if before is not None and not heads and not titles and _continues(inner, before[0]):
            before = (replace(before[0], rows=[*before[0].rows, *body]), *before[1:])
        else:
            if before is not None:
                yield _table(grid, *before)
            before = None
            if is_table:
                name = " · ".join(dict.fromkeys(filter(None, (grid.title, title, *titles))))
                before, title = (inner, heads, name), ""
            else:
                texts = [as_text(cell) for _, line in region.rows for cell in line.values()]
                yield Block(text=" ".join(texts), place=place)
                title = texts[0] if len(texts) == 1 else ""
                continue
        for note in notes:
            yield Block(text=note, place=place)
    if before is not None:
        yield _table(grid, *before)


def _whole(grid: Grid) -> list[_Region]:
    rows = sorted(grid.lines.items())
    columns = {column for _, line in rows for column in line}
    return [_Region(rows=list(rows), left=min(columns), right=max(columns))] if columns else []


def _regions(rows: Sequence[tuple[int, Line]]) -> Iterator[_Region]:
    """Yields the parts between blank rows and blank columns, from top to bottom."""
    bands: list[list[tuple[int, Line]]] = []
    for number, line in rows:
        if not bands or bands[-1][-1][0] + 1 < number:
            bands.append([])
        bands[-1].append((number, line))
    for band in bands:
        columns = sorted({column for _, line in band for column in line})
        cuts = [two for one, two in pairwise(columns) if one + 1 < two]
        if not cuts:
            yield _Region(rows=band, left=columns[0], right=columns[-1])
            continue
        edges = [columns[0], *cuts, columns[-1] + 1]
        for left, right in pairwise(edges):
            part = [
                (number, {c: cell for c, cell in line.items() if left <= c < right})
                for number, line in band
            ]
            yield from _regions([(number, line) for number, line in part if line])


def _continues(region: _Region, before: _Region) -> bool:
    """Whether a part without names is the rest of a table above a blank row."""
    return (region.left, region.right) == (before.left, before.right) and region.left < region.right


def _peeled(region: _Region) -> tuple[list[str], list[str], list[tuple[int, Line]]]:
    """Returns the titles above a table, the notes below it, and the rest."""
    rows = list(region.rows)
    titles: list[str] = []
    notes: list[str] = []
    if region.left == region.right:
        return [], [], rows
    while rows and len(set(rows[0][1].values())) == 1:
        cell = next(iter(rows[0][1].values()))
        if not isinstance(cell, str) or len(rows) < 2:
            break
        titles.append(cell)
        rows.pop(0)
    while rows and len(set(rows[-1][1].values())) == 1:
        cell = next(iter(rows[-1][1].values()))
        if not isinstance(cell, str) or not _NOTE.match(cell):
            break
        notes.insert(0, cell)
        rows.pop()
    return titles, notes, rows


def _heads(region: _Region) -> int:
    """Returns how many rows name the columns: 2 where the first names groups of the second."""
    rows = [line for _, line in region.rows[:_LOOKED_AT]]
    if not _names(rows[0], rows[1:], region):
        return 0
    blank = [c for c in range(region.left, region.right + 1) if c not in rows[0]]
    grouped = len(set(rows[0].values())) < len(rows[0]) or len(blank) > 0
    if (
        len(rows) > 2
        and grouped
        and _names(rows[1], rows[2:], region)
        and any(
            isinstance(cell, Number | datetime) or read_number(cell) for cell in rows[2].values()
        )
    ):
        return 2
    return 1


def _names(line: Line, below: Sequence[Line], region: _Region) -> bool:
    """Whether a row reads like the names of columns of the rows below."""
    cells = list(line.values())
    words = [cell for cell in cells if isinstance(cell, str) and not _is_value(cell)]
    periods = [cell for cell in cells if _PERIOD.match(as_text(cell))]
    if not below or not words or len({*words, *map(as_text, periods)}) < len(set(cells)):
        return False
    if 2 * len(cells) < region.right - region.left + 1:
        return False
    columns = {c: [row[c] for row in below if c in row] for c in line}
    if any(sum(map(_is_value, some)) * 2 > len(some) for some in columns.values()):
        return True
    return not any(line[column] in some for column, some in columns.items())


def _is_value(cell: RawCell) -> bool:
    if not isinstance(cell, str):
        return True
    return read_number(cell) is not None or read_day(cell) is not None


def _table(grid: Grid, region: _Region, heads: int, title: str) -> _Table:
    names = _column_names(region, heads)
    body = region.rows[heads:]
    asked = [(number, line) for number, line in body if not _is_total(line)] or body
    columns, values = [], []
    unit = _TITLE_UNIT.search(title)
    for column, name in zip(range(region.left, region.right + 1), names, strict=True):
        some = [line.get(column) for _, line in asked]
        known, cells = _typed(name, some, unit[1] if unit else "")
        columns.append(known)
        values.append(cells)
    data = TableData(
        title=title[:_MOST_SHOWN],
        sheet=grid.place.sheet,
        left=region.left,
        head=region.rows[heads - 1][0] if heads else 0,
        columns=tuple(columns),
        numbers=tuple(number for number, _ in asked),
        rows=tuple(zip(*values, strict=True)),
    )
    rows = [
        (number, " | ".join(as_text(line.get(c, ""))[:_MOST_SHOWN] for c in _columns_of(region)))
        for number, line in body
    ]
    return data, rows


def _columns_of(region: _Region) -> range:
    return range(region.left, region.right + 1)


def _column_names(region: _Region, heads: int) -> list[str]:
    names: list[str] = []
    for column in _columns_of(region):
        parts = [
            _group_of(line, column, region) if heads == 2 and at == 0 else line.get(column)
            for at, (_, line) in enumerate(region.rows[:heads])
        ]
        name = " ".join(dict.fromkeys(as_text(one) for one in parts if one is not None))
        name = " ".join(name.split())[:_MOST_SHOWN] or column_letters(column)
        count = sum(one == name or one.startswith(f"{name} (") for one in names)
        names.append(f"{name} ({count + 1})" if name in names else name)
    return names


def _group_of(line: Line, column: int, region: _Region) -> RawCell | None:
    """Returns the group that a column is in: its name stands above the first of its columns."""
    for one in range(column, region.left - 1, -1):
        if one in line:
            return line[one]
    return None


def _is_total(line: Line) -> bool:
    first = line[min(line)]
    return isinstance(first, str) and fold(first).replace(" ", "").rstrip(":") in _TOTALS


def _typed(
    name: str, cells: Sequence[RawCell | None], unit_of_table: str
) -> tuple[TableColumn, list[Cell]]:
    """Returns the column with its values: numbers or dates if all of them are, else text. Numbers
    are in the unit of the column, or of the table where neither column nor cells name one."""
    there = [cell for cell in cells if cell is not None and not _is_missing(cell)]
    unit = _UNIT.search(name)
    numbers = _all_numbers(there)
    found = None if numbers is None else _unit_of(numbers, unit[1] if unit else "", unit_of_table)
    if numbers is not None and found is not None:
        values = iter(
            scaled_to(one, cell, found) if isinstance(cell, str) else one.value
            for one, cell in zip(numbers, there, strict=True)
        )
        column = TableColumn(name=name, type="number", unit=found)
        return column, [next(values) if _is_there(cell) else None for cell in cells]
    days = [cell if isinstance(cell, datetime) else _day(cell) for cell in there]
    if there and all(days):
        dates = iter(as_text(day) for day in days if day)
        column = TableColumn(name=name, type="date")
        return column, [next(dates) if _is_there(cell) else None for cell in cells]
    column = TableColumn(name=name, type="text")
    return column, [None if cell is None else as_text(cell)[:_MOST_CELL] for cell in cells]


def _unit_of(numbers: Sequence[Number], heading: str, of_table: str) -> str | None:
    """Returns the unit of a column: of its heading, else of its cells, else of the table. None if
    the cells name another one than the heading, such as dollars below 万元."""
    own = next((one.unit for one in numbers if one.unit), "")
    if heading:
        is_money = heading.endswith("元") or scale_of(heading) > 1
        if own == "%":
            return None if is_money else own
        other = own in _OTHER_MONEY and heading.endswith("元") and heading[-2:] not in _OF_OTHER
        return None if other else heading
    if own == "%" or own in _OTHER_MONEY:
        return own
    # ¥1,200 in a table in 万元 is 1,200 of these.
    return of_table if scale_of(of_table) > 1 else own or of_table


def _all_numbers(cells: Sequence[RawCell]) -> list[Number] | None:
    """Returns the numbers if all are, in one unit."""
    numbers = []
    for cell in cells:
        number = read_number(cell) if isinstance(cell, str) else cell
        if not isinstance(number, Number):
            return None
        numbers.append(number)
    units = {one.unit for one in numbers if one.value}
    mixed = len(units - {""}) > 1 or ("%" in units and len(units) > 1)
    return None if mixed or not numbers else numbers


def _day(cell: RawCell) -> datetime | None:
    return read_day(cell) if isinstance(cell, str) else None


def _is_missing(cell: RawCell) -> bool:
    return isinstance(cell, str) and cell.strip().lower() in MISSING


def _is_there(cell: RawCell | None) -> bool:
    return cell is not None and not _is_missing(cell)


def _passages(data: TableData, rows: Sequence[tuple[int, str]], place: Place) -> Iterator[Passage]:
    """Yields the passages of a table: its title, names and some rows in each."""
    head = "\n".join(filter(None, (data.title, " | ".join(one.name for one in data.columns))))
    some: list[tuple[int, str]] = []
    length, table = 0, data
    for number, text in rows:
        if some and length + len(text) > _LONGEST:
            yield _passage(head, some, data, place, table)
            some, length, table = [], 0, None  # type: ignore[assignment]
        some.append((number, text))
        length += len(text)
    yield _passage(head, some, data, place, table)


def _passage(
    head: str,
    rows: Sequence[tuple[int, str]],
    data: TableData,
    place: Place,
    table: TableData | None,
) -> Passage:
    first = (data.head or rows[0][0]) if table else rows[0][0]
    return Passage(
        media_type="table",
        modality="text",
        text="\n".join((head, *(text for _, text in rows))),
        place=replace(place, cells=data.range_of(first, rows[-1][0])),
        table=table,
    )


def _unsearched(cells: str) -> Text:
    return Text(
        f"the table is too long: rows from {cells} on cannot be found, though answers can be "
        f"computed from them. A table has at most {_MOST_PASSAGES} passages; split it to find "
        "these rows too.",
        f"表格太长：{cells} 起的各行搜不到，但仍可用于计算回答；每个表格最多 {_MOST_PASSAGES} 段；"
        "要能搜到这些行，请拆分表格。",
    )
