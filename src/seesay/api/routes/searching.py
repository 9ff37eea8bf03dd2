"""Search, and what is like something."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Response

from seesay.api.bodies import SearchBody, SimilarBody
from seesay.api.documents import answer, model_of
from seesay.api.failures import documented
from seesay.api.queue import SearchQueue, Waiting
from seesay.api.service import Service
from seesay.search.asking.results import Results
from seesay.search.collection import Collection

_RESULTS: dict[int | str, dict[str, Any]] = {
    200: {"model": model_of(Results), "description": "The hits, the best first."}
}


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
