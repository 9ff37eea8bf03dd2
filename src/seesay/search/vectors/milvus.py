"""Milvus as the engine: a server, or a cluster of them for collections larger than one machine.

It holds the vectors and the fields for filters, and receives changes. Its progress is stored in a
separate row with the number 0, which no passage has.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from seesay.errors import MissingExtraError
from seesay.search.catalog.filters import Operator
from seesay.search.catalog.store import START, Position
from seesay.search.vectors.engine import (
    Batch,
    CandidateIndex,
    Notes,
    Progress,
    connect,
    failed,
)
from seesay.search.vectors.pushdown import OPERATORS, Every, Expression, Number, Some, Token
from seesay.search.vectors.rows import StoredRows

_MOST = 16_384  # results of one query: the server's own limit
_PAGE_BYTES = 16 << 20  # of one insert: a quarter of the server's message limit
_CONNECT_S = 10.0
_ANSWER_S = 10.0  # scanning a large collection takes no longer
_LOAD_S = 60.0
_HNSW = {"M": 32, "efConstruction": 200}


class MilvusEngine:
    """Holds indexes on Milvus at an address such as "http://127.0.0.1:19530"."""

    operators: Collection[Operator] = OPERATORS

    def __init__(self, address: str, *, token: str = "") -> None:
        self.name = f"milvus={address}"
        self._address = address
        self._token = token

    def reach(self) -> None:
        """Send a request that the server answers only if it accepts the token."""
        with self._doing("answer", "应答") as client:
            client.list_collections(timeout=_CONNECT_S)

    def create(self, name: str, dim: int) -> Notes:
        """Create and load one collection."""
        with self._doing("create the index", "创建索引") as client:
            types = _import_pymilvus().DataType
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("row", types.INT64, is_primary=True)
            schema.add_field("vector", types.FLOAT_VECTOR, dim=dim)
            schema.add_field("columns", types.JSON)
            index = client.prepare_index_params()
            index.add_index("vector", index_type="HNSW", metric_type="IP", params=_HNSW)
            client.create_collection(
                name, schema=schema, index_params=index, consistency_level="Strong"
            )
            _note(client, name, dim, Progress(START, START))
        return {"collection": name, "kind": "HNSW", "dim": dim}

    def send(
        self, notes: Notes, progress: Progress, batches: Iterable[Batch], gone: Sequence[int]
    ) -> None:
        """A query that waits for all changes makes them visible to queries that do not wait."""
        name, dim = notes["collection"], notes["dim"]
        page = max(1, _PAGE_BYTES // (8 * dim))
        with self._doing("store the vectors", "存入向量") as client:
            _note(client, name, dim, progress)
            for start in range(0, len(gone), _MOST):
                client.delete(name, ids=list(gone[start : start + _MOST]))
            for units, vectors, columns in batches:
                rows = [
                    {"row": int(unit), "vector": vector, "columns": _columns(column)}
                    for unit, vector, column in zip(units, vectors, columns, strict=True)
                ]
                for start in range(0, len(rows), page):
                    client.upsert(name, rows[start : start + page])
            if progress.filled == START:
                client.flush(name)  # the data is already safe; this indexes it at once
            _count(client, name)
            _note(client, name, dim, Progress(progress.sending, progress.sending))

    def open(self, rows: StoredRows, notes: Notes) -> CandidateIndex:
        """Open the loaded collection."""
        client, name = self._connected(), notes["collection"]
        try:
            client.load_collection(name, timeout=_LOAD_S)
        except Exception as error:  # pymilvus's own, and those of its transport
            client.close()
            raise failed(error, "Milvus cannot open the index", "Milvus 无法打开索引") from error
        return CandidateIndex(
            engine="Milvus",
            rows=rows,
            most=_MOST,
            ask=partial(_ask, client, name),
            close=client.close,
            held=partial(_count, client, name),
            read_progress=partial(_progress, client, name),
        )

    def drop(self, notes: Notes) -> None:
        """Remove the collection from the server."""
        with self._doing("drop the index", "删除索引") as client:
            client.drop_collection(notes["collection"])

    @contextmanager
    def _doing(self, en: str, zh: str) -> Iterator[Any]:
        """Use a client and close it. Raises IndexDamagedError whatever pymilvus raises."""
        client = self._connected()
        try:
            yield client
        except Exception as error:  # as above
            raise failed(error, f"Milvus cannot {en}", f"Milvus 无法{zh}") from error
        finally:
            client.close()

    def _connected(self) -> Any:
        pymilvus = _import_pymilvus()
        try:
            connect(self._address.partition("://")[2])
            return pymilvus.MilvusClient(uri=self._address, token=self._token, timeout=_CONNECT_S)
        except Exception as error:  # as above
            raise failed(error, "Milvus cannot be reached", "无法连接 Milvus") from error


def _ask(
    client: Any,
    name: str,
    query: Float32[np.ndarray, " embed"],
    wanted: int,
    expression: Expression | None,
) -> list[int]:
    (found,) = client.search(
        name,
        query[None],
        filter="" if expression is None else _filter(expression),
        limit=wanted,
        search_params={"params": {"ef": max(wanted, 128)}},
        timeout=_ANSWER_S,
        consistency_level="Eventually",  # the sender has waited for what it sent
    )
    return [hit["id"] for hit in found]


def _filter(expression: Expression) -> str:
    """Write an expression for Milvus."""
    match expression:
        case Token(token, has):
            return f'{"" if has else "not "}json_contains(columns["tokens"], "{token}")'
        case Number(name, operator, value):
            return f'columns["{name}"] {operator} {value!r}'
        case Every(()) | Some(()):
            return "row >= 0" if isinstance(expression, Every) else "row < 0"
        case Every(parts) | Some(parts):
            word = " and " if isinstance(expression, Every) else " or "
            return "(" + word.join(f"({_filter(part)})" for part in parts) + ")"


def _columns(columns: Any) -> dict[str, Any]:
    return {"tokens": sorted(columns.tokens), **columns.numbers}


def _note(client: Any, name: str, dim: int, progress: Progress) -> None:
    """Store the progress of the collection."""
    vector = np.zeros(dim, np.float32)
    vector[0] = 1.0
    columns = {"tokens": [], "progress": json.dumps(progress)}  # a number would lose digits
    client.upsert(name, [{"row": 0, "vector": vector, "columns": columns}])


def _progress(client: Any, name: str) -> Progress:
    (row,) = client.query(
        name, ids=[0], output_fields=["columns"], consistency_level="Strong", timeout=_ANSWER_S
    )
    filled, sending = json.loads(row["columns"]["progress"])
    return Progress(Position(*filled), Position(*sending))


def _count(client: Any, name: str) -> int:
    """Count all passages, including those just sent."""
    (row,) = client.query(
        name,
        filter="row > 0",
        output_fields=["count(*)"],
        consistency_level="Strong",
        timeout=_LOAD_S,
    )
    return int(row["count(*)"])


def _import_pymilvus() -> Any:
    try:
        import pymilvus
    except ModuleNotFoundError:
        raise MissingExtraError("pymilvus", "milvus") from None
    return pymilvus
