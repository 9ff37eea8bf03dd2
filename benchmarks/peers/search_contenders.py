"""One engine of benchmarks/search.py, building or searching, in a process of its own.

    python search_contenders.py build|search NAME FOLDER      # FOLDER as made by search.py

Prints one line of JSON. An engine is a class that builds into a folder, opens it, and answers with
row numbers. `efforts` are its settings of how hard to look, the cheapest first.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

TOP, ENOUGH = 10, 0.99
PAGE = 5000


def main() -> None:
    phase, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    engine = ENGINES[name](folder / name.replace(" ", "-"))
    engine.load_libraries()
    facts = build(engine, folder) if phase == "build" else search(engine, folder)
    facts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(facts))


def build(engine, folder):
    engine.folder.mkdir()
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    numbers = np.load(folder / "numbers.npy")
    start = time.perf_counter()
    engine.fill(vectors, numbers)
    filled = time.perf_counter()
    engine.index()
    return {"fill_s": filled - start, "index_s": time.perf_counter() - filled}


def search(engine, folder):
    questions = json.loads((folder / "questions.json").read_text())
    queries = np.load(folder / "queries.npy")[: engine.queries]
    start = time.perf_counter()
    engine.open()
    engine.ask(queries[0], None, engine.efforts[0])
    facts = {"open_s": time.perf_counter() - start, "filters": {}}
    for name, limit in questions.items():
        truth = np.load(folder / f"truth-{name}.npy")[: engine.queries]
        best = None
        for effort in engine.efforts:  # peers get the cheapest that reaches the goal, by the truth
            tried = {"effort": effort, **measured(engine, queries, truth, limit, effort)}
            if best is None or tried["recall"] > best["recall"]:
                best = tried
            if tried["recall"] >= ENOUGH:
                break
        facts["filters"][name] = best
    return facts


def measured(engine, queries, truth, limit, effort):
    seconds, found = [], []
    for query, nearest in zip(queries, truth, strict=True):
        start = time.perf_counter()
        rows = engine.ask(query, limit, effort)
        seconds.append(time.perf_counter() - start)
        found.append(len(set(nearest.tolist()) & set(map(int, rows))) / len(nearest))
    p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
    return {"p50_ms": p50, "p95_ms": p95, "recall": float(np.mean(found))}


class Engine:
    efforts = (None,)
    queries = 200

    def __init__(self, folder):
        self.folder = folder

    def index(self):
        """What `fill` did not do already."""


class Seesay(Engine):
    """The way the product goes: items and vectors in the store, then a lane."""

    def load_libraries(self):
        import faiss  # noqa: F401

        from seesay.search.catalog import passages  # noqa: F401
        from seesay.search.vectors import vector_index  # noqa: F401

    def fill(self, vectors, numbers):
        from seesay.search.catalog.store import Store
        from seesay.search.catalog.vectors import EmbeddingSpaceDraft

        self.store = Store(self.folder, create=True)
        draft = EmbeddingSpaceDraft(
            model="m", revision="1", preprocessing="p", dim=vectors.shape[1]
        )
        with self.store.writing("space"):
            space = self.store.spaces.add(draft)
        for start in range(0, len(vectors), PAGE):
            drafts = [photo(start + n, int(v)) for n, v in enumerate(numbers[start : start + PAGE])]
            with self.store.writing("index"):
                stored = self.store.files.put(drafts)
                units = [one.passages[0] for one in stored]
                self.store.vectors.put(space.id, units, vectors[start : start + PAGE])

    def index(self):
        self.lane().build()

    def lane(self):
        from seesay.search.vectors.vector_index import VectorIndex

        return VectorIndex(self.store, self.store.spaces.get(1), "image")

    def open(self):
        from seesay.search.catalog.store import Store

        self.store = Store(self.folder)
        self.opened = self.lane()

    def ask(self, query, limit, effort):
        from seesay.search.catalog.filters import Compare

        within = None if limit is None else Compare("number", "<", limit)
        return self.opened.search(query, TOP, filter=within).units - 1  # units count from 1


def photo(row, number):
    from seesay.search.catalog.drafts import PassageDraft
    from seesay.search.catalog.files import FileDraft

    return FileDraft(
        path=f"/photos/{row % 1000}/{row}.jpg",
        media_type="image",
        content_hash=f"{row:032x}",
        size=row,
        mtime_ns=row,
        passages=(PassageDraft(modality="image", metadata={"number": number}),),
    )


class Hnsw(Engine):
    """FAISS's HNSW over plain vectors, with a selector for filters."""

    efforts = (16, 32, 64, 128, 256, 512)

    def load_libraries(self):
        import faiss

        self.faiss = faiss

    def fill(self, vectors, numbers):
        index = self.faiss.IndexHNSWFlat(vectors.shape[1], 32, self.faiss.METRIC_INNER_PRODUCT)
        for start in range(0, len(vectors), 10 * PAGE):
            index.add(vectors[start : start + 10 * PAGE].astype(np.float32))
        self.faiss.write_index(index, str(self.folder / "index"))
        np.save(self.folder / "numbers.npy", numbers)

    def open(self):
        self.index_ = self.faiss.read_index(str(self.folder / "index"))
        self.numbers = np.load(self.folder / "numbers.npy")
        self.selectors = {None: (None, None)}
        self.faiss.omp_set_num_threads(1)

    def ask(self, query, limit, effort):
        if limit not in self.selectors:
            bits = np.packbits(self.numbers < limit, bitorder="little")
            size = len(bits)
            selector = self.faiss.IDSelectorBitmap(size, self.faiss.swig_ptr(bits))
            self.selectors[limit] = bits, selector
        selector = self.selectors[limit][1]
        chosen = {} if selector is None else {"sel": selector}
        parameters = self.faiss.SearchParametersHNSW(efSearch=effort, **chosen)
        return self.index_.search(query[None], TOP, params=parameters)[1][0]


