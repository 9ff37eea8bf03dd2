"""A folder of images with one table about them: CSV, TSV or JSONL."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from seesay.data.tables import DELIMITED, JSON_LINES, Table, restored
from seesay.errors import DataError
from seesay.text import Text


class TableSource:
    """Rows with `image` (a path beside the table, or in the folder `images`), `en`, `zh`,
    `caption`, `question` with `answer`, `objects` and `label`.

    Several rows about one image become one record with all their captions and questions.
    """

    blocks: Sequence[int] = ()

    def __init__(
        self, pattern: str, columns: Mapping[str, str] | None = None, images: str | None = None
    ) -> None:
        self._images = None if images is None else Path(images).expanduser()
        self.damaged: list[Damaged] = []
        self._records: dict[str, Record] = {}
        for file in find_files(pattern, [*DELIMITED, JSON_LINES]):
            self._survey(file, columns or {})
        self._keys = list(self._records)

    def _survey(self, file: Path, columns: Mapping[str, str]) -> None:
        try:
            table = Table(file, file.name, wanted={*COLUMNS, *columns.values()})
        except (DataError, OSError) as error:
            raise DataError(Text(f"{file}: {error}", f"{file}：{Text.of(error).zh}")) from None
        ours = {theirs: mine for mine, theirs in columns.items()}
        if not table.is_json:
            ours = rename_columns(table.head, columns, file)
        bad: list[tuple[int, str]] = []
        for number, row in table:
            try:
                self._add({ours.get(name, name): _plain(cell) for name, cell in row.items()}, file)
            except DataError as error:
                bad.append((number, str(error)))
        bad += ((number, f"{why}: correct or remove it") for number, why in table.unusable)
        self.damaged += (Damaged(f"{file.name} line {n}", reason) for n, reason in sorted(bad))

    def _add(self, row: Mapping[str, Any], file: Path) -> None:
        name = row.get("image")
        if not isinstance(name, str) or not name:
            raise DataError(
                Text(
                    f"the row has {', '.join(row)[:120] or 'nothing'}, expected a path in "
                    "`image`: add it, or say which column it is by columns.image",
                    f"这一行只有 {'、'.join(row)[:120] or '空内容'}；`image` 列应为路径；请补上，"
                    "或用 columns.image 指明是哪一列",
                )
            )
        captions, questions, label = captions_from(row), questions_from(row), label_from(row)
        key = unicodedata.normalize("NFC", name)
        before = self._records.get(key, Record(key=key, image=(self._images or file.parent) / name))
        self._records[key] = Record(
            key=key,
            image=before.image,
            captions=_joined(before.captions, captions),
            questions=_joined(before.questions, questions),
            label=before.label if label is None else label,
            objects=before.objects + objects_from(row),
            boxes=before.boxes + boxes_from(row),
        )

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Record:
        record = self._records[self._keys[index]]
        return replace(record, image=Path(as_on_disk(str(record.image))))


def _joined(
    before: Mapping[str, tuple[Any, ...]], new: Mapping[str, tuple[Any, ...]]
) -> dict[str, tuple[Any, ...]]:
    return {lang: before.get(lang, ()) + new.get(lang, ()) for lang in {**before, **new}}


def _plain(cell: Any) -> Any:
    return restored(cell) if isinstance(cell, str) else cell
