"""AltCLIP (CLIP's image tower, an XLM-R text tower) in its Hugging Face form."""

from dataclasses import replace
from typing import Any

from seesay.data.squares import OPENAI_MEAN, OPENAI_STD
from seesay.data.tokenizers import TokenizerConfig
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.weights import clip
from seesay.weights.blueprint import Blueprint
from seesay.weights.chinese_clip import BERT_KNOWN, bert, bert_rules
from seesay.weights.mapping import Rules, both
from seesay.weights.preprocessing import transform_from_hf
from seesay.weights.settings import Settings, every_setting

# What transformers' AltCLIPTextConfig fills in; a test compares them.
TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 250002,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "project_dim": 768,
}
CONTEXT = 77
"""Tokens in a text; the position table holds 512 (model card of BAAI/AltCLIP, max_length)."""


def read(config: dict[str, Any], preprocessing: dict[str, Any]) -> Blueprint:
    """The blueprint of a folder whose config.json says `"model_type": "altclip"`."""
    with every_setting(config, "config.json", {**clip.KNOWN, **BERT_KNOWN}) as settings:
        return _read(settings, preprocessing)


def _read(config: Settings, preprocessing: dict[str, Any]) -> Blueprint:
    t = config.section("text_config", TEXT_DEFAULTS)
    first = t["pad_token_id"] + 1
    text = replace(
        bert(t),
        context=t["max_position_embeddings"] - first,
        first_position=first,
        mapped_dim=t["project_dim"],
    )
    image = clip.vit(config.section("vision_config", clip.VISION_DEFAULTS))
    return Blueprint(
        model=DualEncoderConfig(
            image=image, text=text, embed_dim=config.get("projection_dim", 768)
        ),
        rules=RULES,
        transform=transform_from_hf(
            preprocessing, size=image.image_size, mean=OPENAI_MEAN, std=OPENAI_STD
        ),
        tokenizer=TokenizerConfig(
            context=min(CONTEXT, text.context), pad_id=text.pad_id, clean="none"
        ),
    )


RULES: Rules = {
    **clip.IMAGE_RULES,
    "logit_scale": "log_scale",
    "text_projection.weight": "text_proj.weight",
    **bert_rules("text_model.roberta"),
    **both("text_model.pre_LN", "text.map.0"),
    **both("text_model.transformation", "text.map.1"),
}
