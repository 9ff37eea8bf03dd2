"""CSV and TSV files that say something about pictures: a path, a caption, further columns."""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import datetime

from seesay.search.ingest.reading.files import RefusedError
from seesay.search.ingest.reading.messages import Row
from seesay.search.store.records import Value

PATHS = (
    "path file filename file_name filepath file_path image image_path img url 路径 文件 文件名 图片"
)
CAPTIONS = "caption captions text description title alt 描述 说明 标题 文字 图片说明"
_RESERVED = ("file.", "unit.")
_MOST_NAMED = 5


def read_table(text: str, *, tabs: bool) -> tuple[tuple[Row, ...], str | None]:
    """The rows that name a picture, several of one picture joined; and what is wrong with the
    others. Raises RefusedError where no column names pictures."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if tabs else _comma(text))
    lines, broken = _lines(reader)
    if not lines:
        raise RefusedError("table", "it holds no line. Expected a heading and rows. Fill it.")
    head = [name.strip() for name in lines[0][1]]
    path, caption = _column(head, PATHS), _column(head, CAPTIONS)
    if path is None:
        raise RefusedError(
            "table",
            f"its heading is {', '.join(head)[:120]!r}. Expected a column that names pictures, "
            f"such as {', '.join(PATHS.split()[:3])}. Add one, or leave the file out.",
        )
    rows = []
    for number, cells in lines[1:]:
        if len(cells) == len(head) and cells[path].strip():
            rows.append(cells)
        elif any(cells):
            broken.append(number)
    return _joined(head, rows, path, caption), _complaint(broken, len(head))


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


def _joined(
    head: Sequence[str], rows: Sequence[Sequence[str]], path: int, caption: int | None
) -> tuple[Row, ...]:
    others = {_key(name): i for i, name in enumerate(head) if i not in (path, caption) and name}
    columns = {name: _typed([row[i].strip() for row in rows]) for name, i in others.items()}
    captions: dict[str, list[str]] = {}
    metadata: dict[str, dict[str, Value]] = {}
    for number, row in enumerate(rows):
        name = row[path].strip()
        said = row[caption].strip() if caption is not None else ""
        captions.setdefault(name, [])
        if said and said not in captions[name]:
            captions[name].append(said)
        values = {key: column[number] for key, column in columns.items()}
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


def _column(head: Sequence[str], names: str) -> int | None:
    known = names.split()
    found = [(known.index(name.lower()), i) for i, name in enumerate(head) if name.lower() in known]
    return min(found)[1] if found else None


def _key(name: str) -> str:
    """A column's name as a key of metadata; a few beginnings belong to the facts of files."""
    return f"table.{name}" if name.startswith(_RESERVED) else name


def _comma(text: str) -> str:
    """What parts the cells: Excel writes semicolons in half of Europe."""
    head = text.lstrip("\n").split("\n", 1)[0]
    return max(",;\t", key=head.count)


def _complaint(broken: Sequence[int], columns: int) -> str | None:
    if not broken:
        return None
    named = ", ".join(map(str, sorted(broken)[:_MOST_NAMED]))
    more = f" and {len(broken) - _MOST_NAMED} more" if len(broken) > _MOST_NAMED else ""
    return (
        f"line {named}{more} cannot be used. Expected {columns} cells and a path in each. "
        "Correct them; the other lines were used."
    )
