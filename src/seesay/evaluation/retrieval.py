"""Retrieval: recall at k, as CLIP defines it.

A query counts as answered if at least one relevant item is among the first k. Ties are broken by
the order of the gallery, so a model that scores everything equally does no better than chance.
Memory holds one block of scores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from seesay.data.formats.records import Record
from seesay.data.sources import RecordsConfig
from seesay.errors import DataError
from seesay.evaluation.data_sets import embed_records, read_records, require_captions
from seesay.inference.embedder import Embedder
from seesay.text import Text

KS = (1, 5, 10)
BLOCK = 2048
DIRECTIONS = ("text_to_image", "image_to_text")


@dataclass(frozen=True, kw_only=True)
class Retrieval(RecordsConfig):
    """Recall at 1, 5 and 10 between images and their captions, in both directions, for each
    language (`zh_text_to_image_r10` and so on)."""

    @cached_property
    def records(self) -> tuple[Record, ...]:
        return read_records(self)

    def names(self) -> list[str]:
        return [f"{one}_{way}_r{k}" for one in self.languages for way in DIRECTIONS for k in KS]

    def check(self) -> None:
        """Raises DataError if there are no captions in a language."""
        require_captions(self, [record.captions for record in self.records])

    def measure(self, embedder: Embedder) -> Iterator[tuple[str, float]]:
        images = embed_records(embedder, self, self.records)
        for language in self.languages:
            texts = [
                (owner, text)
                for owner, record in enumerate(self.records)
                for text in record.captions.get(language, ())
            ]
            owners = np.array([owner for owner, _ in texts])
            vectors = embedder.embed_texts([text for _, text in texts]).vectors
            for name, value in retrieval_scores(images, vectors, owners).items():
                yield f"{language}_{name}", value


def first_ranks(
    queries: Float[np.ndarray, "queries embed"],
    gallery: Float[np.ndarray, "gallery embed"],
    query_things: Int[np.ndarray, " queries"],
    gallery_things: Int[np.ndarray, " gallery"],
) -> Int[np.ndarray, " queries"]:
    """Rank, from 0, of the first relevant item for each query; the length of the gallery if there
    is none. An item is relevant if it has the same number as the query."""
    ranks = np.full(len(queries), len(gallery))
    for start in range(0, len(queries), BLOCK):
        rows = slice(start, start + BLOCK)
        score, at = _best_relevant(queries[rows], gallery, query_things[rows], gallery_things)
        before = np.zeros(len(score), dtype=np.int64)
        for columns, scores in _blocks(queries[rows], gallery):
            numbers = np.arange(columns.start, columns.start + scores.shape[1])
            earlier = (scores == score[:, None]) & (numbers < at[:, None])
            before += (scores > score[:, None]).sum(axis=1) + earlier.sum(axis=1)
        ranks[rows] = np.where(at < len(gallery), before, len(gallery))
    return ranks


def _best_relevant(
    queries: Float[np.ndarray, "rows embed"],
    gallery: Float[np.ndarray, "gallery embed"],
    query_things: Int[np.ndarray, " rows"],
    gallery_things: Int[np.ndarray, " gallery"],
) -> tuple[Float[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
    """Score and number of the best relevant item; the first in a tie."""
    score = np.full(len(queries), -np.inf, dtype=queries.dtype)
    at = np.full(len(queries), len(gallery))
    for columns, scores in _blocks(queries, gallery):
        relevant = query_things[:, None] == gallery_things[None, columns]
        masked = np.where(relevant, scores, -np.inf)
        nearest = masked.argmax(axis=1)
        value = masked[np.arange(len(masked)), nearest]
        better = value > score
        score, at = np.where(better, value, score), np.where(better, nearest + columns.start, at)
    return score, at


def _blocks(
    queries: Float[np.ndarray, "rows embed"], gallery: Float[np.ndarray, "gallery embed"]
) -> Iterator[tuple[slice, Float[np.ndarray, "rows columns"]]]:
    # Compute the same products in the same shapes every time, so that equal scores stay equal.
    for start in range(0, len(gallery), BLOCK):
        columns = slice(start, start + BLOCK)
        yield columns, queries @ gallery[columns].T


def recalls(ranks: Int[np.ndarray, " queries"], ks: Sequence[int] = KS) -> dict[int, float]:
    """Share of the queries answered within the first k, by k."""
    if not len(ranks):
        raise DataError(
            Text(
                "there are 0 queries, at least 1 was expected: check the data set's texts",
                "有 0 条查询；至少应有 1 条；请检查数据集里的文字",
            )
        )
    return {k: float((ranks < k).mean()) for k in ks}


def retrieval_scores(
    images: Float[np.ndarray, "images embed"],
    texts: Float[np.ndarray, "texts embed"],
    owners: Int[np.ndarray, " texts"],
) -> dict[str, float]:
    """Recall at 1, 5 and 10 in both directions; `owners` is the number of each text's image."""
    numbers = np.arange(len(images))
    ranks = (
        first_ranks(texts, images, owners, numbers),
        first_ranks(images, texts, numbers, owners),
    )
    return {
        f"{direction}_r{k}": recall
        for direction, of_queries in zip(DIRECTIONS, ranks, strict=True)
        for k, recall in recalls(of_queries).items()
    }
