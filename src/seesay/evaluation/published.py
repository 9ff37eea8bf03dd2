"""Evaluation sets as they are published -> samples, one at a time in memory.

    loaded = load_samples(DataConfig(data="POPE.tsv", loader="vlmevalkit"))
    for one in loaded.samples: ...        # a Sample, or what was left out and why

A loader turns files into rows by the names of their columns; `samples.sample_from` reads a row. A
new format is a function and a line in LOADERS.
"""

import json
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, TypeAlias

from seesay.data.files import import_pyarrow
from seesay.data.formats.records import Record, find_files
from seesay.data.questions.asking import NO, YES
from seesay.data.questions.making import QuestionsConfig, make_questions
from seesay.data.questions.pope import Strategy
from seesay.data.sources import (
    RecordsConfig,
    format_of,
    open_records,
    require_known,
    used_records,
)
from seesay.data.spelling import as_on_disk
from seesay.data.tables import DELIMITED, JSON_LINES, MOST_LINE, Table
from seesay.errors import ConfigError, DataError
from seesay.evaluation.samples import (
    FIELDS,
    LeftOut,
    Picture,
    Row,
    Sample,
    listed,
    require_columns,
    sample_from,
    text_of,
)
from seesay.evaluation.scoring import Truth
from seesay.text import Text, to_unicode

Loader = Literal[
    "vlmevalkit",
    "parquet",
    "pope",
    "vqav2",
    "textvqa",
    "docvqa",
    "chartqa",
    "questions",
    "captions",
    "objects",
]
ROWS = 16
"""Of a Parquet file that are in memory at a time, with their pictures."""
SHARED = 64
"""In VLMEvalKit's files, a picture of at most as many characters is the index of another row."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the samples of a task are."""

    data: str
    """The file, or a glob pattern of several, as it was published."""
    loader: Loader = "vlmevalkit"
    """What it is: vlmevalkit, a TSV of VLMEvalKit; parquet, a set of Hugging Face as lmms-eval
    reads it; pope, vqav2, textvqa, docvqa or chartqa, the JSON of the authors; questions, captions
    or objects, files as for training, whose questions, captions or labelled objects (in the way of
    POPE) are asked for."""
    images: str | None = None
    """Folder of the pictures, where files name them; none: that of the file."""
    annotations: str | None = None
    """Of vqav2, the file with the answers."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns with other names: question = "prompt". There are key, question, answer, hint,
    options and image."""
    numbered: bool = False
    """Whether the answer is the number of an option, from 0, as in lmms-eval's AI2D."""
    language: Literal["en", "zh"] = "en"
    """Of questions and captions in files as for training."""
    strategy: Strategy = "random"
    """How absent objects are chosen: random, popular or adversarial."""
    limit: int | None = None
    """Rows to use, the first ones; none: all."""

    def __post_init__(self) -> None:
        require_known("loader", [self.loader], list(LOADERS))
        require_known("columns", self.columns, [*FIELDS, "image"])
        if self.limit is not None and self.limit < 1:
            raise ConfigError(
                Text(
                    f"limit={self.limit} leaves no sample, expected at least 1: raise it, or leave "
                    "it out",
                    f"limit={self.limit} 时没有样本；至少为 1；请调大，或去掉",
                )
            )

    @property
    def folder(self) -> Path:
        """Where the names of pictures start from."""
        return Path(self.images or Path(self.data).parent).expanduser()

    def picture(self, name: str) -> Path:
        """The file of a picture."""
        return Path(as_on_disk(str(self.folder / name)))


class Loaded(NamedTuple):
    """The samples of a set."""

    total: int
    """Rows, with those that are left out; of files as for training, records, which may have several
    questions."""
    samples: Iterator[Sample | LeftOut]


def load_samples(config: DataConfig) -> Loaded:
    """Opens a set. Each sample has a key of its own. Raises DataError if a file cannot be read or
    lacks a column."""
    loaded = LOADERS[config.loader](config)
    total = min(loaded.total, config.limit or loaded.total)
    return Loaded(total, _distinct(islice(loaded.samples, config.limit)))


