"""Published text embedders in the layout of sentence-transformers: BERT (bge), XLM-R (bge-m3,
multilingual-e5) and Qwen3 (Qwen3-Embedding).

Beside config.json and the weights lie modules.json with the steps, 1_Pooling/config.json with how
tokens become a vector, config_sentence_transformers.json with what is put before a text, and
sentence_bert_config.json with the longest text.
"""

from collections.abc import Collection
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import torch

from seesay.data.model_files import MOST_CONFIG, parse_json, read_json, read_text
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import TokenizerConfig
from seesay.errors import WeightsError
from seesay.models.bert import BertConfig
from seesay.models.decoder_text import DecoderTextConfig
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.text import Text
from seesay.weights.bundle import Blueprint
from seesay.weights.chinese_clip import BERT_KNOWN, TEXT_DEFAULTS, bert, bert_rules
from seesay.weights.decoders import KNOWN, read_decoder
from seesay.weights.settings import HUGGING_FACE, Settings, every_setting
from seesay.weights.tensors import Rules, Tensors, both, prefix_of

MODEL_TYPES = ("bert", "xlm-roberta", "qwen3")
POOLING = "1_Pooling/config.json"
TEMPERATURE = 0.01
"""Of the contrastive loss of E5 (arXiv 2402.05672) and BGE (2309.07597); scales logits alone."""
STEPS = ("Transformer", "Pooling", "Normalize")
POOLS = {
    "cls_token": "first",
    "mean_tokens": "mean",
    "lasttoken": "last",
}
"""The setting "pooling_mode_..." -> our name."""


def is_text_embedder(folder: Path, config: dict[str, Any]) -> bool:
    return config.get("model_type") in MODEL_TYPES and (folder / POOLING).is_file()


def with_scale(tensors: Tensors) -> Tensors:
    """Adds the scale of logits, which these files do not have."""
    return {**tensors, "log_scale": torch.tensor(log(1 / TEMPERATURE))}


def read(folder: Path, config: dict[str, Any], names: Collection[str]) -> Blueprint:
    """The blueprint of a folder; `names` are those of its tensors. Raises WeightsError."""
    _check_steps(folder)
    pool = _pool(folder)
    if config["model_type"] == "qwen3":
        if pool != "last":
            raise _refused(folder / POOLING, f"the pooling {pool!r}", "that of the last token")
        return _decoder(folder, config, names)
    if pool == "last":
        raise _refused(folder / POOLING, "the pooling of the last token", "cls or mean")
    first = 0 if config["model_type"] == "bert" else config.get("pad_token_id", 1) + 1
    published = {**TEXT_DEFAULTS, "pad_token_id": 1 if first else 0, **config}
    with every_setting(published, "config.json", {**HUGGING_FACE, **BERT_KNOWN}) as settings:
        text = bert_text(settings, first)
    prefix = prefix_of(names, "embeddings.word_embeddings.weight", "")
    return _blueprint(folder, replace(text, pool=pool), bert_text_rules(prefix), text.pad_id)


def bert_text(settings: Settings, first: int) -> BertConfig:
    """BERT, or with positions from `first` on RoBERTa, as a config of its own describes it."""
    known = bert(settings)
    return replace(known, context=known.context - first, first_position=first)


def bert_text_rules(prefix: str) -> Rules:
    rules = {name.removeprefix("x."): rule for name, rule in bert_rules("x").items()}
    unused = dict.fromkeys(both("pooler.dense", ""))
    rules = {f"{prefix}{name}": rule for name, rule in {**rules, **unused}.items()}
    return {"log_scale": "log_scale", **rules}


def _decoder(folder: Path, config: dict[str, Any], names: Collection[str]) -> Blueprint:
    with every_setting(config, "config.json", KNOWN) as settings:
        decoder = read_decoder(settings, names, body="x")
    prefix = prefix_of(names, "embed_tokens.weight", "")
    rules: Rules = {
        f"{prefix}{name.removeprefix('x.')}" if name.startswith("x.") else name: (
            f"text.decoder.{rule}" if isinstance(rule, str) else rule
        )
        for name, rule in decoder.rules.items()
    }
    vocabulary = read_json(folder / "tokenizer_config.json")
    pad = _id_of(folder, str(vocabulary.get("pad_token")))
    text = DecoderTextConfig(
        decoder=decoder.model, context=decoder.model.context, pad_id=pad, ends_with_pad=True
    )
    return _blueprint(folder, text, {"log_scale": "log_scale", **rules}, pad)


def _blueprint(
    folder: Path, text: BertConfig | DecoderTextConfig, rules: Rules, pad_id: int
) -> Blueprint:
    prompts = _optional(folder / "config_sentence_transformers.json").get("prompts") or {}
    longest = _optional(folder / "sentence_bert_config.json").get("max_seq_length")
    return Blueprint(
        model=DualEncoderConfig(
            image=None,
            text=text,
            embed_dim=text.output_dim,
            project_text=False,
            scale_init=1 / TEMPERATURE,
        ),
        rules=rules,
        transform=ImageTransformConfig(),
        tokenizer=TokenizerConfig(
            context=min(longest or text.context, text.context),
            pad_id=pad_id,
            clean="none",
            query_prefix=prompts.get("query", ""),
            passage_prefix=prompts.get("document", prompts.get("passage", "")),
        ),
    )


def _id_of(folder: Path, token: str) -> int:
    added = read_json(folder / "tokenizer.json").get("added_tokens") or []
    found = [one["id"] for one in added if one.get("content") == token]
    if not found:
        raise _refused(folder / "tokenizer_config.json", f"the padding token {token!r:.40}", "one")
    return int(found[0])


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _pool(folder: Path) -> Any:
    settings = read_json(folder / POOLING)
    used = [n.removeprefix("pooling_mode_") for n, on in settings.items() if on is True]
    used = [name for name in used if name != "include_prompt"]
    if len(used) != 1 or used[0] not in POOLS:
        raise _refused(folder / POOLING, f"the pooling {used}", f"one of {', '.join(POOLS)}")
    return POOLS[used[0]]


def _check_steps(folder: Path) -> None:
    """Raises WeightsError for a step that seesay does not have, such as a dense layer."""
    path = folder / "modules.json"
    if not path.is_file():
        return
    listed = parse_json(f'{{"modules": {read_text(path, MOST_CONFIG)}}}', path)["modules"]
    steps = [str(one.get("type")).rpartition(".")[2] for one in listed if isinstance(one, dict)]
    if others := [step for step in steps if step not in STEPS]:
        raise _refused(path, f"the step {others[0]:.40}", f"only {', '.join(STEPS)}")


def _refused(path: Path, what: str, expected: str) -> WeightsError:
    return WeightsError(
        Text(
            f"{path} names {what}, which seesay does not have for such a model; expected "
            f"{expected}. Choose another model: seesay models list",
            f"{path} 写的是 {what}，seesay 对这类模型没有这一项；应为 {expected}。"
            "请另选一个模型：seesay models list",
        )
    )
