"""The second stage of a search: the first results are scored again by a slower, more exact model.

A reranker reads the query with each text. A model of late interaction compares the query with each
page, by the vectors that `seesay index --late` stored; a text stands where its page does.
"""

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from seesay.search.catalog.store import Store
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.inference.late_interaction import PageEmbedder
    from seesay.inference.reranker import Reranker

MOST = 50
"""Texts or pages that are scored again."""
_DEPTH = 500  # results among which they are looked for
_LOADING = threading.Lock()


@dataclass(frozen=True, kw_only=True, eq=False)
class Rescored:
    """Results after the second stage."""

    order: Int[np.ndarray, " found"]
    """The rows of the results in their new order: those scored again share out the places that they
    had; all others keep theirs."""
    confidences: Float[np.ndarray, " found"]
    """In the new order."""
    notes: tuple[Text, ...] = ()


def score_again(
    store: Store,
    name: str,
    words: str,
    units: Int[np.ndarray, " found"],
    confidences: Float[np.ndarray, " found"],
) -> Rescored:
    """Scores the first texts or pages again, by the kind of this model. Raises UnknownModelError,
    DownloadError or WeightsError for the model, CollectionDamagedError for damaged vectors."""
    unchanged = Rescored(order=np.arange(len(units)), confidences=confidences)
    if not words or not len(units):
        return unchanged
    from seesay.inference.reranker import Reranker, compares_pages  # torch

    if compares_pages(name):
        return _by_page(store, name, words, units, confidences)
    known = {one.id: one for one in store.passages.get(units[:_DEPTH])}
    texts = [
        row
        for row, unit in enumerate(units[:_DEPTH].tolist())
        if unit in known and known[unit].modality == "text" and known[unit].text
    ][:MOST]
    if not texts:
        return unchanged
    model = load(name)
    assert isinstance(model, Reranker)
    found = model.scores(words, [known[int(units[row])].text or "" for row in texts])
    order, confidences = np.arange(len(units)), confidences.copy()
    confidences[texts] = np.round(100 * found)
    order[texts] = np.asarray(texts)[np.argsort(-found, kind="stable")]
    return Rescored(order=order, confidences=confidences[order])


def _by_page(
    store: Store,
    name: str,
    words: str,
    units: Int[np.ndarray, " found"],
    confidences: Float[np.ndarray, " found"],
) -> Rescored:
    page_of = store.page_vectors.of_passages(units[:_DEPTH].tolist())
    stands_on = [(row, page_of.get(unit)) for row, unit in enumerate(units[:_DEPTH].tolist())]
    first = list(dict.fromkeys(page for _, page in stands_on if page is not None))[:MOST]
    models = store.page_vectors.models(first)
    order, values = np.arange(len(units)), confidences.copy()
    ready: list[int] = []
    if models:  # else a model of some gigabytes would be loaded for nothing
        from seesay.inference.late_interaction import PageEmbedder
        from seesay.models.late_interaction import max_sim

        model = load(name)
        assert isinstance(model, PageEmbedder)
        ready = [page for page in first if models.get(page) == model.fingerprint]
        query = model.embed_query(words)
        scores = {page: max_sim(query, own) for page, own in store.page_vectors.stream(ready)}
        # Such a score tells pages apart, not whether one fits, so the confidences of these hits are
        # kept and given out in the new order; those of pictures and of texts mean different things.
        rows = [(row, page) for row, page in stands_on if page in scores]
        pictures = [row for row, page in rows if units[row] == page]
        texts = [row for row, page in rows if units[row] != page]
        for some in (pictures, texts):
            ranks = np.argsort([-scores[page_of[int(units[row])]] for row in some], kind="stable")
            order[some] = np.asarray(some, np.int64)[ranks]
            values[some] = np.sort(confidences[some])[::-1]
    lacking = len(first) - len(ready)
    notes = (_lacking(lacking, len(first), name),) if lacking else ()
    return Rescored(order=order, confidences=values, notes=notes)


def load(name: str) -> "Reranker | PageEmbedder":
    """Returns the model of this name, which is loaded once for all collections."""
    with _LOADING:
        return _loaded(name)


@lru_cache(maxsize=2)
def _loaded(name: str) -> "Reranker | PageEmbedder":
    from seesay.inference.reranker import load_second_stage

    return load_second_stage(name)


def _lacking(lacking: int, pages: int, name: str) -> Text:
    return Text(
        f"{lacking} of the first {pages} pages have no vectors of {name} and keep their places; to "
        f"compute them: seesay index --late {name}",
        f"前 {pages} 页中有 {lacking} 页没有 {name} 的向量，名次不变；补算："
        f"seesay index --late {name}",
    )
