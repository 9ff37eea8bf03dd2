"""The list of those captions of a source that are used: a Parquet file with a row for each.

Numbers make opening cheap: the records that are left out need not be read. They hold only for the
same files in the same order, so the number of all records and some keys are compared.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from seesay.data.files import import_pyarrow
from seesay.data.formats.records import LANGUAGES, Damaged, Record, Source
from seesay.errors import DataError
from seesay.text import Language, Text, to_unicode

_TOTAL = b"seesay.records"  # in the file's metadata: how many records the source has,
_LANGUAGES = b"seesay.languages"  # and of which languages the captions were chosen
_ROWS = 65_536  # written at once


class KeptCaption(NamedTuple):
    """A caption that is used."""

    number: int
    """Of its record."""
    key: str
    """Of its record."""
    language: Language
    caption: int
    """Its place among the record's captions of the language, from 0."""


def write_kept(
    file: Path, captions: Iterator[KeptCaption], total: int, languages: Sequence[str]
) -> None:
    """Write the captions, in the order of their records; `total` is the number of all records of
    the source, `languages` are those whose captions were chosen. Raises MissingExtraError without
    pyarrow."""
    pyarrow, parquet = import_pyarrow()
    types = (pyarrow.int64(), pyarrow.string(), pyarrow.string(), pyarrow.int32())
    metadata = {_TOTAL: str(total), _LANGUAGES: ",".join(languages)}
    columns = list(zip(KeptCaption._fields, types, strict=True))
    schema = pyarrow.schema(columns, metadata=metadata)
    with parquet.ParquetWriter(file, schema) as writer:
        while rows := [one._replace(key=to_unicode(one.key)) for one in islice(captions, _ROWS)]:
            cells = [list(column) for column in zip(*rows, strict=True)]
            writer.write_table(pyarrow.table(cells, schema=schema))


class KeptSource:
    """A source whose records have only the captions on a list; of languages whose captions were not
    chosen they have all. Records keep their numbers.

    Raises DataError if the file is no such list, or was written for other records.
    """

    def __init__(self, source: Source, path: str) -> None:
        self._source = source
        self.numbers = array("q")
        """The records with a caption on the list, in order."""
        # Where the captions of each record begin; of a caption, its place and its language.
        self._starts, self._captions = array("q"), array("l")
        total, samples = self._read(path)
        if total != len(source):
            raise _other_files(
                path,
                Text(
                    f"it was written for {total} records, and there are {len(source)}",
                    f"它对应 {total} 条记录，现有 {len(source)} 条",
                ),
            )
        for number, key in samples:
            _check_key(path, source, number, key)

    @property
    def blocks(self) -> Sequence[int]:
        return self._source.blocks

    @property
    def damaged(self) -> Sequence[Damaged]:
        return self._source.damaged

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Record:
        record = self._source[index]
        at = bisect_left(self.numbers, index)
        on_list = self.numbers[at : at + 1] == array("q", [index])
        begin, end = self._starts[at : at + 2] if on_list else (0, 0)
        kept = [divmod(one, len(LANGUAGES)) for one in self._captions[begin:end]]
        captions = {
            language: texts
            if language not in self._languages
            else tuple(texts[i] for i, of in kept if LANGUAGES[of] == language and i < len(texts))
            for language, texts in record.captions.items()
        }
        return replace(record, captions={of: texts for of, texts in captions.items() if texts})

    def _read(self, path: str) -> tuple[int, list[tuple[int, str]]]:
        """Reads the list. Returns how many records it was written for, and the keys of some."""
        pyarrow, parquet = import_pyarrow()
        file = Path(path).expanduser()
        try:
            opened = parquet.ParquetFile(file)
            metadata = opened.schema_arrow.metadata or {}
            self._languages = metadata[_LANGUAGES].decode().split(",")
            for batch in opened.iter_batches(columns=["number", "language", "caption"]):
                for row in batch.to_pylist():
                    self._add(row["number"], row["language"], row["caption"])
            self._starts.append(len(self._captions))
            return int(metadata[_TOTAL]), list(_samples(opened))
        except (pyarrow.ArrowException, OSError, KeyError, ValueError) as error:
            reason = Text.of(error)
            if not file.exists():
                reason = Text("there is no such file", "没有这个文件")
            raise DataError(
                Text(
                    f"{path} is no list of kept captions ({reason.en}), expected the kept.parquet "
                    "that `seesay data balance` or `seesay capfilt` writes: correct the path, or "
                    "write it again",
                    f"{path} 不是保留描述的清单（{reason.zh}）；应为 `seesay data balance` 或 "
                    "`seesay capfilt` 写出的 kept.parquet；请改正路径，或重新生成",
                )
            ) from None

    def _add(self, number: int, language: str, caption: int) -> None:
        if not self.numbers or self.numbers[-1] != number:
            self.numbers.append(number)
            self._starts.append(len(self._captions))
        self._captions.append(caption * len(LANGUAGES) + LANGUAGES.index(language))


def _samples(opened: Any) -> Iterator[tuple[int, str]]:
    """Yields the number and key of the first and last row of the first and last row group."""
    for group in sorted({0, opened.num_row_groups - 1} & {*range(opened.num_row_groups)}):
        rows = opened.read_row_group(group)
        for row in rows.slice(0, 1).to_pylist() + rows.slice(rows.num_rows - 1).to_pylist():
            yield row["number"], row["key"]


def _check_key(path: str, source: Source, number: int, expected: str) -> None:
    try:
        key = to_unicode(source[number].key)
    except DataError:  # training will report it
        return
    if key != expected:
        raise _other_files(
            path,
            Text(
                f"it calls record {number} {expected!r}, and now that is {key!r}",
                f"第 {number} 条记录在清单里是 {expected!r}，现在是 {key!r}",
            ),
        )


def _other_files(path: str, reason: Text) -> DataError:
    return DataError(
        Text(
            f"{path} does not fit the records: {reason.en}; expected the files it was written for, "
            "in the same order; correct the path of the source, or write the list again by `seesay "
            "data balance` or `seesay capfilt`",
            f"{path} 与数据对不上：{reason.zh}；应为生成清单时的文件，顺序也相同；请改正数据来源的 "
            "path，或用 `seesay data balance` 或 `seesay capfilt` 重新生成清单",
        )
    )
