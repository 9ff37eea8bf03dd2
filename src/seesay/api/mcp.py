"""The collections as tools for assistants: an MCP server around `Tools`.

Assistants start it themselves and talk over stdin and stdout (`seesay mcp`), or reach it at /mcp of
`seesay serve`, behind the guard of the API.
"""

import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from seesay import __version__
from seesay.errors import MissingExtraError

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
    from mcp.server.transport_security import TransportSecuritySettings
    from mcp.types import CallToolResult, InputRequiredResult, Tool, ToolAnnotations
    from pydantic import ValidationError
    from starlette.routing import Route
    from starlette.types import Message, Receive, Scope, Send
except ModuleNotFoundError as error:
    raise MissingExtraError(str(error.name).partition(".")[0], "serve") from None

from seesay.api.config import ServerConfig
from seesay.api.failures import RefusedError, explained
from seesay.api.mcp_tools import AnswerTools, Tools

if TYPE_CHECKING:
    from fastapi import FastAPI

    from seesay.api.service import Service
    from seesay.api.work import Work
    from seesay.inference.answering import ServedAssistant
    from seesay.search.library import Library

_log = logging.getLogger("seesay.api")
PATH = "/mcp"
_SHOWN = 80  # characters of a name that is not known
_READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def build_mcp(
    library: "Library",
    *,
    most: int = 50,
    service: "Service | None" = None,
    warm_up: Callable[[], None] | None = None,
    assistant: "ServedAssistant | None" = None,
) -> MCPServer:
    """Returns the server with its tools; a search returns at most `most` results. With a `service`,
    the tools take their turn among its other requests and are counted with them. Tools that ask
    about pictures need an `assistant`, or that of the service."""
    server = _Server(
        "seesay",
        title="seesay · 看图说话",
        version=__version__,
        instructions=(
            "Searches the user's own pictures, notes and documents by content, in Chinese and "
            "English. Call search first, then show or describe with the unit of a result; or call "
            "ask for an answer with citations. "
            f"Collections: {', '.join(library.names)}; the first is the default."
        ),
        log_level="WARNING",
    )
    server.warm_up = warm_up
    tools = Tools(library, most, None if service is None else service.metrics.count_search)
    offered: list[tuple[Callable[..., Any], str, str]] = [
        (tools.search, "searches", "Search pictures and notes"),
        (tools.ask, "answers", "Ask notes and documents"),
        (tools.show, "pictures", "Show a result"),
        (tools.describe, "searches", "Describe a result"),
        (tools.duplicates, "long", "List duplicates"),
    ]
    assistant = assistant or (None if service is None else service.assistant)
    if assistant is not None:
        pixels = (ServerConfig() if service is None else service.config).max_pixels
        asking = AnswerTools(library, assistant, pixels)
        offered += [
            (asking.ask_picture, "answers", "Ask about pictures"),
            (asking.caption, "answers", "Describe pictures in a sentence"),
        ]
    for tool, name, title in offered:
        work: Work | None = None if service is None else getattr(service, name)
        called = tool if work is None else _in_turn(tool, work)
        server.add_tool(called, title=title, annotations=_READS)
    return server


class _Server(MCPServer[Any]):
    """Whatever goes wrong is told as everywhere in seesay, not in the words of a library."""

    warm_up: Callable[[], None] | None = None
    """What is prepared, once, behind the back of an assistant that has read the tools."""

    async def list_tools(self) -> list[Tool]:
        warm_up, self.warm_up = self.warm_up, None
        if warm_up is not None:
            threading.Thread(target=_try, args=(warm_up,), daemon=True).start()
        return await super().list_tools()

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Any = None
    ) -> CallToolResult | InputRequiredResult:
        arguments = _renamed(name, arguments)
        tools = {tool.name: tool.input_schema["properties"] for tool in await self.list_tools()}
        if name not in tools:
            known = ", ".join(tools)
            raise ToolError(
                f"there is no tool {name[:_SHOWN]!r}; expected one of {known}; call one of these"
            )
        if unknown := sorted(arguments.keys() - tools[name].keys()):
            told, known = ", ".join(unknown)[:_SHOWN], ", ".join(tools[name])
            raise ToolError(f"{name} was given {told!r}; expected only {known}; leave it out")
        try:
            return await super().call_tool(name, arguments, context)
        except UnexpectedToolError as error:
            raise UnexpectedToolError(
                f"the server failed in {name}; expected an answer; try other arguments, or "
                "look into the server's log"
            ) from error.__cause__
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                told = explained(error.__cause__.errors(include_url=False))
                message = f"{told}; expected what the input schema of {name} says; correct it"
                raise ToolError(message) from error
            raise ToolError(str(error.__cause__ or error)) from error


def _try(warm_up: Callable[[], None]) -> None:
    try:
        warm_up()
    except Exception:
        _log.debug("warming up failed", exc_info=True)  # a search that needs it says why


def _renamed(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `search` by the names that version 0.1 gave them."""
    if tool != "search":
        return arguments
    named = dict(arguments)
    if "words" in named and "query" not in named:
        named["query"] = named.pop("words")
    if "folder" in named and "folders" not in named:
        folder = named.pop("folder")
        named["folders"] = [] if folder is None else [folder]
    return named


def _in_turn(tool: Callable[..., Any], work: "Work") -> Callable[..., Any]:
    """A tool that is called in the threads of `work`; where these have too much to do already, or
    it takes too long, the assistant is told so."""

    @wraps(tool)
    async def called(**arguments: Any) -> Any:
        try:
            return await work(partial(tool, **arguments))
        except RefusedError as error:
            raise ToolError(error.text.en) from error

    return called


def _reworded(send: Send) -> Send:
    """Says in our words that a request is no message of the protocol; the library repeats all that
    pydantic has tried to read it as."""
    held: list[Message] = []

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 400:
            held.append(message)
            return
        if held:
            start, body = held.pop(), _without_pydantic(message.get("body", b""))
            length = (b"content-length", str(len(body)).encode())
            kept = [header for header in start["headers"] if header[0] != length[0]]
            await send({**start, "headers": [*kept, length]})
            message = {**message, "body": body}
        await send(message)

    return sent


def _without_pydantic(body: bytes) -> bytes:
    answer = json.loads(body)
    reason = answer["error"]["message"].partition(":")[0]
    wrong = {"Parse error": "the body is not JSON", "Validation error": "the body is no message"}
    if reason not in wrong:
        return body
    message = (
        f"{wrong[reason]}; expected one of JSON-RPC 2.0 with jsonrpc, id and method; correct it"
    )
    return json.dumps({**answer, "error": {**answer["error"], "message": message}}).encode()


def mount_mcp(app: "FastAPI", server: MCPServer, *, max_body_bytes: int = 1 << 20) -> "FastAPI":
    """Let `app` answer MCP at PATH, behind whatever guards `app`. Every request stands for itself:
    no session is kept, so that nothing grows and a restart is not noticed."""
    inner = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=max_body_bytes,
        # Host and Origin are the guard's: it knows by which names this server may be called.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    (route,) = (one for one in inner.routes if isinstance(one, Route) and one.path == PATH)
    answered = route.app

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = route  # as FastAPI does for its own: figures are kept by route
        await answered(scope, receive, _reworded(send))

    route.app = named
    route.methods = {"GET", "POST", "DELETE"}  # else a page below would take the others
    app.router.routes.append(route)
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: "FastAPI") -> AsyncIterator[Any]:
        async with before(app) as state, server.session_manager.run():
            yield state

    app.router.lifespan_context = lifespan
    return app
