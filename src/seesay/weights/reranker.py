"""Published rerankers: XLM-R with a classification head (BAAI/bge-reranker-v2-m3, Apache-2.0)."""

from pathlib import Path
from typing import Any, get_type_hints

from seesay.data.model_files import read_json
from seesay.data.tokenizer import Tokenizer, TokenizerConfig, load_tokenizer
from seesay.errors import WeightsError
from seesay.models.bert import BertConfig, BertScorer
from seesay.text import Text
from seesay.weights.bundle import checked
from seesay.weights.chinese_clip import BERT_KNOWN, TEXT_DEFAULTS
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
"""Tokens of a pair, as on the model card; longer texts are read in windows."""
KIND = "XLMRobertaForSequenceClassification"

RULES: Rules = {
    **{name: rule for name, rule in bert_text_rules("roberta.").items() if name != "log_scale"},
    **both("classifier.dense", "dense"),
    **both("classifier.out_proj", "out"),
}


def load_scorer(folder: Path) -> tuple[BertScorer, Tokenizer]:
    """Loads a folder in float32 and evaluation mode. Raises WeightsError unless config and tensors
    match the model exactly."""
    published = read_json(folder / "config.json")
    if published.get("architectures") != [KIND]:
        raise _no_reranker(folder, published.get("architectures"))
    tensors = read_tensors(folder)
    text = checked(lambda: _config(published), folder, get_type_hints(BertConfig))
    model = blank_model(BertScorer, text, MOST_PARTS * len(tensors))
    load_weights(model, tensors, RULES)
    settings = TokenizerConfig(context=min(CONTEXT, text.context), pad_id=text.pad_id)
    return model.eval(), load_tokenizer(folder, settings)


def _config(published: dict[str, Any]) -> BertConfig:
    known = {**TEXT_DEFAULTS, "pad_token_id": 1, **published}
    with every_setting(known, "config.json", {**HUGGING_FACE, **BERT_KNOWN}) as settings:
        return bert_text(settings, settings["pad_token_id"] + 1)


def _no_reranker(folder: Path, kinds: object) -> WeightsError:
    return WeightsError(
        Text(
            f"{folder} holds {kinds!r:.80}, expected {KIND}, which scores a query with a text. "
            f"Choose {', '.join(PUBLISHED)}",
            f"{folder} 里的是 {kinds!r:.80}；应为给查询和文字打分的 {KIND}。"
            f"请选用 {'、'.join(PUBLISHED)}",
        )
    )
