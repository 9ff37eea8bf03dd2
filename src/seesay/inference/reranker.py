"""Scores texts by how well they answer a query, reading both together: slower than comparing
vectors, and more exact, so it is for the first results of a search.

    load_reranker("bge-reranker-v2-m3").scores("退租要提前多久？", ["承租人须提前三个月……"])

It reads XLM-R with a classification head (BAAI/bge-reranker-v2-m3) and Qwen3, asked for yes or no
(Qwen3-Reranker). `load_second_stage` also takes models that compare pages (ColQwen2).
"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32, Int

from seesay.data.model_files import read_json
from seesay.data.spelling import visible
from seesay.data.tokenizer import Tokenizer, Tokens
from seesay.inference.cancelling import check_cancelled
from seesay.inference.devices import choose_device, choose_dtype
from seesay.models.bert import BertClassifier
from seesay.models.decoder_text import DecoderJudge
from seesay.weights import colqwen2
from seesay.weights.hub import locate
from seesay.weights.reranker import (
    ENTAILMENT,
    LABELS,
    RERANKERS,
    JudgePrompt,
    load_entailment,
    load_scorer,
)
from seesay.weights.tensors import loading_as

if TYPE_CHECKING:
    from seesay.inference.late_interaction import PageEmbedder

_AT_ONCE = 16  # pairs


class _Pairs:
    """Two texts -> logits, in batches of about the same length. Safe to use from several
    threads."""

    def __init__(
        self, model: BertClassifier | DecoderJudge, prompt: Tokenizer | JudgePrompt, name: str
    ) -> None:
        self.model, self.tokenizer, self.name = model, prompt, name
        self._mutex = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @torch.inference_mode()
    def _logits(self, tokens: Tokens) -> Float32[np.ndarray, "rows labels"]:
        device = next(self.model.parameters()).device
        logits: list[np.ndarray] = []
        order: list[int] = []
        for rows in _batches(tokens.ids, self.tokenizer.config.pad_id):
            check_cancelled()
            ids = self.model.text.trim(torch.from_numpy(tokens.ids[rows]).to(device))
            with self._mutex:
                logits.append(self.model(ids).float().cpu().numpy())
            order.extend(rows.tolist())
        return np.concatenate(logits)[np.argsort(order)]


class Reranker(_Pairs):
    """Query and texts -> probabilities."""

    def scores(self, query: str, texts: Sequence[str]) -> Float32[np.ndarray, " texts"]:
        """Returns for each text how likely it answers the query, from 0 to 1."""
        best = np.full(len(texts), -np.inf, np.float32)
        if texts:
            pairs = self.tokenizer.encode_pairs(visible(query), [visible(text) for text in texts])
            np.maximum.at(best, pairs.owners, self._logits(pairs)[:, 0])
        return (1 / (1 + np.exp(-best))).astype(np.float32)


class Entailment(_Pairs):
    """A text and a claim -> whether the claim follows from the text."""

    def __init__(
        self, model: BertClassifier, tokenizer: Tokenizer, name: str, columns: tuple[int, ...]
    ) -> None:
        """`columns` are those of LABELS among the model's logits."""
        super().__init__(model, tokenizer, name)
        self._columns = list(columns)

    def probabilities(self, texts: Sequence[str], claim: str) -> Float32[np.ndarray, "texts 3"]:
        """Returns for each text the probabilities of LABELS. The text is the premise, and cut if
        it does not fit: give it in pieces."""
        if not texts:
            return np.empty((0, len(LABELS)), np.float32)
        assert isinstance(self.tokenizer, Tokenizer)
        rows = [self.tokenizer.encode_pairs(visible(text), [visible(claim)]) for text in texts]
        ids = np.concatenate([one.ids[:1] for one in rows])
        logits = self._logits(Tokens(ids, np.arange(len(ids))))[:, self._columns]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def _batches(
    ids: Int[np.ndarray, "rows tokens"], pad_id: int
) -> Iterator[Int[np.ndarray, " _some"]]:
    """Rows of about the same length together, so that little is padded."""
    order = np.argsort((ids != pad_id).sum(axis=1), kind="stable")
    for start in range(0, len(order), _AT_ONCE):
        yield order[start : start + _AT_ONCE]


def load_reranker(
    name: str | Path, *, device: str | None = None, dtype: str | None = None
) -> Reranker:
    """Loads a key of RERANKERS, a repository or a folder; on a processor in float32. Raises
    UnknownModelError, DownloadError or WeightsError."""
    chosen = choose_device(device)
    number = choose_dtype(chosen, dtype or ("float32" if chosen.type == "cpu" else None))
    folder = locate(RERANKERS.get(str(name), str(name))).folder
    with loading_as(number):
        model, prompt = load_scorer(folder)
    return Reranker(model.to(chosen, number), prompt, str(name))


def load_entailment_model(name: str, *, device: str | None = None) -> Entailment:
    """Loads a key of ENTAILMENT, a repository or a folder, in float32. Raises UnknownModelError,
    DownloadError or WeightsError."""
    folder = locate(ENTAILMENT.get(name, name)).folder
    model, tokenizer, columns = load_entailment(folder)
    return Entailment(model.to(choose_device(device)), tokenizer, name, columns)


def compares_pages(name: str) -> bool:
    """Whether this model compares a query with pages, and not with texts; downloads it first.
    Raises UnknownModelError, DownloadError or WeightsError."""
    known = {**RERANKERS, **colqwen2.PUBLISHED}
    folder = locate(known.get(name, name)).folder
    return colqwen2.is_colqwen2(read_json(folder / "config.json"))


def load_second_stage(name: str) -> "Reranker | PageEmbedder":
    """Loads a model that scores the first results of a search again, texts or pages by its kind.
    Raises UnknownModelError, DownloadError or WeightsError."""
    if compares_pages(name):
        from seesay.inference.late_interaction import load_pages

        return load_pages(name)
    return load_reranker(name)
