"""The list of those records of a source that are used: a Parquet file of numbers and keys.

Numbers make opening cheap: the records that are left out need not be read. They hold only for the
same files in the same order, so the number of all records and some keys are compared.
"""

from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from seesay.data.files import import_pyarrow
from seesay.data.formats.records import Source
from seesay.errors import DataError
from seesay.text import Text, to_unicode

_TOTAL = b"seesay.records"  # in the file's metadata: how many records the source has
_ROWS = 65_536  # written at once


def write_kept(file: Path, records: Iterator[tuple[int, str]], total: int) -> None:
    """Write the number and key of each record, in the order of their numbers; `total` is the
    number of all records of the source. Raises MissingExtraError without pyarrow."""
    pyarrow, parquet = import_pyarrow()
    columns = [("number", pyarrow.int64()), ("key", pyarrow.string())]
    schema = pyarrow.schema(columns, metadata={_TOTAL: str(total)})
    with parquet.ParquetWriter(file, schema) as writer:
        while rows := list(islice(records, _ROWS)):
            numbers = [number for number, _ in rows]
            keys = [to_unicode(key) for _, key in rows]
            writer.write_table(pyarrow.table([numbers, keys], schema=schema))


def read_kept(path: str, source: Source) -> "array[int]":
    """Returns the numbers of the records, in order. Raises DataError if the file is no such list,
    or was written for other records than those of the source."""
    pyarrow, parquet = import_pyarrow()
    file = Path(path).expanduser()
    try:
        opened = parquet.ParquetFile(file)
        total = int((opened.schema_arrow.metadata or {})[_TOTAL])
        numbers = array("q", opened.read(columns=["number"]).column(0).to_numpy().tobytes())
        samples = list(_samples(opened))
    except (pyarrow.ArrowException, OSError, KeyError, ValueError) as error:
        reason = Text.of(error) if file.exists() else Text("there is no such file", "没有这个文件")
        raise DataError(
            Text(
                f"{path} is no list of kept records ({reason.en}), expected the kept.parquet that "
                "`seesay data balance` writes: correct the path, or write it again",
                f"{path} 不是保留记录的清单（{reason.zh}）；应为 `seesay data balance` 写出的 "
                "kept.parquet；请改正路径，或重新生成",
            )
        ) from None
    if total != len(source):
        raise _other_files(
            path,
            Text(
                f"it was written for {total} records, and there are {len(source)}",
                f"它对应 {total} 条记录，现有 {len(source)} 条",
            ),
        )
    for number, key in samples:
        _check_key(path, source, number, key)
    return numbers


def _samples(opened: Any) -> Iterator[tuple[int, str]]:
    """Yields the first and last record of the first and last row group."""
    for group in sorted({0, opened.num_row_groups - 1} & {*range(opened.num_row_groups)}):
        rows = opened.read_row_group(group)
        for row in rows.slice(0, 1).to_pylist() + rows.slice(rows.num_rows - 1).to_pylist():
            yield row["number"], row["key"]


def _check_key(path: str, source: Source, number: int, expected: str) -> None:
    try:
        key = to_unicode(source[number].key)
    except DataError:  # training will report it
        return
    if key != expected:
        raise _other_files(
            path,
            Text(
                f"it calls record {number} {expected!r}, and now that is {key!r}",
                f"第 {number} 条记录在清单里是 {expected!r}，现在是 {key!r}",
            ),
        )


def _other_files(path: str, reason: Text) -> DataError:
    return DataError(
        Text(
            f"{path} does not fit the records: {reason.en}; expected the files it was written for, "
            "in the same order; correct the path of the source, or run `seesay data balance` again",
            f"{path} 与数据对不上：{reason.zh}；应为生成清单时的文件，顺序也相同；请改正数据来源的 "
            "path，或重新运行 `seesay data balance`",
        )
    )
