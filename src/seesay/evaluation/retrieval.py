"""Retrieval: recall at k, as CLIP defines it.

A query counts as answered if at least one relevant item is among the first k. Ties are broken by
the order of the gallery, so a model that scores everything equally does no better than chance.
Memory holds one block of scores.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from seesay.data.formats.records import Record
from seesay.data.sources import RecordsConfig
from seesay.errors import ConfigError, DataError
from seesay.evaluation.data_sets import (
    embed_records,
    read_records,
    require_captions,
    require_readable,
)
from seesay.inference.embedder import Embedder
from seesay.inference.matcher import Matcher
from seesay.models.layers import require_range
from seesay.text import Text

KS = (1, 5, 10)
BLOCK = 2048
Numbers: TypeAlias = Int[np.ndarray, " pairs"]
DIRECTIONS = ("text_to_image", "image_to_text")


@dataclass(frozen=True, kw_only=True)
class Retrieval(RecordsConfig):
    """Recall at 1, 5 and 10 between images and their captions, in both directions, for each
    language (`zh_text_to_image_r10` and so on). A Q-Former compares a text with the nearest query
    of each image."""

    rerank: int = 0
    """How many of the nearest a Q-Former's matching head judges again for each query, as BLIP-2
    does (there 128); 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(0, rerank=self.rerank)

    @cached_property
    def records(self) -> tuple[Record, ...]:
        return read_records(self)

    def names(self) -> list[str]:
        return [f"{one}_{way}_r{k}" for one in self.languages for way in DIRECTIONS for k in KS]

    def check(self) -> None:
        """Raises DataError if there are no captions in a language."""
        require_captions(self, [record.captions for record in self.records])

    def measure(self, model: Embedder | Matcher) -> Iterator[tuple[str, float]]:
        if isinstance(model, Matcher):
            yield from self._measure_matcher(model)
            return
        if self.rerank:
            raise ConfigError(
                Text(
                    f"rerank={self.rerank} needs a matching head, expected a Q-Former: leave "
                    "rerank out",
                    f"rerank={self.rerank} 要用匹配头；应为 Q-Former；请去掉 rerank",
                )
            )
        images = embed_records(model, self, self.records)
        for language in self.languages:
            owners, texts = self._captions(language)
            vectors = model.embed_texts(texts).vectors
            for name, value in retrieval_scores(images, vectors, owners).items():
                yield f"{language}_{name}", value

    def _measure_matcher(self, matcher: Matcher) -> Iterator[tuple[str, float]]:
        images = matcher.look([record.image for record in self.records])
        require_readable(images.failures, self, self.records)
        for language in self.languages:
            owners, captions = self._captions(language)
            texts = matcher.read(captions)
            again = Rerank(self.rerank, partial(matcher.judge, images, texts))
            scores = retrieval_scores(images.vectors, texts.vectors, owners, again)
            for name, value in scores.items():
                yield f"{language}_{name}", value

    def _captions(self, language: str) -> tuple[Int[np.ndarray, " texts"], list[str]]:
        """The captions in a language, and the number of each one's image."""
        texts = [
            (owner, text)
            for owner, record in enumerate(self.records)
            for text in record.captions.get(language, ())
        ]
        return np.array([owner for owner, _ in texts]), [text for _, text in texts]


class Rerank(NamedTuple):
    """How to judge the nearest again."""

    most: int
    """Of each query; 0: none."""
    judge: Callable[[Numbers, Numbers], Float[np.ndarray, " pairs"]]
    """The numbers of the images and texts of pairs -> a score to add to their cosine."""


def first_ranks(
    queries: Float[np.ndarray, "queries *vectors embed"],
    gallery: Float[np.ndarray, "gallery *others embed"],
    query_things: Int[np.ndarray, " queries"],
    gallery_things: Int[np.ndarray, " gallery"],
) -> Int[np.ndarray, " queries"]:
    """Rank, from 0, of the first relevant item for each query; the length of the gallery if there
    is none. An item is relevant if it has the same number as the query. One side may have several
    vectors each, of which the nearest counts."""
    ranks = np.full(len(queries), len(gallery))
    for rows in _parts(queries):
        score, at = _best_relevant(queries[rows], gallery, query_things[rows], gallery_things)
        before = np.zeros(len(score), dtype=np.int64)
        for columns, scores in _blocks(queries[rows], gallery):
            numbers = np.arange(columns.start, columns.start + scores.shape[1])
            earlier = (scores == score[:, None]) & (numbers < at[:, None])
            before += (scores > score[:, None]).sum(axis=1) + earlier.sum(axis=1)
        ranks[rows] = np.where(at < len(gallery), before, len(gallery))
    return ranks


