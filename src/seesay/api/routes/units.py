"""Units by their numbers: what is known of them, their thumbnails, and what is there twice."""

import hashlib
import os
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse

from seesay.api.bodies import RemoveBody
from seesay.api.documents import answer, model_of
from seesay.api.failures import RefusedError, documented
from seesay.api.service import Service
from seesay.errors import CollectionBusyError, CollectionDamagedError, CollectionError
from seesay.search.asking.duplicates import Duplicates
from seesay.search.asking.likeness import THRESHOLD
from seesay.search.description import Description
from seesay.search.thumbnails import SIZES
from seesay.text import Text

Unit = Annotated[int, Path(description="The number of a unit.", ge=1, le=2**63 - 1)]
Name = Annotated[
    str | None,
    Query(description="The name of a collection; without it the default one.", max_length=200),
]
Size = Annotated[
    int,
    Query(description=f"Longest side in pixels: {', '.join(map(str, SIZES[:-1]))}.", ge=1, le=1024),
]
PictureSize = Annotated[
    int,
    Query(description=f"Longest side in pixels: {', '.join(map(str, SIZES))}.", ge=1, le=SIZES[-1]),
]
Known = Annotated[str | None, Header(alias="if-none-match", max_length=1000)]
_WEBP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/webp": {}}, "description": "A WebP picture."},
    304: {"description": "The picture that the client has is still right."},
    **documented(404),
}
_VIDEOS = {
    **{ending: "video/mp4" for ending in (".mp4", ".m4v", ".mov", ".3gp", ".3g2")},
    **{".webm": "video/webm", ".mkv": "video/x-matroska", ".ogv": "video/ogg"},
}
"""Types that browsers play; a MOV plays as MP4."""
Threshold = Annotated[
    float, Query(description="Least similarity of pictures that are copies.", gt=0, le=1)
]
Exact = Annotated[bool, Query(description="Only files of the same content.")]
Count = Annotated[int, Query(description="How many groups to answer with.", ge=1, le=1000)]
Offset = Annotated[int, Query(description="How many to leave out before.", ge=0, le=10**9)]


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What was taken out of a collection."""

    files: int
    """How many; they stay where they are on the disk."""


def passage_routes(service: Service) -> APIRouter:
    """/v1/units with its pictures and videos, /v1/thumbnails, /v1/duplicates and /v1/remove."""
    router = APIRouter(tags=["units"])
    _add_units(router, service)
    _add_thumbnails(router, service)
    _add_videos(router, service)
    _add_duplicates(router, service)
    _add_remove(router, service)
    return router


def _add_units(router: APIRouter, service: Service) -> None:
    def described(unit: int, name: str | None) -> Response:
        _, collection = service.collection(name)
        try:
            return answer(collection.describe(unit))
        except CollectionError as error:
            raise _not_found(error) from error

    @router.get(
        "/v1/units/{unit}",
        summary="Tell all of a unit",
        response_model=None,
        responses={
            200: {"model": model_of(Description), "description": "The unit."},
            **documented(404),
        },
    )
    async def unit(unit: Unit, collection: Name = None) -> Response:
        """Its file, text, metadata, and what looks nearly the same."""
        return await service.searches(described, unit, collection)


def _add_thumbnails(router: APIRouter, service: Service) -> None:
    def shrunk(unit: int, size: int, name: str | None, known: str | None) -> Response:
        _, collection = service.collection(name)
        try:
            picture = collection.thumbnail(unit, size)
        except CollectionError as error:
            raise _not_found(error) from error
        tag = f'"{hashlib.sha256(picture).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
        if known is not None and tag in known:
            return Response(None, 304, headers)
        return Response(picture, 200, headers, media_type="image/webp")

    @router.get(
        "/v1/thumbnails/{unit}",
        summary="Show a unit",
        response_class=Response,
        responses=_WEBP,
    )
    async def thumbnail(
        unit: Unit,
        size: Size = 256,
        collection: Name = None,
        known: Known = None,
    ) -> Response:
        """A small picture of a picture; of a text there is none."""
        return await service.pictures(shrunk, unit, size, collection, known)

    @router.get(
        "/v1/units/{unit}/picture",
        summary="Show a unit at a size to look at",
        response_class=Response,
        responses=_WEBP,
    )
    async def picture(
        unit: Unit, size: PictureSize = SIZES[-1], collection: Name = None, known: Known = None
    ) -> Response:
        """A picture, encoded anew and without its metadata; never the file itself."""
        return await service.pictures(shrunk, unit, size, collection, known)


def _add_videos(router: APIRouter, service: Service) -> None:
    def found(unit: int, name: str | None) -> str:
        _, collection = service.collection(name)
        try:
            return str(collection.video(unit))
        except CollectionError as error:
            raise _not_found(error) from error

    @router.get(
        "/v1/units/{unit}/video",
        summary="Play the video of a moment",
        response_class=FileResponse,
        responses={
            200: {"content": {"video/*": {}}, "description": "The video file."},
            206: {"content": {"video/*": {}}, "description": "The range that was asked for."},
            416: {"description": "The range is not in the file."},
            **documented(404),
        },
    )
    async def video(unit: Unit, collection: Name = None) -> FileResponse:
        """The file itself, whole or a range of its bytes; its name and place are not told."""
        path = await service.pictures(found, unit, collection)
        media_type = _VIDEOS.get(os.path.splitext(path)[1].lower(), "application/octet-stream")
        headers = {"Cache-Control": "private, max-age=3600"}
        return FileResponse(path, headers=headers, media_type=media_type)


def _add_duplicates(router: APIRouter, service: Service) -> None:
    def found(name: str | None, threshold: float, exact: bool, count: int, offset: int) -> Response:
        _, collection = service.collection(name)
        return answer(collection.duplicates(threshold=threshold, exact=exact).page(offset, count))

    @router.get(
        "/v1/duplicates",
        summary="Find what is there more than once",
        response_model=None,
        responses={
            200: {"model": model_of(Duplicates), "description": "Groups of files."},
            **documented(404),
        },
    )
    async def duplicates(
        collection: Name = None,
        threshold: Threshold = THRESHOLD,
        exact: Exact = False,
        count: Count = 100,
        offset: Offset = 0,
    ) -> Response:
        """Files of the same content, and pictures that show the same, the best of a group first.
        Only a file of which `keep` is false may go."""
        return await service.long(found, collection, threshold, exact, count, offset)


def _add_remove(router: APIRouter, service: Service) -> None:
    def removed(name: str, body: RemoveBody) -> Response:
        _, collection = service.collection(name)
        folders = [folder for folder in body.folders if os.path.isabs(folder)]
        if len(folders) < len(body.folders) or not (folders or body.units):
            raise RefusedError(
                400,
                "ConfigError",
                Text(
                    "the request names nothing, or a folder without its full path; expected units "
                    "or full paths of folders; take them from a hit of /v1/search",
                    "请求没有指定任何内容，或文件夹不是完整路径；应为 units 或文件夹的完整路径；"
                    "可从 /v1/search 的结果中取得",
                ),
            )
        try:
            return answer(Removed(files=collection.remove(folders, units=body.units)))
        except CollectionError as error:
            raise _not_found(error) from error

    @router.post(
        "/v1/remove",
        summary="Take files out of a collection",
        response_model=None,
        responses={
            200: {"model": model_of(Removed), "description": "How many went."},
            **documented(404, 409, 507),
        },
    )
    async def remove(request: Request, body: RemoveBody) -> Response:
        """Forgets files and all that is known of them; no file is deleted. Indexing leaves them out
        from now on, until one is named to it."""
        name, _ = service.writable(request, body.collection)
        return await service.long(removed, name, body)


def _not_found(error: CollectionError) -> Exception:
    """Where a unit was asked for, most that goes wrong means that it is not there."""
    if isinstance(error, CollectionBusyError | CollectionDamagedError):
        return error
    return RefusedError(404, "NotFound", error.text)
