"""The vectors of pages for late interaction: one for each token (`models.late_interaction`).

A page has those of one model at a time; they go with their passage. One of ColQwen2 takes about 200
kB, so they are read page by page.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float16

from seesay.search.catalog.database import ANY_OF, Database, as_list, decoded
from seesay.search.catalog.vectors import HALF

_DUE = (
    " FROM units u JOIN items i ON i.id = u.item WHERE u.kind = 'page' AND i.status = 'ready'"
    " AND NOT EXISTS (SELECT 1 FROM page_vectors v WHERE v.unit = u.id AND v.model = ?)"
)


class PageVectors:
    """The vectors of pages, by passage. Methods that write work only inside `store.writing`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, passage: int, model: str, vectors: Float16[np.ndarray, "tokens embed"]) -> int:
        """Store the vectors of a page, replacing those of another model; returns their bytes, 0 if
        the passage is gone."""
        raw = np.ascontiguousarray(vectors, HALF).tobytes()
        written = self._database.run(
            "INSERT INTO page_vectors (unit, model, dim, vectors) SELECT id, ?, ?, ? FROM units"
            " WHERE id = ? ON CONFLICT (unit) DO UPDATE SET model = excluded.model,"
            " dim = excluded.dim, vectors = excluded.vectors",
            (model, vectors.shape[1], raw, passage),
        )
        return len(raw) if written else 0

    def due(self, model: str, count: int, after: int = 0) -> list[int]:
        """Returns the first `count` pages after passage `after` that have no vectors of this
        model."""
        rows = self._database.rows(
            f"SELECT u.id{_DUE} AND u.id > ? ORDER BY u.id LIMIT ?", (model, after, count)
        )
        return [passage for (passage,) in rows]

    def count_due(self, model: str) -> int:
        """Returns the number of pages that have no vectors of this model."""
        ((count,),) = self._database.rows(f"SELECT count(*){_DUE}", (model,))
        return count

    def of_passages(self, passages: Sequence[int]) -> dict[int, int]:
        """Returns the page that each of these passages is or stands on, if it has one."""
        page = "json_extract(locator, '$.page') AS page"
        # Read once for all: a book has thousands of pages, and as many passages may be asked for.
        rows = self._database.rows(
            f"WITH found AS MATERIALIZED (SELECT id, item, {page} FROM units WHERE id IN {ANY_OF}),"
            f" pages AS MATERIALIZED (SELECT id, item, {page} FROM units WHERE kind = 'page'"
            " AND item IN (SELECT item FROM found)) SELECT found.id, pages.id FROM found"
            " JOIN pages ON pages.item = found.item AND pages.page = found.page",
            (as_list(passages),),
        )
        return dict(rows)

    def models(self, passages: Sequence[int]) -> dict[int, str]:
        """Returns, for each of these passages that has vectors, their model."""
        rows = self._database.rows(
            f"SELECT unit, model FROM page_vectors WHERE unit IN {ANY_OF}", (as_list(passages),)
        )
        return dict(rows)

    def stream(
        self, passages: Iterable[int]
    ) -> Iterator[tuple[int, Float16[np.ndarray, "tokens embed"]]]:
        """Yields these passages with their vectors, one at a time. Raises CollectionDamagedError
        for vectors that cannot have been written like that."""
        for passage in passages:
            for dim, raw in self._database.rows(
                "SELECT dim, vectors FROM page_vectors WHERE unit = ?", (passage,)
            ):
                yield passage, decoded(partial(_array, dim), raw)

    def size(self) -> tuple[int, int]:
        """Returns the number of pages with vectors, and the bytes of all vectors."""
        ((count, total),) = self._database.rows(
            "SELECT count(*), coalesce(sum(length(vectors)), 0) FROM page_vectors"
        )
        return count, total

    def clear(self) -> int:
        """Remove all vectors of pages; returns the number of pages."""
        return self._database.run("DELETE FROM page_vectors")


def _array(dim: int, raw: bytes) -> Float16[np.ndarray, "tokens embed"]:
    vectors = np.frombuffer(raw, HALF).reshape(-1, dim)
    if not len(vectors) or not np.isfinite(vectors).all():
        raise ValueError(f"{len(vectors)} vectors")
    return vectors
