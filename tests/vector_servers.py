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

MILVUS_READY_S, MILVUS_TRIES = 45, 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_chroma(folder, port):
    """The process of a server that listens on this port of this machine."""
    program = str(Path(sys.executable).with_name("chroma"))
    command = [program, "run", "--host", "127.0.0.1", "--port", str(port), "--path", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.2)
    return server


def start_milvus(new_folder):
    """Again where it does not come up: on a busy machine it sometimes ends at once, or its parts
    miss each other and wait for ever."""
    for _ in range(MILVUS_TRIES):
        server = try_to_start_milvus(new_folder())
        if server is not None:
            return server
    pytest.fail(f"no Milvus server was ready within {MILVUS_READY_S} s, {MILVUS_TRIES} times")


def try_to_start_milvus(folder):
    """None where it does not come up."""
    import milvus

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its package looks for a port and leaves the socket open
        server = milvus.MilvusServer(wait_for_started=False)
        server.set_base_dir(str(folder))
        server.listen_port = free_port()
        server.start()
        gc.collect()
        deadline = time.monotonic() + MILVUS_READY_S
        while time.monotonic() < deadline and server.server_proc.poll() is None:
            with suppress(TimeoutError):
                server.wait_started(timeout=1000)
                return server
    stop_milvus(server)
    return None


def stop_milvus(server):
    server.server_proc.kill()  # its own `stop` gives up after four seconds
    server.server_proc.wait()
