"""Collections: which there are, what they hold, and bringing them up to date."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Response

from seesay.api.documents import answer, model_of
from seesay.api.failures import RefusedError, documented
from seesay.api.indexing import IndexingStatus
from seesay.api.service import Service
from seesay.search.report.facets import Facets
from seesay.search.report.statistics import Statistics

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
    async def index(name: Name) -> Response:
        """Looks through the folders that the collection knows, in the background: takes in what is
        new or changed, and removes what is gone. New folders are added on the machine itself."""
        return await service.long(begun, name)

    def begun(name: str) -> Response:
        _, known = service.collection(name)
        if service.config.read_only or known.store.read_only:
            raise RefusedError(
                403,
                "ReadOnly",
                "this server only reads, expected one that may change collections; index on the "
                "machine itself, or start the server without --read-only",
            )
        return answer(service.indexing.start(name), 202)

    @router.get(
        "/v1/collections/{name}/index",
        summary="Tell how far indexing has come",
        response_model=None,
        responses={200: _STATUS, **documented(404)},
    )
    async def progress(name: Name) -> Response:
        """Of the last run that was begun through this server."""
        service.collection(name)
        return answer(service.indexing.status(name))


def _summary(service: Service, name: str) -> CollectionSummary:
    collection = service.library.get(name)
    return CollectionSummary(
        name=name,
        is_default=name == service.library.names[0],
        model=collection.model.name,
        read_only=service.config.read_only or collection.store.read_only,
        statistics=collection.stats(),
    )
