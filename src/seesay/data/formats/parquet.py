"""Parquet files with an `image` column: encoded bytes, a path, or Hugging Face's {bytes, path}."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from seesay.data.formats.records import (
    Damaged,
    Record,
    captions_from,
    find_files,
    label_from,
    rename_columns,
)
from seesay.errors import DataError, MissingExtraError

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
        pyarrow, parquet = _import_pyarrow()
        try:
            metadata = parquet.read_metadata(file)
        except (pyarrow.ArrowException, OSError) as error:
            self.damaged.append(Damaged(str(file), str(error)))
            return
        names = rename_columns(metadata.schema.to_arrow_schema().names, self._columns, file)
        if "image" not in names.values():
            raise DataError(
                f"{file} has the columns {', '.join(names)}, expected one called `image`: say "
                "which one it is by columns.image"
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
        except DataError as error:
            raise DataError(f"{key}: {error}") from None
        return Record(key=key, image=image, captions=captions_from(row), label=label)

    def _read(self, group: int) -> list[dict[str, Any]]:
        if group not in self._kept:
            pyarrow, parquet = _import_pyarrow()
            file, number = self._groups[group]
            try:
                table = parquet.ParquetFile(file).read_row_group(number)
            except (pyarrow.ArrowException, OSError) as error:
                raise DataError(
                    f"{file} row group {number} cannot be read ({error}), expected a whole file: "
                    "fetch it again"
                ) from None
            names = rename_columns(table.column_names, self._columns, file)
            self._kept[group] = table.rename_columns(list(names.values())).to_pylist()
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(group)
        return self._kept[group]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}  # a worker reads its own


def _image_of(value: Any, folder: Path) -> bytes | Path:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and value:
        return folder / value
    raise DataError(
        f"the image is {type(value).__name__}, expected encoded bytes, a path or both: "
        "correct or remove the row"
    )


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingExtraError("pyarrow", "train") from None
    return pyarrow, pyarrow.parquet
