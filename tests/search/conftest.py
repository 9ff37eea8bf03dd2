"""The engines that may hold an index, those that are servers started once for all tests."""

import fcntl
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
def milvus_server(tmp_path_factory, worker_id):
    """Address of a Milvus server on this machine: one for all processes of the tests, since two of
    them are in each other's way. Whoever comes first starts it, and stops it after the others."""
    pytest.importorskip("milvus")
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    server = None
    with (base / "milvus users").open("a") as users, (base / "milvus address").open("a+") as known:
        fcntl.flock(known, fcntl.LOCK_EX)
        known.seek(0)
        address = known.read()
        if not address:
            server = start_milvus(tmp_path_factory)
            address = f"http://127.0.0.1:{server.listen_port}"
            known.write(address)
            known.flush()
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(known, fcntl.LOCK_UN)
        yield address
        fcntl.flock(users, fcntl.LOCK_UN)
        if server is not None:
            fcntl.flock(users, fcntl.LOCK_EX)
            stop_milvus(server)


def start_milvus(tmp_path_factory):
    """Again where it does not come up: on a busy machine it sometimes ends at once, or its parts
    miss each other and wait for ever."""
    for _ in range(MILVUS_TRIES):
        server = try_to_start_milvus(tmp_path_factory.mktemp("milvus server"))
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


@pytest.fixture(scope="module", params=["faiss", "chroma", "chroma server", "milvus"])
def engine(request):
    """Every engine in turn."""
    if request.param == "chroma server":
        return ChromaIndex(request.getfixturevalue("chroma_server"))
    if request.param == "milvus":
        return MilvusIndex(request.getfixturevalue("milvus_server"))
    return FaissIndex(threads=1) if request.param == "faiss" else ChromaIndex()
