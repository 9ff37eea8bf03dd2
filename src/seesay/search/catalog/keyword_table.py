"""The keyword lane: which units hold the words of a query, best first."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from seesay.search.catalog.filters.conditions import Filter, compile_filter
from seesay.search.catalog.keywords import match_expression, segment
from seesay.search.catalog.sqlite.database import Database
from seesay.search.catalog.sqlite.numbers import ANY_OF, as_list

_WEIGHTS = "1.0, 0.5"  # a word counts more than the characters it is made of


class KeywordTable:
    """The full-text index of a collection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, units: Iterable[int], texts: Sequence[str]) -> None:
        """Index what each unit is found by; units of an empty text are left out."""
        cut = [(unit, segment(text)) for unit, text in zip(units, texts, strict=True) if text]
        self._database.run_many(
            "INSERT INTO keywords (rowid, words, characters) VALUES (?, ?, ?)",
            ((unit, *segments) for unit, segments in cut),
        )

    def is_empty(self) -> bool:
        """Whether nothing can be found by words."""
        return not self._database.rows("SELECT 1 FROM keywords_content LIMIT 1")

    def remove(self, units: Iterable[int]) -> None:
        """Take units out of the index."""
        self._database.run(f"DELETE FROM keywords WHERE rowid IN {ANY_OF}", (as_list(units),))

    def search(
        self,
        text: str,
        count: int,
        *,
        phrases: Sequence[str] = (),
        excluded: Sequence[str] = (),
        every: bool = False,
        within: Filter | None = None,
    ) -> tuple[Int[np.ndarray, " found"], Float[np.ndarray, " found"]]:
        """Units and their BM25 scores (higher is better, without a scale), at most `count`.

        Any word of `text` finds a unit (with `every` only all of them do), every one of `phrases`
        must stand in it, none of `excluded` may. Ties are in the order of the units.
        """
        expression = match_expression(text, phrases, excluded, every=every)
        if expression is None:
            return np.empty(0, np.int64), np.empty(0)
        condition, values = "", tuple[object, ...]()
        if within is not None:
            sql, values = compile_filter(within, self._database)
            condition = f" AND rowid IN ({sql})"
        rows = self._database.rows(
            f"SELECT rowid, -bm25(keywords, {_WEIGHTS}) AS score FROM keywords"
            f" WHERE keywords MATCH ?{condition} ORDER BY score DESC, rowid LIMIT ?",
            (expression, *values, count),
        )
        units, scores = zip(*rows, strict=True) if rows else ((), ())
        return np.array(units, np.int64), np.array(scores, np.float64)
