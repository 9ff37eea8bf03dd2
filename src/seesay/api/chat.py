"""The body of a question to the assistant, as OpenAI's clients send it -> pictures, messages and
settings."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from seesay.api.bodies import PICTURE, Name, is_picture, read_data_url
from seesay.api.config import MAX_ANSWER, MAX_ASKED, MAX_MESSAGES, ServerConfig
from seesay.data.chat import Media, Message
from seesay.errors import ConfigError, ImageError
from seesay.inference.answering import AnswerConfig
from seesay.text import Text, to_unicode

_EXAMPLE: JsonDict = {
    "model": "Qwen2-VL-2B-Instruct",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": PICTURE}},
                {"type": "text", "text": "What colour is it?"},
            ],
        }
    ],
    "max_tokens": 50,
}
_PLACE = Media("image", (1,))
_READ_BYTES = 1 << 16


class _Taken(BaseModel):
    """What clients add to a request is taken, whether it is used or not."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)


class ImageUrl(_Taken):
    """A picture."""

    url: str
    """data:image/png;base64,... and the like; http:// and https:// only from hosts that the server
    was started with."""
    detail: str | None = None
    """Accepted, but not used."""


class ChatPart(_Taken):
    """A text or a picture of a message."""

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None


class ChatTurn(_Taken):
    """One message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ChatPart]


class StreamOptions(_Taken):
    """What a stream has besides its pieces."""

    include_usage: bool = False
    """End with a chunk that says how many tokens were read and written."""


class ChatBody(BaseModel):
    """A conversation that ends with a question, and how it is to be answered."""

    model_config = ConfigDict(
        extra="ignore", use_attribute_docstrings=True, json_schema_extra={"examples": [_EXAMPLE]}
    )

    model: Name
    """The assistant that is served here; see /v1/models."""
    messages: list[ChatTurn] = Field(min_length=1, max_length=MAX_MESSAGES)
    """The turns, the last of which is the question."""
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_ANSWER)
    """Longest answer. Default: 512."""
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_ANSWER)
    """The newer name of max_tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 takes the likeliest token each time. Default: as the model is published."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Draw from the fewest of the likeliest tokens that make up this share."""
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    """With the same seed, a question gets the same answer."""
    stop: str | list[str] | None = None
    """Texts before which the answer ends, at most four."""
    n: Literal[1] | None = None
    """One answer; no other number is taken."""
    stream: bool | None = None
    """Send the answer in pieces, as server-sent events."""
    stream_options: StreamOptions | None = None

    def config(self) -> AnswerConfig:
        """How the answer is written. Raises ConfigError for settings that allow none."""
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(stops) > 4:  # as OpenAI's own
            raise ConfigError(
                Text(
                    f"stop has {len(stops)} texts; expected at most 4; leave some out",
                    f"stop 有 {len(stops)} 段文本；最多 4 段；请删减",
                )
            )
        most = self.max_completion_tokens or self.max_tokens or AnswerConfig().max_tokens
        return AnswerConfig(
            max_tokens=most,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=tuple(map(to_unicode, stops)),
        )

    def conversation(self, config: ServerConfig) -> tuple[list[bytes], list[Message]]:
        """The pictures, and the messages with a place for each.

        Raises ConfigError for too many pictures or too much text, and ImageError for what is no
        picture, or has more pixels than are allowed."""
        urls: list[str] = []
        messages = [_message(turn, urls) for turn in self.messages]
        if len(urls) > MAX_ASKED:
            raise ConfigError(
                Text(
                    f"the conversation has {len(urls)} pictures; expected at most {MAX_ASKED}; "
                    "leave some out, or begin anew",
                    f"对话里有 {len(urls)} 张图片；最多 {MAX_ASKED} 张；请减少图片，或另开对话",
                )
            )
        texts = (part for one in messages for part in one.parts if isinstance(part, str))
        total = sum(map(len, texts))
        if total > config.max_request_characters:
            raise ConfigError(
                Text(
                    f"the conversation has {total:,} characters; expected at most "
                    f"{config.max_request_characters:,} (max_request_characters); shorten it",
                    f"对话共 {total} 个字符；最多 {config.max_request_characters} 个"
                    "（max_request_characters）；请缩短",
                )
            )
        return [_picture(url, config) for url in urls], messages


def _message(turn: ChatTurn, urls: list[str]) -> Message:
    role: Any = "system" if turn.role == "developer" else turn.role
    if isinstance(turn.content, str):
        return Message(role, to_unicode(turn.content))
    return Message(role, tuple(_parts(turn, urls)))


def _parts(turn: ChatTurn, urls: list[str]) -> Iterator[str | Media]:
    assert not isinstance(turn.content, str)
    for part in turn.content:
        if part.type == "text" and part.text is not None:
            yield to_unicode(part.text)
        elif part.type == "image_url" and part.image_url is not None and turn.role == "user":
            urls.append(part.image_url.url)
            yield _PLACE
        else:
            raise ConfigError(
                Text(
                    f"a message of {turn.role!r} has a part of type {part.type!r} without its "
                    'content, or a picture that is not the user\'s; expected {"type": "text", '
                    '"text": ...} or, of the user, {"type": "image_url", "image_url": '
                    '{"url": ...}}; correct it',
                    f"角色 {turn.role!r} 的消息里有缺少内容的 {part.type!r} 部分，或不属于用户的图"
                    '片；应为 {"type": "text", "text": ...}，或用户消息里的 {"type": '
                    '"image_url", "image_url": {"url": ...}}；请改正',
                )
            )


def _picture(url: str, config: ServerConfig) -> bytes:
    if is_picture(url) or not url.lower().startswith(("http://", "https://")):
        return read_data_url(url, config.max_pixels)
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # a bracket that is none
        host = ""
    if host not in config.picture_hosts:
        known = ", ".join(config.picture_hosts) or "none"
        raise ImageError(
            Text(
                f"a picture is at {host[:80]!r}, which nothing is fetched from; expected "
                f"data:image/png;base64,..., or an address at an allowed host ({known}); send the "
                "picture itself, or start the server with --picture-host",
                f"图片位于 {host[:80]!r}，不能从那里下载；应为 data:image/png;base64,...，或允许的"
                f"主机（{known}）上的地址；请直接发送图片，或启动服务时用 --picture-host 允许",
            )
        )
    return _fetched(url, host, config)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """An allowed host does not choose another."""


def _fetched(url: str, host: str, config: ServerConfig) -> bytes:
    """A file from an allowed host, read no further than the largest request may be."""
    opener = urllib.request.build_opener(_NoRedirect)
    content = bytearray()
    try:
        with opener.open(url, timeout=config.timeout_s) as stream:
            while part := stream.read(_READ_BYTES):
                content += part
                if len(content) > config.max_body_bytes:
                    break
            else:
                return bytes(content)
        why = Text(f"it has more than {config.max_body_bytes:,} bytes", "文件过大")
    except (OSError, ValueError, urllib.error.HTTPError) as error:
        why = Text.of(str(error)[:200])
    raise ImageError(
        Text(
            f"the picture at {host} was not fetched ({why.en}); expected a picture file there; "
            "send the picture itself",
            f"没有从 {host} 取得图片（{why.zh}）；那里应有图片文件；请直接发送图片",
        )
    )
