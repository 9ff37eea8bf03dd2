"""Labels: which of them fits a picture that is sent, and tags for the pictures of a collection."""

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from seesay.api.bodies import ClassifyBody, TagsBody, read_data_url
from seesay.api.documents import answer, model_of
from seesay.api.failures import documented
from seesay.api.jobs import TaggingStatus
from seesay.api.routes.units import Name
from seesay.api.service import Service
from seesay.inference.classifier import Prediction, ZeroShotClassifier

_STATUS = {"model": model_of(TaggingStatus), "description": "How far it has come."}


@dataclass(frozen=True, kw_only=True)
class Classification:
    """What fits each picture, in the order in which they came."""

    model: str
    predictions: tuple[Prediction, ...]


def label_routes(service: Service) -> APIRouter:
    """/v1/classify and /v1/tags."""
    router = APIRouter(tags=["labels"])
    _add_classify(router, service)
    _add_tags(router, service)
    return router


def _add_classify(router: APIRouter, service: Service) -> None:
    def classified(body: ClassifyBody) -> Response:
        _, collection = service.collection(body.collection)
        images = [read_data_url(url, service.config.max_pixels) for url in body.images]
        embedder = collection.model.get()
        classifier = ZeroShotClassifier(
            embedder, body.labels, templates=body.templates, none_above=body.none_above
        )
        found = classifier.classify(images, top=body.top)
        for failure in found.failures:
            raise failure.error
        return answer(Classification(model=collection.model.name, predictions=found.predictions))

    @router.post(
        "/v1/classify",
        summary="Choose labels for pictures",
        response_model=None,
        responses={
            200: {"model": model_of(Classification), "description": "A prediction for each."},
            **documented(404),
        },
    )
    async def classify(body: ClassifyBody) -> Response:
        """Says which label fits each picture best, or that none of them does. Nothing is stored."""
        return await service.embeddings(classified, body)


def _add_tags(router: APIRouter, service: Service) -> None:
    def begun(name: str, body: TagsBody) -> Response:
        return answer(service.jobs.tag(name, body.labels, body.filter()), 202)

    @router.post(
        "/v1/tags",
        summary="Tag the pictures of a collection",
        status_code=202,
        response_model=None,
        responses={202: _STATUS, **documented(404, 409)},
    )
    async def tags(request: Request, body: TagsBody) -> Response:
        """Gives pictures those of the labels that fit, in the background; their former tags go.
        Searches find them with the condition tag=LABEL."""
        name, _ = service.writable(request, body.collection)
        return await service.long(begun, name, body)

    @router.get(
        "/v1/tags",
        summary="Tell how far tagging has come",
        response_model=None,
        responses={200: _STATUS, **documented(404)},
    )
    async def progress(collection: Name = None) -> Response:
        """Of the last run that was begun through this server."""
        name, _ = service.collection(collection)
        return answer(service.jobs.status(name, TaggingStatus))

    @router.delete(
        "/v1/tags",
        summary="Cancel tagging",
        status_code=202,
        response_model=None,
        responses={202: _STATUS, **documented(404)},
    )
    async def cancel(request: Request, collection: Name = None) -> Response:
        """Ends the run after the pictures at hand; tags that were given stay."""
        name, _ = service.writable(request, collection)
        return answer(service.jobs.cancel(name, TaggingStatus), 202)
