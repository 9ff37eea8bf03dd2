"""What each toolkit reads: conversation -> row, rows -> files.

All rows of a file have the same columns, and the first rows fill each of them: `datasets`, by which
ms-swift and LLaMA-Factory load, takes the types from the first megabytes, and text-only samples
there would leave `images` a list of nothing. Preferences have a file of their
own: ms-swift drops samples without a rejected answer where others have one, and LLaMA-Factory
refuses to train on both at once.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal, TextIO, get_args

from seesay.data.conversations.conversation import (
    IMAGE,
    VIDEO,
    Conversation,
    Role,
    Turn,
    placeholders_as,
)
from seesay.data.conversations.files import DATASET_INFO
from seesay.data.conversations.records import record_row
from seesay.errors import DataError
from seesay.text import Text

Target = Literal["seesay", "llava", "ms-swift", "llama-factory", "llama-factory-alpaca"]
TARGETS: tuple[Target, ...] = get_args(Target)
TRAIN, PREFERENCES = "train", "preferences"
_EMPTY: Mapping[str, Any] = {"images": [], "videos": [], "history": [], "system": ""}


@dataclass(frozen=True, kw_only=True)
class Written:
    """A conversation whose files have the paths that are written."""

    conversation: Conversation
    images: Sequence[str]
    videos: Sequence[str]


def _seesay(one: Written) -> dict[str, Any]:
    return record_row(one.conversation, next(iter(one.images), ""))


def _llava(one: Written) -> dict[str, Any]:
    """LLaVA has one placeholder for pictures and videos, and a sample of LLaVA-NeXT holds pictures
    or one video. Its trainer takes a turn of the system for an error, and reads none of `system`
    and `rejected`, in which other toolkits look."""
    conversation = one.conversation
    if len(one.videos) > 1 or (one.videos and one.images):
        raise DataError(
            Text(
                f"it is about {len(one.images)} pictures and {len(one.videos)} videos, expected "
                "pictures or one video, as LLaVA reads nothing else: remove it, or convert to "
                "another format",
                f"涉及 {len(one.images)} 张图片和 {len(one.videos)} 个视频；LLaVA 只读图片或一个视"
                "频；请去掉，或转换成别的格式",
            )
        )
    if one.videos:
        conversation = placeholders_as(conversation, [(VIDEO, IMAGE)])
    several = list(one.images) if len(one.images) > 1 else None
    row: dict[str, Any] = {"id": conversation.key}
    row |= {"image": several or one.images[0]} if one.images else {}
    row |= {"video": one.videos[0]} if one.videos else {}
    row |= {"system": conversation.system} if conversation.system else {}
    row["conversations"] = _sharegpt_turns(conversation.turns)
    return row | _rejected(conversation, "rejected")


def _ms_swift(one: Written) -> dict[str, Any]:
    system = [("system", one.conversation.system)] if one.conversation.system else []
    turns = [*system, *((turn.role, turn.text) for turn in one.conversation.turns)]
    row: dict[str, Any] = {"messages": [{"role": role, "content": text} for role, text in turns]}
    return row | _media(one) | _rejected(one.conversation, "rejected_response")


def _sharegpt(one: Written) -> dict[str, Any]:
    conversation = one.conversation
    *turns, last = _sharegpt_turns(conversation.turns)
    row = {"system": conversation.system} | _media(one)
    if conversation.rejected is None:
        return {"conversations": [*turns, last], **row}
    rejected = {**last, "value": conversation.rejected}
    return {"conversations": turns, "chosen": last, "rejected": rejected, **row}


def _alpaca(one: Written) -> dict[str, Any]:
    *earlier, question, answer = (turn.text for turn in one.conversation.turns)
    row: dict[str, Any] = {"instruction": question, "input": ""}
    row["history"] = [list(pair) for pair in zip(earlier[::2], earlier[1::2], strict=True)]
    row |= {"system": one.conversation.system} | _media(one)
    if one.conversation.rejected is None:
        return row | {"output": answer}
    return row | {"chosen": answer, "rejected": one.conversation.rejected}


def _sharegpt_turns(turns: Sequence[Turn]) -> list[dict[str, str]]:
    names: Mapping[Role, str] = {"user": "human", "assistant": "gpt"}
    return [{"from": names[turn.role], "value": turn.text} for turn in turns]


def _media(one: Written) -> dict[str, Any]:
    return {"images": list(one.images), "videos": list(one.videos)}


def _rejected(conversation: Conversation, name: str) -> dict[str, Any]:
    return {} if conversation.rejected is None else {name: conversation.rejected}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The files of a toolkit."""

    row: Callable[[Written], dict[str, Any]]
    ending: str = "jsonl"
    by_datasets: bool = True
    """Whether the toolkit loads by `datasets`."""
    apart: bool = True
    """Whether preferences have a file of their own."""
    formatting: Literal["sharegpt", "alpaca", ""] = ""
    """LLaMA-Factory's name of the format."""
    lost: Sequence[str] = field(default_factory=tuple)
    """What the toolkit's training does not read: system, rejected or turns."""