class Chroma(Engine):
    """A persistent client. How hard it looks is set when a collection is made."""

    def load_libraries(self):
        import chromadb
        from chromadb.config import Settings

        self.connect = lambda: chromadb.PersistentClient(
            str(self.folder), settings=Settings(anonymized_telemetry=False)
        )

    def fill(self, vectors, numbers):
        collection = self.connect().create_collection(
            "rows", embedding_function=None, configuration={"hnsw": {"space": "ip"}}
        )
        for start in range(0, len(vectors), PAGE):
            some = vectors[start : start + PAGE].astype(np.float32)
            ids = [str(start + n) for n in range(len(some))]
            values = [{"number": int(v)} for v in numbers[start : start + PAGE]]
            collection.add(ids=ids, embeddings=some, metadatas=values)

    def open(self):
        self.collection = self.connect().get_collection("rows", embedding_function=None)

    def ask(self, query, limit, effort):
        where = None if limit is None else {"number": {"$lt": limit}}
        found = self.collection.query(
            query_embeddings=query[None], n_results=TOP, where=where, include=[]
        )
        return found["ids"][0]


class Lance(Engine):
    """LanceDB with IVF_HNSW_SQ, and an index on the column of the filters."""

    efforts = ((20, 1), (20, 4), (50, 4), (100, 10))  # lists looked into, refine factor

    def load_libraries(self):
        import lancedb
        import pyarrow

        self.lancedb, self.arrow = lancedb, pyarrow

    def fill(self, vectors, numbers):
        arrow, dim = self.arrow, vectors.shape[1]

        def pages():
            for start in range(0, len(vectors), PAGE):
                flat = vectors[start : start + PAGE].astype(np.float32).ravel()
                yield arrow.RecordBatch.from_arrays(
                    [
                        arrow.array(np.arange(start, start + len(flat) // dim)),
                        arrow.array(numbers[start : start + PAGE]),
                        arrow.FixedSizeListArray.from_arrays(arrow.array(flat), dim),
                    ],
                    schema=schema,
                )

        kind = arrow.list_(arrow.float32(), dim)
        schema = arrow.schema([("row", arrow.int64()), ("number", arrow.int64()), ("vector", kind)])
        database = self.lancedb.connect(str(self.folder))
        self.table = database.create_table("t", pages(), schema=schema)

    def index(self):
        self.table.create_index(metric="dot", index_type="IVF_HNSW_SQ")
        self.table.create_scalar_index("number")

    def open(self):
        self.table = self.lancedb.connect(str(self.folder)).open_table("t")

    def ask(self, query, limit, effort):
        asked = self.table.search(query).distance_type("dot").limit(TOP).select(["row"])
        asked = asked.nprobes(effort[0]).refine_factor(effort[1])
        if limit is not None:
            asked = asked.where(f"number < {limit}", prefilter=True)
        return asked.to_arrow()["row"].to_numpy()


class Loop(Engine):
    """What tutorials show: every vector in a list, compared one by one, all sorted."""

    queries = 5

    def load_libraries(self):
        pass

    def fill(self, vectors, numbers):
        np.savez(self.folder / "database.npz", vectors=vectors.astype(np.float32), numbers=numbers)

    def open(self):
        saved = np.load(self.folder / "database.npz")
        self.database = list(zip(saved["numbers"].tolist(), saved["vectors"], strict=True))

    def ask(self, query, limit, effort):
        scores = []
        for row, (number, vector) in enumerate(self.database):
            if limit is None or number < limit:
                scores.append((float(query @ vector), row))
        scores.sort(reverse=True)
        return [row for _, row in scores[:TOP]]


ENGINES = {
    "seesay": Seesay,
    "FAISS HNSW": Hnsw,
    "Chroma": Chroma,
    "LanceDB": Lance,
    "Python loop": Loop,
}

if __name__ == "__main__":
    main()
