"""The server itself: whether it lives, whether it is ready, and its figures."""

from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Response

from seesay.api.documents import answer, model_of
from seesay.api.failures import ErrorAnswer, RefusedError, documented
from seesay.api.metrics import CONTENT_TYPE
from seesay.api.service import Service
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class Health:
    """The server lives."""

    status: Literal["ok"] = "ok"


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Everything is loaded."""

    status: Literal["ready"] = "ready"


def server_routes(service: Service) -> APIRouter:
    """/health, /ready and /metrics."""
    router = APIRouter(tags=["server"])

    @router.get(
        "/health",
        summary="Say whether the server lives",
        response_model=None,
        responses={200: {"model": model_of(Health), "description": "It does."}},
    )
    async def health() -> Response:
        """Needs no token, and says nothing else."""
        return answer(Health())

    @router.get(
        "/ready",
        summary="Say whether everything is loaded",
        response_model=None,
        responses={
            200: {"model": model_of(Ready), "description": "It is."},
            **documented(),
            503: {"model": ErrorAnswer, "description": "Not yet: ask again in a moment."},
        },
    )
    async def ready() -> Response:
        """Before that, requests are answered too, the first ones slowly."""
        state = service.readiness
        if state.is_ready:
            return answer(Ready())
        told = state.problem or Text(
            "models and indexes are being loaded, expected them to be ready",
            "模型和索引正在加载，尚未就绪",
        )
        text = Text(f"{told.en}; ask again in a moment", f"{told.zh}；请稍后重试")
        raise RefusedError(503, "NotReady", text, {"Retry-After": "1"})

    @router.get(
        "/metrics",
        summary="Tell the figures of the server",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {}}, "description": "In Prometheus' text form."},
            **documented(),
        },
    )
    async def metrics() -> Response:
        """Requests by route and status, their time, searches, what waits and what is indexed."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    return router
