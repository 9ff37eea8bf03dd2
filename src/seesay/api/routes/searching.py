"""Search, and what is like something.

Of searches that wait for a thread, the first to get one prepares for those behind it: a model takes
for many texts at once a quarter of the time that it takes for one after the other. Nothing waits
for a batch to fill: while nobody else waits, a search is prepared for alone.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import APIRouter, Response

from seesay.api.bodies import SearchBody, SimilarBody
from seesay.api.documents import answer, model_of
from seesay.api.failures import documented
from seesay.api.service import Service
from seesay.errors import SeesayError
from seesay.search.asking.query import Query
from seesay.search.asking.results import Results
from seesay.search.collection import Collection

_RESULTS: dict[int | str, dict[str, Any]] = {
    200: {"model": model_of(Results), "description": "The hits, the best first."}
}

_TOGETHER, _SHORT = 32, 500  # searches, and characters of each


class Waiting:
    """A search that waits."""

    def __init__(self, body: SearchBody) -> None:
        self.body = body
        self.query: Query | None = None


class SearchQueue:
    """The searches of one collection that wait. Safe to use from several threads."""

    def __init__(self, read: Callable[[SearchBody], Query]) -> None:
        """`read` makes a query of a request."""
        self._read = read
        self._mutex = threading.Lock()
        self._waiting: deque[Waiting] = deque()

    def add(self, body: SearchBody) -> Waiting:
        """A search that came in, and will ask for `query` once it has a thread."""
        waiting = Waiting(body)
        # Pictures and long texts take their time: that is for their own thread alone.
        if not body.images and len(body.query) + sum(map(len, body.without)) <= _SHORT:
            with self._mutex:
                self._waiting.append(waiting)
        return waiting

    def leave(self, waiting: Waiting) -> None:
        """Prepare no more for a search that nobody waits for: it was answered, or refused."""
        with self._mutex, suppress(ValueError):
            self._waiting.remove(waiting)

    def query(self, own: Waiting, collection: Collection) -> Query:
        """The query of a search that has its thread now, embedded with those behind it.

        Raises ConfigError and ImageError for what cannot be asked."""
        if own.query is None:
            own.query = self._read(own.body)
            together = [own.query, *self._behind(own)]
            if len(together) > 1:
                collection.expect(together)
        return own.query

    def _behind(self, own: Waiting) -> list[Query]:
        with self._mutex:
            taken = [self._waiting.popleft() for _ in range(min(_TOGETHER, len(self._waiting)))]
        queries = []
        for one in taken:
            if one is own or one.query is not None:
                continue
            try:
                one.query = self._read(one.body)
            except SeesayError:
                continue  # it is told to whom it concerns, by its own thread
            queries.append(one.query)
        return queries


def search_routes(service: Service) -> APIRouter:
    """POST /v1/search and /v1/similar."""
    router = APIRouter(tags=["search"])

    read = partial(SearchBody.to_query, config=service.config)
    queues = {name: SearchQueue(read) for name in service.library.names}

    def searched(name: str, collection: Collection, waiting: Waiting) -> Response:
        results = collection.search(queues[name].query(waiting, collection))
        service.metrics.count_search(name)
        return answer(results)

    @router.post(
        "/v1/search",
        summary="Find what fits words and pictures",
        response_model=None,
        responses={**_RESULTS, **documented(404, 409)},
    )
    async def search(body: SearchBody) -> Response:
        """Searches by the look of pictures, the meaning of texts and the words in them at once.
        Where `no_good_match` is true, nothing fits and the hits are only the nearest there are."""
        name, collection = service.collection(body.collection)
        waiting = queues[name].add(body)
        try:
            return await service.searches(searched, name, collection, waiting)
        finally:
            queues[name].leave(waiting)

    def alike(body: SimilarBody) -> Response:
        _, collection = service.collection(body.collection)
        return answer(collection.search(body.to_query(service.config)))

    @router.post(
        "/v1/similar",
        summary="Find what is like something",
        response_model=None,
        responses={**_RESULTS, **documented(404, 409)},
    )
    async def similar(body: SimilarBody) -> Response:
        """What looks most like some units and pictures, those themselves left out."""
        return await service.searches(alike, body)

    return router
