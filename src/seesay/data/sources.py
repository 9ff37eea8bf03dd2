"""The settings of a data source: where its records are, and how training draws from them."""

import difflib
import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from seesay.data.added import AddedSource
from seesay.data.augmentation import AugmentationConfig
from seesay.data.formats.chinese_clip import IMAGES, ChineseClipSource
from seesay.data.formats.parquet import ParquetSource
from seesay.data.formats.records import COLUMNS, LANGUAGES, Record, Source
from seesay.data.formats.table import TableSource
from seesay.data.formats.webdataset import WebDatasetSource
from seesay.data.kept import KeptSource
from seesay.data.tables import DELIMITED, JSON_LINES
from seesay.data.words import as_sentence
from seesay.errors import ConfigError, DataError
from seesay.text import Language, Text

Format = Literal["webdataset", "table", "parquet", "chinese-clip"]
NAMED = ("table", "parquet")  # the formats whose files name their columns


@dataclass(frozen=True, kw_only=True)
class RecordsConfig:
    """Files with images, and their texts or classes."""

    path: str
    """The files, as a path or a glob pattern such as "shards/train-*.tar"."""
    format: Format = "webdataset"
    """Layout of the files; `table` is a folder of images with a CSV, TSV or JSONL file."""
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    """Languages of the texts to use; an image without text in them counts as damaged."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns of a table or Parquet file with other names: image = "filepath"."""
    classes: str | None = None
    """JSON list of {"en": name, "zh": name}, which turns class numbers into texts."""
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By language, sentences with {} for the name of a class."""
    start: int = 0
    """First record to use, counted from 0 in the order of the files."""
    stop: int | None = None
    """Record to stop before; none: use all."""
    images: str | None = None
    """Folder that the paths of images in a table start from; none: the table's own."""
    added: str | None = None
    """Further questions or captions by record: the JSONL file that `seesay data vqa` or `seesay
    capfilt` wrote for these files."""
    kept: str | None = None
    """List of the captions to use: the kept.parquet that `seesay data balance` or `seesay capfilt`
    wrote for these files; none: use all."""

    def __post_init__(self) -> None:
        require_known("format", [self.format], get_args(Format))
        require_known("languages", self.languages, LANGUAGES)
        require_known("columns", self.columns, COLUMNS)
        require_known("templates", self.templates, self.languages)
        if not self.languages:
            raise ConfigError(
                Text(
                    "languages=() leaves no text, expected 'en', 'zh' or both: name one, or "
                    "leave the setting out",
                    "languages=() 没有任何语言；应为 'en'、'zh' 或两者；请写上，或去掉这一项",
                )
            )
        if self.columns and self.format not in NAMED:
            columns, form = f"columns={dict(self.columns)}", f"format={self.format!r}"
            raise ConfigError(
                Text(
                    f"{columns} stands beside {form}, expected one of {', '.join(NAMED)}, whose "
                    "files name their columns: correct the format, or remove the columns",
                    f"{columns} 与 {form} 不能同时用；只有 {'、'.join(NAMED)} 的文件有列名；请改"
                    "正 format，或去掉 columns",
                )
            )
        if self.images is not None and self.format != "table":
            raise ConfigError(
                Text(
                    f"images={self.images!r} stands beside format={self.format!r}, expected "
                    "'table', whose images lie in a folder: correct the format, or remove images",
                    f"images={self.images!r} 与 format={self.format!r} 不能同时用；只有 'table' 的"
                    "图片在文件夹里；请改正 format，或去掉 images",
                )
            )
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            given = f"start={self.start}", f"stop={self.stop}"
            raise ConfigError(
                Text(
                    f"{' and '.join(given)} leave no record, expected a start of at least 0 and a "
                    "stop above it: correct them",
                    f"{'、'.join(given)} 之间没有记录；start 至少为 0，stop 应大于 start；请改正",
                )
            )
        check_templates(self.templates)
        if self.classes is not None and not self.templates:
            raise ConfigError(
                Text(
                    f"classes={self.classes!r} stands without templates, expected a text with "
                    "{} for the name: add templates, e.g. en = ['a photo of a {}']",
                    f"classes={self.classes!r} 没有配上 templates；应有含 {{}} 的句子来填类别名；"
                    "请加上 templates，如 zh = ['一张{}的照片']",
                )
            )


@dataclass(frozen=True, kw_only=True)
class SourceConfig(RecordsConfig):
    """A stream of training samples."""

    batch: int = 256
    """Images per optimizer step, over all processes."""
    captions: int = 1
    """Texts drawn for each image and language, if there are as many."""
    questions: int = 0
    """Questions drawn for each image and language, with their answers."""
    sentences: bool = False
    """Whether captions are written as sentences, for models that write: a capital first, no blank
    before punctuation, a full stop at the end."""
    requests: Mapping[Literal["en", "zh"], tuple[str, ...]] = field(default_factory=dict)
    """By language, what a user may say to get a caption: zh = ["描述这张图片"]; one is drawn at
    random each time. None: captions answer nothing."""
    size: int | None = None
    """Side in pixels of training images, for towers that take any size; none: the model's. Smaller
    images train faster, and crops show things larger than they appear in use (Touvron et al.,
    2019)."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """How images are augmented."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None and self.size < 1:
            raise ConfigError(
                Text(
                    f"size={self.size} leaves no pixel, expected a side of at least 1: raise it, "
                    "or leave it out",
                    f"size={self.size} 没有像素；边长至少为 1；请调大，或去掉这一项",
                )
            )
        texts = self.captions + self.questions
        if self.batch < 1 or min(self.captions, self.questions) < 0 or texts < 1:
            names = ("batch", "captions", "questions")
            given = [f"{name}={getattr(self, name)}" for name in names]
            raise ConfigError(
                Text(
                    f"{', '.join(given)} draw nothing, expected a batch of at least 1, and at "
                    "least 1 caption or question: raise them",
                    f"{'、'.join(given)} 取不到样本；batch 至少为 1，captions 和 questions 不能"
                    "为负，且至少有一项不小于 1；请调大",
                )
            )
        for language, requests in self.requests.items():
            if not requests:
                raise ConfigError(
                    Text(
                        f"requests.{language} is empty, expected at least one text: add one, or "
                        "leave the language out",
                        f"requests.{language} 是空的；至少应有一句；请补上，或去掉这种语言",
                    )
                )

    def captions_of(self, record: Record, language: Language) -> tuple[str, ...]:
        """Returns the captions of a record as they are learned."""
        captions = record.captions.get(language, ())
        return tuple(map(as_sentence, captions)) if self.sentences else captions


