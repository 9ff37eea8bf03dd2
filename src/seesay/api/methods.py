"""A known address that is asked by another method is told which ones it takes.

Frameworks answer such a request with what the first route of that address takes, and not at all
once another application is mounted below all routes, as the page is: that takes it for its own.
"""

from collections.abc import Sequence
from itertools import chain

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from seesay.api.failures import RefusedError, as_answer


class Methods:
    """ASGI middleware around the router of these lists of routes, which may still grow."""

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
                await as_answer(wrong_method(Request(scope), taken))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def wrong_method(request: Request, taken: set[str]) -> RefusedError:
    """What a request is told that comes by a method which its address does not take."""
    known = ", ".join(sorted(taken))
    return RefusedError(
        405,
        "MethodNotAllowed",
        f"{request.method[:20]} is no method of {request.url.path[:200]}; expected {known}; use "
        "one of these, see /openapi.json",
        {"Allow": known},
    )
