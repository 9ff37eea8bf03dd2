"""The data to measure models on: records of a training format, or labelled pictures.

Damage must not change a measure, so any unreadable item is an error.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from seesay.data.formats.records import Record
from seesay.data.images import list_images
from seesay.data.sources import RecordsConfig, open_records, used_records
from seesay.data.spelling import as_on_disk
from seesay.data.tables import DELIMITED, JSON_LINES, Table, restored
from seesay.errors import DataError
from seesay.inference.embedder import Embedder
from seesay.text import Text

TABLES = (*DELIMITED, JSON_LINES)


def read_records(config: RecordsConfig) -> tuple[Record, ...]:
    """Returns the records, with their images still encoded. Raises DataError if one is damaged."""
    source = open_records(config)
    if source.damaged:
        count, first = len(source.damaged), source.damaged[0]
        raise DataError(
            Text(
                f"{config.path} has {count} damaged records, the first {first.key}: "
                f"{first.reason}. Figures on a part of a set mislead; repair or remove them",
                f"{config.path} 有 {count} 条损坏的记录，第一条 {first.key}：{first.reason}。"
                "只用一部分数据得出的数字会误导；请修复或删除它们",
            )
        )
    used = used_records(config, source)
    return tuple(source[index] for index in used)


def embed_records(
    embedder: Embedder, config: RecordsConfig, records: Sequence[Record]
) -> Float[np.ndarray, "records embed"]:
    """Returns the vectors of all images. Raises DataError if one cannot be read."""
    embeddings = embedder.embed_images([record.image for record in records])
    if embeddings.failures:
        count, first = len(embeddings.failures), embeddings.failures[0]
        key, reason = records[first.index].key, Text.of(first.error)
        raise DataError(
            Text(
                f"{count} images of {config.path} cannot be read, the first {key}: {reason.en}. "
                "Repair or remove them",
                f"{config.path} 有 {count} 张图片无法读取，第一张 {key}：{reason.zh}。"
                "请修复或删除它们",
            )
        )
    return embeddings.vectors


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Pictures, each with the name of its class."""

    images: tuple[Path, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures each class has, sorted by class name."""
        return dict(sorted(Counter(self.labels).items()))


def read_labelled(path: Path) -> LabelledImages:
    """The pictures of a folder by its sub-folders, or of a table by its columns `image` (a path
    beside the table) and `label` (a name or number). Raises DataError if there are none, or if a
    line of the table cannot be used: damage must not change a measure."""
    if path.suffix.lower() in TABLES and not path.is_dir():
        rows = _rows(path)
    else:
        rows = [(f, name) for name, files in find_classes(path).items() for f in files]
    return LabelledImages(images=tuple(f for f, _ in rows), labels=tuple(n for _, n in rows))


def _rows(file: Path) -> list[tuple[Path, str]]:
    try:
        table = Table(file, file.name, wanted={"image", "label"})
    except (DataError, OSError) as error:
        reason = Text.of(getattr(error, "strerror", None) or error)
        raise DataError(
            Text(
                f"{file} cannot be read: {reason.en}; expected a table; check the path",
                f"无法读取 {file}：{reason.zh}；应为表格；请检查路径",
            )
        ) from None
    rows: dict[tuple[Path, str], None] = {}
    for number, row in table:
        image, label = _text(row.get("image")), _text(row.get("label"))
        if not image or not label:
            columns = ", ".join(row)[:120]
            raise DataError(
                Text(
                    f"{file} line {number} has {columns or 'nothing'}, expected a path in `image` "
                    "and the name of a class in `label`: add or rename them",
                    f"{file} 第 {number} 行有 {columns or '空行'}；`image` 里应为路径，"
                    "`label` 里应为类别名；请补上或改列名",
                )
            )
        rows[Path(as_on_disk(str(file.parent / image))), label] = None
    if table.unusable:
        number, why = table.unusable[0]
        count = len(table.unusable)
        raise DataError(
            Text(
                f"{file} has {count} lines that cannot be used, the first line {number}: {why}; "
                "expected a path and a class in each; correct or remove them",
                f"{file} 有 {count} 行不能用，最前面的是第 {number} 行：{why}；"
                "每行都应有路径和类别；请改正或删除",
            )
        )
    if not rows:
        raise DataError(
            Text(
                f"{file} has no line, expected a path in `image` and a class in `label` on each: "
                "add some",
                f"{file} 里没有数据行；每行应有路径 `image` 和类别 `label`；请补上",
            )
        )
    return list(rows)


def _text(cell: Any) -> str:
    return "" if cell is None else restored(str(cell)).strip()


def find_classes(folder: Path) -> dict[str, list[Path]]:
    """Returns pictures by sub-folder, both sorted. Raises DataError if there are none."""
    if not folder.is_dir():
        raise DataError(
            Text(
                f"{folder} is no folder; expected one with a sub-folder of pictures for each "
                "class; check the path",
                f"{folder} 不是文件夹；应为每个类别各有一个图片子文件夹的文件夹；请检查路径",
            )
        )
    inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    classes = {path.name: images for path in inside if (images := list_images(path))}
    if not classes:
        example = folder / "cat"
        raise DataError(
            Text(
                f"{folder} has no sub-folder with pictures in it; expected one for each class, "
                f"such as {example}; move the pictures of each class into a folder of its own",
                f"{folder} 里没有装着图片的子文件夹；应为每个类别一个，如 {example}；"
                "请把各类图片分别移到自己的子文件夹",
            )
        )
    return classes
