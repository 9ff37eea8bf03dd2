"""Collections: which there are, what they hold, and bringing them up to date."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Path, Request, Response

from seesay.api.bodies import IndexBody
from seesay.api.documents import answer, model_of
from seesay.api.failures import documented
from seesay.api.jobs import IndexingStatus
from seesay.api.service import Service
from seesay.search.statistics import Facets, Statistics

Name = Annotated[str, Path(description="The name of a collection.", max_length=200)]
_STATUS = {"model": model_of(IndexingStatus), "description": "How far it has come."}


@dataclass(frozen=True, kw_only=True)
class CollectionSummary:
    """A collection that is served."""

    name: str
    is_default: bool
    """Whether it is used where a request names none."""
    model: str
    read_only: bool
    statistics: Statistics


@dataclass(frozen=True, kw_only=True)
class CollectionList:
    """All that are served."""

    collections: tuple[CollectionSummary, ...]


@dataclass(frozen=True, kw_only=True)
class CollectionDetails(CollectionSummary):
    """A collection, and what it can be filtered by."""

    facets: Facets


def collection_routes(service: Service) -> APIRouter:
    """/v1/collections and below."""
    router = APIRouter(tags=["collections"])
    _add_reading(router, service)
    _add_indexing(router, service)
    return router


def _add_reading(router: APIRouter, service: Service) -> None:
    @router.get(
        "/v1/collections",
        summary="List the collections",
        response_model=None,
        responses={
            200: {"model": model_of(CollectionList), "description": "The default one first."},
            **documented(),
        },
    )
    async def collections() -> Response:
        """Every collection that this server serves, in numbers."""
        return await service.long(listed)

    def listed() -> Response:
        names = service.library.names
        return answer(CollectionList(collections=tuple(_summary(service, one) for one in names)))

    @router.get(
        "/v1/collections/{name}",
        summary="Tell of a collection",
        response_model=None,
        responses={
            200: {"model": model_of(CollectionDetails), "description": "The collection."},
            **documented(404),
        },
    )
    async def collection(name: Name) -> Response:
        """What it holds, and what searches in it can be filtered by."""
        return await service.long(detailed, name)

    def detailed(name: str) -> Response:
        _, known = service.collection(name)
        summary = vars(_summary(service, name))
        return answer(CollectionDetails(**summary, facets=known.facets()))


def _add_indexing(router: APIRouter, service: Service) -> None:
    @router.post(
        "/v1/collections/{name}/index",
        summary="Bring a collection up to date",
        status_code=202,
        response_model=None,
        responses={202: _STATUS, **documented(404, 409, 507)},
    )
    async def index(
        request: Request, name: Name, body: Annotated[IndexBody | None, Body()] = None
    ) -> Response:
        """Looks through the folders that the collection knows, or through those named, in the
        background: takes in what is new or changed, and removes what is gone. Only folders that the
        collection has already, and those that the server was started with (`--allow-folder`), may
        be named; a link that leads out of them is not followed, and no address is fetched."""
        service.writable(request, name)
        return await service.long(begun, name, body or IndexBody())

    def begun(name: str, body: IndexBody) -> Response:
        return answer(service.jobs.index(name, body.paths, archives=body.archives), 202)

    @router.get(
        "/v1/collections/{name}/index",
        summary="Tell how far indexing has come",
        response_model=None,
        responses={200: _STATUS, **documented(404)},
    )
    async def progress(name: Name) -> Response:
        """Of the last run that was begun through this server."""
        service.collection(name)
        return answer(service.jobs.status(name, IndexingStatus))

    @router.delete(
        "/v1/collections/{name}/index",
        summary="Cancel indexing",
        status_code=202,
        response_model=None,
        responses={202: _STATUS, **documented(404)},
    )
    async def cancel(request: Request, name: Name) -> Response:
        """Ends the run after what is at hand has been stored; the next one goes on from there."""
        service.writable(request, name)
        return answer(service.jobs.cancel(name, IndexingStatus), 202)


def _summary(service: Service, name: str) -> CollectionSummary:
    collection = service.library.get(name)
    return CollectionSummary(
        name=name,
        is_default=name == service.library.names[0],
        model=collection.model.name,
        read_only=service.config.read_only or collection.store.read_only,
        statistics=collection.stats(),
    )