LAYOUTS: Mapping[Target, Layout] = {
    "seesay": Layout(row=_seesay, by_datasets=False, apart=False, lost=("system", "turns")),
    "llava": Layout(
        row=_llava, ending="json", by_datasets=False, apart=False, lost=("system", "rejected")
    ),
    "ms-swift": Layout(row=_ms_swift),
    "llama-factory": Layout(row=_sharegpt, formatting="sharegpt"),
    "llama-factory-alpaca": Layout(row=_alpaca, formatting="alpaca"),
}


def lost_of(conversation: Conversation, layout: Layout) -> Iterator[str]:
    """What of a conversation the toolkit's training does not read."""
    there = {
        "system": bool(conversation.system),
        "rejected": conversation.rejected is not None,
        "turns": len(conversation.turns) > len(("user", "assistant")),
    }
    return (name for name in layout.lost if there[name])


class DataFile:
    """The rows of a file. They wait on the disk until it is known which columns there are."""

    def __init__(self) -> None:
        self.count = 0
        self._spool: TextIO = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._columns: dict[str, bool] = {}
        """In order, and whether any row fills it."""
        self._first: dict[str, int] = {}
        """The first row that fills a column."""

    def add(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            filled = bool(value)
            self._columns[name] = self._columns.get(name, False) or filled
            if filled:
                self._first.setdefault(name, self.count)
        self._spool.write(f"{json.dumps(row, ensure_ascii=False)}\n")
        self.count += 1

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are written: those that some row fills, and texts."""
        return tuple(name for name, filled in self._columns.items() if filled or name == "input")

    def write(self, file: Path, layout: Layout) -> None:
        """Writes the rows. With `datasets` in mind, those that fill a column first lead."""
        leading = sorted({*self._first.values()}) if layout.by_datasets else []
        with file.open("w", encoding="utf-8", newline="\n") as out:
            before, between, after = (
                ("[\n", ",\n", "\n]\n") if layout.ending == "json" else ("",) * 3
            )
            out.write(before)
            rows = ((number, row) for number, row in self._rows() if number in {*leading})
            ordered = [row for _, row in rows]
            written = 0
            for chunk in (ordered, (r for n, r in self._rows() if n not in {*leading})):
                for row in chunk:
                    if layout.by_datasets:
                        row = {name: row.get(name, _EMPTY.get(name)) for name in self.columns}
                    out.write(between if written else "")
                    out.write(json.dumps(row, ensure_ascii=False))
                    out.write("" if between else "\n")
                    written += 1
            out.write(after)

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        self._spool.seek(0)
        return enumerate(map(json.loads, self._spool))

    def close(self) -> None:
        self._spool.close()


def dataset_info(files: Mapping[str, DataFile], layout: Layout) -> str:
    """LLaMA-Factory's description of the files, in ASCII: it opens it in the encoding of the
    locale."""
    entries = {}
    theirs = {"instruction": "prompt", "input": "query", "output": "response"}
    for name, file in files.items():
        columns = {
            "messages" if column == "conversations" else theirs.get(column, column): column
            for column in file.columns
        }
        entry: dict[str, Any] = {
            "file_name": f"{name}.{layout.ending}",
            "formatting": layout.formatting,
        }
        entries[name] = entry | ({"ranking": True} if name == PREFERENCES else {})
        entries[name]["columns"] = columns
    return f"{json.dumps(entries, indent=2)}\n"


def write_files(files: Mapping[str, DataFile], layout: Layout, folder: Path) -> list[str]:
    """Writes what there is to a folder, and returns the names."""
    names = []
    for name, file in files.items():
        names.append(f"{name}.{layout.ending}")
        file.write(folder / names[-1], layout)
    if layout.formatting:
        names.append(DATASET_INFO)
        (folder / DATASET_INFO).write_text(dataset_info(files, layout), encoding="ascii")
    return names
