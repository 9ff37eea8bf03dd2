"""Servers of vectors, started for tests."""

import gc
import socket
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

READY_S = 300  # a server that lives is waited for; one that ends fails at once
# On a busy machine Milvus sometimes ends at once, or its parts miss each other and wait for ever.
MILVUS_READY_S, MILVUS_TRIES = 150, 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_chroma(folder, port):
    """The process of a server that listens on this port of this machine."""
    program = str(Path(sys.executable).with_name("chroma"))
    command = [program, "run", "--host", "127.0.0.1", "--port", str(port), "--path", str(folder)]
    folder.mkdir(exist_ok=True)
    log = folder.with_name(f"{folder.name} {port}.log")
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + READY_S
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return server
        time.sleep(0.2)
    ended = server.poll()
    server.kill()
    server.wait()
    pytest.fail(f"{_outcome('Chroma', ended)}; its output:\n{log.read_text(errors='replace')}")


def start_milvus(new_folder):
    """A server that answers."""
    told = ""
    for _ in range(MILVUS_TRIES):
        server, told = try_to_start_milvus(new_folder())
        if server is not None:
            return server
    pytest.fail(f"no Milvus server was ready in {MILVUS_TRIES} tries; the last one: {told}")


def try_to_start_milvus(folder):
    """The server, or None and what became of it."""
    import milvus

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its package looks for a port and leaves the socket open
        server = milvus.MilvusServer(wait_for_started=False)
        server.set_base_dir(str(folder))
        server.listen_port = free_port()
        server.start()
        gc.collect()
        deadline = time.monotonic() + MILVUS_READY_S
        while server.server_proc.poll() is None and time.monotonic() < deadline:
            with suppress(TimeoutError):
                server.wait_started(timeout=1000)
                return server, ""
    ended = server.server_proc.poll()
    stop_milvus(server)
    logs = "\n".join(log.read_text(errors="replace")[-5000:] for log in folder.rglob("*.log"))
    return None, f"{_outcome('Milvus', ended)}; its output:\n{logs}"


def stop_milvus(server):
    server.server_proc.kill()  # its own `stop` gives up after four seconds
    server.server_proc.wait()


def _outcome(name, ended):
    if ended is None:
        return f"the {name} server was not ready in time"
    return f"the {name} server ended with {ended} before it was ready"
