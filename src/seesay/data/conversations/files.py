"""The rows of JSON and JSON Lines files, one after another, with the place of each.

A list in a JSON file is read element by element, so a file of gigabytes needs little memory.
"""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seesay.data.encodings import find_encoding, on_error
from seesay.data.files import open_file
from seesay.errors import DataError
from seesay.text import Text

DATASET_INFO = "dataset_info.json"
ENDINGS = (".json", ".jsonl")
_BLOCK, _LONGEST = 1 << 20, 1 << 28  # characters read at once, and of one row at most
_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}
_TAGS = {
    "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system",
    "observation_tag": "tool", "function_tag": "tool",
}  # fmt: skip


class Row(NamedTuple):
    """An object of a file."""

    place: str
    """The file and the line on which it begins."""
    value: Mapping[str, Any]
    folder: Path
    """Of the file."""


def read_rows(file: Path) -> Iterator[Row | DataError]:
    """Yields the objects of a JSON list or of JSON Lines, or of all files that LLaMA-Factory's
    dataset_info.json describes, under the names of its defaults. What is no object is an error with
    its place; after an error within a list, its rest is not read. Raises DataError if the file
    cannot be read."""
    if file.name == DATASET_INFO:
        yield from _described(file)
        return
    try:
        stream = open_file(file)
        encoding = find_encoding(stream)
    except (DataError, OSError) as error:
        reason = Text.of(getattr(error, "text", None) or getattr(error, "strerror", error))
        raise DataError(
            Text(
                f"{file} cannot be read: {reason.en} Expected JSON or JSON Lines; check the path.",
                f"无法读取 {file}：{reason.zh}；应为 JSON 或 JSON Lines；请检查路径",
            )
        ) from None
    with io.TextIOWrapper(stream, encoding, on_error(encoding)) as text:
        reader = _Reader(file, text)
        yield from reader.elements() if reader.is_list() else reader.lines()


class _Reader:
    def __init__(self, file: Path, stream: io.TextIOWrapper) -> None:
        self._file = file
        self._stream = stream
        self._text = ""
        self._at = 0
        self._line = 1
        """The line in which the text begins."""

    def is_list(self) -> bool:
        """Whether the file is one list; its opening bracket is consumed."""
        self._skip_blanks()
        if self._text[self._at : self._at + 1] != "[":
            return False
        self._at += 1
        return True

    def lines(self) -> Iterator[Row | DataError]:
        number = self._line
        for chunk in (io.StringIO(self._text + self._stream.readline()), self._stream):
            for line in chunk:
                if line.strip():
                    yield self._parsed(line, number)
                number += 1

    def _parsed(self, line: str, number: int) -> Row | DataError:
        try:
            return self._row(json.loads(line), number)
        except (ValueError, RecursionError) as error:
            return self._damage(number, str(error))

    def elements(self) -> Iterator[Row | DataError]:
        decoder = json.JSONDecoder()
        while self._skip_blanks() and self._text[self._at] != "]":
            number = self._line + self._text.count("\n", 0, self._at)
            while True:
                try:
                    value, end = decoder.raw_decode(self._text, self._at)
                    break
                except (ValueError, RecursionError) as error:
                    if len(self._text) > _LONGEST or not self._read():
                        at = getattr(error, "pos", 0)
                        line = self._line + self._text.count("\n", 0, at)
                        yield self._damage(line, getattr(error, "msg", str(error)))
                        return
            yield self._row(value, number)
            self._at = end
            if self._skip_blanks() and self._text[self._at] == ",":
                self._at += 1
        if not self._text[self._at :]:
            number = self._line + self._text.count("\n")
            yield self._damage(number, "the list is not closed")

    def _skip_blanks(self) -> bool:
        """Goes to the next character that is none; False at the end of the file."""
        while True:
            rest = self._text[self._at :].lstrip()
            if rest:
                self._at = len(self._text) - len(rest)
                return True
            self._at = len(self._text)
            if not self._read():
                return False

    def _read(self) -> bool:
        """Adds to the text, and forgets what is before the place; False at the end of the file. It
        reads as much again as there is, so that long rows cost no more than twice."""
        block = self._stream.read(max(_BLOCK, len(self._text) - self._at))
        if block:
            self._line += self._text.count("\n", 0, self._at)
            self._text, self._at = self._text[self._at :] + block, 0
        return bool(block)

    def _row(self, value: Any, number: int) -> Row | DataError:
        if not isinstance(value, dict):
            return self._damage(number, f"it is {type(value).__name__}, not an object {{...}}")
        return Row(f"{self._file} line {number}", value, self._file.parent)

    def _damage(self, number: int, reason: str) -> DataError:
        return DataError(
            Text(
                f"{self._file} line {number} is not a sample ({reason}), expected a JSON "
                "object {...}: correct or remove it",
                f"{self._file} 第 {number} 行不是样本（{reason}）；应为 JSON 对象 {{...}}；请改正或"
                "删除",
            )
        )


def _described(file: Path) -> Iterator[Row | DataError]:
    """The rows of every file in LLaMA-Factory's description of data sets."""
    try:
        described = json.loads(file.read_bytes())
        entries = {name: entry for name, entry in described.items() if isinstance(entry, dict)}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            Text(
                f"{file} does not describe datasets ({error}), expected LLaMA-Factory's "
                f"{DATASET_INFO}: correct the path or the file",
                f"{file} 里没有数据集说明（{error}）；应为 LLaMA-Factory 的 {DATASET_INFO}；请改正"
                "路径或文件",
            )
        ) from None
    for name, entry in entries.items():
        data = file.parent / str(entry.get("file_name", ""))
        if "file_name" not in entry or not data.is_file():
            yield DataError(
                Text(
                    f"{file}: the dataset {name!r} names no file in this folder, expected a file "
                    "under `file_name`: download it, or remove the entry",
                    f"{file}：数据集 {name!r} 没有指明本文件夹里的文件；`file_name` 应写明；"
                    "请下载，或删除这一项",
                )
            )
            continue
        for row in read_rows(data):
            if isinstance(row, Row):
                row = row._replace(value=_with_usual_names(row.value, entry))
            yield row


def _with_usual_names(row: Mapping[str, Any], entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The columns that an entry names, under their usual names, with the usual roles."""
    columns, tags = entry.get("columns") or {}, entry.get("tags") or {}
    if columns:
        named = {_COLUMNS.get(ours, ours): theirs for ours, theirs in columns.items()}
        row = {ours: row[theirs] for ours, theirs in {"id": "id", **named}.items() if theirs in row}
    if tags:
        again = {
            name: _with_usual_roles(row[name], tags)
            for name in ("messages", "conversations", "chosen", "rejected")
            if name in row
        }
        row = {**row, **again}
    return row


def _with_usual_roles(value: Any, tags: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_with_usual_roles(one, tags) for one in value]
    if not isinstance(value, dict):
        return value
    roles = {theirs: _TAGS[tag] for tag, theirs in tags.items() if tag in _TAGS}
    role = value.get(tags.get("role_tag", "from"))
    return {
        "role": roles.get(role, role) if isinstance(role, str) else role,
        "content": value.get(tags.get("content_tag", "value")),
    }
