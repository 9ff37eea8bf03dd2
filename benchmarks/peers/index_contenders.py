"""The contenders of benchmarks/index.py: each loads a model folder and serves requests on stdin, so
that it has a process of its own. A request names the files; the answer has seconds and peak memory.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Run = Callable[[Sequence[str]], int]


def embedder_alone(folder: str) -> Run:
    """Files to vectors in memory, nothing kept."""
    import seesay

    embedder = seesay.load(folder, device="cpu")
    return lambda files: len(embedder.embed_images(files))


def seesay_index(folder: str) -> Run:
    """Files to committed vectors, with hashes, EXIF, an index and everything else."""
    import seesay
    from seesay.search.catalog.store import Store
    from seesay.search.indexing.index import index

    embedder = seesay.load(folder, device="cpu")

    def run(files: Sequence[str]) -> int:
        with (
            tempfile.TemporaryDirectory() as place,
            Store(Path(place) / "collection", create=True) as store,
        ):
            return index(store, embedder, [str(Path(files[0]).parent)]).added

    return run


def chroma_loop(folder: str) -> Run:
    """What tutorials show: one picture after another through the same model and into Chroma."""
    import chromadb
    import torch
    from PIL import Image

    import seesay

    embedder = seesay.load(folder, device="cpu")

    def run(files: Sequence[str]) -> int:
        with tempfile.TemporaryDirectory() as place:
            collection = chromadb.PersistentClient(path=place).create_collection("pictures")
            for file in files:
                pixels = embedder.transform(Image.open(file).convert("RGB"))[None]
                with torch.no_grad():
                    vector = embedder.model.embed_images(pixels.to(embedder.dtype))[0].float()
                vector = vector / vector.norm()
                collection.add(ids=[file], embeddings=[vector.tolist()])
            return collection.count()

    return run


CONTENDERS = {
    "the embedder alone": embedder_alone,
    "seesay index": seesay_index,
    "loop into Chroma": chroma_loop,
}


def serve(name: str, folder: str) -> None:
    answers = os.fdopen(os.dup(1), "w")  # libraries print on stdout
    os.dup2(2, 1)
    run = CONTENDERS[name](folder)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        files = json.loads(line)["files"]
        start = time.perf_counter()
        done = run(files)
        answer = {
            "seconds": time.perf_counter() - start,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        if done != len(files):
            raise RuntimeError(f"{name} did {done} of {len(files)} files")
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
