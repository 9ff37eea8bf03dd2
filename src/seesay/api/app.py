"""The application: routes, what guards them, and what warms up behind them."""

from collections.abc import Callable

from seesay.errors import MissingExtraError

try:
    from fastapi import FastAPI
except ImportError:
    raise MissingExtraError("fastapi", "serve") from None

from seesay import __version__
from seesay.api.config import ServerConfig
from seesay.search.library import Library
from seesay.search.report.plain import to_plain


def create_app(
    library: Library,
    config: ServerConfig,
    *,
    mount: Callable[[FastAPI], FastAPI] | None = None,
) -> FastAPI:
    """The application that serves a library, which stays the caller's to close. `mount` adds what
    else is to be had on the same port, behind the same guard."""
    app = FastAPI(title="seesay", version=__version__, docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/collections")
    def collections() -> dict[str, object]:
        stats = [to_plain(library.get(name).stats()) for name in library.names]
        return {"collections": stats}

    @app.post("/v1/search")
    def search(body: dict[str, object]) -> object:
        return to_plain(library.get(None).search(str(body.get("query", ""))))

    return app if mount is None else mount(app)
