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
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seesay.data.files import import_pyarrow
from seesay.data.formats.records import Record, find_files
from seesay.data.questions.asking import NO, YES
from seesay.data.questions.making import QuestionsConfig, make_questions
from seesay.data.sources import (
    RecordsConfig,
    format_of,
    open_records,
    used_records,
)
from seesay.data.tables import DELIMITED, MOST_LINE, Table
from seesay.errors import DataError
from seesay.evaluation import author_files
from seesay.evaluation.samples import (
    LeftOut,
    Picture,
    Row,
    Sample,
    listed,
    require_columns,
    text_of,
)
from seesay.evaluation.scoring import Truth
from seesay.evaluation.sets import DataConfig, Loaded, Loader, read_row
from seesay.text import Text, to_unicode

ROWS = 16
"""Of a Parquet file that are in memory at a time, with their pictures."""
SHARED = 64
"""In VLMEvalKit's files, a picture of at most as many characters is the index of another row."""


def load_samples(config: DataConfig) -> Loaded:
    """Opens a set. Each sample has a key of its own. Raises DataError if a file cannot be read or
    lacks a column."""
    loaded = LOADERS[config.loader](config)
    first = 0 if config.loader in OF_RECORDS else config.start
    rest = max(0, loaded.total - first)
    stop = None if config.limit is None else first + config.limit
    samples = islice(_distinct(loaded.samples), first, stop)
    return Loaded(min(rest, config.limit or rest), samples)


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
            yield read_row(row, config, text_of(row.get("index")) or f"line {number}", pictures)
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
                yield read_row(row, config, f"{file.stem}/{number}", pictures)

    return Loaded(total, samples())


def _stored(value: Any, config: DataConfig) -> Picture | None:
    """The picture of a cell: encoded, Hugging Face's {bytes, path}, or a path."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    return config.picture(value) if isinstance(value, str) and value else None


# Files as for training


def _records(config: DataConfig) -> RecordsConfig:
    form = format_of(config.data)
    return RecordsConfig(
        path=config.data,
        format=form,
        languages=(config.language,),
        start=config.start,
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
            objects = ",".join(dict.fromkeys(record.objects))
            yield Truth(answers=captions, groups={"objects": objects} if objects else {})

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


LOADERS: dict[Loader, Callable[[DataConfig], Loaded]] = {
    "vlmevalkit": _vlmevalkit,
    "parquet": _parquet,
    "pope": author_files.pope,
    "vqav2": author_files.vqav2,
    "textvqa": author_files.textvqa,
    "docvqa": author_files.docvqa,
    "chartqa": author_files.chartqa,
    "gqa": author_files.gqa,
    "coco": author_files.coco,
    "questions": _questions,
    "captions": _captions,
    "objects": _objects,
}
"""What reads the files of a task."""
OF_RECORDS = ("questions", "captions", "objects")
"""Loaders of files as for training, which pass over records instead of questions."""
