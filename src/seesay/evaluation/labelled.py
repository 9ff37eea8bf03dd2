"""Pictures with the names of their classes: a folder with a sub-folder per class, or a table."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seesay.data.spelling import as_on_disk
from seesay.data.tables import DELIMITED, JSON_LINES, Table, restored
from seesay.errors import DataError
from seesay.evaluation.zero_shot import find_classes

TABLES = (*DELIMITED, JSON_LINES)


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Pictures, each with the name of its class."""

    images: tuple[Path, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures each class has, by name in the order of the names."""
        return dict(sorted(Counter(self.labels).items()))


def read_labelled(path: Path) -> LabelledImages:
    """The pictures of a folder by its sub-folders, or of a table by its columns `image` (a path
    beside the table) and `label` (a name or number). Raises DataError where there are none, or a
    line of the table cannot be used: a measure must not change with the damage."""
    if path.suffix.lower() in TABLES and not path.is_dir():
        rows = _rows(path)
    else:
        rows = [(f, name) for name, files in find_classes(path).items() for f in files]
    return LabelledImages(images=tuple(f for f, _ in rows), labels=tuple(n for _, n in rows))


def _rows(file: Path) -> list[tuple[Path, str]]:
    try:
        table = Table(file, file.name, wanted={"image", "label"})
    except (DataError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file} cannot be read: {reason}; check the path") from None
    rows: dict[tuple[Path, str], None] = {}
    for number, row in table:
        image, label = _text(row.get("image")), _text(row.get("label"))
        if not image or not label:
            raise DataError(
                f"{file} line {number} has {', '.join(row)[:120] or 'nothing'}, expected a path in "
                "`image` and the name of a class in `label`: add or rename them"
            )
        rows[Path(as_on_disk(str(file.parent / image))), label] = None
    if table.unusable:
        number, why = table.unusable[0]
        raise DataError(
            f"{file} has {len(table.unusable)} lines that cannot be used, the first line {number}: "
            f"{why}; expected a path and a class in each; correct or remove them"
        )
    if not rows:
        raise DataError(
            f"{file} has no line, expected a path in `image` and a class in `label` on each: add "
            "some"
        )
    return list(rows)


def _text(cell: Any) -> str:
    return "" if cell is None else restored(str(cell)).strip()
