"""Chinese-CLIP (ViT image tower, RoBERTa-wwm text tower) in its Hugging Face form, and the rules
for a BERT that it shares with its relatives."""

from typing import Any

from seesay.data.squares import OPENAI_MEAN, OPENAI_STD
from seesay.data.tokenizer import TokenizerConfig
from seesay.models.bert import BertConfig
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.weights import clip
from seesay.weights.bundle import Blueprint
from seesay.weights.preprocessing import transform_from_hf
from seesay.weights.settings import Known, Settings, every_setting
from seesay.weights.tensors import Rule, Rules, both

# Defaults of transformers' ChineseCLIPTextConfig and BertConfig; a test compares them.
TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
BERT_KNOWN: Known = {
    "position_embedding_type": ("absolute",),
    "directionality": "a note: is_decoder decides",
    **dict.fromkeys(
        (
            "pooler_fc_size",
            "pooler_num_attention_heads",
            "pooler_num_fc_layers",
            "pooler_size_per_head",
            "pooler_type",
        ),
        "of Google's own code",
    ),
}
CONTEXT = 52
"""Tokens that Chinese-CLIP was trained with; its tables hold 512 (cn_clip, tokenize)."""


def read(config: dict[str, Any], preprocessing: dict[str, Any]) -> Blueprint:
    """The blueprint of a folder whose config.json says `"model_type": "chinese_clip"`."""
    with every_setting(config, "config.json", {**clip.KNOWN, **BERT_KNOWN}) as settings:
        return _read(settings, preprocessing)


def _read(config: Settings, preprocessing: dict[str, Any]) -> Blueprint:
    text = config.section("text_config", TEXT_DEFAULTS)
    image = clip.vit(config.section("vision_config", clip.VISION_DEFAULTS))
    return Blueprint(
        model=DualEncoderConfig(
            image=image, text=bert(text), embed_dim=config.get("projection_dim", 512)
        ),
        rules=RULES,
        transform=transform_from_hf(
            preprocessing,
            size=image.image_size,
            mean=OPENAI_MEAN,
            std=OPENAI_STD,
            default_crop=False,
        ),
        tokenizer=TokenizerConfig(
            context=min(CONTEXT, text["max_position_embeddings"]),
            pad_id=text["pad_token_id"],
            clean="none",
        ),
    )


def bert(t: Settings) -> BertConfig:
    """BERT as its transformers config describes it."""
    return BertConfig(
        vocab_size=t["vocab_size"],
        context=t["max_position_embeddings"],
        dim=t["hidden_size"],
        depth=t["num_hidden_layers"],
        heads=t["num_attention_heads"],
        hidden=t["intermediate_size"],
        activation=clip.activation(t["hidden_act"]),
        norm_eps=t["layer_norm_eps"],
        token_types=t["type_vocab_size"],
        pad_id=t["pad_token_id"],
    )


def bert_rules(theirs: str) -> dict[str, Rule]:
    """A BERT under the published prefix `theirs` (its pooler aside)."""
    layer = f"{theirs}.encoder.layer.{{}}"
    modules = {
        "attention.self.query": "attention.query",
        "attention.self.key": "attention.key",
        "attention.self.value": "attention.value",
        "attention.output.dense": "attention.out",
        "attention.output.LayerNorm": "norm1",
        "intermediate.dense": "mlp.up",
        "output.dense": "mlp.down",
        "output.LayerNorm": "norm2",
    }
    rules: dict[str, Rule] = {
        f"{theirs}.embeddings.word_embeddings.weight": "text.token_embed.weight",
        f"{theirs}.embeddings.position_embeddings.weight": "text.positions",
        f"{theirs}.embeddings.token_type_embeddings.weight": "text.types",
        f"{theirs}.embeddings.position_ids": None,
        **both(f"{theirs}.embeddings.LayerNorm", "text.norm_in"),
    }
    for a, b in modules.items():
        rules |= both(f"{layer}.{a}", f"text.blocks.{{}}.{b}")
    return rules


RULES: Rules = {
    **clip.IMAGE_RULES,
    "logit_scale": "log_scale",
    "text_projection.weight": "text_proj.weight",
    **bert_rules("text_model"),
    # Chinese-CLIP takes the first token as it is; some exports carry BERT's unused pooler.
    "text_model.pooler.dense.weight": None,
    "text_model.pooler.dense.bias": None,
}
