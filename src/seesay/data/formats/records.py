"""Where training samples come from: every layout of files becomes numbered records.

Records are numbered, not streamed, so that any order can be drawn from a seed and a run can resume
in the middle of an epoch without reading the earlier records.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from seesay.data.encodings import clean_text, decode_text
from seesay.errors import DataError
from seesay.text import Text, detect_language

PLAIN_CAPTIONS = ("caption", "captions", "text", "texts", "txt")
LANGUAGES = ("en", "zh")
ASKED = ("question", "answer")
REJECTED = "rejected"
_OTHERS = ("qa", "label", "cls", "objects", "key")
COLUMNS = ("image", *LANGUAGES, *PLAIN_CAPTIONS, *ASKED, REJECTED, *_OTHERS)
_LARGEST_LABEL = 2**31 - 1


class Question(NamedTuple):
    """A question about an image, and its answer."""

    question: str
    answer: str
    rejected: str = ""
    """An answer that is worse, to learn to prefer the other; "" if there is none."""


class Box(NamedTuple):
    """A rectangle in pixels of the image file, from its left upper corner."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """An image with its captions, questions and class."""

    key: str
    """Names the record in logs and errors; unique within its source."""
    image: bytes | Path
    """The encoded file, or its path."""
    captions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Captions by language."""
    questions: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    """Questions by language."""
    label: int | None = None
    """Number of its class."""
    objects: tuple[str, ...] = ()
    """Names of the labelled objects in the image, once for each."""
    boxes: tuple[Box, ...] = ()
    """Where each of the objects is; empty where one has no box."""


@dataclass(frozen=True)
class Damaged:
    """A record or line that could not be read, and why."""

    key: str
    reason: str


@runtime_checkable
class Source(Protocol):
    """Numbered records."""

    @property
    def blocks(self) -> Sequence[int]:
        """Sizes of the blocks in which reading one record makes its neighbours cheap; they add up
        to the length. Empty if every record costs the same."""

    @property
    def damaged(self) -> Sequence[Damaged]:
        """Records that the survey of the files had to leave out."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record:
        """Reads a record. Raises DataError, naming the record, if it is damaged."""


def captions_from(fields: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Captions by language from the fields of a row: `en` and `zh`, and `caption` or `text`, whose
    language is told by their characters. Each may be one text or a list. Empty ones are dropped."""
    found: dict[str, list[str]] = {}
    for name, value in fields.items():
        if name in LANGUAGES or name in PLAIN_CAPTIONS:
            for text in value if isinstance(value, list | tuple) else [value]:
                if isinstance(text, str) and (text := clean_text(text).strip()):
                    language = name if name in LANGUAGES else detect_language(text)
                    found.setdefault(language, []).append(text)
    return {language: tuple(texts) for language, texts in found.items()}


def questions_from(fields: Mapping[str, Any]) -> dict[str, tuple[Question, ...]]:
    """Returns the questions of a row by language, from `question`, `answer` and perhaps `rejected`
    or from a list of such in `qa`. The language is detected from the question. Raises DataError for
    a question without an answer, or one that rejects its answer."""
    several = fields.get("qa")
    rows = [fields, *(several if isinstance(several, list | tuple) else ())]
    found: dict[str, list[Question]] = {}
    for row in rows:
        if not isinstance(row, Mapping) or not all(name in row for name in ASKED):
            continue
        pair = [_text(row[name]) for name in ASKED]
        if any(pair) and not all(pair):
            missing = ASKED[pair.index("")]
            raise DataError(
                Text(
                    f"{pair[0] or pair[1]!r:.80} has no {missing}, expected a question and its "
                    f"answer: add the {missing}, or remove the row",
                    f"{pair[0] or pair[1]!r:.80} 缺少 {missing}；问题和回答应成对；"
                    f"请补上 {missing}，或删除这一行",
                )
            )
        rejected = _text(row.get(REJECTED, ""))
        if rejected and rejected == pair[1]:
            raise DataError(
                Text(
                    f"{pair[0]!r:.80} has the same answer and `rejected`, {rejected!r:.40}, "
                    "expected two different ones: correct one, or remove the row",
                    f"{pair[0]!r:.80} 的 answer 和 rejected 都是 {rejected!r:.40}；应各不相同；"
                    "请改正其一，或删除这一行",
                )
            )
        if all(pair):
            one = Question(pair[0], pair[1], rejected)
            found.setdefault(detect_language(one.question), []).append(one)
    return {language: tuple(asked) for language, asked in found.items()}


def _text(value: Any) -> str:
    """A text of a row, or a number as one; "" for anything else."""
    if isinstance(value, int | float) and value == value:
        return str(value)
    return clean_text(value).strip() if isinstance(value, str) else ""


