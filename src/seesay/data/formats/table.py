"""A folder of images with one table about them: CSV, TSV or JSONL."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seesay.data.formats.records import (
    Damaged,
    Record,
    captions_from,
    find_files,
    label_from,
    parse_json,
    rename_columns,
)
from seesay.errors import DataError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


class TableSource:
    """Rows with `image` (a path beside the table), `en`, `zh`, `caption` and `label`.

    Several rows about one image become one record with all their captions.
    """

    blocks: Sequence[int] = ()

    def __init__(self, pattern: str, columns: Mapping[str, str] | None = None) -> None:
        self.damaged: list[Damaged] = []
        self._records: dict[str, Record] = {}
        for file in find_files(pattern, [*DELIMITERS, ".jsonl"]):
            for number, row in self._rows(file, columns or {}):
                self._add(row, file, number)
        self._keys = list(self._records)

    def _rows(
        self, file: Path, columns: Mapping[str, str]
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            if delimiter := DELIMITERS.get(file.suffix.lower()):
                reader = csv.DictReader(lines, delimiter=delimiter)
                names = rename_columns(reader.fieldnames or (), columns, file)
                for row in reader:
                    yield reader.line_num, {names[k]: v for k, v in row.items() if k in names}
                return
            ours = {theirs: mine for mine, theirs in columns.items()}
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        row = parse_json(line, f"{file.name} line {number}")
                    except DataError as error:
                        self.damaged.append(Damaged(f"{file.name} line {number}", str(error)))
                        continue
                    yield number, {ours.get(name, name): value for name, value in row.items()}

    def _add(self, row: Mapping[str, Any], file: Path, number: int) -> None:
        name = row.get("image")
        try:
            if not isinstance(name, str) or not name:
                raise DataError(
                    f"the row has {', '.join(map(str, row)) or 'nothing'}, expected a path in "
                    "`image`: add it, or say which column it is by columns.image"
                )
            captions, label = captions_from(row), label_from(row)
        except DataError as error:
            self.damaged.append(Damaged(f"{file.name} line {number}", str(error)))
            return
        before = self._records.get(name, Record(key=name, image=file.parent / name))
        self._records[name] = Record(
            key=name,
            image=before.image,
            captions={
                language: before.captions.get(language, ()) + captions.get(language, ())
                for language in {**before.captions, **captions}
            },
            label=before.label if label is None else label,
        )

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Record:
        return self._records[self._keys[index]]
