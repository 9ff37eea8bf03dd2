"""The contenders of benchmarks/serve.py: each is built into a folder, and then served.

python serve_contenders.py build NAME FOLDER               # FOLDER as made by search.py
python serve_contenders.py route PORT CHROMA_PORT          # the plain route before Chroma
"""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from clip_folder import save_photographs
from search_contenders import PAGE, photo

MODEL = "seesay-mini"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@dataclass
class Running:
    """A server that answers."""

    port: int
    route: str
    processes: list[subprocess.Popen[bytes]]
    hits: str
    """Under which name an answer has its finds."""

    def is_whole(self, answer: bytes, count: int) -> bool:
        return len(json.loads(answer)[self.hits]) == count

    def megabytes(self) -> float:
        """Of all its processes now (Linux)."""
        kibibytes = 0
        for process in self.processes:
            text = Path(f"/proc/{process.pid}/status").read_text()
            kibibytes += int(text.split("VmRSS:")[1].split()[0])
        return kibibytes / 1024

    def index(self) -> None:
        address = f"http://127.0.0.1:{self.port}/v1/collections/seesay/index"
        urllib.request.urlopen(urllib.request.Request(address, method="POST")).close()

    def is_indexing(self) -> bool:
        address = f"http://127.0.0.1:{self.port}/v1/collections/seesay/index"
        with urllib.request.urlopen(address) as answer:
            return json.load(answer)["state"] == "running"


def build_seesay(folder: Path) -> None:
    """The way the product goes: photographs to begin with, then the vectors as more of them."""
    from seesay.search.collection import Collection

    save_photographs(folder / "photographs", 6, (500, 375))
    vectors, numbers = np.load(folder / "vectors.npy"), np.load(folder / "numbers.npy")
    with Collection.open(folder / "seesay", create=True, model=MODEL) as collection:
        collection.index([folder / "photographs"])
        store, space = collection.store, collection.store.spaces.active()
        for start in range(0, len(vectors), PAGE):
            drafts = [photo(start + n, int(v)) for n, v in enumerate(numbers[start : start + PAGE])]
            with store.writing("index"):
                units = [one.passages[0] for one in store.files.put(drafts)]
                store.vectors.put(space.id, units, vectors[start : start + PAGE])
        collection.rebuild()


def build_chroma(folder: Path) -> None:
    import chromadb

    client = chromadb.PersistentClient(str(folder / "chroma"))
    rows = client.create_collection(
        "rows", embedding_function=None, configuration={"hnsw": {"space": "ip"}}
    )
    vectors, numbers = np.load(folder / "vectors.npy"), np.load(folder / "numbers.npy")
    for start in range(0, len(vectors), PAGE):
        some = vectors[start : start + PAGE].astype(np.float32)
        values = [{"number": int(v)} for v in numbers[start : start + PAGE]]
        ids = [str(start + n) for n in range(len(some))]
        rows.add(ids=ids, embeddings=some, metadatas=values)


@contextmanager
def start(name: str, folder: Path) -> Iterator[Running]:
    """The servers of a contender, ready to answer; ended in the end."""
    with ExitStack() as stack:
        running = CONTENDERS[name][1](folder, stack)
        body = json.dumps({"query": "a dog", "count": 10}).encode()
        address = f"http://127.0.0.1:{running.port}{running.route}"
        asked = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(asked).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield running


def start_seesay(folder: Path, stack: ExitStack) -> Running:
    port = free_port()
    command = ["-c", "from seesay.cli.main import main; main()", "serve", "--no-page"]
    options = ["--collection", str(folder / "seesay"), "--port", str(port)]
    process = started(stack, [sys.executable, *command, *options])
    return Running(port, "/v1/search", [process], "hits")


def start_chroma(folder: Path, stack: ExitStack) -> Running:
    port, inner = free_port(), free_port()
    program = Path(sys.executable).with_name("chroma")
    options = ["--path", str(folder / "chroma"), "--port", str(inner), "--host", "127.0.0.1"]
    database = started(stack, [str(program), "run", *options])
    route = started(stack, [sys.executable, __file__, "route", str(port), str(inner)])
    return Running(port, "/search", [database, route], "ids")


def started(stack: ExitStack, command: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, **QUIET)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def serve_route(port: int, inner: int) -> None:
    """As most tutorials write it: embed, ask the database, hand on what it says."""
    import chromadb
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    import seesay

    class Question(BaseModel):
        query: str
        count: int = 10

    app = FastAPI()
    embedder = seesay.load(MODEL)
    for _ in range(300):
        try:
            client = chromadb.HttpClient(host="127.0.0.1", port=inner)
            break
        except ValueError:  # it has not started yet
            time.sleep(0.1)
    rows = client.get_collection("rows", embedding_function=None)

    @app.post("/search")
    def search(question: Question) -> dict[str, object]:
        vectors = embedder.embed_texts([question.query]).vectors
        found = rows.query(query_embeddings=vectors, n_results=question.count)
        return {name: found[name][0] for name in ("ids", "distances", "metadatas")}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


Build = Callable[[Path], None]
Start = Callable[[Path, ExitStack], Running]
CONTENDERS: dict[str, tuple[Build, Start]] = {
    "seesay": (build_seesay, start_seesay),
    "FastAPI and Chroma": (build_chroma, start_chroma),
}

if __name__ == "__main__":
    if sys.argv[1] == "build":
        CONTENDERS[sys.argv[2]][0](Path(sys.argv[3]))
    else:
        serve_route(int(sys.argv[2]), int(sys.argv[3]))