def require_known(setting: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Raises ConfigError, suggesting the likely name, if a name is unknown."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            ending = Text("choose one of these", "请从中选一个")
            if near:
                ending = Text(f"did you mean {near[0]!r}?", f"是不是想用 {near[0]!r}？")
            names = [repr(one) for one in known]
            raise ConfigError(
                Text(
                    f"{setting} names {name!r}, expected {' or '.join(names)}: {ending.en}",
                    f"{setting} 里的 {name!r} 不能用；应为 {'、'.join(names)} 之一；{ending.zh}",
                )
            )


def format_of(path: str) -> Format:
    """Returns the layout of files by their ending; for an unknown one, the default."""
    name = path.lower()
    if name.endswith(IMAGES):
        return "chinese-clip"
    if name.endswith(".parquet"):
        return "parquet"
    return "table" if name.endswith((*DELIMITED, JSON_LINES)) else "webdataset"


def open_records(config: RecordsConfig) -> Source:
    """Returns all records in the files. Raises DataError if the files, the texts `added` or the
    list `kept` do not match the config."""
    source = _open_files(config)
    if config.added is not None:
        source = AddedSource(source, config.added)
    return source if config.kept is None else KeptSource(source, config.kept)


def _open_files(config: RecordsConfig) -> Source:
    if config.format == "webdataset":
        return WebDatasetSource(config.path)
    if config.format == "chinese-clip":
        return ChineseClipSource(config.path)
    if config.format == "table":
        return TableSource(config.path, config.columns, config.images)
    return ParquetSource(config.path, config.columns)


def used_records(config: RecordsConfig, source: Source) -> Sequence[int]:
    """Returns the numbers of the records between `start` and `stop`, in order, and with `kept` only
    those with a caption on the list. Raises DataError if there are none; if all were left out as
    damaged, it gives the first reason."""
    length = len(source)
    if not length and source.damaged:
        count, first = len(source.damaged), source.damaged[0]
        raise DataError(
            Text(
                f"{config.path} holds no record that can be used, expected at least one: "
                f"{count} were left out, the first, {first.key}, because {first.reason}",
                f"{config.path} 里没有能用的记录；至少应有一条；已略去 {count} 条，第一条 "
                f"{first.key} 的原因：{first.reason}",
            )
        )
    stop = length if config.stop is None else min(config.stop, length)
    if config.start >= stop:
        raise DataError(
            Text(
                f"{config.path} holds {length} records, none from start={config.start} on, "
                "expected at least one: correct the path or the start",
                f"{config.path} 里有 {length} 条记录，从 start={config.start} 起一条也没有；至少应"
                "有一条；请改正 path 或 start",
            )
        )
    if not isinstance(source, KeptSource):
        return range(config.start, stop)
    numbers = source.numbers
    used = numbers[bisect_left(numbers, config.start) : bisect_left(numbers, stop)]
    if not used:
        raise DataError(
            Text(
                f"{config.kept} keeps {len(numbers)} records, none from start={config.start} to "
                f"stop={stop}, expected at least one: correct start and stop, or leave them out",
                f"{config.kept} 保留了 {len(numbers)} 条记录，从 start={config.start} 到 "
                f"stop={stop} 一条也没有；至少应有一条；请改正或去掉 start 和 stop",
            )
        )
    return used


def read_classes(file: str) -> list[Mapping[str, str]]:
    """Returns the names of classes by number. Raises DataError if the file holds no such list."""
    try:
        classes = json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
        return [{language: str(row[language]) for language in ("en", "zh")} for row in classes]
    except (OSError, ValueError, KeyError, TypeError) as error:
        form = '{"en": ..., "zh": ...}'
        raise DataError(
            Text(
                f"{file} holds no class names ({error!r}), expected a JSON list of {form}: "
                "correct the path or the file",
                f"{file} 里没有类别名（{error!r}）；应为 JSON 列表，每项形如 {form}；请改正路径或"
                "文件",
            )
        ) from None


def texts_of_classes(file: str, templates: Mapping[Any, Sequence[str]]) -> Iterator[str]:
    """The name of every class in every template of its language. Raises what read_classes does."""
    for row in read_classes(file):
        for language, texts in templates.items():
            for text in texts:
                yield text.replace("{}", row[language])


def check_templates(templates: Mapping[Any, Sequence[str]]) -> None:
    """Raises ConfigError if a template has no `{}` for the class name."""
    for language, texts in templates.items():
        if not texts or any("{}" not in text for text in texts):
            raise ConfigError(
                Text(
                    f"templates.{language}={texts} cannot be filled, expected texts that hold "
                    "{} for the name of a class: correct them",
                    f"templates.{language}={texts} 无法填入类别名；每句都应含有 {{}}；请改正",
                )
            )
