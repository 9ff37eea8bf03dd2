"""One row of a toolkit's file -> a conversation.

The formats differ in the names of their fields, so one reader knows them all: LLaVA's and
LLaMA-Factory's `conversations` with `from` and `value`, the `messages` of ms-swift and OpenAI with
`role` and `content`, and Alpaca's `instruction` and `output`. What would change a sample's meaning
if it were dropped is refused; other fields are named, so that they can be counted.

Sources: LLaVA:docs/Finetune_Custom_Data.md, LLaVA-NeXT:llava/train/train.py, LLaMA-Factory:
data/README.md, ms-swift:docs/source_en/Customization/Custom-dataset.md.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from seesay.data.conversations.conversation import (
    IMAGE,
    VIDEO,
    Conversation,
    PictureFile,
    Role,
    Turn,
    placeholders_as,
    resolve,
)
from seesay.data.encodings import clean_text
from seesay.errors import DataError
from seesay.text import Text

MESSAGES = ("messages", "conversations", "conversation")
ALPACA = ("instruction", "query")
_IMAGES, _VIDEOS = ("images", "image"), ("videos", "video")
_SYSTEM = ("system", "system_prompt")
_REJECTED = ("rejected", "rejected_response", "rejected_messages")
_ANSWER = ("output", "response")
_ROLES: Mapping[str, Role] = {
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant",
}  # fmt: skip
_MEANING = ("audios", "audio", "tools", "objects", "label", "kto_tag", "rejected_images")
"""Fields without which a sample would mean something else: sound, tools, boxes, bad answers."""
_KNOWN = {
    *MESSAGES, *ALPACA, *_IMAGES, *_VIDEOS, *_SYSTEM, *_REJECTED, *_ANSWER, *_MEANING,
    "input", "history", "chosen", "id",
}  # fmt: skip
_LONGEST_PATH = 2000  # characters; ms-swift takes what is longer for base64


def is_conversation(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of a toolkit, and no record of ours."""
    return any(name in row for name in (*MESSAGES, *ALPACA))


def unread_fields(row: Mapping[str, Any]) -> set[str]:
    """The fields with a value that no conversation keeps."""
    return {name for name, value in row.items() if name not in _KNOWN and not _is_empty(value)}


def conversation_from(row: Mapping[str, Any], key: str, folder: Path) -> Conversation:
    """Returns the conversation of a row. Relative paths start at `folder`. Raises DataError for
    what no conversation holds, such as tools, and for what is malformed."""
    for name in _MEANING:
        if not _is_empty(row.get(name)) or row.get(name) is False:
            _refuse(
                f"it has `{name}`, expected only a conversation about pictures and videos",
                f"含有 `{name}`；应只有关于图片和视频的对话",
            )
    texts, files = _messages_of(row)
    system = "".join(_text(row[name]) for name in _SYSTEM if row.get(name))
    if texts and texts[0][0] == "system":
        system = texts.pop(0)[1]
    listed = _listed(row, _IMAGES)
    if listed and files:
        _refuse(
            "it has pictures both in a list and in its messages, expected only one of these",
            "图片既在列表里，又在消息里；只应有一处",
        )
    images = tuple(_picture(value, folder) for value in listed or files)
    videos = tuple(_video(value, folder) for value in _listed(row, _VIDEOS))
    turns = [Turn(_role(role), text) for role, text in texts]
    rejected = _rejected(row, turns)
    conversation = Conversation(
        key=str(row.get("id") or key),
        turns=tuple(turns),
        images=images,
        videos=videos,
        system=system,
        rejected=rejected,
    )
    if videos and not images and not conversation.count(VIDEO):  # LLaVA-NeXT has no other one
        conversation = placeholders_as(conversation, [(IMAGE, VIDEO)])
    return conversation


def _messages_of(row: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[Any]]:
    """The role and text of each message, with the answer that was chosen; and the pictures in
    them."""
    files: list[Any] = []
    name = next((one for one in MESSAGES if one in row), None)
    texts = _alpaca(row) if name is None else _texts(row[name], files)
    chosen = row.get("chosen")
    if isinstance(chosen, Mapping):
        texts += _texts([chosen], files)
    elif isinstance(chosen, str) and chosen:
        texts.append(("assistant", clean_text(chosen)))
    return texts, files


def _texts(messages: Any, files: list[Any]) -> list[tuple[str, str]]:
    if not isinstance(messages, list | tuple):
        _refuse(
            f"its messages are {type(messages).__name__}, expected a list",
            f"消息是 {type(messages).__name__}；应为列表",
        )
    return [_message(one, files) for one in messages]


