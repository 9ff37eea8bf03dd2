"""CSV, TSV and Parquet files as tables that answers are computed from.

A table with a column of paths describes pictures instead: see `tables.py`.
"""

import os
from datetime import date, datetime, time
from io import BytesIO
from typing import Any

from seesay.data.encodings import clean_text
from seesay.data.tables import Table
from seesay.errors import DataError, MissingExtraError
from seesay.search.reading.files import FileData, RefusedError
from seesay.search.reading.grids import MOST_CELLS, MOST_ROWS, Grid, RawCell, document_content
from seesay.search.reading.messages import FileContent, FileReader
from seesay.search.reading.packages import refused
from seesay.search.reading.values import Number
from seesay.text import Text

MEDIA_TYPE = "sheet"
_MOST_COLUMNS = 1000


def read_sheet(file: FileData) -> FileContent:
    """Returns the passages of a file that holds one table. Raises RefusedError if it holds none."""
    if file.data.startswith(b"PAR1"):
        return _read_parquet(file)
    try:
        return read_delimited(Table(file.data, file.path), file.path)
    except DataError as error:
        raise RefusedError("text", error.text) from None


def read_delimited(table: Table, path: str) -> FileContent:
    """Returns the passages of a CSV or TSV, whose first line names the columns."""
    lines: dict[int, dict[int, RawCell]] = {}
    names = {name: at for at, name in enumerate(table.head, start=1) if name}
    lines[1] = {at: name for name, at in names.items()}
    count = 0
    is_cut = False
    for at, (_, row) in enumerate(table, start=2):
        if len(lines) > MOST_ROWS or count > MOST_CELLS:
            is_cut = True
            break
        line: dict[int, RawCell] = {names[name]: cell for name, cell in row.items() if cell}
        if line:
            lines[at] = line
        count += len(line)
    complaints = [_cut()] if is_cut else []
    if table.unusable:
        complaints.append(_unusable([number for number, _ in table.unusable]))
    return _content(lines, path, complaints)


def _read_parquet(file: FileData) -> FileContent:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError:
        raise RefusedError("extra", MissingExtraError("pyarrow", "tables").text) from None
    try:
        source = ParquetFile(BytesIO(file.data))
        names = [one.name for one in source.schema_arrow if one.name and not _is_opaque(one.type)]
        names = names[:_MOST_COLUMNS]
        lines: dict[int, dict[int, RawCell]] = {1: dict(enumerate(names, start=1))}
        count, number = 0, 1
        is_cut = False
        for batch in source.iter_batches(batch_size=1000, columns=names):
            if len(lines) > MOST_ROWS or count > MOST_CELLS:
                is_cut = True
                break
            columns = [[_cell(one) for one in column.to_pylist()] for column in batch.columns]
            for cells in zip(*columns, strict=True):
                number += 1
                lines[number] = {at: cell for at, cell in enumerate(cells, 1) if cell is not None}
                count += len(lines[number])
    except (ArrowException, OSError, ValueError) as error:
        raise refused(
            f"it is damaged or cut off ({error}). Expected a whole Parquet file. Write it again",
            f"文件已损坏或不完整（{error}）；应为完整的 Parquet 文件；请重新生成",
        ) from None
    return _content(lines, file.path, [_cut()] if is_cut else [])


def _is_opaque(column_type: Any) -> bool:
    """Whether a column holds bytes, lists or structures, such as the pictures of a data set."""
    from pyarrow import types

    return types.is_nested(column_type) or "binary" in str(column_type)


def _cell(value: object) -> RawCell | None:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return None if value != value else Number(float(value))
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, str | time):
        return str(value).strip() or None
    try:
        return Number(float(value))  # type: ignore[arg-type]  # a decimal
    except (TypeError, ValueError):
        return None


def _content(
    lines: dict[int, dict[int, RawCell]], path: str, complaints: list[Text]
) -> FileContent:
    title = clean_text(os.path.splitext(os.path.basename(path))[0])
    content = document_content([Grid(lines=lines, title=title)], complaints=complaints)
    return FileContent(
        passages=content.passages, complaint=content.complaint, media_type=MEDIA_TYPE
    )


def _cut() -> Text:
    return Text(
        f"it is too long: only its first {MOST_ROWS:,} rows, or {MOST_CELLS:,} cells, can be "
        "found. Split it into several files to find the rest.",
        f"太长，只能搜到前 {MOST_ROWS:,} 行或前 {MOST_CELLS:,} 个单元格；"
        "要搜到其余部分，请拆成几个文件。",
    )


def _unusable(lines: list[int]) -> Text:
    told, more = ", ".join(map(str, lines[:5])), len(lines)
    return Text(
        f"{more:,} of its lines cannot be used (line {told}). Expected as many cells as the "
        "header row has. Correct them; the other lines were used.",
        f"有 {more:,} 行无法使用（第 {told} 行）；单元格数应与表头相同；请改正，其余各行已使用。",
    )


READER = FileReader(
    media_type=MEDIA_TYPE,
    endings=frozenset((".parquet",)),
    read=lambda file, settings, needed: read_sheet(file),
    recognises=lambda data: data[:4] == data[-4:] == b"PAR1",
    is_text=False,
)
