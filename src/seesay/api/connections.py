"""How long a connection may be silent, before anybody knows who is there.

The guard judges a request by its head. Until that has arrived, a connection costs a file descriptor
and nothing limits it: uvicorn waits for ever for the first request, and after one byte for every
further one. Here the head has to arrive within `timeout_s`; and of more than `max_idle` connections
without a request in hand the oldest is closed, so that however many are opened, there is room for
whoever asks something.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import h11

from seesay.api.config import ServerConfig
from seesay.api.failures import RefusedError, error_body
from seesay.errors import MissingExtraError
from seesay.text import Text

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ModuleNotFoundError:
    raise MissingExtraError("uvicorn", "serve") from None


def uvicorn_config(app: Any, config: ServerConfig, **settings: Any) -> uvicorn.Config:
    """How uvicorn is to run an application that `create_app` made."""

    class Protocol(_LimitedProtocol):
        idle = _Idle(config.timeout_s, config.max_idle)

    return uvicorn.Config(app, http=Protocol, **settings)


class _Idle:
    """The connections of a server that have no request in hand, the oldest first."""

    def __init__(self, timeout_s: float, most: int) -> None:
        self._timeout_s = timeout_s
        self._most = most
        self._known: dict[_LimitedProtocol, asyncio.TimerHandle] = {}

    def add(self, connection: "_LimitedProtocol") -> None:
        """From now on the head of a request is waited for, if it was not before."""
        if connection in self._known:
            return
        late = connection.loop.call_later(self._timeout_s, connection.refuse, self._too_late)
        self._known[connection] = late
        if len(self._known) > self._most:
            next(iter(self._known)).refuse(self._too_many)

    def remove(self, connection: "_LimitedProtocol") -> None:
        """It has a request, or will never have one."""
        if (late := self._known.pop(connection, None)) is not None:
            late.cancel()

    def _too_late(self) -> RefusedError:
        return RefusedError(
            408,
            "TooLate",
            Text(
                f"the head of the request did not arrive; expected it within {self._timeout_s:g} "
                "s; send it again",
                f"请求头没有在 {self._timeout_s:g} 秒内发送完；请重新发送",
            ),
        )

    def _too_many(self) -> RefusedError:
        return RefusedError(
            503,
            "Busy",
            Text(
                f"more than {self._most} connections wait to send a request; expected fewer; send "
                "the request as soon as there is a connection",
                f"空闲连接超过 {self._most} 个；请在建立连接后立即发送请求",
            ),
        )


class _LimitedProtocol(H11Protocol):
    """uvicorn's own protocol for HTTP, which says when it waits for a request. Of its two, the one
    that is always installed and that limits the bytes of a head."""

    idle: ClassVar[_Idle]

    def connection_made(self, transport: Any) -> None:  # uvloop's is no asyncio.Transport
        super().connection_made(transport)
        self._note_whether_idle()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._note_whether_idle()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note_whether_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.idle.remove(self)
        super().connection_lost(exc)

    def refuse(self, reason: Callable[[], RefusedError]) -> None:
        """Close the connection, and say why to a client that had begun a request."""
        self.idle.remove(self)
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            error = reason()
            body = error_body(error.kind, error.text.en)
            head = (
                f"HTTP/1.1 {error.status} {error.kind}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()

    def _note_whether_idle(self) -> None:
        upgraded = self.transport.get_protocol() is not self  # it talks WebSocket now
        has_request = self.cycle is not None and not self.cycle.response_complete
        if upgraded or has_request or self.transport.is_closing():
            self.idle.remove(self)
        else:
            self.idle.add(self)
