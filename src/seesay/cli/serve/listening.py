"""A port to listen on, and a server that stops as people expect."""

import errno
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from seesay.cli.messages import say
from seesay.cli.output import warn
from seesay.errors import ConfigError, MissingExtraError

try:
    import uvicorn
except ModuleNotFoundError:
    raise MissingExtraError("uvicorn", "serve") from None

GRACE_S = 10  # for requests in flight when the server is told to stop


def listen(host: str, port: int) -> socket.socket:
    """A socket that holds the port from now on; whoever connects waits until all is warm. Raises
    ConfigError where it cannot be had."""
    bare = host.strip("[]")
    try:
        family, _, _, _, where = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(
            f"--host {host} cannot be listened on ({error}); expected an address of this machine; "
            "leave it out for 127.0.0.1"
        ) from error
    try:
        if os.name == "posix":  # else a restart would wait for connections of before to time out
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            reason = "is in use by another program, perhaps another seesay serve"
        else:
            reason = f"cannot be listened on ({error.strerror})"
        raise ConfigError(
            f"port {port} of {host} {reason}; expected a free one; stop that program, or choose "
            f"another: --port {port + 1 if port < 65535 else 0}"
        ) from error
    return listener


def address(host: str, port: int, token: str | None) -> str:
    """Where a browser finds the page."""
    name = host.strip("[]")
    if name in ("0.0.0.0", "::"):  # every address of this machine: name it as others would
        name = socket.gethostname()
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={quote(token, safe='')}" if token else "")


def run(app: Any, listener: socket.socket, ready: str) -> None:
    """Answer until Ctrl-C or SIGTERM, saying `ready` first; requests in flight are answered to the
    end, or for GRACE_S. A second Ctrl-C does not wait for them."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    Server(config, ready).run(sockets=[listener])
    warn(say("stopped", "已停止"))


class Server(uvicorn.Server):
    """Says when it is ready, and ends without a failure when it is told to."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._ready, flush=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again in the end, which would read as a failure.
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = {kind: signal.signal(kind, self.handle_exit) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)
