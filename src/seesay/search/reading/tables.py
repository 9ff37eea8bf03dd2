"""Tables that describe pictures: each line has a path, a caption and further columns. A CSV or TSV
without paths is an ordinary table: see `sheets.py`.

A column has one type: numbers if its cells are numbers, else dates, else text. A cell that does not
fit is lost, but not its column.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seesay.data.tables import (
    DELIMITED,
    EXPORTED,
    JSON_LINES,
    MOST_COLUMNS,
    MOST_NAME,
    Table,
    restored,
)
from seesay.errors import DataError
from seesay.search.catalog.metadata import DATE_KEY, MOST_TEXT, RESERVED, Value, problem_of
from seesay.search.reading.dates import is_like_date, read_date, read_day
from seesay.search.reading.files import RefusedError
from seesay.search.reading.messages import FileContent, FileReader, Row
from seesay.search.reading.sheets import read_delimited
from seesay.text import Text

PATHS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "img", "url", "路径", "文件", "文件名", "图片", "source"),
)
CAPTIONS = (
    *("caption", "captions", "text", "description", "title", "alt"),
    *("描述", "说明", "标题", "文字", "图片说明"),
)
_OF_EXPORT = frozenset(("unit", "kind", "locator", "vector", "model"))
_MISSING = frozenset(("nan", "null", "none", "n/a", "na", "#n/a", "-", "?"))
_MOST_DIGITS = 15  # of numbers that a float holds exactly; longer ones are IDs, such as a tweet's
_MOST_PATH = 4096
_MOST_NAMED = 5

Cell = str | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One line of a table."""

    number: int
    path: str
    caption: str
    others: Mapping[str, Cell]


@dataclass(kw_only=True)
class _Unusable:
    """The unusable parts of a table, by line number."""

    lines: list[int] = field(default_factory=list)
    cells: dict[str, list[int]] = field(default_factory=dict)
    """Lines by column."""


def read_table(data: bytes, name: str) -> FileContent:
    """Returns the rows that name a picture, merged by picture, with a complaint about unusable
    parts; for a CSV or TSV without a column of paths the passages that show it. Raises RefusedError
    if it holds neither."""
    try:
        table = Table(data, name, wanted={*PATHS, *CAPTIONS}, inner="metadata")
    except DataError as error:
        raise RefusedError("text", error.text) from None
    rows = [(number, _cells(row)) for number, row in table]
    head = table.head or [*dict.fromkeys(name for _, cells in rows for name in cells)]
    path, caption = _find(head, PATHS), _find(head, CAPTIONS)
    if path is None and rows and not table.is_json:
        return read_delimited(table, name)
    if path is None:
        raise _without_paths(table, head)
    unusable = _Unusable(lines=[number for number, _ in table.unusable])
    exported = {*EXPORTED}.issubset(head)
    lines = []
    for number, cells in rows:
        if exported and cells.get("kind") != "image":
            continue
        picture, words = cells.pop(path, ""), cells.pop(caption, "") if caption else ""
        if not isinstance(picture, str) or not 0 < len(picture) <= _MOST_PATH:
            unusable.lines.append(number)
            continue
        words = words if isinstance(words, str) else "\n".join(words)
        others = {k: v for k, v in cells.items() if k and not (exported and k in _OF_EXPORT)}
        lines.append(_Line(number=number, path=restored(picture), caption=words, others=others))
    return FileContent(rows=_joined(lines, unusable), complaint=_complaint(table, unusable))


def _cells(row: Mapping[str, Any]) -> dict[str, Cell]:
    """Returns the cells as a CSV would contain them, leaving out values other than texts and
    numbers."""
    found = {name: _cell(value) for name, value in row.items()}
    return {name: cell for name, cell in found.items() if cell is not None}


