"""Errors as answers: one form everywhere, `{"error": {"type": ..., "message": ...}}`."""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import chain
from typing import Any

from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from seesay.errors import (
    CollectionBusyError,
    CollectionDamagedError,
    CollectionError,
    ConfigError,
    DataError,
    DownloadError,
    EndpointError,
    ImageError,
    MissingExtraError,
    SeesayError,
    UnknownModelError,
)
from seesay.text import Text, printable, to_unicode

_log = logging.getLogger("seesay.api")
_MOST_PROBLEMS, _MOST_PLACE, _MOST_TOLD = 5, 100, 200  # problems, and characters of each

_STATUS: Sequence[tuple[type[SeesayError], int]] = (  # the first that fits
    (CollectionBusyError, 409),
    (CollectionDamagedError, 500),
    (CollectionError, 400),
    (ConfigError, 400),
    (ImageError, 400),
    (DataError, 400),
    (MissingExtraError, 400),  # only a picture of a format that this server was not given
    (UnknownModelError, 404),
    (DownloadError, 502),
    (EndpointError, 502),
    (SeesayError, 500),
)


class ErrorDetail(BaseModel):
    """What went wrong."""

    type: str = Field(description="A name for a program.")
    message: str = Field(description="What is wrong, what was expected, what to do next.")


class ErrorAnswer(BaseModel):
    """Every answer that is not what was asked for."""

    error: ErrorDetail


class RefusedError(HTTPException):
    """An answer other than what was asked for. Of the kind that every framework above lets through
    from where it reads a request."""

    def __init__(
        self, status: int, kind: str, text: Text, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, text.en, dict(headers or {}))
        self.status, self.kind, self.text = status, kind, text


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route: which errors it may answer with, beside what every route may."""
    every = (400, 401, 403, 413, 422, 503, 504)
    return {
        status: {"model": ErrorAnswer, "description": HTTPStatus(status).phrase}
        for status in sorted({*every, *statuses})
    }


def error_body(kind: str, message: str) -> bytes:
    """The form that every error has."""
    error = {"type": kind, "message": to_unicode(message)}
    return json.dumps({"error": error}, ensure_ascii=False).encode()


def explained(problems: Sequence[Mapping[str, Any]]) -> str:
    """What pydantic found wrong with a request, without the values, which may be of any size."""
    told = "; ".join(_problem(one) for one in problems[:_MOST_PROBLEMS])
    more = len(problems) - _MOST_PROBLEMS
    return f"{told}; and {more} more" if more > 0 else told


def as_answer(error: RefusedError) -> Response:
    """A refusal as it is sent."""
    body = error_body(error.kind, error.text.en)
    return Response(body, error.status, dict(error.headers or {}), media_type="application/json")


def as_refusal(error: SeesayError) -> RefusedError:
    """What an error of the package is to a client."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    if isinstance(error, CollectionError) and "disk is full" in str(error):
        status = 507
    return RefusedError(status, type(error).__name__, error.text)


def add_handlers(app: Starlette) -> None:
    """Let every error of this application have that form."""
    from fastapi.exceptions import (
        RequestValidationError,
    )  # assistants' own process has no use for it

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return as_answer(error)

    async def known(_: Request, error: Exception) -> Response:
        assert isinstance(error, SeesayError)
        return as_answer(as_refusal(error))

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = HTTPStatus(error.status_code).phrase.replace(" ", "")
        text = Text(
            f"{error.detail}; expected a path and method of this API; see /openapi.json",
            f"{error.detail}；应为本 API 的路径和方法；参见 /openapi.json",
        )
        return as_answer(RefusedError(error.status_code, kind, text, error.headers))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        told = explained(error.errors())
        text = Text(
            f"{told}; expected what /openapi.json says of this request; correct it",
            f"{told}；请求应符合 /openapi.json 的说明；请改正",
        )
        return as_answer(RefusedError(422, "InvalidRequest", text))

    async def unknown(request: Request, error: Exception) -> Response:
        _log.error("%s %s failed", request.method, printable(request.url.path), exc_info=error)
        text = Text(
            "the server failed; expected an answer; ask again, and if it fails again, look into "
            "the server's log",
            "服务器内部出错；请重试，若仍然出错，请查看服务器日志",
        )
        return as_answer(RefusedError(500, "InternalError", text))

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(SeesayError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unknown)


class Methods:
    """ASGI middleware around the router of these lists of routes, which may still grow: a known
    address that is asked by another method is told which ones it takes.

    Frameworks answer such a request with what the first route of that address takes, and not at all
    once another application is mounted below all routes, as the page is: that takes it for its own.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[list[BaseRoute]]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            here = [
                route
                for route in chain.from_iterable(self._routes)
                if isinstance(route, Route) and route.path_regex.match(scope["path"])
            ]
            taken = {method for route in here for method in route.methods or ()}
            if taken and scope["method"] not in taken:
                scope["route"] = here[0]  # figures are kept by route
                await as_answer(_wrong_method(Request(scope), taken))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _wrong_method(request: Request, taken: set[str]) -> RefusedError:
    method, path, known = request.method[:20], request.url.path[:200], ", ".join(sorted(taken))
    return RefusedError(
        405,
        "MethodNotAllowed",
        Text(
            f"{method} is no method of {path}; expected {known}; use one of these, see "
            "/openapi.json",
            f"{path} 不支持 {method}；应为 {known}；参见 /openapi.json",
        ),
        {"Allow": known},
    )


def _problem(error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])[:_MOST_PLACE]  # may hold names of theirs
    limits = error.get("ctx", {})
    if error["type"] == "string_too_long":
        length, most = len(error["input"]), limits["max_length"]
        return f"{place} has {length:,} characters instead of at most {most:,}"
    if error["type"] == "too_long":
        length, most = limits["actual_length"], limits["max_length"]
        return f"{place} has {length} entries instead of at most {most:,}"
    if error["type"] == "json_invalid":
        return f"the body is not JSON ({limits.get('error', 'it cannot be read')[:_MOST_TOLD]})"
    if place == "body" and error["type"] == "model_attributes_type":
        return "the body is not a JSON object, or was not sent as Content-Type: application/json"
    return f"{place}: {error['msg'][:_MOST_TOLD]}"
