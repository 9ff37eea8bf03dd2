"""What Prometheus may ask: requests, how long they took, what waits, what is being indexed."""

import time
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seesay.errors import MissingExtraError

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
except ModuleNotFoundError:
    raise MissingExtraError("prometheus-client", "serve") from None

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STREAM = b"text/event-stream"
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The figures of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "seesay_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "seesay_request_seconds",
            "From the first byte of a request to the last of its answer, streams left out.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._searches = Counter(
            "seesay_searches", "Searches by collection.", ("collection",), registry=self.registry
        )
        self._waiting = Gauge(
            "seesay_waiting", "Requests that wait for a thread.", ("work",), registry=self.registry
        )
        self._working = Gauge(
            "seesay_working", "Requests that have a thread.", ("work",), registry=self.registry
        )
        self._indexing = Gauge(
            "seesay_indexing",
            "Whether a collection is being indexed here.",
            ("collection",),
            registry=self.registry,
        )
        self._ready = Gauge("seesay_ready", "Whether everything is loaded.", registry=self.registry)

    def count_search(self, collection: str) -> None:
        """Count a search."""
        self._searches.labels(collection).inc()

    def count_request(self, route: str, method: str, status: int, seconds: float | None) -> None:
        """Count a request; one without a time is no wait of anybody's."""
        self._requests.labels(route, method, status).inc()
        if seconds is not None:
            self._seconds.labels(route).observe(seconds)

    def watch(
        self,
        waiting: Mapping[str, Callable[[], int]],
        working: Mapping[str, Callable[[], int]],
        indexing: Mapping[str, Callable[[], bool]],
        ready: Callable[[], bool],
    ) -> None:
        """Where to look when the figures are asked for."""
        for name, count in waiting.items():
            self._waiting.labels(name).set_function(count)
        for name, count in working.items():
            self._working.labels(name).set_function(count)
        for name, runs in indexing.items():
            self._indexing.labels(name).set_function(runs)
        self._ready.set_function(ready)

    def text(self) -> bytes:
        """Everything, in Prometheus' text form."""
        return generate_latest(self.registry)


class Measured:
    """ASGI middleware that counts requests and their time."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, is_stream = time.perf_counter(), 500, False

        async def sent(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                # The page listens to some as long as it is open.
                is_stream = (b"content-type", _STREAM) in [
                    (name, value[: len(_STREAM)]) for name, value in message.get("headers", ())
                ]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            # By the pattern of the route: by the path there would be a series for every unit.
            route = getattr(scope.get("route"), "path", "other")
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.count_request(route, method, status, None if is_stream else seconds)
