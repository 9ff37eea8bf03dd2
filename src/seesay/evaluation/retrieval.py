"""Recall of retrieval: how often something relevant is among the first k found.

CLIP's definition: a query counts as answered if at least one relevant item is among the first k.
Of equally near items the one that comes first in the gallery is found first, so a model that finds
everything equally near scores as chance would. Memory is that of one block of scores.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from seesay.errors import DataError

KS = (1, 5, 10)
BLOCK = 2048


def first_ranks(
    queries: Float[np.ndarray, "queries embed"],
    gallery: Float[np.ndarray, "gallery embed"],
    query_things: Int[np.ndarray, " queries"],
    gallery_things: Int[np.ndarray, " gallery"],
) -> Int[np.ndarray, " queries"]:
    """Place, from 0, of the first relevant item in each query's list; the length of the gallery
    where it holds none. An item is relevant where it is about the same thing as the query."""
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
    """Score and number of the nearest relevant item; the first of equals."""
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
    # The same products in the same shapes every time, so that equal scores compare as equal.
    for start in range(0, len(gallery), BLOCK):
        columns = slice(start, start + BLOCK)
        yield columns, queries @ gallery[columns].T


def recalls(ranks: Int[np.ndarray, " queries"], ks: Sequence[int] = KS) -> dict[int, float]:
    """Part of the queries answered within the first k, by k."""
    if not len(ranks):
        raise DataError("there are 0 queries, at least 1 was expected: check the data set's texts")
    return {k: float((ranks < k).mean()) for k in ks}


def retrieval_scores(
    images: Float[np.ndarray, "images embed"],
    texts: Float[np.ndarray, "texts embed"],
    owners: Int[np.ndarray, " texts"],
) -> dict[str, float]:
    """Recall at 1, 5 and 10 in both directions; `owners` is the image that each text is of."""
    numbers = np.arange(len(images))
    found = {
        "text_to_image": first_ranks(texts, images, owners, numbers),
        "image_to_text": first_ranks(images, texts, numbers, owners),
    }
    return {
        f"{direction}_r{k}": recall
        for direction, ranks in found.items()
        for k, recall in recalls(ranks).items()
    }