def _distinct(samples: Iterable[Sample | LeftOut]) -> Iterator[Sample | LeftOut]:
    """Numbers keys that come again."""
    seen: Counter[str] = Counter()
    for one in samples:
        seen[one.key] += 1
        key = one.key if seen[one.key] == 1 else f"{one.key}#{seen[one.key]}"
        yield (
            Sample(**vars(one) | {"key": key})
            if isinstance(one, Sample)
            else LeftOut(key, one.reason)
        )


Pictures: TypeAlias = Callable[[Row], tuple[Picture, ...]]


def _sample(row: Row, config: DataConfig, key: str, pictures: Pictures) -> Sample | LeftOut:
    """The sample of a row, or why it is left out; `key` is for rows without one of their own."""
    try:
        images = pictures(row)
        if not images:
            raise DataError(
                Text(
                    "it has no picture, expected one in the row: add it, or remove the row",
                    "没有图片；这一行应有图片；请补上，或删除这一行",
                )
            )
        sample = sample_from(row, images, columns=config.columns, numbered=config.numbered)
    except (DataError, ValueError) as error:
        return LeftOut(key, Text.of(error))
    return sample if sample.key else Sample(**vars(sample) | {"key": key})


# VLMEvalKit


def _vlmevalkit(config: DataConfig) -> Loaded:
    [file] = find_files(config.data, DELIMITED)[:1]
    # A prompt of the toolkit keeps the blanks around a question.
    table = Table(file, file.name, longest=MOST_LINE, stripped=False)
    require_columns(file, table.head, config.columns)
    column = config.columns.get("image", "image")
    if column not in table.head and "image_path" not in table.head:
        raise _no_pictures(file, table.head, f"{column} or image_path")
    total, shared = _survey(table, column)

    def pictures(row: Row) -> tuple[Picture, ...]:
        cell = text_of(row.get(column))
        if not cell:
            return tuple(config.picture(str(one)) for one in listed(row.get("image_path")))
        return tuple(map(_decoded, listed(_shared(cell, shared))))

    def samples() -> Iterator[Sample | LeftOut]:
        for number, row in table:
            yield _sample(row, config, text_of(row.get("index")) or f"line {number}", pictures)
        for number, why in table.unusable:
            yield LeftOut(f"line {number}", Text.of(why))

    return Loaded(total, samples())


def _survey(table: Table, column: str) -> tuple[int, dict[str, str]]:
    """How many rows there are, and the pictures that rows share, by index."""
    total, wanted = 0, set[str]()
    for _, row in table:
        total += 1
        if len(cell := text_of(row.get(column))) <= SHARED:
            wanted.add(cell)
    total += len(table.unusable)
    if not wanted - {""}:
        return total, {}
    named = ((text_of(row.get("index")), row) for _, row in table)
    return total, {index: text_of(row.get(column)) for index, row in named if index in wanted}


def _shared(cell: str, shared: Mapping[str, str]) -> str:
    """A picture, which may be that of another row. Raises DataError if that has none."""
    if len(cell) > SHARED:
        return cell
    if len(shared.get(cell, "")) <= SHARED:
        raise DataError(
            Text(
                f"its picture is that of row {cell!r}, which has none; expected a picture there: "
                "fetch the file again",
                f"它的图片是第 {cell!r} 行的图片，但那一行没有图片；请重新下载文件",
            )
        )
    return shared[cell]


def _decoded(text: object) -> bytes:
    try:
        return b64decode(str(text), validate=True)
    except ValueError as error:
        raise DataError(
            Text(
                f"its picture is no base64 ({error}), expected a whole one: fetch the file again",
                f"它的图片不是 base64（{error}）；应为完整的编码；请重新下载文件",
            )
        ) from None


def _no_pictures(file: Path, there: Iterable[str], wanted: str) -> DataError:
    have = ", ".join(there)[:200]
    return DataError(
        Text(
            f"{file} has the columns {have}, and none with pictures; expected {wanted}: say which "
            "one it is by columns.image",
            f"{file} 的列是 {have}，没有图片列；应有 {wanted}；请用 columns.image 指明是哪一列",
        )
    )


# Hugging Face

