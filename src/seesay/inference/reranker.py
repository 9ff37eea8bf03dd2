"""Scores texts by how well they answer a query, reading both together: slower than comparing
vectors, and more exact, so it is for the first results of a search.

    load_reranker("bge-reranker-v2-m3").scores("退租要提前多久？", ["承租人须提前三个月……"])

It reads XLM-R with a classification head, as BAAI/bge-reranker-v2-m3 is published (Apache-2.0).
"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from seesay.data.model_files import read_json
from seesay.data.spelling import visible
from seesay.data.tokenizer import Tokenizer, TokenizerConfig, load_tokenizer
from seesay.errors import WeightsError
from seesay.inference.cancelling import check_cancelled
from seesay.inference.devices import choose_device
from seesay.models.reranker import Reranker as Model
from seesay.models.reranker import RerankerConfig
from seesay.text import Text
from seesay.weights.bundle import checked
from seesay.weights.chinese_clip import BERT_KNOWN, TEXT_DEFAULTS
from seesay.weights.hub import locate
from seesay.weights.settings import HUGGING_FACE, every_setting
from seesay.weights.tensors import (
    MOST_PARTS,
    Rules,
    blank_model,
    both,
    load_weights,
    read_tensors,
)
from seesay.weights.text_embedders import bert_text, bert_text_rules

PUBLISHED = {"bge-reranker-v2-m3": "BAAI/bge-reranker-v2-m3"}
"""Repositories by their short names."""
CONTEXT = 512
"""Tokens of a pair; longer texts are read in windows, of which the best counts."""
_AT_ONCE = 16  # pairs

RULES: Rules = {
    **{n: rule for n, rule in bert_text_rules("roberta.").items() if n != "log_scale"},
    **both("classifier.dense", "dense"),
    **both("classifier.out_proj", "out"),
}


class Reranker:
    """Query and texts -> probabilities. Safe to use from several threads."""

    def __init__(self, model: Model, tokenizer: Tokenizer, name: str) -> None:
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


def _batches(ids: np.ndarray, pad_id: int) -> Iterator[np.ndarray]:
    """Rows of about the same length together, so that little is padded."""
    order = np.argsort((ids != pad_id).sum(axis=1), kind="stable")
    for start in range(0, len(order), _AT_ONCE):
        yield order[start : start + _AT_ONCE]


def load_reranker(name: str, *, device: str | None = None) -> Reranker:
    """Loads one of PUBLISHED, a repository or a folder, in float32. Raises UnknownModelError,
    DownloadError or WeightsError."""
    folder = locate(PUBLISHED.get(name, name)).folder
    published = read_json(folder / "config.json")
    kinds = published.get("architectures")
    if kinds != ["XLMRobertaForSequenceClassification"]:
        raise _no_reranker(folder, kinds)
    config = checked(lambda: _config(published), folder, {"text": object})
    tensors = read_tensors(folder)
    model = blank_model(Model, config, MOST_PARTS * len(tensors))
    load_weights(model, tensors, RULES)
    text = config.text
    settings = TokenizerConfig(context=min(CONTEXT, text.context), pad_id=text.pad_id)
    tokenizer = load_tokenizer(folder, settings)
    return Reranker(model.eval().to(choose_device(device)), tokenizer, name)


def _config(published: dict[str, Any]) -> RerankerConfig:
    known = {**TEXT_DEFAULTS, "pad_token_id": 1, **published}
    with every_setting(known, "config.json", {**HUGGING_FACE, **BERT_KNOWN}) as settings:
        return RerankerConfig(text=bert_text(settings, settings["pad_token_id"] + 1))


def _no_reranker(folder: Path, kinds: object) -> WeightsError:
    return WeightsError(
        Text(
            f"{folder} holds {kinds!r:.80}, expected XLMRobertaForSequenceClassification, which "
            f"scores a query with a text. Choose {', '.join(PUBLISHED)}",
            f"{folder} 里的是 {kinds!r:.80}；应为给查询和文字打分的 "
            f"XLMRobertaForSequenceClassification。请选用 {'、'.join(PUBLISHED)}",
        )
    )
