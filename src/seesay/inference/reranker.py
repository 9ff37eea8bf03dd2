"""Scores texts by how well they answer a query, reading both together: slower than comparing
vectors, and more exact, so it is for the first results of a search.

    load_reranker("bge-reranker-v2-m3").scores("退租要提前多久？", ["承租人须提前三个月……"])

It reads XLM-R with a classification head, as BAAI/bge-reranker-v2-m3 is published (Apache-2.0).
"""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int

from seesay.data.spelling import visible
from seesay.data.tokenizer import Tokenizer
from seesay.inference.cancelling import check_cancelled
from seesay.inference.devices import choose_device
from seesay.models.bert import BertScorer
from seesay.weights.hub import locate
from seesay.weights.reranker import PUBLISHED, load_scorer

_AT_ONCE = 16  # pairs


class Reranker:
    """Query and texts -> probabilities. Safe to use from several threads."""

    def __init__(self, model: BertScorer, tokenizer: Tokenizer, name: str) -> None:
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self._mutex = threading.Lock()

    def __repr__(self) -> str:
        return f"Reranker({self.name!r})"

    @torch.inference_mode()
    def scores(self, query: str, texts: Sequence[str]) -> Float32[np.ndarray, " texts"]:
        """Returns for each text how likely it answers the query, from 0 to 1."""
        pairs = self.tokenizer.encode_pairs(visible(query), [visible(text) for text in texts])
        logits = np.full(len(texts), -np.inf, np.float32)
        device = self.model.out.weight.device
        for rows in _batches(pairs.ids, self.tokenizer.config.pad_id):
            check_cancelled()
            ids = self.model.text.trim(torch.from_numpy(pairs.ids[rows]).to(device))
            with self._mutex:
                found = self.model(ids).float().cpu().numpy()
            np.maximum.at(logits, pairs.owners[rows], found)
        return (1 / (1 + np.exp(-logits))).astype(np.float32)


def _batches(
    ids: Int[np.ndarray, "rows tokens"], pad_id: int
) -> Iterator[Int[np.ndarray, " _some"]]:
    """Rows of about the same length together, so that little is padded."""
    order = np.argsort((ids != pad_id).sum(axis=1), kind="stable")
    for start in range(0, len(order), _AT_ONCE):
        yield order[start : start + _AT_ONCE]


def load_reranker(name: str, *, device: str | None = None) -> Reranker:
    """Loads "bge-reranker-v2-m3", a repository or a folder, in float32. Raises UnknownModelError,
    DownloadError or WeightsError."""
    model, tokenizer = load_scorer(locate(PUBLISHED.get(name, name)).folder)
    return Reranker(model.to(choose_device(device)), tokenizer, name)
