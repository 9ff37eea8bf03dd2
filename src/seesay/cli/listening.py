"""A port to listen on, and a server that stops as people expect."""

import asyncio
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from seesay.cli.output import say, warn
from seesay.errors import ConfigError, MissingExtraError
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.api.config import ServerConfig

try:
    import uvicorn
except ModuleNotFoundError:
    raise MissingExtraError("uvicorn", "serve") from None


GRACE_S = 10  # for requests in flight when the server is told to stop
GIVING_UP_S = 5  # for those that were not answered by then, to be told so
LAST_S = 25  # for everything; examples/seesay.service allows 30


def listen(host: str, port: int) -> socket.socket:
    """A socket that reserves the port at once; clients wait until everything is loaded. Raises
    ConfigError if the port is not available."""
    bare = host.strip("[]")
    try:
        family, _, _, _, where = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(_no_address(host, error)) from error
    try:
        if os.name == "posix":  # else a restart would wait for earlier connections to time out
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConfigError(_no_port(host, port, error)) from error
    return listener


def _no_address(host: str, error: OSError) -> Text:
    return Text(
        f"--host {host} cannot be listened on ({error.strerror}); expected an address of this "
        "machine; leave it out for 127.0.0.1",
        f"--host {host} 无法监听（{error.strerror}）；应为本机的地址；不写则为 127.0.0.1",
    )


def _no_port(host: str, port: int, error: OSError) -> Text:
    """Another port helps only where this one is taken, or is for the system alone."""
    other = port + 1 if port < 65535 else 0
    if error.errno == errno.EADDRINUSE:
        return Text(
            f"port {port} of {host} is in use by another program, perhaps another seesay serve; "
            f"expected a free one; stop that program, or choose another: --port {other}",
            f"{host} 的端口 {port} 已被其他程序占用，也许是另一个 seesay serve；应为空闲的端口；"
            f"请停止那个程序，或换一个：--port {other}",
        )
    if error.errno == errno.EACCES:
        return Text(
            f"port {port} is for the system alone ({error.strerror}); expected one from 1024 on; "
            "leave it out for 8484",
            f"端口 {port} 只有系统能用（{error.strerror}）；应不小于 1024；不写则为 8484",
        )
    return _no_address(host, error)


def address(host: str, port: int, token: str | None) -> str:
    """The page's address for a browser."""
    name = host.strip("[]")
    if name in ("0.0.0.0", "::"):  # every address of this machine: name it as others would
        name = socket.gethostname()
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={quote(token, safe='')}" if token else "")


def run(app: Any, config: "ServerConfig", listener: socket.socket, ready: str) -> None:
    """Answer until Ctrl-C or SIGTERM, saying `ready` first; requests in flight are answered to the
    end, or for GRACE_S. A second Ctrl-C does not wait for them."""
    from seesay.api.connections import uvicorn_config

    settings = uvicorn_config(
        app,
        config,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S + GIVING_UP_S,
    )
    Server(settings, ready).run(sockets=[listener])
    warn(say("stopped", "已停止"))


def _end_at_last() -> None:
    """Whatever a thread is at, in code that cannot be interrupted: the process ends, as it may at
    any time without a loss."""
    warn(
        say(
            f"stopped after {LAST_S} s, though something was still being done",
            f"等待 {LAST_S} 秒后已停止，尚有操作未完成",
        )
    )
    sys.stderr.flush()
    os._exit(1)


class Server(uvicorn.Server):
    """Says when it is ready, and ends without a failure when it is told to."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._ready, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        last = threading.Timer(LAST_S, _end_at_last)
        last.daemon = True
        last.start()
        # Open pages hold streams that would otherwise be waited for to the end of GRACE_S.
        state: Any = self.config.app.state  # type: ignore[union-attr]
        getattr(state, "end_streams", lambda: None)()
        asyncio.get_running_loop().call_later(GRACE_S, state.stop)
        await super().shutdown(sockets)

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
