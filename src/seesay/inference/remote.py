"""Assistants behind an OpenAI-compatible endpoint: GPT-4o, Claude, Gemini, Qwen on DashScope, and
models served by vLLM, SGLang or Ollama.

    config = RemoteConfig(base_url="http://localhost:11434/v1", model="qwen2.5vl")
    with RemoteAssistant(config) as assistant:
        print(assistant.ask("cat.jpg", "What is on the mat?").text)

Needs the extra `remote`. Pictures are sent as new JPEG files of limited size, without camera
metadata (place, time, owner); videos as some of their frames. Everything goes only to `base_url`,
with only its own key.
"""

import os
import random
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import SplitResult, urlsplit

from PIL import Image

from seesay.data.chat import Media, Message
from seesay.data.images import ImageSource, open_image
from seesay.data.video import INTERNVL_SAMPLING, is_video, read_frames
from seesay.errors import ConfigError, DataError, MissingExtraError
from seesay.inference.answer import (
    Answer,
    AnswerStream,
    Images,
    Question,
    check_decoding,
    conversation,
)
from seesay.inference.remote_replies import Endpoint, Replies, pause_s
from seesay.text import Text

OTHER_KEY = "SEESAY_REMOTE_KEY"
# Each key is only sent to the host that issued it.
KEYS = {
    "api.openai.com": "OPENAI_API_KEY",
    "api.anthropic.com": "ANTHROPIC_API_KEY",
    "generativelanguage.googleapis.com": "GEMINI_API_KEY",
    "dashscope.aliyuncs.com": "DASHSCOPE_API_KEY",
    "dashscope-intl.aliyuncs.com": "DASHSCOPE_API_KEY",
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CONNECT_S = 10.0
_QUALITIES = (90, 80, 70, 60)  # below that, shrinking loses less than coarser compression


@dataclass(frozen=True, kw_only=True)
class RemoteConfig:
    """Where a model is, and limits on what is sent to it."""

    base_url: str
    """Address of the API as its provider gives it, usually ending in `/v1`."""
    model: str
    """The endpoint's name for the model."""
    max_images: int = 16
    """Most pictures in one question."""
    max_side: int = 2048
    """Longest side in pixels; larger pictures are scaled down."""
    max_bytes: int = 3 * 2**20
    """Largest JPEG file in bytes; sent as base64, which is a third larger. Claude takes 5 MB."""
    timeout_s: float = 120.0
    """Longest silence of the endpoint, before or during an answer, in seconds."""
    retries: int = 3
    """How often to repeat a request when the endpoint is busy or failing."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields added to each request, such as {"seed": 1}; None removes a default field."""

    def __post_init__(self) -> None:
        if _split(self.base_url) is None:
            # Do not quote the address: it may contain a password.
            raise ConfigError(
                Text(
                    "base_url is not a plain web address; expected http:// or https://, a host and "
                    "a path, without name, password, query or fragment. Give the API's address, "
                    "such as http://localhost:8000/v1, and the key separately.",
                    "base_url 不是普通的网址；应为 http:// 或 https:// 加主机和路径，不带用户名、"
                    "密码、查询参数或片段；请填写 API 地址，如 http://localhost:8000/v1，密钥另外"
                    "给出",
                )
            )
        if not self.model.strip():
            raise ConfigError(
                Text(
                    f"model={self.model!r} names no model; expected the endpoint's name for one. "
                    f"Take it from the list at {self.base_url.rstrip('/')}/models.",
                    f"model={self.model!r} 没有指明模型；应为该端点上的模型名；请查看 "
                    f"{self.base_url.rstrip('/')}/models 的列表",
                )
            )
        least = {"max_images": 1, "max_side": 16, "max_bytes": 4096, "timeout_s": 0.001}
        for name, value in {**least, "retries": 0}.items():
            if not getattr(self, name) >= value:
                raise ConfigError(
                    Text(
                        f"{name}={getattr(self, name)} lets no question through; expected at least "
                        f"{value}. Correct it, or leave it out.",
                        f"{name}={getattr(self, name)} 会让任何问题都无法发出；至少应为 {value}；"
                        "请改正或省略",
                    )
                )

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    @property
    def key_variable(self) -> str:
        """The environment variable with the key."""
        return KEYS.get(self.host, OTHER_KEY)


class RemoteAssistant:
    """An `Assistant` whose model runs behind an endpoint.

    `api_key` defaults to the environment variable `config.key_variable`; without either, requests
    have no key. Raises MissingExtraError without the package `openai`.
    """

    def __init__(
        self,
        config: RemoteConfig,
        api_key: str | None = None,
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        key = _checked_key(api_key or os.environ.get(config.key_variable, ""), config)
        self.config = config
        self._client = _client(config, key)
        self._headers = _headers(key)
        self._replies = Replies(
            Endpoint(config.base_url, config.model, config.key_variable, config.timeout_s, key)
        )
        self._wait = wait

    @property
    def name(self) -> str:
        return self.config.model

    def __repr__(self) -> str:
        return f"RemoteAssistant({self.config.model!r} at {self.config.base_url})"

    def __enter__(self) -> "RemoteAssistant":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def configured(self, **fields: Any) -> "RemoteAssistant":
        """Returns the same with extra fields in each request. Both share their connections."""
        other = copy(self)
        other.config = replace(self.config, extra={**self.config.extra, **fields})
        return other

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def ask(
        self,
        images: Images,
        question: Question,
        *,
        max_tokens: int = 512,
        temperature: float | None = 0.0,
        log_probabilities: bool = False,
    ) -> Answer:
        """Returns the answer; `tokens` is None if the endpoint gives no log probabilities.

        Raises DataError for a question that the model cannot take or that is too long, ImageError
        for a damaged picture, and EndpointError without a valid answer.
        """
        fields = self._fields(max_tokens, temperature)
        if log_probabilities:
            fields["logprobs"] = True
        messages = self._messages(images, question)
        with self._replies.explained():
            return self._replies.answer(self._send(messages, fields))

    def stream(
        self,
        images: Images,
        question: Question,
        *,
        max_tokens: int = 512,
        temperature: float | None = 0.0,
    ) -> AnswerStream:
        """Yields the answer in pieces, then returns the complete answer.

        Raises the errors of `ask`: about the question at once, about the endpoint while streaming.
        """
        fields = self._fields(max_tokens, temperature)
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
        return self._pieces(self._messages(images, question), fields)

    def _fields(self, max_tokens: int, temperature: float | None) -> dict[str, Any]:
        check_decoding(max_tokens, temperature)
        # OpenAI's newer models reject max_tokens; most other endpoints only know that.
        length = "max_completion_tokens" if self.config.host == "api.openai.com" else "max_tokens"
        return {length: max_tokens, "temperature": temperature}

    def _messages(self, images: Images, question: Question) -> list[dict[str, Any]]:
        pictures, messages = conversation(images, question, max_images=self.config.max_images)
        if any(isinstance(p, Media) and p.modality == "video" for m in messages for p in m.parts):
            raise DataError(
                Text(
                    "the conversation contains a video; expected only pictures, since "
                    "endpoints share no video format. Give some of its frames.",
                    "对话里有视频；只应有图片，因为各端点没有通用的视频格式；请改为给出若干帧画面",
                )
            )
        urls = iter([self._urls(one, pictures) for one in pictures])
        return [_written(message, urls) for message in messages]

    def _urls(self, one: ImageSource, pictures: Sequence[ImageSource]) -> list[str]:
        """Returns a picture, or as many frames of a video as there is room for."""
        frames: list[ImageSource] = [one]
        if isinstance(one, str | Path) and is_video(one):
            videos = sum(map(is_video, pictures))
            room = (self.config.max_images - len(pictures) + videos) // videos
            most = min(INTERNVL_SAMPLING.count or 1, room)
            sampling = replace(INTERNVL_SAMPLING, count=most)
            frames = [frame.image for frame in read_frames(one, sampling)]
        return [data_url(frame, self.config.max_side, self.config.max_bytes) for frame in frames]

    def _send(self, messages: Sequence[Any], fields: Mapping[str, Any]) -> Any:
        """Sends a request, and retries if the endpoint is busy or failing."""
        merged = {**fields, **self.config.extra}
        body = {name: value for name, value in merged.items() if value is not None}
        create = self._client.chat.completions.create
        arguments = {"model": self.config.model, "messages": messages}
        arguments["stream"] = body.pop("stream", False)
        attempt = 0
        while True:
            try:
                return create(**arguments, extra_headers=self._headers, extra_body=body)
            except Exception as error:
                pause = pause_s(error, attempt)
                if pause is None or attempt == self.config.retries:
                    raise
            attempt += 1
            self._wait(
                pause * random.uniform(1.0, 1.25)
            )  # so that clients do not retry all at once

    def _pieces(self, messages: Sequence[Any], fields: Mapping[str, Any]) -> AnswerStream:
        with self._replies.explained(), self._send(messages, fields) as chunks:
            return (yield from self._replies.pieces(chunks))


def data_url(image: ImageSource, max_side: int, max_bytes: int) -> str:
    """Returns a picture as a data URL: upright, RGB, longest side at most `max_side` pixels, as a
    JPEG file of at most `max_bytes` without metadata.

    Raises ImageError for a damaged picture.
    """
    picture = open_image(image, target=max_side).copy()
    picture.info.clear()  # else Pillow would write its comment
    scale = min(1.0, max_side / max(picture.size))
    while True:
        smaller = _scaled(picture, scale)
        for quality in _QUALITIES:
            stream = BytesIO()
            # Full colour resolution keeps coloured letters legible.
            smaller.save(stream, "JPEG", quality=quality, subsampling=0)
            if stream.tell() <= max_bytes:
                return f"data:image/jpeg;base64,{b64encode(stream.getvalue()).decode()}"
        scale *= 0.75


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    if scale == 1.0:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _written(message: Message, urls: Iterator[list[str]]) -> dict[str, Any]:
    """Returns a message in the API's format; each picture or video takes the next URLs."""
    if all(isinstance(part, str) for part in message.parts):
        return {"role": message.role, "content": "".join(map(str, message.parts))}
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Media):
            content += [{"type": "image_url", "image_url": {"url": url}} for url in next(urls)]
        elif part:
            content.append({"type": "text", "text": part})
    return {"role": message.role, "content": content}


def _split(address: str) -> SplitResult | None:
    """Returns the parts of a plain web address, or None for any other."""
    try:
        url = urlsplit(address)
        plain = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # an invalid bracket or port
        return None
    return url if plain and not ("@" in url.netloc or "?" in address or "#" in address) else None


def _checked_key(given: str, config: RemoteConfig) -> str:
    key = given.strip()  # key files end in a newline
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            Text(
                "the API key has a space or a character that headers do not allow; expected ASCII "
                f"letters, digits and symbols. Copy the key again, or set {config.key_variable}.",
                "API 密钥里有空格或请求头不允许的字符；应只有 ASCII 字母、数字和符号；请重新复制密"
                f"钥，或设置 {config.key_variable}",
            )
        )
    return key


def _client(config: RemoteConfig, key: str) -> Any:
    try:
        import openai
    except ImportError:
        raise MissingExtraError("openai", "remote") from None
    # A redirect could send the pictures to another host; a proxy cannot reach this machine's
    # own servers.
    return openai.OpenAI(
        base_url=config.base_url,
        api_key=key or "none",
        max_retries=0,
        timeout=openai.Timeout(config.timeout_s, connect=min(_CONNECT_S, config.timeout_s)),
        http_client=openai.DefaultHttpxClient(
            follow_redirects=False, trust_env=config.host not in _LOOPBACK
        ),
    )


def _headers(key: str) -> dict[str, Any]:
    """Returns the headers of each request, without OPENAI_ORG_ID and OPENAI_PROJECT_ID, which the
    package would send to any address. Headers in OPENAI_CUSTOM_HEADERS are sent."""
    from openai import Omit

    return {
        "Authorization": f"Bearer {key}" if key else Omit(),
        "OpenAI-Organization": Omit(),
        "OpenAI-Project": Omit(),
    }
