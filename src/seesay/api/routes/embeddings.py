"""Embeddings in the form that the `openai` client knows: texts, and pictures as data URLs."""

import base64
from dataclasses import dataclass
from typing import Literal

import numpy as np
from fastapi import APIRouter, Response

from seesay.api.bodies import EmbeddingsBody, is_picture, read_data_url
from seesay.api.documents import answer, model_of
from seesay.api.failures import RefusedError, documented
from seesay.api.service import Service
from seesay.errors import ConfigError
from seesay.inference.embedder import Embedder, Embeddings
from seesay.text import Text, to_unicode
from seesay.weights.catalog import find


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """One vector, of length 1."""

    object: Literal["embedding"] = "embedding"
    index: int
    """Of the input, from 0."""
    embedding: list[float] | str
    """The numbers, or the base64 of little-endian float32."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What was read."""

    prompt_tokens: int
    """Tokens of all texts; pictures have none."""
    total_tokens: int


@dataclass(frozen=True, kw_only=True)
class EmbeddingList:
    """The vectors, in the order of the inputs."""

    object: Literal["list"] = "list"
    data: tuple[Embedding, ...]
    model: str
    usage: Usage


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "seesay"


@dataclass(frozen=True, kw_only=True)
class ModelList:
    """Every model that is served."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


def embedding_routes(service: Service) -> APIRouter:
    """POST /v1/embeddings and GET /v1/models."""
    router = APIRouter(tags=["embeddings"])

    def embedded(body: EmbeddingsBody) -> Response:
        inputs = body.inputs
        name, embedder = _model(service, body.model)
        dimensions = _dimensions(name, embedder.dim, body.dimensions)
        vectors = _cut(_vectors(embedder, inputs, service.config.max_pixels), dimensions)
        data = tuple(
            Embedding(index=index, embedding=_encoded(vector, body.encoding_format))
            for index, vector in enumerate(vectors)
        )
        tokens = _token_count(embedder, [text for text in inputs if not is_picture(text)])
        usage = Usage(prompt_tokens=tokens, total_tokens=tokens)
        return answer(EmbeddingList(data=data, model=name, usage=usage))

    @router.post(
        "/v1/embeddings",
        summary="Turn texts and pictures into vectors",
        response_model=None,
        responses={
            200: {"model": model_of(EmbeddingList), "description": "A vector for each input."},
            **documented(404),
        },
    )
    async def embeddings(body: EmbeddingsBody) -> Response:
        """Takes what OpenAI's clients send. Texts and pictures share one space: the cosine of their
        vectors says how well they fit."""
        body.check(service.config)
        return await service.embeddings(embedded, body)

    @router.get(
        "/v1/models",
        summary="List the models",
        response_model=None,
        responses={
            200: {"model": model_of(ModelList), "description": "The default one's first."},
            **documented(),
        },
    )
    async def models() -> Response:
        """The models of the collections that are served, for embeddings, and after them the
        assistant, for chat; no other can be asked for."""
        names = [*_served(service), *([service.assistant.name] if service.assistant else ())]
        return answer(ModelList(data=tuple(Model(id=to_unicode(name)) for name in names)))

    return router


def _served(service: Service) -> dict[str, str]:
    """The collection of each model, by the name of the model; a folder's is its last part."""
    served: dict[str, str] = {}
    for name in service.library.names:
        model = to_unicode(service.library.get(name).model.name)
        served.setdefault(model.replace("\\", "/").rstrip("/").rpartition("/")[2], name)
    return served


def _model(service: Service, asked: str) -> tuple[str, Embedder]:
    served, entry = _served(service), find(asked)
    for name in (asked, "" if entry is None else entry.alias):
        if name in served:
            return name, service.library.get(served[name]).model.get()
    raise RefusedError(
        404,
        "UnknownModel",
        Text(
            f"the model {asked[:80]!r} is not served here, expected one of {', '.join(served)}; "
            "name one of these",
            f"这里不提供模型 {asked[:80]!r}；应为 {'、'.join(served)} 之一",
        ),
    )


def _vectors(embedder: Embedder, inputs: list[str], max_pixels: int) -> np.ndarray:
    pictures = [i for i, one in enumerate(inputs) if is_picture(one)]
    texts = [i for i, one in enumerate(inputs) if not is_picture(one)]
    files = [read_data_url(inputs[i], max_pixels) for i in pictures]
    vectors = np.empty((len(inputs), embedder.dim), np.float32)
    if texts:
        vectors[texts] = _whole(embedder.embed_texts([inputs[i] for i in texts]))
    if pictures:
        vectors[pictures] = _whole(embedder.embed_images(files))
    return vectors


def _dimensions(name: str, dim: int, asked: int | None) -> int:
    """Raises ConfigError for a number that vectors of this model cannot have."""
    entry = find(name)
    smallest = (0 if entry is None else entry.smallest_dim) or dim
    if asked is not None and not smallest <= asked <= dim:
        if smallest == dim:
            why = Text(
                f"expected {dim}, since {name} was not trained to have its vectors cut",
                f"应为 {dim}，因为 {name} 没有为截短向量训练过",
            )
        else:
            why = Text(
                f"expected {smallest} to {dim}, for which {name} was trained",
                f"{name} 训练时支持 {smallest} 到 {dim}",
            )
        raise ConfigError(
            Text(
                f"dimensions is {asked}; {why.en}; leave it out",
                f"dimensions 为 {asked}；{why.zh}；请不要写这一项",
            )
        )
    return asked or dim


def _cut(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """The first numbers of each, brought back to length 1."""
    if dimensions == vectors.shape[1]:
        return vectors
    part = vectors[:, :dimensions]
    lengths: np.ndarray = np.linalg.norm(part, axis=1, keepdims=True)
    return part / np.maximum(lengths, np.finfo(np.float32).tiny)


def _whole(found: Embeddings) -> np.ndarray:
    for failure in found.failures:
        raise failure.error
    return found.vectors


def _encoded(vector: np.ndarray, form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return vector.tolist()


def _token_count(embedder: Embedder, texts: list[str]) -> int:
    if not texts:
        return 0
    ids = embedder.tokenizer.encode(texts).ids
    padding = (ids == embedder.tokenizer.config.pad_id)[:, ::-1].cumprod(axis=1).sum()
    return int(ids.size - padding)
