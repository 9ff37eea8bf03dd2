"""A conversation about pictures, as fine-tuning toolkits learn it, and what may be wrong with it.

A text says where a picture or video stands by a placeholder, `<image>` or `<video>`; the first
placeholder stands for the first picture. All toolkits need as many of the ones as of the others.
"""

import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

from PIL import Image

from seesay.data.files import open_file
from seesay.data.spelling import as_on_disk
from seesay.errors import DataError
from seesay.text import Text

IMAGE, VIDEO = "<image>", "<video>"
Role = Literal["user", "assistant"]
PictureFile = bytes | Path
_ROLES: tuple[Role, Role] = ("user", "assistant")


@dataclass(frozen=True)
class Turn:
    """What one side says."""

    role: Role
    text: str
    """With a placeholder where each picture or video stands."""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Questions and answers in turn, with the pictures and videos that they are about."""

    key: str
    """Names it in messages; need not be unique."""
    turns: tuple[Turn, ...]
    images: tuple[PictureFile, ...] = ()
    """Paths, or encoded files, in the order of their placeholders."""
    videos: tuple[Path, ...] = ()
    system: str = ""
    """The system prompt; "" for the model's own."""
    rejected: str | None = None
    """A worse last answer, for preference training."""

    def count(self, placeholder: str) -> int:
        """How often a placeholder stands in the turns."""
        return sum(turn.text.count(placeholder) for turn in self.turns)


def with_placeholders(conversation: Conversation) -> Conversation:
    """Returns the conversation with its pictures before the first question, where it has pictures
    or videos and no placeholder at all: ms-swift reads it so, and LLaMA-Factory refuses it."""
    missing = IMAGE * len(conversation.images) + VIDEO * len(conversation.videos)
    if not missing or not conversation.turns:
        return conversation
    if conversation.count(IMAGE) or conversation.count(VIDEO):
        return conversation
    first, *others = conversation.turns
    return replace(conversation, turns=(replace(first, text=missing + first.text), *others))


class Checker:
    """Looks for what would make a toolkit drop a conversation, or stop.

    Files are looked at once, however many conversations are about them.
    """

    def __init__(self) -> None:
        self._looked_at: dict[tuple[Path, bool], Text | None] = {}

    def require(self, conversation: Conversation) -> None:
        """Raises DataError, saying what is wrong, what was expected and what to do."""
        _require_turns(conversation)
        _require_counts(conversation)
        self._require_files(conversation)

    def _require_files(self, conversation: Conversation) -> None:
        for image in conversation.images:
            if isinstance(image, bytes):
                self._raise(_problem_of(partial(io.BytesIO, image)), "picture")
            else:
                self._raise_for(image, is_picture=True)
        for video in conversation.videos:
            self._raise_for(video, is_picture=False)

    def _raise_for(self, file: Path, *, is_picture: bool) -> None:
        if (file, is_picture) not in self._looked_at:
            self._looked_at[file, is_picture] = _problem_of(
                partial(open_file, file), is_picture=is_picture
            )
        self._raise(self._looked_at[file, is_picture], str(file))

    def _raise(self, problem: Text | None, name: str) -> None:
        if problem is not None:
            raise DataError(
                Text(
                    f"{name} {problem.en}: restore the file, correct its path or the folder that "
                    "paths are relative to (--images), or remove the sample",
                    f"{name} {problem.zh}；请恢复文件、改正路径或相对路径的起点（--images），"
                    "或删除这个样本",
                )
            )


def _problem_of(opened: Callable[[], BinaryIO], *, is_picture: bool = True) -> Text | None:
    """Why a file cannot be used; toolkits read pictures by Pillow alone."""
    try:
        with opened() as stream:
            if is_picture:
                with Image.open(stream):
                    return None
            if not stream.read(1):
                return Text("is empty, expected a video", "是空的；应为视频")
            return None
    except FileNotFoundError:
        return Text("is missing, expected a file", "不存在；应为文件")
    except OSError as error:
        if error.errno is not None:
            reason = Text.of(getattr(error, "text", None) or error.strerror)
            return Text(
                f"cannot be read ({reason.en}), expected a file",
                f"无法读取（{reason.zh}）；应为文件",
            )
    except (SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        pass
    return Text(
        "is not a picture that Pillow can read, expected JPEG, PNG, WebP or the like",
        "不是 Pillow 能读的图片；应为 JPEG、PNG、WebP 等",
    )


def _require_turns(conversation: Conversation) -> None:
    roles = [turn.role for turn in conversation.turns]
    expected = [_ROLES[number % 2] for number in range(len(roles))]
    if not roles or len(roles) % 2 or roles != expected:
        raise DataError(
            Text(
                f"the roles of the turns are {', '.join(roles) or 'none'}, expected user and "
                "assistant in turn, ending with an answer: add or merge turns, or remove the "
                "sample",
                f"各轮的角色是 {'、'.join(roles) or '空'}；应由 user 和 assistant 交替，以回答"
                "结尾；请补上或合并，或删除这个样本",
            )
        )
    for number, turn in enumerate(conversation.turns, 1):
        if not turn.text.strip():
            raise DataError(
                Text(
                    f"turn {number} ({turn.role}) is empty, expected text: add it, or remove the "
                    "sample",
                    f"第 {number} 轮（{turn.role}）是空的；应有文字；请补上，或删除这个样本",
                )
            )
    last = conversation.turns[-1].text
    if conversation.rejected is not None and conversation.rejected.strip() in ("", last.strip()):
        raise DataError(
            Text(
                "the rejected answer is empty or the same as the chosen one, expected a different "
                "one: correct it, or remove the sample",
                "rejected 回答是空的，或与 chosen 回答相同；两者应不同；请改正，或删除这个样本",
            )
        )


def _require_counts(conversation: Conversation) -> None:
    given = (
        (IMAGE, len(conversation.images), "picture", "张图片"),
        (VIDEO, len(conversation.videos), "video", "个视频"),
    )
    for placeholder, files, en, zh in given:
        placed = conversation.count(placeholder)
        if placed != files:
            raise DataError(
                Text(
                    f"{placed} {placeholder} and {files} {en}{'' if files == 1 else 's'}, expected "
                    "as many of each: correct the text or the list of files",
                    f"{placed} 个 {placeholder}，{files} {zh}；两者应一样多；请改正文字或文件列表",
                )
            )
        texts = [conversation.system]
        if conversation.rejected is not None:  # both answers would need the same pictures
            texts += [conversation.rejected, conversation.turns[-1].text]
        if any(placeholder in text for text in texts):
            raise DataError(
                Text(
                    f"{placeholder} is in the system prompt, or in a chosen or rejected answer; "
                    "expected it in a question: move it",
                    f"{placeholder} 出现在系统提示词、chosen 或 rejected 回答里；应在问题里；"
                    "请移过去",
                )
            )


def resolve(name: str, folder: Path) -> Path:
    """The file that a path in a sample names, seen from a folder. Where nothing is there,
    backslashes of Windows count as slashes."""
    path = folder / Path(name).expanduser()
    if not os.path.lexists(path) and "\\" in name and os.sep == "/":
        path = folder / name.replace("\\", "/")
    return Path(as_on_disk(str(path)))


def placeholders_as(conversation: Conversation, names: Sequence[tuple[str, str]]) -> Conversation:
    """Returns the conversation with placeholders renamed."""
    table = dict(names)
    pattern = re.compile("|".join(map(re.escape, table)))
    turns = tuple(
        replace(turn, text=pattern.sub(lambda match: table[match[0]], turn.text))
        for turn in conversation.turns
    )
    return replace(conversation, turns=turns)