def label_from(fields: Mapping[str, Any]) -> int | None:
    """The class number of a row, from `label` or `cls`. Raises DataError if it is not a number."""
    value = fields.get("label", fields.get("cls"))
    if value is None or value == "" or value != value:  # a missing number is NaN in pandas
        return None
    try:
        label = int(value)
        if (isinstance(value, float) and label != value) or abs(label) > _LARGEST_LABEL:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            Text(
                f"the label {str(value)[:80]!r} is no number of a class, expected a whole one "
                "such as 0: number the classes, or read words as captions by "
                'columns = { caption = "label" }',
                f"标签 {str(value)[:80]!r} 不是类别编号；应为整数，如 0；请给类别编号，或用 "
                'columns = { caption = "label" } 把文字当作说明读取',
            )
        ) from None
    return label


def objects_from(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of the labelled objects of a row, from a list in `objects` of names or of
    {"category": name}, as in annotations of COCO that name their categories."""
    listed = fields.get("objects")
    names = [
        one.get("category") if isinstance(one, Mapping) else one
        for one in (listed if isinstance(listed, list | tuple) else ())
    ]
    return tuple(text for name in names if isinstance(name, str) and (text := _text(name)))


def boxes_from(fields: Mapping[str, Any]) -> tuple[Box, ...]:
    """Returns the box of each labelled object of a row, from "bbox" = [left, top, width, height] as
    in COCO; none if an object lacks one."""
    listed = fields.get("objects")
    boxes = []
    for one in listed if isinstance(listed, list | tuple) else ():
        box = one.get("bbox") if isinstance(one, Mapping) and _text(one.get("category")) else None
        if not isinstance(box, list | tuple) or len(box) != 4:
            return ()
        if not all(isinstance(side, int | float) and isfinite(side) for side in box):
            return ()
        boxes.append(Box(*map(float, box)))
    return tuple(boxes)


def find_files(pattern: str, suffixes: Sequence[str]) -> list[Path]:
    """The files that a path or glob pattern names, sorted. Raises DataError if there is none."""
    files = [Path(name) for name in sorted(glob(str(Path(pattern).expanduser()), recursive=True))]
    fitting = [file for file in files if file.suffix.lower() in suffixes]
    if not fitting:
        near = _most_alike(Path(pattern).expanduser(), suffixes)
        en = f"did you mean {near}?" if near else "correct the path"
        zh = f"是不是 {near}？" if near else "请改正路径"
        raise DataError(
            Text(
                f"{pattern} names {files[0].name if files else 'nothing'}, expected files that "
                f"end in {' or '.join(suffixes)}: {en} (relative paths start at {Path.cwd()})",
                f"{pattern} {f'指的是 {files[0].name}' if files else '处没有文件'}；应为以 "
                f"{' 或 '.join(suffixes)} 结尾的文件；{zh}（相对路径从 {Path.cwd()} 算起）",
            )
        )
    return fitting


def _most_alike(pattern: Path, suffixes: Sequence[str]) -> Path | None:
    """The neighbouring file with the most similar name."""
    there = [p.name for p in pattern.parent.glob("*") if p.suffix.lower() in suffixes]
    near = difflib.get_close_matches(pattern.name, there, n=1)
    return pattern.parent / near[0] if near else None


def rename_columns(found: Iterable[str], columns: Mapping[str, str], file: Path) -> dict[str, str]:
    """Our name for each column of a file, `columns` being ours -> theirs. Raises DataError if a
    requested column is missing."""
    found = list(found)
    for theirs in columns.values():
        if theirs not in found:
            near = difflib.get_close_matches(theirs, found, n=1, cutoff=0)
            names = [repr(one) for one in found]
            raise DataError(
                Text(
                    f"{file} has no column {theirs!r}, expected one of its own, "
                    f"{', '.join(names) or 'of which it has none'}: "
                    + (f"did you mean {near[0]!r}?" if near else "write a first line of names"),
                    f"{file} 没有 {theirs!r} 这一列；应为它已有的列"
                    f"（{'、'.join(names) or '一列也没有'}）；"
                    + (f"是不是 {near[0]!r}？" if near else "请在第一行写上列名"),
                )
            )
    ours = {theirs: mine for mine, theirs in columns.items()}
    return {name: ours.get(name, name) for name in found}


def parse_json(content: bytes, where: str) -> dict[str, Any]:
    """Parses a JSON object. Raises DataError, naming the place, if it is not one."""
    try:
        value = json.loads(decode_text(content))
    except (ValueError, RecursionError, DataError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(
            Text(
                f"{where} is not JSON ({reason}), expected a JSON object {{...}}: correct or "
                "remove it",
                f"{where} 不是 JSON（{reason}）；应为 JSON 对象 {{...}}；请改正或删除",
            )
        ) from None
    if not isinstance(value, dict):
        raise DataError(
            Text(
                f"{where} holds {type(value).__name__}, expected a JSON object {{...}}: correct "
                "or remove it",
                f"{where} 是 {type(value).__name__}；应为 JSON 对象 {{...}}；请改正或删除",
            )
        )
    return value
