"""Chroma as the engine: embedded, its files in the generation's folder, or a server.

A Chroma store that several processes write, or whose files are cut short, gives wrong answers and
no error (measured, 1.5.9). Here it is written once, by one process, and only read after; whether it
still finds what it was given is tried when it is opened.
"""

import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from seesay.errors import MissingExtraError
from seesay.search.vectors.engine import (
    CandidateIndex,
    IndexDamagedError,
    Notes,
    OpenIndex,
    connect,
    failed,
)
from seesay.search.vectors.rows import Rows

_FOLDER = "chroma"
_MOST = 10_000  # results of one query
_ANSWER_S = 10.0
_BUILD_S = 120.0  # for thousands of vectors
_HNSW = {"space": "ip", "max_neighbors": 32, "ef_construction": 200, "ef_search": 200}
_IN_FILES = {**_HNSW, "sync_threshold": 2, "batch_size": 2}  # written when added, not when opened
_SYNCED = "index_metadata.pickle"  # beside the files of a graph that is on the disk


class ChromaEngine:
    """Builds and opens indexes of Chroma. `server` is "host:port", with "https://" before it where
    it speaks TLS; None keeps them in files."""

    def __init__(self, server: str | None = None, *, token: str = "") -> None:
        self._server = server
        self._token = token

    @property
    def name(self) -> str:
        """With the server, where there is one."""
        return "chroma" if self._server is None else f"chroma={self._server}"

    def reach(self) -> None:
        """Ask the server whether it is there."""
        if self._server is None:
            _import_chromadb()
        else:
            _close(self._client(Path()))

    def build(self, rows: Rows, folder: Path, name: str) -> Notes:
        """One collection for all rows."""
        client = self._client(folder, _BUILD_S)
        try:
            collection = client.create_collection(
                name,
                embedding_function=None,
                configuration={"hnsw": _HNSW if self._server else _IN_FILES},
            )
            page = client.get_max_batch_size()
            for start in range(0, len(rows), page):
                vectors = rows.vectors[start : start + page].astype(np.float32)
                ids = [str(number) for number in range(start, start + len(vectors))]
                collection.add(ids=ids, embeddings=vectors)
        except Exception as error:  # Chroma's own, those of its transport, and of its Rust half
            with suppress(Exception):
                client.delete_collection(name)
            raise failed(error, "Chroma cannot build the index", "Chroma 无法建立索引") from error
        finally:
            _close(client)
        return {"collection": name, "kind": "HNSW", "files": _lasting(folder)}

    def open(self, rows: Rows, folder: Path, notes: Notes) -> OpenIndex | None:
        """The collection, if it holds as many rows as were given to it and finds some of them."""
        client = self._client(folder)
        try:
            collection = client.get_collection(notes["collection"], embedding_function=None)
            index = CandidateIndex(
                engine="Chroma",
                rows=rows,
                most=_MOST,
                ask=partial(_ask, collection),
                close=partial(_close, client),
            )
            index.check(collection.count())
        except IndexDamagedError:
            _close(client)
            raise
        except Exception as error:  # as above
            _close(client)
            raise failed(error, "Chroma cannot open the index", "Chroma 无法打开索引") from error
        return index

    def drop(self, notes: Notes) -> None:
        """Remove the collection from the server; files go with their folder."""
        if self._server is not None:
            client = self._client(Path())
            try:
                client.delete_collection(notes["collection"])
            except Exception as error:  # as above
                raise failed(
                    error, "Chroma cannot drop the index", "Chroma 无法删除索引"
                ) from error
            finally:
                _close(client)

    def _client(self, folder: Path, timeout_s: float = _ANSWER_S) -> Any:
        chromadb = _import_chromadb()
        quiet = chromadb.config.Settings(anonymized_telemetry=False)
        try:
            if self._server is None:
                return _of_files(chromadb, str(folder / _FOLDER), quiet)
            tls, place = self._server.startswith("https://"), self._server.removeprefix("https://")
            host, port = connect(place)
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            # Its own client waits for ever for a server that accepts and says nothing (1.5.9).
            alive = urllib.request.Request(
                f"{'https' if tls else 'http'}://{place}/api/v2/heartbeat", headers=headers
            )
            urllib.request.urlopen(alive, timeout=_ANSWER_S).close()
            client = chromadb.HttpClient(host, port, ssl=tls, headers=headers, settings=quiet)
            for session in _sessions(client):
                session.timeout = timeout_s
            return client
        except Exception as error:  # as above: a folder that cannot be written, no server there
            raise failed(error, "Chroma cannot be reached", "无法连接 Chroma") from error


def _of_files(chromadb: Any, folder: str, settings: Any) -> Any:
    """A client of the files in a folder. What cannot start stays in Chroma's cache, and the next
    client of the same folder gets it, fails as well and removes it (1.5.9). Make that client now:
    otherwise files that are restored could not be opened."""
    try:
        return chromadb.PersistentClient(folder, settings=settings)
    except Exception:
        with suppress(Exception):
            _close(chromadb.PersistentClient(folder, settings=settings))
        raise


def _ask(collection: Any, query: Float32[np.ndarray, " embed"], wanted: int) -> list[str]:
    found = collection.query(query_embeddings=query[None], n_results=wanted, include=[])
    return found["ids"][0]


def _lasting(folder: Path) -> list[str]:
    """The files of the graph, which Chroma does not change any more, and which end the whole
    process where they are not what was written. Its database changes when it is opened (1.5.9)."""
    graphs = [file.parent for file in (folder / _FOLDER).glob(f"*/{_SYNCED}")]
    return sorted(file.relative_to(folder).as_posix() for one in graphs for file in one.iterdir())


def _import_chromadb() -> Any:
    try:
        import chromadb
    except ModuleNotFoundError:
        raise MissingExtraError("chromadb", "chroma") from None
    return chromadb


def _close(client: Any) -> None:
    """Close a client with its connections: its own `close` leaves those of a server open (1.5.9),
    two for each client."""
    sessions = list(_sessions(client))
    client.close()
    for session in sessions:
        session.close()


def _sessions(client: Any) -> Iterator[Any]:
    """Those of a client with a server."""
    for half in (client, getattr(client, "_admin_client", None)):
        session = getattr(getattr(half, "_server", None), "_session", None)
        if session is not None:
            yield session
