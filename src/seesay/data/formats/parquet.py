"""Parquet files with an `image` column: encoded bytes, a path, or Hugging Face's {bytes, path}."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from seesay.data.files import import_pyarrow
from seesay.data.formats.records import (
    COLUMNS,
    Damaged,
    Record,
    boxes_from,
    captions_from,
    find_files,
    label_from,
    objects_from,
    questions_from,
    rename_columns,
)
from seesay.data.spelling import as_on_disk
from seesay.errors import DataError
from seesay.text import Text

KEPT = 8  # row groups held in memory: a sample's neighbours are drawn soon after it (see Order)


class ParquetSource:
    """The rows of all files that a pattern names. A block is a row group, read as one."""

    def __init__(self, pattern: str, columns: Mapping[str, str] | None = None) -> None:
        self.files = find_files(pattern, [".parquet"])
        self.damaged: list[Damaged] = []
        self.blocks: list[int] = []
        self._columns = dict(columns or {})
        self._groups: list[tuple[Path, int]] = []
        for file in self.files:
            self._survey(file)
        self._ends = list(accumulate(self.blocks))
        self._kept: OrderedDict[int, list[dict[str, Any]]] = OrderedDict()

    def _survey(self, file: Path) -> None:
        pyarrow, parquet = import_pyarrow()
        try:
            metadata = parquet.read_metadata(file)
        except (pyarrow.ArrowException, OSError) as error:
            self.damaged.append(Damaged(str(file), str(error)))
            return
        names = rename_columns(metadata.schema.to_arrow_schema().names, self._columns, file)
        if "image" not in names.values():
            raise DataError(
                Text(
                    f"{file} has the columns {', '.join(names)}, expected one called `image`: say "
                    "which one it is by columns.image",
                    f"{file} 的列是 {'、'.join(names)}；应有一列名为 `image`；请用 columns.image "
                    "指明是哪一列",
                )
            )
        for group in range(metadata.num_row_groups):
            self._groups.append((file, group))
            self.blocks.append(metadata.row_group(group).num_rows)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Record:
        group = bisect_right(self._ends, index)
        row_number = index - (self._ends[group - 1] if group else 0)
        row = self._read(group)[row_number]
        file, number = self._groups[group]
        key = str(row.get("key") or f"{file.stem}/{number}/{row_number}")
        try:
            image, label = _image_of(row["image"], file.parent), label_from(row)
            questions = questions_from(row)
        except DataError as error:
            raise DataError(Text(f"{key}: {error}", f"{key}：{Text.of(error).zh}")) from None
        return Record(
            key=key,
            image=image,
            captions=captions_from(row),
            questions=questions,
            label=label,
            objects=objects_from(row),
            boxes=boxes_from(row),
        )

    def _read(self, group: int) -> list[dict[str, Any]]:
        if group not in self._kept:
            pyarrow, parquet = import_pyarrow()
            file, number = self._groups[group]
            try:
                opened = parquet.ParquetFile(file)
                names = rename_columns(opened.schema_arrow.names, self._columns, file)
                used = {theirs: ours for theirs, ours in names.items() if ours in COLUMNS}
                table = opened.read_row_group(number, columns=list(used))
                rows = _rows(table.rename_columns([used[name] for name in table.column_names]))
            except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
                raise DataError(
                    Text(
                        f"{file} row group {number} cannot be read ({error}), expected a whole "
                        "file: fetch it again",
                        f"{file} 的第 {number} 个行组无法读取（{error}）；应为完整的文件；请重新下"
                        "载",
                    )
                ) from None
            self._kept[group] = rows
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return self._kept[group]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}  # a worker reads its own


def _rows(table: Any) -> list[dict[str, Any]]:
    """Returns the rows of a table; bytes of texts that are not UTF-8 become U+FFFD."""
    try:
        return table.to_pylist()
    except UnicodeDecodeError:
        pyarrow, _ = import_pyarrow()
        texts = [i for i, field in enumerate(table.schema) if pyarrow.types.is_string(field.type)]
        for i in texts:
            name, raw = table.column_names[i], table.column(i).cast(pyarrow.binary())
            table = table.set_column(i, name, raw)
        rows: list[dict[str, Any]] = table.to_pylist()
        names = [table.column_names[i] for i in texts]
        decoded = ({name: _decoded(row[name]) for name in names} for row in rows)
        return [{**row, **some} for row, some in zip(rows, decoded, strict=True)]


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _image_of(value: Any, folder: Path) -> bytes | Path:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and value:
        return Path(as_on_disk(str(folder / value)))
    raise DataError(
        Text(
            f"the image is {type(value).__name__}, expected encoded bytes, a path or both: "
            "correct or remove the row",
            f"图片是 {type(value).__name__}；应为编码后的字节、路径，或二者都有；请改正或删除这一"
            "行",
        )
    )
