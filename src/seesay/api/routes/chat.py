"""Questions to the assistant as OpenAI's clients send them, answered whole or piece by piece."""

import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Literal

from fastapi import APIRouter, Response
from starlette.responses import StreamingResponse

from seesay.api.chat import ChatBody
from seesay.api.documents import answer, model_of
from seesay.api.failures import RefusedError, as_refusal, documented, error_body
from seesay.api.service import Service
from seesay.errors import SeesayError
from seesay.inference.answer import Answer
from seesay.inference.answering import ServedAssistant, stream_answer, whole
from seesay.text import Text, to_unicode

_log = logging.getLogger("seesay.api")
_EVENTS = "text/event-stream"
_REASONS = ("stop", "length", "content_filter", "tool_calls", "function_call")


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """What the assistant says."""

    role: Literal["assistant"] = "assistant"
    content: str


@dataclass(frozen=True, kw_only=True)
class ChatChoice:
    """The answer; there is always one."""

    index: int = 0
    message: ChatMessage
    finish_reason: str
    """"stop" for an answer that is complete, "length" for one cut off at `max_tokens`."""
    logprobs: None = None
    certainty: float | None = None
    """How likely the answer is right, from 0 to 1; null where the model cannot tell."""
    unfamiliar: bool = False
    """Whether a picture is far from those that the model learned from."""


@dataclass(frozen=True, kw_only=True)
class ChatUsage:
    """Tokens that the model read and wrote, pictures included."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True, kw_only=True)
class ChatCompletion:
    """An answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[ChatChoice, ...]
    usage: ChatUsage | None
    """Null where an endpoint behind this server does not tell."""


def chat_routes(service: Service) -> APIRouter:
    """POST /v1/chat/completions."""
    router = APIRouter(tags=["chat"])

    @router.post(
        "/v1/chat/completions",
        summary="Ask the assistant about pictures",
        response_model=None,
        responses={
            200: {
                "model": model_of(ChatCompletion),
                "description": "The answer; with `stream` in pieces, as server-sent events.",
            },
            **documented(404, 502),
        },
    )
    async def chat(body: ChatBody) -> Response:
        """Takes what OpenAI's clients send. Pictures are sent as data URLs inside of messages. The
        model is the one that the server was started with (`seesay serve --assistant`). A client
        that hangs up ends the answer."""
        assistant = _assistant(service, body.model)
        pieces = service.answers.stream(partial(_pieces, assistant, body, service))
        if body.stream:
            # What fails before the first piece is an answer of its own, with its status.
            first = await anext(pieces)
            return StreamingResponse(_events(first, pieces, body), media_type=_EVENTS)
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Answer):
                    return answer(_completion(piece, body.model))
        raise AssertionError("an answer ends with itself")

    return router


def _assistant(service: Service, model: str) -> ServedAssistant:
    assistant = service.assistant
    if assistant is None:
        raise RefusedError(
            404,
            "NoAssistant",
            Text(
                "this server has no assistant; expected one that was chosen when it was started; "
                "start it with seesay serve --assistant NAME, a folder, a hub repository, or with "
                "--endpoint URL a model there",
                "这台服务器没有视觉语言模型；应在启动时选定；请用 seesay serve --assistant 名称 启"
                "动，可以是文件夹、仓库名，或配合 --endpoint 网址 使用端点上的模型",
            ),
        )
    if model != assistant.name:
        raise RefusedError(
            404,
            "UnknownModel",
            Text(
                f"the model {model[:80]!r} does not answer here, expected {assistant.name!r}; name "
                "that one",
                f"这里不由模型 {model[:80]!r} 回答；应为 {assistant.name!r}",
            ),
        )
    return assistant


def _pieces(assistant: ServedAssistant, body: ChatBody, service: Service) -> Iterator[str | Answer]:
    """The pieces of the answer, then the answer; computed in a thread of its own."""
    images, messages = body.conversation(service.config)
    stream = stream_answer(assistant.get(), images or None, messages, body.config())
    if not body.stream:
        yield whole(stream)
        return
    yield (yield from stream)


async def _events(
    first: str | Answer, pieces: AsyncGenerator[str | Answer, None], body: ChatBody
) -> AsyncGenerator[bytes, None]:
    """The answer as server-sent events. What goes wrong on the way is the last of them."""
    try:
        async with aclosing(_chunks(first, pieces, body)) as chunks:
            async for chunk in chunks:
                yield _event(chunk)
        yield b"data: [DONE]\n\n"
    except (RefusedError, SeesayError) as error:
        refusal = error if isinstance(error, RefusedError) else as_refusal(error)
        yield b"data: " + error_body(refusal.kind, refusal.text.en) + b"\n\n"
    except Exception:
        _log.exception("an answer failed")
        message = "the server failed; expected an answer; ask again, or look into its log"
        yield b"data: " + error_body("InternalError", message) + b"\n\n"


async def _chunks(
    first: str | Answer, pieces: AsyncGenerator[str | Answer, None], body: ChatBody
) -> AsyncGenerator[dict[str, object], None]:
    about: dict[str, object] = {
        "id": _new_id(),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": body.model,
    }

    def chunk(delta: dict[str, str], reason: str | None = None) -> dict[str, object]:
        return {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    async with aclosing(pieces):
        yield chunk({"role": "assistant", "content": ""})
        piece = first
        while isinstance(piece, str):
            yield chunk({"content": to_unicode(piece)})
            piece = await anext(pieces)
        yield chunk({}, _reason(piece))
        if body.stream_options is not None and body.stream_options.include_usage:
            yield {**about, "choices": [], "usage": _usage(piece)}


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _completion(said: Answer, model: str) -> ChatCompletion:
    message = ChatMessage(content=to_unicode(said.text))
    usage = _usage(said)
    return ChatCompletion(
        id=_new_id(),
        created=int(time.time()),
        model=model,
        choices=(
            ChatChoice(
                message=message,
                finish_reason=_reason(said),
                certainty=said.certainty,
                unfamiliar=said.unfamiliar,
            ),
        ),
        usage=None if usage is None else ChatUsage(**usage),
    )


def _usage(said: Answer) -> dict[str, int] | None:
    """The tokens of an answer as OpenAI counts them; None where they are not known."""
    read, written = said.prompt_tokens, said.answer_tokens
    if read is None or written is None:
        return None
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def _reason(said: Answer) -> str:
    return said.finish_reason if said.finish_reason in _REASONS else "stop"


def _new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"
