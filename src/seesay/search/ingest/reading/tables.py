"""CSV and TSV files that say something about pictures: a path, a caption, further columns."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from seesay.search.ingest.reading.files import RefusedError
from seesay.search.ingest.reading.messages import Row
from seesay.search.store.records import Value

PATHS = (
    "path file filename file_name filepath file_path image image_path img url 路径 文件 文件名 图片"
)
CAPTIONS = "caption captions text description title alt 描述 说明 标题 文字 图片说明"
_RESERVED = ("file.", "unit.")
_MOST_NAMED = 5


class Line(NamedTuple):
    """What one line says."""

    path: str
    caption: str
    others: Mapping[str, str]


def read_table(text: str, *, tabs: bool) -> tuple[tuple[Row, ...], str | None]:
    """The rows that name a picture, several of one picture joined; and what is wrong with the
    others. Raises RefusedError where no column names pictures."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if tabs else _comma(text))
    lines, broken = _lines(reader)
    if not lines:
        raise RefusedError("table", "it holds no line. Expected a heading and rows. Fill it.")
    head = [name.strip() for name in lines[0][1]]
    path, caption = find_name(head, PATHS), find_name(head, CAPTIONS)
    if path is None:
        raise without_paths("heading is", head)
    at = {name: i for i, name in enumerate(head) if name not in (path, caption)}
    at |= {name: head.index(name) for name in (path, caption) if name is not None}
    rows = []
    for number, cells in lines[1:]:
        if len(cells) == len(head) and cells[at[path]].strip():
            rest = {name: cells[i].strip() for name, i in at.items()}
            said = "" if caption is None else rest.pop(caption)
            rows.append(Line(rest.pop(path), said, rest))
        elif any(cells):
            broken.append(number)
    return joined(rows), complaint(broken, f"{len(head)} cells and a path in each")


def without_paths(what: str, head: Sequence[str]) -> RefusedError:
    """The refusal of a table in which nothing names pictures."""
    return RefusedError(
        "table",
        f"its {what} {', '.join(head)[:120]!r}. Expected one that stands for pictures, such as "
        f"{', '.join(PATHS.split()[:3])}. Add one, or leave the file out.",
    )


def _lines(reader: object) -> tuple[list[tuple[int, list[str]]], list[int]]:
    lines: list[tuple[int, list[str]]] = []
    broken: list[int] = []
    while True:
        try:
            cells = next(reader)  # type: ignore[call-overload]
        except StopIteration:
            return lines, broken
        except csv.Error:  # a zero byte, a cell without end
            broken.append(reader.line_num)  # type: ignore[attr-defined]
            continue
        if cells:
            lines.append((reader.line_num, cells))  # type: ignore[attr-defined]


def joined(lines: Sequence[Line]) -> tuple[Row, ...]:
    """What is said of each picture; where lines contradict each other the first counts."""
    cells: dict[str, dict[int, str]] = {}
    for number, line in enumerate(lines):
        for name, cell in line.others.items():
            if name:
                cells.setdefault(name, {})[number] = cell
    columns = {
        name: dict(zip(column, _typed([*column.values()]), strict=True))
        for name, column in cells.items()
    }
    captions: dict[str, list[str]] = {}
    metadata: dict[str, dict[str, Value]] = {}
    for number, line in enumerate(lines):
        name, said = line.path, line.caption
        captions.setdefault(name, [])
        if said and said not in captions[name]:
            captions[name].append(said)
        values = {_key(key): columns[key][number] for key in line.others if key}
        known = {key: value for key, value in values.items() if value is not None}
        metadata[name] = known | metadata.get(name, {})
    return tuple(
        Row(path=name, caption="\n".join(said), metadata=metadata[name])
        for name, said in captions.items()
    )


def _typed(cells: Sequence[str]) -> list[Value | None]:
    """Numbers where every cell that is filled holds one, else dates where they do, else text."""
    for read in (_number, datetime.fromisoformat):
        if (values := _all_read(read, cells)) is not None:
            return values
    return [cell or None for cell in cells]


def _all_read(read: Callable[[str], Value], cells: Sequence[str]) -> list[Value | None] | None:
    try:
        return [read(cell) if cell else None for cell in cells]
    except (ValueError, OverflowError):
        return None


def _number(cell: str) -> float:
    value = float(cell)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def find_name(head: Sequence[str], names: str) -> str | None:
    """Which of the columns has one of these names; the first of these counts."""
    known = names.split()
    found = [(known.index(name.lower()), i) for i, name in enumerate(head) if name.lower() in known]
    return head[min(found)[1]] if found else None


def _key(name: str) -> str:
    """A column's name as a key of metadata; a few beginnings belong to the facts of files."""
    return f"table.{name}" if name.startswith(_RESERVED) else name


def _comma(text: str) -> str:
    """What parts the cells: Excel writes semicolons in half of Europe."""
    head = text.lstrip("\n").split("\n", 1)[0]
    return max(",;\t", key=head.count)


def complaint(broken: Sequence[int], expected: str) -> str | None:
    """What is said of lines that cannot be used; None where all can."""
    if not broken:
        return None
    named = ", ".join(map(str, sorted(broken)[:_MOST_NAMED]))
    more = f" and {len(broken) - _MOST_NAMED} more" if len(broken) > _MOST_NAMED else ""
    return (
        f"line {named}{more} cannot be used. Expected {expected}. "
        "Correct them; the other lines were used."
    )