def _cell(value: object) -> Cell | None:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(filter(None, value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def _find(head: Sequence[str], names: Sequence[str]) -> str | None:
    """Returns the column with one of these names; the first name that matches wins."""
    found = [(names.index(name.lower()), i) for i, name in enumerate(head) if name.lower() in names]
    return head[min(found)[1]] if found else None


def _without_paths(table: Table, head: Sequence[str]) -> RefusedError:
    columns, wanted = f"{', '.join(head)[:120]!r}", ", ".join(PATHS[:3])
    if head:
        what = Text("names are", "键名") if table.is_json else Text("heading is", "表头")
        text = Text(
            f"its {what.en} {columns}. Expected one that stands for pictures, such as {wanted}. "
            "Add one, or leave the file out.",
            f"{what.zh}为 {columns}；应有一个表示图片，如 {wanted}；请加上，或去掉这个文件",
        )
    elif table.is_json:
        text = Text(
            "it holds no JSON object. Expected one on each line, with a path in it. Correct it, or "
            "leave the file out.",
            "没有 JSON 对象；每行应有一个，其中含有路径；请改正，或去掉这个文件",
        )
    else:
        text = Text(
            "it holds no line. Expected a heading and rows. Correct it, or leave the file out.",
            "一行也没有；应有表头和数据行；请改正，或去掉这个文件",
        )
    return RefusedError("table", text)


def _joined(lines: Sequence[_Line], unusable: _Unusable) -> tuple[Row, ...]:
    """Merge lines into one row per picture; where lines contradict each other, the first wins."""
    columns: dict[str, dict[int, Cell]] = {}
    for line in lines:
        for name, cell in line.others.items():
            if cell:
                columns.setdefault(name, {})[line.number] = cell
    typed = {name: _typed(name, cells, unusable) for name, cells in columns.items()}
    captions: dict[str, list[str]] = {}
    metadata: dict[str, dict[str, Value | tuple[Value, ...]]] = {}
    for line in lines:
        words = captions.setdefault(line.path, [])
        if line.caption and line.caption not in words:
            words.append(restored(line.caption))
        known = metadata.setdefault(line.path, {})
        for name in line.others:
            if line.number in typed.get(name, ()):
                known.setdefault(_key(name), typed[name][line.number])
    return tuple(
        Row(path=path, caption="\n".join(words), metadata=metadata[path])
        for path, words in captions.items()
    )


def _typed(
    name: str, cells: Mapping[int, Cell], unusable: _Unusable
) -> Mapping[int, Value | tuple[Value, ...]]:
    """Returns the values of a column by line, and counts unusable cells."""
    texts = {number: cell for number, cell in cells.items() if isinstance(cell, str)}
    values: Mapping[int, Value | tuple[Value, ...] | None] | None = None
    if name == DATE_KEY:
        values = {number: read_day(cell) for number, cell in texts.items()}
    elif len(texts) == len(cells):
        values = _numbers(texts) or _dates(texts)
    if values is None:
        values = {
            number: restored(cell) if isinstance(cell, str) else tuple(map(restored, cell))
            for number, cell in cells.items()
        }
    sound = {n: value for n, value in values.items() if value is not None and _fits(name, value)}
    missing = {n for n, cell in texts.items() if cell.lower() in _MISSING}
    if bad := cells.keys() - sound.keys() - missing:
        unusable.cells[name] = sorted(bad)
    return sound


def _fits(name: str, value: Value | tuple[Value, ...]) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return not any(problem_of(name, one) for one in values)


def _numbers(cells: Mapping[int, str]) -> Mapping[int, float | None] | None:
    """Returns the numbers, if every cell holds one or is marked as empty."""
    names = sum(len(cell) > _MOST_DIGITS and cell.lstrip("+-").isdigit() for cell in cells.values())
    return None if names > len(cells) / 2 else _all_read(cells, _number)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _dates(cells: Mapping[int, str]) -> Mapping[int, Value | None] | None:
    """Returns the dates, if every cell looks like one and some are valid."""
    return _all_read(cells, read_date, is_like_date)


def _all_read(
    cells: Mapping[int, str],
    read: Callable[[str], Any],
    passes: Callable[[str], bool] = lambda cell: False,
) -> dict[int, Any] | None:
    """Returns the parsed values, with None for cells that are only acceptable; None if a cell is
    not acceptable or no cell could be parsed."""
    found = {}
    for number, cell in cells.items():
        value = read(cell)
        if value is None and cell.lower() not in _MISSING and not passes(cell):
            return None
        found[number] = value
    return found if any(value is not None for value in found.values()) else None


def _key(name: str) -> str:
    """Turn a column name into a metadata key; some prefixes are reserved for facts about files."""
    return f"table.{name}" if name.startswith(RESERVED) else name


def _complaint(table: Table, unusable: _Unusable) -> Text | None:
    """Lists everything that could not be used; None if there is nothing."""
    parts = []
    if unusable.lines:
        expected = Text("a JSON object with a path on each line", "每行应为含有路径的 JSON 对象")
        if not table.is_json:
            width = len(table.head)
            expected = Text(f"{width} cells and a path in each", f"每行应有 {width} 格，含有路径")
        told = Text(
            "{lines} cannot be used. Expected {expected}. Correct them; the other lines were used.",
            "{lines}无法使用；{expected}；请改正，其余各行已使用。",
        )
        parts.append(told.format(lines=_named(unusable.lines), expected=expected))
    if unusable.cells:
        parts.append(_unusable_cells(unusable.cells))
    if table.left_out:
        count = len(table.left_out)
        parts.append(
            Text(
                f"{count:,} of its columns were left out. Expected at most {MOST_COLUMNS:,}, with "
                f"names of at most {MOST_NAME} characters. Take out what is not needed.",
                f"有 {count:,} 列未使用；最多 {MOST_COLUMNS:,} 列，列名最长 {MOST_NAME} 个字符；"
                "请去掉不需要的列。",
            )
        )
    if table.undecodable:
        told = Text(
            "{lines} holds bytes in another encoding, read as \ufffd. Expected one encoding. Save "
            "the table as UTF-8.",
            "{lines}含有其他编码的字节，已读作 \ufffd；整个表格应为一种编码；请另存为 UTF-8。",
        )
        parts.append(told.format(lines=_named(table.undecodable)))
    return Text(" ", "").join(parts) if parts else None


def _unusable_cells(cells: Mapping[str, Sequence[int]]) -> Text:
    count = sum(map(len, cells.values()))
    columns = ", ".join(repr(name) for name in [*cells][:_MOST_NAMED])
    first = _named(next(iter(cells.values())))
    return Text(
        f"{count} cell{'s' if count > 1 else ''} of {columns} ({first.en}) cannot be used. "
        "Expected dates such as 2024-05-31, numbers that are finite, and texts of at "
        f"most {MOST_TEXT:,} characters. Correct them; the other cells were used.",
        f"{columns} 列有 {count} 个单元格（{first.zh}）无法使用；应为 2024-05-31 这样的日期、"
        f"有限的数字，或最多 {MOST_TEXT:,} 个字符的文字；请改正，其余单元格已使用。",
    )


def _named(lines: Iterable[int]) -> Text:
    """Names the first of the lines."""
    numbers = sorted(set(lines))
    named = [str(number) for number in numbers[:_MOST_NAMED]]
    en, zh = f"line {', '.join(named)}", f"第 {'、'.join(named)} 行"
    if more := len(numbers) - len(named):
        en, zh = f"{en} and {more} more", f"{zh}等 {len(numbers)} 行"
    return Text(en, zh)


READER = FileReader(
    media_type="table",
    endings=frozenset((*DELIMITED, JSON_LINES)),
    read=lambda file, settings, needed: read_table(file.data, file.path),
)