def _best_relevant(
    queries: Float[np.ndarray, "rows *vectors embed"],
    gallery: Float[np.ndarray, "gallery *others embed"],
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
    queries: Float[np.ndarray, "rows *vectors embed"],
    gallery: Float[np.ndarray, "gallery *others embed"],
) -> Iterator[tuple[slice, Float[np.ndarray, "rows columns"]]]:
    # Compute the same products in the same shapes every time, so that equal scores stay equal.
    for columns in _parts(gallery):
        yield columns, _cosines(queries, gallery[columns])


def _whole_rows(
    queries: Float[np.ndarray, "queries *vectors embed"],
    gallery: Float[np.ndarray, "gallery *others embed"],
) -> Iterator[tuple[slice, Float[np.ndarray, "rows gallery"]]]:
    """Blocks of queries, each with its cosines to all of the gallery."""
    for rows in _parts(queries):
        scores = [scores for _, scores in _blocks(queries[rows], gallery)]
        yield rows, np.concatenate(scores, axis=1)


def _parts(side: Float[np.ndarray, "rows *vectors embed"]) -> Iterator[slice]:
    """Blocks of rows with about as many vectors each."""
    size = BLOCK if side.ndim == 2 else max(1, BLOCK // side.shape[1])
    return (slice(start, min(start + size, len(side))) for start in range(0, len(side), size))


def _cosines(
    queries: Float[np.ndarray, "rows *vectors embed"],
    gallery: Float[np.ndarray, "columns *others embed"],
) -> Float[np.ndarray, "rows columns"]:
    if queries.ndim == 3:
        return _cosines(gallery, queries).T
    flat = gallery.reshape(-1, gallery.shape[-1])
    scores: Float[np.ndarray, "rows all"] = queries @ flat.T
    return scores if gallery.ndim == 2 else scores.reshape(len(queries), len(gallery), -1).max(2)


def reranked(
    ranks: Int[np.ndarray, " queries"],
    scores: Iterator[tuple[slice, Float[np.ndarray, "rows gallery"]]],
    relevant: Callable[[Numbers, Numbers], Bool[np.ndarray, " pairs"]],
    again: Rerank,
) -> Int[np.ndarray, " queries"]:
    """Ranks after the `again.most` nearest of each query were judged; those behind them stay where
    they are. `scores` are the cosines of blocks of queries; pairs are (query, item)."""
    ranks = ranks.copy()
    for rows, of_rows in scores:
        nearest = np.argsort(-of_rows, axis=1, kind="stable")[:, : again.most]
        most = nearest.shape[1]
        numbers = np.arange(rows.start, rows.stop).repeat(most)
        judged = again.judge(numbers, nearest.ravel()).reshape(-1, most)
        judged = judged + np.take_along_axis(of_rows, nearest, axis=1)
        order = np.argsort(-judged, axis=1, kind="stable")
        nearest = np.take_along_axis(nearest, order, axis=1)
        hits = relevant(numbers, nearest.ravel()).reshape(-1, most)
        ranks[rows] = np.where(hits.any(axis=1), hits.argmax(axis=1), ranks[rows])
    return ranks


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
    images: Float[np.ndarray, "images *vectors embed"],
    texts: Float[np.ndarray, "texts embed"],
    owners: Int[np.ndarray, " texts"],
    again: Rerank | None = None,
) -> dict[str, float]:
    """Recall at 1, 5 and 10 in both directions; `owners` is the number of each text's image."""
    numbers = np.arange(len(images))
    of_texts = first_ranks(texts, images, owners, numbers)
    of_images = first_ranks(images, texts, numbers, owners)
    if again is not None and again.most:
        judge = again.judge
        of_texts = reranked(
            of_texts,
            _whole_rows(texts, images),
            lambda query, found: owners[query] == found,
            again._replace(judge=lambda query, image: judge(image, query)),
        )
        of_images = reranked(
            of_images,
            _whole_rows(images, texts),
            lambda query, text: query == owners[text],
            again,
        )
    return {
        f"{direction}_r{k}": recall
        for direction, of_queries in zip(DIRECTIONS, (of_texts, of_images), strict=True)
        for k, recall in recalls(of_queries).items()
    }
