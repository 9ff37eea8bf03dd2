"""Milvus as the engine: a server, or a cluster of them for collections larger than one machine."""

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

_MOST = 16_384  # results of one query: the server's own limit
_PAGE_BYTES = 16 << 20  # of one insert: a quarter of what the server takes in one message
_CONNECT_S = 10.0
_ANSWER_S = 10.0  # scanning a large collection takes no longer
_HNSW = {"M": 32, "efConstruction": 200}


class MilvusEngine:
    """Builds and opens indexes of Milvus at an address such as "http://127.0.0.1:19530"."""

    def __init__(self, address: str, *, token: str = "", timeout_s: float = 60.0) -> None:
        self._address = address
        self._token = token
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        """With the address."""
        return f"milvus={self._address}"

    def reach(self) -> None:
        """Ask the server for something, which it answers to those alone that it lets in."""
        _, client = self._connect()
        try:
            client.list_collections(timeout=_CONNECT_S)
        except Exception as error:  # pymilvus's own, and those of its transport
            raise failed(error, "Milvus does not answer", "Milvus 没有应答") from error
        finally:
            client.close()

    def build(self, rows: Rows, folder: Path, name: str) -> Notes:
        """One collection for all rows, forced to the server's disk. Nothing lies in `folder`."""
        pymilvus, client = self._connect()
        try:
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("row", pymilvus.DataType.INT64, is_primary=True)
            schema.add_field("vector", pymilvus.DataType.FLOAT_VECTOR, dim=rows.dim)
            index = client.prepare_index_params()
            index.add_index("vector", index_type="HNSW", metric_type="IP", params=_HNSW)
            client.create_collection(
                name, schema=schema, index_params=index, consistency_level="Strong"
            )
            page = max(1, _PAGE_BYTES // (4 * rows.dim))
            for start in range(0, len(rows), page):
                vectors = rows.vectors[start : start + page].astype(np.float32)
                client.insert(
                    name, [{"row": start + n, "vector": v} for n, v in enumerate(vectors)]
                )
            client.flush(name)
        except Exception as error:  # as above
            with suppress(Exception):
                client.drop_collection(name)
            raise failed(error, "Milvus cannot build the index", "Milvus 无法建立索引") from error
        finally:
            client.close()
        return {"collection": name, "kind": "HNSW"}

    def open(self, rows: Rows, folder: Path, notes: Notes) -> OpenIndex | None:
        """The collection, if it holds as many rows as were given to it and finds some of them."""
        _, client = self._connect()
        try:
            name = notes["collection"]
            client.load_collection(name, timeout=self._timeout_s)
            index = CandidateIndex(
                engine="Milvus",
                rows=rows,
                most=_MOST,
                ask=partial(_ask, client, name),
                close=client.close,
            )
            index.check(int(client.get_collection_stats(name)["row_count"]))
        except IndexDamagedError:
            client.close()
            raise
        except Exception as error:  # as above
            client.close()
            raise failed(error, "Milvus cannot open the index", "Milvus 无法打开索引") from error
        return index

    def drop(self, notes: Notes) -> None:
        """Remove the collection from the server."""
        _, client = self._connect()
        try:
            client.drop_collection(notes["collection"])
        except Exception as error:  # as above
            raise failed(error, "Milvus cannot drop the index", "Milvus 无法删除索引") from error
        finally:
            client.close()

    def _connect(self) -> tuple[Any, Any]:
        try:
            import pymilvus
        except ModuleNotFoundError:
            raise MissingExtraError("pymilvus", "milvus") from None
        try:
            connect(self._address.partition("://")[2])
            client = pymilvus.MilvusClient(uri=self._address, token=self._token, timeout=_CONNECT_S)
        except Exception as error:  # as above
            raise failed(error, "Milvus cannot be reached", "无法连接 Milvus") from error
        return pymilvus, client


def _ask(client: Any, name: str, query: Float32[np.ndarray, " embed"], wanted: int) -> list[int]:
    (found,) = client.search(
        name,
        query[None],
        limit=wanted,
        search_params={"params": {"ef": max(wanted, 128)}},
        timeout=_ANSWER_S,
        consistency_level="Eventually",  # nothing is written after the index was built
    )
    return [hit["id"] for hit in found]
