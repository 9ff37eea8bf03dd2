"""A real server on loopback, in a thread of this process or in a process of its own."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

from seesay.api.app import create_app
from seesay.api.config import ServerConfig
from seesay.api.connections import uvicorn_config
from seesay.search.library import Library

PATIENCE_S = 300  # the machine may be slow and busy
DEFAULT = ServerConfig()


class Live:
    """A server that runs: its address, and the server itself."""

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.server, self.port = server, port
        self.url = f"http://127.0.0.1:{port}"
        self.stopped = threading.Event()

    def stop_working(self) -> None:
        """What `seesay serve` does with requests that are not answered in time when it stops."""
        self.server.config.app.state.stop()


@contextmanager
def live(app: FastAPI, config: ServerConfig = DEFAULT, **settings: object) -> Iterator[Live]:
    """The application behind a real socket; stopped in good order at the end of the block."""
    settings = {"port": 0, "log_level": "error", "ws": "none", **settings}
    server = uvicorn.Server(uvicorn_config(app, config, timeout_graceful_shutdown=10, **settings))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    running = Live(server, server.servers[0].sockets[0].getsockname()[1])
    try:
        yield running
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@contextmanager
def serving(*folders: Path, **settings: object) -> Iterator[Live]:
    """A server over these collections, warmed up."""
    config = ServerConfig(**settings)
    with Library.open(folders) as library, live(create_app(library, config), config) as up:
        headers = {"authorization": f"Bearer {settings.get('token')}"}
        until(lambda: httpx.get(f"{up.url}/ready", headers=headers).status_code == 200)
        yield up


@contextmanager
def process(*folders: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The same in a process, which may be killed; yields it and its address."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "tests"])}
    code = "import sys, live_server; live_server.run_here(sys.argv[1:])"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, folders)],
        env=environment,
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline().strip()
    finally:
        child.kill()
        child.communicate()


def run_here(folders: list[str]) -> None:
    """What that process does: says its address and waits to be stopped."""
    with Library.open([Path(one) for one in folders]) as library:
        library.warm_up()
        with live(create_app(library, ServerConfig())) as up:
            sys.stdout.write(f"{up.url}\n")
            sys.stdout.flush()
            while True:
                time.sleep(3600)


def until(is_so: "object", patience_s: float = PATIENCE_S) -> None:
    """Wait for something to become true."""
    deadline, pause = time.monotonic() + patience_s, 0.02
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if is_so():  # type: ignore[operator]
                return
        time.sleep(pause)
        pause = min(2 * pause, 0.3)  # questions in a row would slow down the server they go to
    raise AssertionError(f"it did not come about within {patience_s} s")
