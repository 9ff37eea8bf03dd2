"""Where records come from, and what training draws of them."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from seesay.data.augmentation import AugmentationConfig
from seesay.data.formats.chinese_clip import ChineseClipSource
from seesay.data.formats.parquet import ParquetSource
from seesay.data.formats.records import COLUMNS, LANGUAGES, Damaged, Source
from seesay.data.formats.table import TableSource
from seesay.data.formats.webdataset import WebDatasetSource
from seesay.errors import ConfigError, DataError

Format = Literal["webdataset", "table", "parquet", "chinese-clip"]
NAMED = ("table", "parquet")  # the formats whose files name their columns


@dataclass(frozen=True, kw_only=True)
class RecordsConfig:
    """Files with images and what is known about them."""

    path: str
    """The files, as a path or a glob pattern such as "shards/train-*.tar"."""
    format: Format = "webdataset"
    """Layout of the files; `table` is a folder of images with a CSV, TSV or JSONL file."""
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    """Languages whose texts are used; an image without any text in them counts as damaged."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our names for columns that a table or Parquet file calls otherwise: image = "filepath"."""
    classes: str | None = None
    """JSON list of {"en": name, "zh": name}: numbers of classes become texts."""
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Per language, texts with {} for the name of a class."""
    start: int = 0
    """First record used, counted from 0 in the order of the files."""
    stop: int | None = None
    """First record no longer used; none: all that follow."""

    def __post_init__(self) -> None:
        _check_names("format", [self.format], get_args(Format))
        _check_names("languages", self.languages, LANGUAGES)
        _check_names("columns", self.columns, COLUMNS)
        _check_names("templates", self.templates, self.languages)
        if not self.languages:
            raise ConfigError(
                "languages=() leaves no text, expected 'en', 'zh' or both: name one, or leave the "
                "setting out"
            )
        if self.columns and self.format not in NAMED:
            raise ConfigError(
                f"columns={dict(self.columns)} stands beside format={self.format!r}, expected one "
                f"of {', '.join(NAMED)}, whose files name their columns: correct the format, or "
                "remove the columns"
            )
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise ConfigError(
                f"start={self.start} and stop={self.stop} leave no record, expected a start of at "
                "least 0 and a stop above it: correct them"
            )
        for language, texts in self.templates.items():
            if not texts or any("{}" not in text for text in texts):
                raise ConfigError(
                    f"templates.{language}={texts} cannot be filled, expected texts that hold {{}} "
                    "for the name of a class: correct them"
                )
        if self.classes is not None and not self.templates:
            raise ConfigError(
                f"classes={self.classes!r} stands without templates, expected a text with {{}} for "
                "the name: add templates, e.g. en = ['a photo of a {}']"
            )


@dataclass(frozen=True, kw_only=True)
class SourceConfig(RecordsConfig):
    """A stream of training samples."""

    batch: int = 256
    """Images per optimizer step, over all processes."""
    captions: int = 1
    """Texts drawn per image and language, at most as many as there are."""
    size: int | None = None
    """Side in pixels of the images while training, for towers that take any; none: the model's.
    Smaller ones train faster, and crops show things larger than use will (Touvron et al., 2019)."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """How the images are varied."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None and self.size < 1:
            raise ConfigError(
                f"size={self.size} leaves no pixel, expected a side of at least 1: raise it, or "
                "leave it out"
            )
        if self.batch < 1 or self.captions < 1:
            raise ConfigError(
                f"batch={self.batch} and captions={self.captions} draw nothing, expected at least "
                "1 of each: raise them"
            )


def _check_names(setting: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Raises ConfigError, with the name that was probably meant, where one is not known."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            raise ConfigError(
                f"{setting} names {name!r}, expected {' or '.join(map(repr, known))}: "
                + (f"did you mean {near[0]!r}?" if near else "choose one of these")
            )


def open_records(config: RecordsConfig) -> Source:
    """All records in the files. Raises DataError where the files are not what the config says."""
    if config.format == "webdataset":
        return WebDatasetSource(config.path)
    if config.format == "chinese-clip":
        return ChineseClipSource(config.path)
    if config.format == "table":
        return TableSource(config.path, config.columns)
    return ParquetSource(config.path, config.columns)


def used_records(config: RecordsConfig, length: int, damaged: Sequence[Damaged] = ()) -> range:
    """The numbers of the records between `start` and `stop`. Raises DataError where none is, with
    the first reason where all were left out for being `damaged`."""
    if not length and damaged:
        raise DataError(
            f"{config.path} holds no record that can be used, expected at least one: "
            f"{len(damaged)} were left out, the first, {damaged[0].key}, because "
            f"{damaged[0].reason}"
        )
    stop = length if config.stop is None else min(config.stop, length)
    if config.start >= stop:
        raise DataError(
            f"{config.path} holds {length} records, none from start={config.start} on, expected at "
            "least one: correct the path or the start"
        )
    return range(config.start, stop)


def read_classes(file: str) -> list[Mapping[str, str]]:
    """The names of classes by number. Raises DataError where the file holds no such list."""
    try:
        classes = json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
        return [{language: str(row[language]) for language in ("en", "zh")} for row in classes]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} holds no class names ({error!r}), expected a JSON list of "
            '{"en": ..., "zh": ...}: correct the path or the file'
        ) from None
