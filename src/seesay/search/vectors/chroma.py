"""Chroma as the engine: embedded, with its files in the generation's folder, or on a server.

If several processes write a Chroma store, or its files are truncated, it gives wrong answers
without an error (measured, 1.5.9). So one process writes the embedded store once, and afterwards it
is only read; opening it tests whether it still finds its vectors. A server holds the vectors and
the fields for filters, and receives changes.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from seesay.errors import MissingExtraError
from seesay.search.catalog.filters import Operator
from seesay.search.catalog.store import Position
from seesay.search.vectors.engine import (
    Batch,
    CandidateIndex,
    IndexDamagedError,
    Notes,
    OpenIndex,
    Progress,
    connect,
    failed,
)
from seesay.search.vectors.pushdown import (
    OPERATORS,
    Every,
    Expression,
    FilterColumns,
    Number,
    Some,
    Token,
)
from seesay.search.vectors.rows import Rows, StoredRows

_FOLDER = "chroma"
_MOST = 10_000  # results of one query
_ANSWER_S = 10.0
_WRITE_S = 120.0  # for thousands of vectors
_HNSW = {"space": "ip", "max_neighbors": 32, "ef_construction": 200, "ef_search": 200}
_IN_FILES = {**_HNSW, "sync_threshold": 2, "batch_size": 2}  # written when added, not when opened
_SYNCED = "index_metadata.pickle"  # beside the files of a graph that is on the disk
_SIGNS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}


class ChromaEngine:
    """Builds and opens indexes of embedded Chroma."""

    name = "chroma"

    def reach(self) -> None:
        """Chroma runs in this process."""
        _import_chromadb()

    def build(self, rows: Rows, folder: Path, name: str) -> Notes:
        """Create one collection for all rows."""
        with _doing("build the index", "建立索引", _in_files(folder)) as client:
            collection = client.create_collection(
                name, embedding_function=None, configuration={"hnsw": _IN_FILES}
            )
            page = client.get_max_batch_size()
            for start in range(0, len(rows), page):
                vectors = rows.vectors[start : start + page].astype(np.float32)
                ids = [str(number) for number in range(start, start + len(vectors))]
                collection.add(ids=ids, embeddings=vectors)
        return {"collection": name, "kind": "HNSW", "files": _lasting(folder)}

    def open(self, rows: Rows, folder: Path, notes: Notes) -> OpenIndex | None:
        """Open the collection, if it holds all rows and finds a sample of them."""
        index = _opened(_in_files(folder), rows, notes)
        try:
            index.check()
        except IndexDamagedError:
            index.close()
            raise
        return index

    def drop(self, notes: Notes) -> None:
        """Do nothing: everything is in the folder."""


class ChromaServer:
    """Holds indexes on a Chroma server at "host:port", prefixed with "https://" for TLS."""

    operators: Collection[Operator] = OPERATORS

    def __init__(self, server: str, *, token: str = "") -> None:
        self.name = f"chroma={server}"
        self._server = server
        self._token = token

    def reach(self) -> None:
        """Check that the server answers."""
        _close(self._client())

    def create(self, name: str, dim: int) -> Notes:
        """Create one collection, which accepts any dimension."""
        with _doing("create the index", "创建索引", self._client(_WRITE_S)) as client:
            client.create_collection(
                name, embedding_function=None, configuration={"hnsw": _HNSW}, metadata=_NOWHERE
            )
        return {"collection": name, "kind": "HNSW"}

    def send(
        self, notes: Notes, progress: Progress, batches: Iterable[Batch], gone: Sequence[int]
    ) -> None:
        """Changes are visible as soon as the server has answered."""
        with _doing("store the vectors", "存入向量", self._client(_WRITE_S)) as client:
            collection = client.get_collection(notes["collection"], embedding_function=None)
            page = client.get_max_batch_size()
            collection.modify(metadata=_metadata(progress))
            for start in range(0, len(gone), page):
                collection.delete(ids=[str(unit) for unit in gone[start : start + page]])
            for units, vectors, columns in batches:
                for start in range(0, len(units), page):
                    some = slice(start, start + page)
                    collection.upsert(
                        ids=[str(unit) for unit in units[some]],
                        embeddings=vectors[some],
                        metadatas=[_columns(one) for one in columns[some]],
                    )
            collection.modify(metadata=_metadata(Progress(progress.sending, progress.sending)))

    def open(self, rows: StoredRows, notes: Notes) -> CandidateIndex:
        """Open the collection."""
        return _opened(self._client(), rows, notes)

    def drop(self, notes: Notes) -> None:
        """Remove the collection from the server."""
        with _doing("drop the index", "删除索引", self._client()) as client:
            client.delete_collection(notes["collection"])

    def _client(self, timeout_s: float = _ANSWER_S) -> Any:
        import urllib.request

        chromadb = _import_chromadb()
        tls, place = self._server.startswith("https://"), self._server.removeprefix("https://")
        try:
            host, port = connect(place)
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            # Chroma's client waits forever for a server that accepts but never answers (1.5.9).
            alive = urllib.request.Request(
                f"{'https' if tls else 'http'}://{place}/api/v2/heartbeat", headers=headers
            )
            urllib.request.urlopen(alive, timeout=_ANSWER_S).close()
            client = chromadb.HttpClient(
                host, port, ssl=tls, headers=headers, settings=_quiet(chromadb)
            )
            for session in _sessions(client):
                session.timeout = timeout_s
            return client
        except Exception as error:  # Chroma's own, and those of its transport
            raise failed(error, "Chroma cannot be reached", "无法连接 Chroma") from error


@contextmanager
def _doing(en: str, zh: str, client: Any) -> Iterator[Any]:
    """Use a client and close it. Raises IndexDamagedError whatever Chroma raises."""
    try:
        yield client
    except Exception as error:  # Chroma's own, those of its transport, and of its Rust half
        raise failed(error, f"Chroma cannot {en}", f"Chroma 无法{zh}") from error
    finally:
        _close(client)


def _opened(client: Any, rows: Rows | StoredRows, notes: Notes) -> CandidateIndex:
    """Open a collection. Raises IndexDamagedError, and closes the client, if it does not exist."""
    try:
        collection = client.get_collection(notes["collection"], embedding_function=None)
    except Exception as error:  # as above
        _close(client)
        raise failed(error, "Chroma cannot open the index", "Chroma 无法打开索引") from error
    return CandidateIndex(
        engine="Chroma",
        rows=rows,
        most=_MOST,
        ask=partial(_ask, collection),
        close=partial(_close, client),
        held=collection.count,
        read_progress=lambda: _progress(
            client.get_collection(notes["collection"], embedding_function=None).metadata
        ),
    )


def _ask(
    collection: Any,
    query: Float32[np.ndarray, " embed"],
    wanted: int,
    expression: Expression | None,
) -> list[str]:
    where = None if expression is None else _where(expression)
    found = collection.query(
        query_embeddings=query[None], n_results=wanted, include=[], where=where
    )
    return found["ids"][0]


def _where(expression: Expression) -> dict[str, Any]:
    """Write an expression for Chroma. A list of conditions needs at least two."""
    match expression:
        case Token(token, has):
            return {"tokens": {"$contains" if has else "$not_contains": token}}
        case Number(name, operator, value):
            return {name: {_SIGNS[operator]: value}}
        case Every(parts) | Some(parts):
            every = isinstance(expression, Every)
            padding = Token("", not every)  # no passage has it
            both = (*parts, *(padding,) * (2 - len(parts)))
            return {"$and" if every else "$or": [_where(part) for part in both]}


def _columns(columns: FilterColumns) -> dict[str, Any]:
    return {"tokens": sorted(columns.tokens), **columns.numbers}


def _metadata(progress: Progress) -> dict[str, str]:
    """Returns progress as Chroma stores it with a collection; as a number it would lose digits."""
    return {name: json.dumps(position) for name, position in progress._asdict().items()}


def _progress(metadata: Mapping[str, Any]) -> Progress:
    filled, sending = (Position(*json.loads(metadata[name])) for name in Progress._fields)
    return Progress(filled, sending)


_NOWHERE = {name: json.dumps([0, 0]) for name in Progress._fields}


def _in_files(folder: Path) -> Any:
    """Returns a client for the files in a folder. If a client fails to start, it stays in Chroma's
    cache, and the next client of the same folder gets it, fails too and removes it (1.5.9). So make
    that next client at once: otherwise restored files could not be opened."""
    chromadb = _import_chromadb()
    path, settings = str(folder / _FOLDER), _quiet(chromadb)
    try:
        return chromadb.PersistentClient(path, settings=settings)
    except Exception as error:  # as above, such as a folder that cannot be written
        with suppress(Exception):
            _close(chromadb.PersistentClient(path, settings=settings))
        raise failed(error, "Chroma cannot be started", "无法启动 Chroma") from error


def _lasting(folder: Path) -> list[str]:
    """Returns the files of the graph. Chroma does not change them any more, and if they are damaged
    they crash the whole process. Its database changes whenever it is opened (1.5.9)."""
    graphs = [file.parent for file in (folder / _FOLDER).glob(f"*/{_SYNCED}")]
    return sorted(file.relative_to(folder).as_posix() for one in graphs for file in one.iterdir())


def _import_chromadb() -> Any:
    try:
        import chromadb
    except ModuleNotFoundError:
        raise MissingExtraError("chromadb", "chroma") from None
    return chromadb


def _quiet(chromadb: Any) -> Any:
    return chromadb.config.Settings(anonymized_telemetry=False)


def _close(client: Any) -> None:
    """Close a client with its connections: its own `close` leaves those of a server open (1.5.9),
    two for each client."""
    sessions = list(_sessions(client))
    client.close()
    for session in sessions:
        session.close()


def _sessions(client: Any) -> Iterator[Any]:
    """Yield the sessions of a client with a server."""
    for half in (client, getattr(client, "_admin_client", None)):
        session = getattr(getattr(half, "_server", None), "_session", None)
        if session is not None:
            yield session
