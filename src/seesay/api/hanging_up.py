"""A request whose client has gone is not worked on any longer.

Frameworks answer to the end, whoever still listens. Here a client that hangs up, because its page
was left or it lost patience, cancels what was begun for it; see `Work`.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

GONE = 499
"""The status under which such a request is counted (nginx's). Nobody receives it."""
_ROUTES = "/v1/"  # the page and the assistants' routes see for themselves who listens


class CancelWhenGone:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_ROUTES):
            await self._app(scope, receive, send)
            return
        # Only one may receive at a time: what arrives is handed on to the application from here.
        arrived: asyncio.Queue[Message] = asyncio.Queue(1)
        answered = False

        async def until_gone() -> None:
            while (message := await receive())["type"] != "http.disconnect":
                await arrived.put(message)

        async def sent(message: Message) -> None:
            nonlocal answered
            answered = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        answering = asyncio.ensure_future(self._app(scope, arrived.get, sent))
        listening = asyncio.ensure_future(until_gone())
        try:
            await asyncio.wait({answering, listening}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done() or answered:
                await answering
                return
        finally:  # also where this request itself is cancelled
            await _end(answering, listening)
        await send({"type": "http.response.start", "status": GONE, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _end(*tasks: "asyncio.Future[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