def _message(message: Any, files: list[Any]) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        _refuse(
            f"a message is {type(message).__name__}, expected an object {{...}}",
            f"有的消息是 {type(message).__name__}；应为对象 {{...}}",
        )
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    if message.get("loss") is False or message.get("loss_scale") not in (None, 1):
        _refuse(
            "a message sets its own weight (`loss`), expected all answers to count alike",
            "有的消息用 `loss` 指定权重；各回答的权重应相同",
        )
    if isinstance(content, list):
        content = "".join(_part(one, files) for one in content)
    if not isinstance(role, str) or not isinstance(content, str):
        _refuse(
            f"a message has {', '.join(map(str, message)) or 'no fields'}, expected `role` and "
            "`content`, or `from` and `value`, as strings",
            f"有的消息只有 {'、'.join(map(str, message)) or '空内容'}；应有字符串 `role` 和 "
            "`content`，或 `from` 和 `value`",
        )
    return role, clean_text(content)


def _part(part: Any, files: list[Any]) -> str:
    """The text of a part of a message as OpenAI writes it, with a placeholder for a picture."""
    media_type = part.get("type") if isinstance(part, Mapping) else None
    if media_type == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if media_type in ("image", "image_url"):
        value = part.get(media_type)
        files.append(value.get("url") if isinstance(value, Mapping) else value)
        return IMAGE
    return _refuse(
        f"a message has a part of type {media_type!r}, expected text, image or image_url",
        f"有的消息含有 {media_type!r} 类型的部分；应为 text、image 或 image_url",
    )


def _alpaca(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    history = row.get("history") or []
    pairs = [pair for pair in history if isinstance(pair, list | tuple) and len(pair) == 2]
    if len(pairs) != len(history):
        _refuse(
            "`history` does not hold pairs only, expected [question, answer]",
            "`history` 里有不成对的内容；应为 [问题, 回答]",
        )
    question = "\n".join(_text(row[name]) for name in (*ALPACA, "input") if row.get(name))
    texts: list[tuple[str, str]] = []
    for earlier, answer in pairs:
        texts += (("user", _text(earlier)), ("assistant", _text(answer)))
    texts.append(("user", question))
    return texts + [("assistant", _text(row[name])) for name in _ANSWER if row.get(name)]


def _rejected(row: Mapping[str, Any], turns: Sequence[Turn]) -> str | None:
    name = next((one for one in _REJECTED if not _is_empty(row.get(one))), None)
    if name is None:
        return None
    value = row[name]
    if isinstance(value, str):
        return clean_text(value)
    *before, last = _texts([value] if isinstance(value, Mapping) else value, [])
    expected = turns[:-1] if name == "rejected_messages" else ()
    same = [Turn(_role(role), text) for role, text in before if role != "system"] == [*expected]
    if not same or _role(last[0]) != "assistant":
        _refuse(
            f"`{name}` differs in more than the last answer, expected no other difference",
            f"`{name}` 不只最后一个回答不同；其余应相同",
        )
    return last[1]


def _role(role: str) -> Role:
    if role not in _ROLES:
        _refuse(
            f"a message has the role {role!r}, expected user or assistant, after at most one "
            "system prompt",
            f"有的消息的角色是 {role!r}；应为 user 或 assistant，开头可以有一条 system",
        )
    return _ROLES[role]


def _listed(row: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    value = next((row[name] for name in names if not _is_empty(row.get(name))), None)
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _picture(value: Any, folder: Path) -> PictureFile:
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and (value.startswith("data:") or len(value) > _LONGEST_PATH):
        try:
            return base64.b64decode(value.partition(",")[2] or value, validate=True)
        except binascii.Error as error:
            _refuse(
                f"a picture in the row is not base64 ({error}), expected an encoded file",
                f"行内的图片不是 base64（{error}）；应为编码后的文件",
            )
    return _file(value, folder, Text("picture", "图片"))


def _video(value: Any, folder: Path) -> Path:
    return _file(value, folder, Text("video", "视频"))


def _file(value: Any, folder: Path, what: Text) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        _refuse(
            f"a {what.en} is {type(value).__name__}, expected a path",
            f"有的{what.zh}是 {type(value).__name__}；应为路径",
        )
    if value.startswith(("http://", "https://")):
        _refuse(
            f"a {what.en} is at {value[:80]}, expected a file on this machine",
            f"有的{what.zh}在 {value[:80]}；应为本机上的文件",
        )
    return resolve(value, folder)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        _refuse(
            f"a text is {type(value).__name__}, expected a string",
            f"有的文字是 {type(value).__name__}；应为字符串",
        )
    return clean_text(value)


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {}, ())


def _refuse(en: str, zh: str) -> NoReturn:
    raise DataError(Text(f"{en}: correct or remove the sample", f"{zh}；请改正或删除这个样本"))
