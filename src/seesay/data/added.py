"""Questions and captions beside a source: a JSONL file with those of each record by its key.

    {"key": "photo-1", "qa": [{"question": "Is there a dog?", "answer": "yes"}, ...]}
    {"key": "photo-1", "en": ["A dog runs."], "zh": ["一只狗在跑。"]}

So images need not be copied to add texts to them. Opening keeps where each line begins; a line is
read when its record is.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seesay.data.formats.records import (
    LANGUAGES,
    Damaged,
    Record,
    Source,
    captions_from,
    questions_from,
)
from seesay.errors import DataError
from seesay.text import Text, to_unicode

_TRIED = 16  # records whose keys are looked for when the file is opened


def write_added(file: Path, records: Iterable[tuple[str, Mapping[str, Sequence[Any]]]]) -> None:
    """Writes the key of each record with its questions (`qa`) or its captions by language; whatever
    else a question holds is kept."""
    with file.open("w", encoding="utf-8") as out:
        for key, texts in records:
            line = {"key": to_unicode(key), **texts}
            out.write(f"{json.dumps(line, ensure_ascii=False)}\n")


class AddedSource:
    """A source whose records have further questions or captions, after their own.

    Raises DataError if the file holds no such texts by key, or none for these records.
    """

    def __init__(self, source: Source, path: str) -> None:
        self._source = source
        self._path = path
        self._file = Path(path).expanduser()
        self._starts = dict(self._survey())
        keys = list(_some_keys(source))
        if keys and not any(key in self._starts for key in keys):
            first = next(iter(self._starts), "")
            raise DataError(
                Text(
                    f"{path} has nothing for {keys[0]!r}, but for {first!r} and others, expected "
                    "the keys of the records: correct the path, or run `seesay data vqa` or "
                    "`seesay capfilt` on these files",
                    f"{path} 里没有 {keys[0]!r} 的内容，只有 {first!r} 等的；应为这些记录的 key；请"
                    "改正路径，或对这些文件运行 `seesay data vqa` 或 `seesay capfilt`",
                )
            )

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
        start = self._starts.get(to_unicode(record.key))
        if start is None:
            return record
        with self._file.open("rb") as lines:
            lines.seek(start)
            row = self._parsed(lines.readline(), record.key)
        return replace(
            record,
            captions=_joined(record.captions, captions_from(row)),
            questions=_joined(record.questions, questions_from(row)),
        )

    def _survey(self) -> Iterator[tuple[str, int]]:
        try:
            with self._file.open("rb") as lines:
                start = 0
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield self._parsed(line, f"line {number}")["key"], start
                    start += len(line)
        except OSError as error:
            raise self._unfit(Text.of(error.strerror)) from None

    def _parsed(self, line: bytes, where: str) -> Mapping[str, Any]:
        try:
            row = json.loads(line)
            texts = [row[name] for name in ("qa", *LANGUAGES) if name in row]
            if not isinstance(row["key"], str) or not all(isinstance(one, list) for one in texts):
                raise TypeError
            if not texts:
                raise ValueError
            return dict(row)
        except (ValueError, KeyError, TypeError):
            lists = ", ".join(("`qa`", *(f"`{one}`" for one in LANGUAGES)))
            reason = Text(
                f"{where} has no `key` with a list {lists}", f"{where} 没有 key 和列表 {lists}"
            )
            raise self._unfit(reason) from None

    def _unfit(self, reason: Text) -> DataError:
        return DataError(
            Text(
                f"{self._path} holds no added texts ({reason.en}), expected JSONL with `key` in "
                "each line and questions in `qa` or captions in `en` and `zh`, as `seesay data "
                "vqa` and `seesay capfilt` write it: correct the path, or write it again",
                f"{self._path} 里没有附加的文字（{reason.zh}）；应为 `seesay data vqa` 或 `seesay "
                "capfilt` 写出的 JSONL，每行有 key，并有 qa 里的问题，或 en、zh 里的描述；请改正路"
                "径，或重新生成",
            )
        )


def _joined(
    own: Mapping[str, tuple[Any, ...]], added: Mapping[str, tuple[Any, ...]]
) -> dict[str, tuple[Any, ...]]:
    """The texts of a record and those added to it, by language."""
    return {of: (*own.get(of, ()), *added.get(of, ())) for of in {**own, **added}}


def _some_keys(source: Source) -> Iterator[str]:
    """The keys of records spread over the source; damaged ones are passed over."""
    step = max(1, len(source) // _TRIED)
    for index in range(0, len(source), step):
        try:
            yield to_unicode(source[index].key)
        except DataError:  # training will report it
            continue
