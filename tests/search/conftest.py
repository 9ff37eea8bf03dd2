"""The engines that may hold an index, those that are servers started once for all tests."""

import gc
import socket
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from seesay.search.indexes.chroma import ChromaIndex
from seesay.search.indexes.faiss import FaissIndex
from seesay.search.indexes.milvus import MilvusIndex

MILVUS_READY_S, MILVUS_TRIES = 45, 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def chroma_server(tmp_path_factory):
    """host:port of a Chroma server on this machine."""
    pytest.importorskip("chromadb")
    port, folder = free_port(), tmp_path_factory.mktemp("chroma server")
    program = str(Path(sys.executable).with_name("chroma"))
    command = [program, "run", "--host", "127.0.0.1", "--port", str(port), "--path", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.2)
    yield f"127.0.0.1:{port}"
    server.kill()
    server.wait()


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory):
    """Address of a Milvus server on this machine."""
    pytest.importorskip("milvus")
    for _ in range(MILVUS_TRIES):
        server = start_milvus(tmp_path_factory.mktemp("milvus server"))
        if server is not None:
            break
    else:
        pytest.fail(f"no Milvus server was ready within {MILVUS_READY_S} s, {MILVUS_TRIES} times")
    yield f"http://127.0.0.1:{server.listen_port}"
    stop_milvus(server)


def start_milvus(folder):
    """None where it does not come up: on a busy machine it sometimes ends at once, or its parts
    miss each other and wait for ever."""
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


@pytest.fixture(scope="module", params=["faiss", "chroma", "chroma server", "milvus"])
def engine(request):
    """Every engine in turn."""
    if request.param == "chroma server":
        return ChromaIndex(request.getfixturevalue("chroma_server"))
    if request.param == "milvus":
        return MilvusIndex(request.getfixturevalue("milvus_server"))
    return FaissIndex(threads=1) if request.param == "faiss" else ChromaIndex()
