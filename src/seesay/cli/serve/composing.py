"""One application of what is served: the API, the page, MCP."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from seesay.api.config import ServerConfig
    from seesay.api.service import Service
    from seesay.search.library import Library


def compose(library: "Library", config: "ServerConfig", page: bool = True) -> "FastAPI":
    """Everything on one port, behind one guard. Raises MissingExtraError where a package for
    serving is missing."""
    from seesay.api.app import create_app
    from seesay.api.mcp import build_mcp, mount_mcp

    def mount(app: "FastAPI", service: "Service") -> "FastAPI":
        app = mount_mcp(app, build_mcp(library, most=config.max_count, service=service))
        if not page:
            return app
        from seesay.web.page import build_page
        from seesay.web.page import mount as mount_page

        searched = service.metrics.searched
        jobs = None if config.read_only else service.jobs
        built = build_page(library, jobs=jobs, searched=searched)
        return mount_page(app, built)

    return create_app(library, config, mount=mount)
