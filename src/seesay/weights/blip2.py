"""BLIP-2 and InstructBLIP in Hugging Face's layout, and the part of them that LAVIS trains.

model = load_blip2(Path("Salesforce/blip2-opt-2.7b"))
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seesay.data.model_files import read_json
from seesay.models.blip2 import Blip2, Blip2Config, Blip2Matcher, Blip2MatcherConfig
from seesay.models.decoder import DecoderConfig
from seesay.models.qformer import QFormerConfig
from seesay.models.t5 import T5Config
from seesay.weights import blip, clip, decoders, t5
from seesay.weights.bundle import checked
from seesay.weights.decoders import DECODERS, read_decoder
from seesay.weights.image_towers import eva_rules, lavis_eva_rules, read_eva
from seesay.weights.settings import Known, Settings, every_setting
from seesay.weights.t5 import read_t5
from seesay.weights.tensors import (
    MOST_PARTS,
    Rule,
    Rules,
    blank_model,
    both,
    load_weights,
    read_tensors,
    with_prefix,
)

# Defaults of transformers' Blip2QFormerConfig, and of InstructBLIP's; a test compares them.
QFORMER_DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "cross_attention_frequency": 2,
}
LANGUAGE_MODELS = ("opt", "llama", "t5")
KNOWN: Known = {
    **decoders.KNOWN,
    **t5.KNOWN,
    **blip.KNOWN,
    "is_encoder_decoder": "the language model's family says so",
    "use_decoder_only_language_model": "the language model's family says so",
    "image_text_hidden_size": "of a matcher",
    "use_qformer_text_input": "the names of the tensors say so",
}
MATCHING_HEAD = "itm_head.weight"


@dataclass(frozen=True, kw_only=True)
class Blip2Blueprint:
    """The model a config describes, before any tensor is read."""

    model: Blip2Config | Blip2MatcherConfig
    rules: Rules


def read(config: Settings, names: Collection[str]) -> Blip2Blueprint:
    """Returns the blueprint of a folder whose config.json has `"model_type"` "blip-2" or
    "instructblip". The tensor names tell whether it is a matcher and whether its Q-Former reads
    texts. Raises WeightsError."""
    config.require("model_type", "", ("blip-2", "instructblip"))
    image = read_eva(config.section("vision_config"))
    qformer = _qformer(config.section("qformer_config", QFORMER_DEFAULTS), config, names, image.dim)
    if MATCHING_HEAD in names:
        config.ignore("text_config", "image_token_index", "image_token_id")
        embed_dim = config.get("image_text_hidden_size", blip.EMBED_DIM)
        matcher = Blip2MatcherConfig(image=image, qformer=qformer, embed_dim=embed_dim)
        return Blip2Blueprint(model=matcher, rules=MATCHER_RULES)
    language, rules = _language(config.section("text_config"), names)
    place = config.get("image_token_index", config.get("image_token_id"))
    model = Blip2Config(
        image=image,
        qformer=qformer,
        language=language,
        image_ids=() if place is None else (place,),
    )
    rules = {**IMAGE_RULES, **both("language_projection", "project"), **rules}
    return Blip2Blueprint(model=model, rules=rules)


def _qformer(
    q: Settings, config: Settings, names: Collection[str], image_dim: int
) -> QFormerConfig:
    reads = any(name.endswith("embeddings.word_embeddings.weight") for name in names)
    q.ignore("vocab_size", "max_position_embeddings")  # for a text branch that may be missing
    return QFormerConfig(
        queries=config.get("num_query_tokens", 32),
        dim=q["hidden_size"],
        depth=q["num_hidden_layers"],
        heads=q["num_attention_heads"],
        hidden=q["intermediate_size"],
        image_dim=image_dim,
        cross_every=q["cross_attention_frequency"],
        vocab_size=q["vocab_size"] if reads else None,
        context=q["max_position_embeddings"],
        activation=clip.activation(q["hidden_act"]),
        norm_eps=q["layer_norm_eps"],
    )


def _language(c: Settings, names: Collection[str]) -> tuple[DecoderConfig | T5Config, Rules]:
    """Returns the config and rules of the language model inside the larger one."""
    theirs, ours = "language_model.", "language."
    own = [name.removeprefix(theirs) for name in names if name.startswith(theirs)]
    family = c.require("model_type", "opt", LANGUAGE_MODELS)
    if family == "t5":
        seq2seq = read_t5(c, own)
        return seq2seq.model, with_prefix(seq2seq.rules, theirs, ours)
    decoder = read_decoder(c, own, family, DECODERS[family].body)
    return decoder.model, with_prefix(decoder.rules, theirs, ours)


def load_blip2(folder: Path) -> Blip2 | Blip2Matcher:
    """Loads a published BLIP-2 or InstructBLIP in float32 and evaluation mode. Raises WeightsError
    unless config and tensors match the model exactly."""
    published = read_json(folder / "config.json")
    tensors = read_tensors(folder)

    def described() -> Blip2Blueprint:
        with every_setting(published, "config.json", KNOWN) as config:
            return read(config, tensors)

    blueprint = checked(described, folder, {"model": Blip2Config | Blip2MatcherConfig})
    most = MOST_PARTS * len(tensors)
    model: Blip2 | Blip2Matcher
    if isinstance(blueprint.model, Blip2MatcherConfig):
        model = blank_model(Blip2Matcher, blueprint.model, most)
    else:
        model = blank_model(Blip2, blueprint.model, most)
    load_weights(model, tensors, blueprint.rules)
    return model.eval()


# Rules


def _embedding_rules(theirs: str) -> dict[str, Rule]:
    return {
        f"{theirs}.word_embeddings.weight": "qformer.token_embed.weight",
        f"{theirs}.position_embeddings.weight": "qformer.positions",
        f"{theirs}.position_ids": None,
    }


# Published suffixes of an MLP -> ours
_MLPS = {"_query": "", "": "_text"}

IMAGE_RULES: Rules = {
    **eva_rules("vision_model", "image"),
    "query_tokens": "qformer.queries",
    **blip.grounded_rules("qformer", "qformer", "attention", _MLPS),
    # BLIP-2's; its matcher keeps the word embeddings outside.
    **both("qformer.layernorm", "qformer.norm_in"),
    **_embedding_rules("embeddings"),
    # InstructBLIP's
    **both("qformer.embeddings.layernorm", "qformer.norm_in"),
    **_embedding_rules("qformer.embeddings"),
}
MATCHER_RULES: Rules = {
    **IMAGE_RULES,
    **both("vision_projection", "image_proj"),
    **both("text_projection", "text_proj"),
    **both("itm_head", "match"),
}

# LAVIS's own files. Those of the second stage have no image tower or language model: these
# come from elsewhere. Its word head and temperature are only for training.
LAVIS_RULES: Rules = {
    **lavis_eva_rules("visual_encoder", "image"),
    "query_tokens": "qformer.queries",
    **blip.grounded_rules("Qformer.bert", "qformer", "self", _MLPS),
    **_embedding_rules("Qformer.bert.embeddings"),
    **both("Qformer.bert.embeddings.LayerNorm", "qformer.norm_in"),
    **dict.fromkeys(both("Qformer.cls.predictions.decoder", "")),
    **dict.fromkeys(both("Qformer.cls.predictions.transform.dense", "")),
    **dict.fromkeys(both("Qformer.cls.predictions.transform.LayerNorm", "")),
    "Qformer.cls.predictions.bias": None,
    "temp": None,
    **both("vision_proj", "image_proj"),
    **both("text_proj", "text_proj"),
    **both("itm_head", "match"),
    **both("opt_proj", "project"),
    **both("t5_proj", "project"),
    **both("llm_proj", "project"),
}