_PICTURES = ("decoded_image", "image", "images", *(f"image_{at}" for at in range(1, 10)))


def _parquet(config: DataConfig) -> Loaded:
    pyarrow, parquet = import_pyarrow()
    files = find_files(config.data, [".parquet"])
    wanted = (config.columns["image"],) if "image" in config.columns else _PICTURES
    total = 0
    for file in files:
        try:
            metadata = parquet.read_metadata(file)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                Text(
                    f"{file} cannot be read ({error}), expected a whole Parquet file: fetch it "
                    "again",
                    f"{file} 无法读取（{error}）；应为完整的 Parquet 文件；请重新下载",
                )
            ) from None
        names = metadata.schema.to_arrow_schema().names
        require_columns(file, names, config.columns)
        if not set(wanted) & set(names):
            raise _no_pictures(file, names, " or ".join(wanted[:4]))
        total += metadata.num_rows

    def pictures(row: Row) -> tuple[Picture, ...]:
        values = (one for name in wanted if name in row for one in listed(row[name]))
        found = [picture for one in values if (picture := _stored(one, config)) is not None]
        return tuple(found[:1] if "decoded_image" in row else found)

    def samples() -> Iterator[Sample | LeftOut]:
        for file in files:
            rows = (
                row
                for batch in parquet.ParquetFile(file).iter_batches(ROWS)
                for row in batch.to_pylist()
            )
            for number, row in enumerate(rows):
                yield _sample(row, config, f"{file.stem}/{number}", pictures)

    return Loaded(total, samples())


