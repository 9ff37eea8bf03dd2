"""Questions to a collection, answered with citations, whole or step by step."""

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import partial

from fastapi import APIRouter, Response
from starlette.responses import StreamingResponse

from seesay.api.bodies import AnswersBody
from seesay.api.documents import answer, model_of
from seesay.api.failures import RefusedError, as_refusal, documented, error_body
from seesay.api.service import Service
from seesay.errors import SeesayError
from seesay.rag.answer import AskConfig, stream_answer
from seesay.rag.claims import CitedAnswer, Claim
from seesay.rag.evidence import Evidence
from seesay.search.collection import Collection
from seesay.search.plain import to_json
from seesay.text import Text, to_unicode

_log = logging.getLogger("seesay.api")
_EVENTS = "text/event-stream"
Step = tuple[Evidence, ...] | Claim | CitedAnswer


def answer_routes(service: Service) -> APIRouter:
    """POST /v1/answers."""
    router = APIRouter(tags=["answers"])

    @router.post(
        "/v1/answers",
        summary="Ask a collection",
        response_model=None,
        responses={
            200: {
                "model": model_of(CitedAnswer),
                "description": "The answer; with `stream` the evidence, each claim and the answer "
                "as server-sent events.",
            },
            **documented(404, 409, 502),
        },
    )
    async def answers(body: AnswersBody) -> Response:
        """Answers a question with claims that cite their evidence, or with "not found". `quote`
        answers with sentences of the collection; `assistant` lets the model write that the server
        was started with (`seesay serve --assistant`). Every claim is verified. A client that hangs
        up ends the answer."""
        _, collection = service.collection(body.collection)
        if body.mode == "assistant" and service.assistant is None:
            raise RefusedError(404, "NoAssistant", _NO_ASSISTANT)
        steps = service.answers.stream(partial(_steps, collection, body, service))
        if body.stream:
            first = await anext(steps)
            return StreamingResponse(_events(first, steps), media_type=_EVENTS)
        async with aclosing(steps):
            async for step in steps:
                if isinstance(step, CitedAnswer):
                    return answer(step)
        raise AssertionError("an answer ends with itself")

    return router


_NO_ASSISTANT = Text(
    "this server has no assistant; expected the mode quote; leave the mode out, or start the "
    "server with seesay serve --assistant NAME",
    "这台服务器没有视觉语言模型；mode 应为 quote；请省略 mode，或用 seesay serve --assistant 名称 "
    "启动服务器",
)


def _steps(collection: Collection, body: AnswersBody, service: Service) -> Iterator[Step]:
    """Computed in a thread of its own."""
    # In quote mode, too, pictures are asked about with the assistant that is loaded.
    assistant = None if service.assistant is None else service.assistant.get()
    config = AskConfig(
        mode=body.mode,
        filter=body.filter(),
        rerank=service.config.second_stage(body.rerank),
        verifier=None if body.mode == "quote" else service.config.verifier,
    )
    history = [to_unicode(one) for one in body.history]
    yield (
        yield from stream_answer(
            collection, to_unicode(body.question), config, assistant=assistant, history=history
        )
    )


async def _events(first: Step, steps: AsyncGenerator[Step, None]) -> AsyncGenerator[bytes, None]:
    """The steps as server-sent events. What goes wrong on the way is the last of them."""
    try:
        async with aclosing(steps):
            yield _event(first)
            async for step in steps:
                yield _event(step)
        yield b"data: [DONE]\n\n"
    except (RefusedError, SeesayError) as error:
        refusal = error if isinstance(error, RefusedError) else as_refusal(error)
        yield b"data: " + error_body(refusal.kind, refusal.text.en) + b"\n\n"
    except Exception:
        _log.exception("an answer failed")
        message = "the server failed; expected an answer; ask again, or look into its log"
        yield b"data: " + error_body("InternalError", message) + b"\n\n"


def _event(step: Step) -> bytes:
    name = "evidence" if isinstance(step, tuple) else "claim" if isinstance(step, Claim) else ""
    return b"data: " + to_json({"type": name or "answer", name or "answer": step}) + b"\n\n"
