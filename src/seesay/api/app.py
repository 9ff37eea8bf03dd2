"""The application: routes, access checks, and loading in the background."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from seesay.errors import MissingExtraError

try:
    from fastapi import FastAPI
except ModuleNotFoundError:
    raise MissingExtraError("fastapi", "serve") from None

from seesay import __version__
from seesay.api.config import ServerConfig
from seesay.api.documents import add_docs_page
from seesay.api.failures import Methods, add_handlers
from seesay.api.guard import Guard
from seesay.api.metrics import Measured
from seesay.api.routes.answers import answer_routes
from seesay.api.routes.chat import chat_routes
from seesay.api.routes.collections import collection_routes
from seesay.api.routes.embeddings import embedding_routes
from seesay.api.routes.labels import label_routes
from seesay.api.routes.searching import search_routes
from seesay.api.routes.server import server_routes
from seesay.api.routes.units import passage_routes
from seesay.api.service import Service
from seesay.api.work import CancelWhenGone
from seesay.inference.answering import ServedAssistant
from seesay.search.library import Library

_log = logging.getLogger("seesay.api")
_ROUTES = (
    *(search_routes, answer_routes, collection_routes, passage_routes),
    *(embedding_routes, label_routes, chat_routes, server_routes),
)
_ABOUT = """Find pictures and texts by words and by pictures, in Chinese and English.

Where the server has a token, every request brings it: `Authorization: Bearer TOKEN`. Every answer
that is not what was asked for is `{"error": {"type": ..., "message": ...}}`. Pictures are sent as
data URLs, and no address is fetched, but for pictures of a conversation from hosts that the server
was started with. Only what is to be indexed is named by its path, and only in
folders that the collection has or the server was started with."""


def create_app(
    library: Library,
    config: ServerConfig,
    *,
    assistant: ServedAssistant | None = None,
    mount: Callable[[FastAPI, Service], FastAPI] | None = None,
) -> FastAPI:
    """The application that serves a library, which stays the caller's to close, and an assistant
    that answers questions about pictures. `mount` adds what
    else is to be had on the same port, behind the same guard and with the same threads. Run it with
    `uvicorn_config`, which sets the limits of connections; `app.state.stop` gives up what is being
    done."""
    service = Service(library, config, assistant)
    app = FastAPI(
        title="seesay",
        version=__version__,
        description=_ABOUT,
        docs_url=None,  # its page would load scripts from elsewhere; see `add_docs_page`
        redoc_url=None,
        lifespan=_running(service),
    )
    routers = [routes(service) for routes in _ROUTES]
    for router in routers:
        app.include_router(router)
    add_docs_page(app)
    add_handlers(app)
    app.add_middleware(Methods, routes=[app.router.routes, *(router.routes for router in routers)])
    app.add_middleware(Guard, config=config)
    app.add_middleware(CancelWhenGone)
    app.add_middleware(
        Measured, metrics=service.metrics
    )  # outermost, so that it counts refusals too
    app.state.stop = service.stop
    return app if mount is None else mount(app, service)


def _running(service: Service) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.get_running_loop().run_in_executor(None, _warm_up, service)
        yield
        await warming
        await asyncio.to_thread(service.close)

    return lifespan


def _warm_up(service: Service) -> None:
    try:
        service.warm_up()
    except Exception:
        _log.exception("warming up failed")
