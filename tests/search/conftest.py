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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its package looks for a port and leaves the socket open
        milvus = pytest.importorskip("milvus")
        server = milvus.MilvusServer()
        server.set_base_dir(str(tmp_path_factory.mktemp("milvus server")))
        server.listen_port = free_port()
        server.start()
        gc.collect()
    yield f"http://127.0.0.1:{server.listen_port}"
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