def _stored(value: Any, config: DataConfig) -> Picture | None:
    """The picture of a cell: encoded, Hugging Face's {bytes, path}, or a path."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    return config.picture(value) if isinstance(value, str) and value else None


# The JSON of the authors


def _pope(config: DataConfig) -> Loaded:
    """Lines of question_id, image, text and label; the name of the file ends in the category. Each
    of the three files numbers its questions from 1."""
    rows = []
    for file in find_files(config.data, [JSON_LINES, ".json"]):
        table = Table(file, f"{file.stem}{JSON_LINES}")
        category = {"category": file.stem.rpartition("_")[2]}
        found = [category | row for _, row in table]
        for key in ("text", "label", "image"):
            _require_key(file, found, key)
        rows += [row | {"key": f"{row['category']}/{row.get('question_id')}"} for row in found]
        rows += [{"unusable": why} for _, why in table.unusable]
    return _from_rows(config, rows, lambda row: row["image"])


def _vqav2(config: DataConfig) -> Loaded:
    """A file of questions, and one of answers; pictures are named after the split of COCO."""
    [file] = find_files(config.data, [".json"])[:1]
    [answers] = find_files(config.annotations or config.data, [".json"])[:1]
    questions, told = _read(file), _read(answers)
    asked = _entries(file, questions, "questions")
    by_id = {one.get("question_id"): one for one in _entries(answers, told, "annotations")}
    rows = [{**by_id.get(one.get("question_id"), {}), **one} for one in asked]
    split = str(questions.get("data_subtype", "val2014"))
    return _from_rows(config, rows, lambda row: f"COCO_{split}_{int(row['image_id']):012}.jpg")


def _textvqa(config: DataConfig) -> Loaded:
    [file] = find_files(config.data, [".json"])[:1]
    rows = _entries(file, _read(file), "data")
    return _from_rows(config, rows, lambda row: f"{row['image_id']}.jpg")


def _docvqa(config: DataConfig) -> Loaded:
    """DocVQA and InfographicVQA."""
    [file] = find_files(config.data, [".json"])[:1]
    rows = _entries(file, _read(file), "data")
    return _from_rows(config, rows, lambda row: row.get("image") or row["image_local_name"])


def _chartqa(config: DataConfig) -> Loaded:
    """A list of imgname, query and label in each file, whose name ends in human or augmented."""
    rows = []
    for file in find_files(config.data, [".json"]):
        found = _entries(file, {"rows": _read(file)}, "rows")
        rows += [{"split": file.stem.rpartition("_")[2]} | row for row in found]
    return _from_rows(config, rows, lambda row: row["imgname"])


def _from_rows(config: DataConfig, rows: list[Any], name: Callable[[Row], str]) -> Loaded:
    def pictures(row: Row) -> tuple[Picture, ...]:
        if "unusable" in row:
            raise DataError(Text.of(row["unusable"]))
        try:
            return (config.picture(name(row)),)
        except (KeyError, TypeError) as error:
            raise DataError(
                Text(
                    f"it names no picture ({error}), expected one: add it, or remove the row",
                    f"没有写明图片（{error}）；应有一张；请补上，或删除这一行",
                )
            ) from None

    samples = (_sample(row, config, f"row {at}", pictures) for at, row in enumerate(rows, 1))
    return Loaded(len(rows), samples)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise _not_published(file, Text.of(error)) from None


def _entries(file: Path, value: Any, name: str) -> list[dict[str, Any]]:
    """The list of objects of this name. Raises DataError if there is none."""
    rows = value.get(name) if isinstance(value, dict) else None
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise _not_published(file, Text(f"no list of {name}", f"没有列表 {name}"))
    return rows


def _require_key(file: Path, rows: list[dict[str, Any]], name: str) -> None:
    if not any(name in row for row in rows):
        raise _not_published(file, Text(f"no {name} in any line", f"所有行都没有 {name}"))


def _not_published(file: Path, reason: Text) -> DataError:
    return DataError(
        Text(
            f"{file} is not as its authors published it: {reason.en}; expected their JSON: name "
            "the right loader, or fetch the file again",
            f"{file} 与作者发布的格式不同：{reason.zh}；应为其 JSON；请换 loader，或重新下载",
        )
    )


# Files as for training


def _records(config: DataConfig) -> RecordsConfig:
    form = format_of(config.data)
    return RecordsConfig(
        path=config.data,
        format=form,
        languages=(config.language,),
        columns=config.columns,
        images=config.images if form == "table" else None,
    )


def _of_records(records: RecordsConfig, ask: Callable[[Record], Iterable[Truth]]) -> Loaded:
    source = open_records(records)
    numbers = used_records(records, source)

    def samples() -> Iterator[Sample | LeftOut]:
        for number in numbers:
            try:
                record = source[number]
            except DataError as error:
                yield LeftOut(f"record {number}", Text.of(error))
                continue
            for at, truth in enumerate(ask(record), 1):
                yield Sample(key=f"{record.key}#{at}", images=(record.image,), truth=truth)
        for one in source.damaged:
            yield LeftOut(one.key, Text.of(one.reason))

    return Loaded(len(numbers), samples())


def _questions(config: DataConfig) -> Loaded:
    def ask(record: Record) -> Iterator[Truth]:
        for one in record.questions.get(config.language, ()):
            yield Truth(answers=(one.answer,), question=one.question)

    return _of_records(_records(config), ask)


def _captions(config: DataConfig) -> Loaded:
    def ask(record: Record) -> Iterator[Truth]:
        if captions := record.captions.get(config.language):
            yield Truth(answers=captions)

    return _of_records(_records(config), ask)


def _objects(config: DataConfig) -> Loaded:
    """Questions about labelled objects, made as POPE makes them."""
    records = _records(config)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "questions.jsonl"
        make_questions(records, QuestionsConfig(kind="pope", strategy=config.strategy), file)
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    questions = {line["key"]: line["qa"] for line in lines}
    truths = {YES.zh: YES.en, NO.zh: NO.en}

    def ask(record: Record) -> Iterator[Truth]:
        for one in questions.get(to_unicode(record.key), ()):
            answer = truths.get(one["answer"], one["answer"])
            groups = {"category": config.strategy}
            yield Truth(answers=(answer,), question=one["question"], groups=groups)

    return _of_records(records, ask)


LOADERS: dict[str, Callable[[DataConfig], Loaded]] = {
    "vlmevalkit": _vlmevalkit,
    "parquet": _parquet,
    "pope": _pope,
    "vqav2": _vqav2,
    "textvqa": _textvqa,
    "docvqa": _docvqa,
    "chartqa": _chartqa,
    "questions": _questions,
    "captions": _captions,
    "objects": _objects,
}
"""What reads the files of a task."""
