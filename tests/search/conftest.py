"""A tiny model, an empty collection and photographs; and the engines that may hold an index, those
that are servers started once for all tests."""

import fcntl

import pytest

from made_files import write_photo
from seesay.inference.embedder import load
from seesay.search.catalog.store import Store
from seesay.search.vectors import engine as engines
from seesay.search.vectors import faiss
from seesay.search.vectors.chroma import ChromaEngine, ChromaServer
from seesay.search.vectors.faiss import FaissEngine
from seesay.search.vectors.milvus import MilvusEngine
from tiny_checkpoint import write_checkpoint
from vector_servers import free_port, start_chroma, start_milvus, stop_milvus


@pytest.fixture(scope="session")
def chroma_server(tmp_path_factory):
    """host:port of a Chroma server on this machine."""
    pytest.importorskip("chromadb")
    port = free_port()
    server = start_chroma(tmp_path_factory.mktemp("chroma server"), port)
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
            server = start_milvus(lambda: tmp_path_factory.mktemp("milvus server"))
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


@pytest.fixture(scope="module")
def index_from_few_rows_on():
    """FAISS builds an index, and servers are asked, where a scan would be as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faiss, "SCANNED_ROWS", 1000)
        patch.setattr(engines, "_READ", 20)
        yield


@pytest.fixture(scope="module", params=["faiss", "chroma", "chroma server", "milvus"])
def engine(request):
    """Every engine in turn, those of servers named by this user, so that they may be asked."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "chroma server":
            address = request.getfixturevalue("chroma_server")
            patch.setenv("SEESAY_CHROMA_TOKEN", f"{address}=")
            yield ChromaServer(address)
        elif request.param == "milvus":
            address = request.getfixturevalue("milvus_server")
            patch.setenv("SEESAY_MILVUS_TOKEN", f"{address}=")
            yield MilvusEngine(address)
        else:
            yield FaissEngine() if request.param == "faiss" else ChromaEngine()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def embedder(model_folder):
    return load(model_folder, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def other_embedder(tmp_path_factory, embedder):
    """A second model: the same layers with other weights."""
    other = load(write_checkpoint(tmp_path_factory.mktemp("other")), device="cpu", dtype="float32")
    for parameter in other.model.parameters():
        parameter.data.mul_(1.5)
    other.name = "other"
    return other


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "collection", create=True) as store:
        yield store


@pytest.fixture
def photos(tmp_path):
    """Six pictures in three folders."""
    folder = tmp_path / "photos"
    for number in range(6):
        write_photo(folder / "abc"[number % 3] / f"{number}.jpg", number)
    return folder
