"""BLIP captioners and matchers, in Hugging Face's and Salesforce's layouts.

model = load_blip(Path("Salesforce/blip-image-captioning-base"))
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seesay.data.model_files import read_json
from seesay.errors import WeightsError
from seesay.models.blip import BlipCaptioner, BlipConfig, BlipMatcher, GroundedTextConfig
from seesay.models.vit import VitConfig
from seesay.text import Text
from seesay.weights import clip
from seesay.weights.bundle import checked
from seesay.weights.chinese_clip import BERT_KNOWN
from seesay.weights.image_towers import PARTS, eva_rules, lavis_eva_rules
from seesay.weights.settings import HUGGING_FACE, Known, Settings, every_setting
from seesay.weights.tensors import (
    MOST_PARTS,
    Rule,
    Rules,
    Tensors,
    blank_model,
    both,
    load_weights,
    read_tensors,
)

# Defaults of transformers' BlipVisionConfig and BlipTextConfig; a test compares them.
VISION_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 384,
    "patch_size": 16,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
}
TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 30524,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 512,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
KNOWN: Known = {
    **HUGGING_FACE,
    **BERT_KNOWN,
    "encoder_hidden_size": "the image tower's width is used",
    "is_decoder": "each layer attends to the image in any case",
    "projection_dim": "for a third model, which compares pooled vectors",
    "label_smoothing": "for training",
}
EMBED_DIM = 256
"""Default of transformers' "image_text_hidden_size"."""


@dataclass(frozen=True, kw_only=True)
class BlipBlueprint:
    """The model a config describes, before any tensor is read."""

    model: BlipConfig
    rules: Rules


def read(config: Settings, names: Collection[str]) -> BlipBlueprint:
    """Returns the blueprint of a folder whose config.json has `"model_type": "blip"`. The tensor
    names tell captioners from matchers. Raises WeightsError."""
    captions, matches = (any(n.startswith(p) for n in names) for p in ("text_decoder.", "itm_"))
    if captions == matches or (captions and any(n.startswith("text_encoder.") for n in names)):
        raise WeightsError(
            Text(
                "the checkpoint has neither the single text decoder of a BLIP captioner nor the "
                "matching head of a BLIP matcher; expected one of the two: download "
                "such a model, for example Salesforce/blip-image-captioning-base",
                "权重里既没有 BLIP 图片描述模型的单个文本解码器，也没有 BLIP 图文匹配模型的匹配头；"
                "应为其中之一：请下载这样的模型，例如 Salesforce/blip-image-captioning-base",
            )
        )
    embed_dim = config.get("image_text_hidden_size", EMBED_DIM)
    model = BlipConfig(
        image=_tower(config.section("vision_config", VISION_DEFAULTS)),
        text=_text(config.section("text_config", TEXT_DEFAULTS)),
        embed_dim=embed_dim if matches else None,
    )
    return BlipBlueprint(model=model, rules=MATCHER_RULES if matches else CAPTIONER_RULES)


def _tower(v: Settings) -> VitConfig:
    """Returns the image tower; all its tokens pass through the last norm."""
    return VitConfig(
        image_size=v["image_size"],
        patch_size=v["patch_size"],
        dim=v["hidden_size"],
        depth=v["num_hidden_layers"],
        heads=v["num_attention_heads"],
        hidden=v["intermediate_size"],
        activation=clip.activation(v["hidden_act"]),
        norm_eps=v["layer_norm_eps"],
        pool="none",
        patch_bias=True,
        pre_norm=False,
        feature_norm=True,
    )


def _text(t: Settings) -> GroundedTextConfig:
    return GroundedTextConfig(
        vocab_size=t["vocab_size"],
        context=t["max_position_embeddings"],
        dim=t["hidden_size"],
        depth=t["num_hidden_layers"],
        heads=t["num_attention_heads"],
        hidden=t["intermediate_size"],
        activation=clip.activation(t["hidden_act"]),
        norm_eps=t["layer_norm_eps"],
    )


def load_blip(folder: Path) -> BlipCaptioner | BlipMatcher:
    """Loads a published BLIP in float32 and evaluation mode. Raises WeightsError unless config and
    tensors match the model exactly."""
    published = read_json(folder / "config.json")
    tensors = without_copies(read_tensors(folder))

    def described() -> BlipBlueprint:
        with every_setting(published, "config.json", KNOWN) as config:
            return read(config, tensors)

    blueprint = checked(described, folder, {"model": BlipConfig})
    most = MOST_PARTS * len(tensors)
    model: BlipCaptioner | BlipMatcher
    if blueprint.model.embed_dim is None:
        model = blank_model(BlipCaptioner, blueprint.model, most)
    else:
        model = blank_model(BlipMatcher, blueprint.model, most)
    load_weights(model, tensors, blueprint.rules)
    return model.eval()


COPIES = {
    "text_decoder.cls.predictions.decoder.weight": "text_decoder.bert.embeddings.word_embeddings."
    "weight",
    "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
}
"""Tensors that older files duplicate -> their originals."""


def without_copies(tensors: Tensors) -> Tensors:
    """Returns the tensors without exact copies of others. A copy that differs stays, and matches no
    rule."""
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not (
            (original := tensors.get(COPIES.get(name, ""))) is not None
            and torch.equal(original, tensor)
        )
    }


# Rules


def grounded_rules(theirs: str, ours: str, inner: str, mlps: dict[str, str]) -> dict[str, Rule]:
    """Returns the rules of a BERT that attends to an image. `inner` is the module with the
    projections of an attention; `mlps` maps the published suffixes of an MLP to ours."""
    layer, block = f"{theirs}.encoder.layer.{{}}", f"{ours}.blocks.{{}}"
    modules: dict[str, str] = {}
    for published, own, norm in (
        ("attention", "attention", "norm1"),
        ("crossattention", "cross", "norm_cross"),
    ):
        for part in PARTS:
            modules[f"{published}.{inner}.{part}"] = f"{own}.{part}"
        modules[f"{published}.output.dense"] = f"{own}.out"
        modules[f"{published}.output.LayerNorm"] = norm
    for published, own in mlps.items():
        modules[f"intermediate{published}.dense"] = f"mlp{own}.up"
        modules[f"output{published}.dense"] = f"mlp{own}.down"
        modules[f"output{published}.LayerNorm"] = f"norm{own}" if own else "norm2"
    rules: dict[str, Rule] = {}
    for a, b in modules.items():
        rules |= both(f"{layer}.{a}", f"{block}.{b}")
    return rules


def _text_rules(theirs: str) -> dict[str, Rule]:
    return {
        f"{theirs}.embeddings.word_embeddings.weight": "text.token_embed.weight",
        f"{theirs}.embeddings.position_embeddings.weight": "text.positions",
        f"{theirs}.embeddings.position_ids": None,
        **both(f"{theirs}.embeddings.LayerNorm", "text.norm_in"),
        **grounded_rules(theirs, "text", "self", {"": ""}),
    }


_HEAD = "text_decoder.cls.predictions"
_CAPTIONER: dict[str, Rule] = {
    **_text_rules("text_decoder.bert"),
    **both(f"{_HEAD}.transform.dense", "head.map"),
    **both(f"{_HEAD}.transform.LayerNorm", "head.norm"),
    f"{_HEAD}.bias": "head.bias",
}
_MATCHER: dict[str, Rule] = {
    **_text_rules("text_encoder"),
    **both("vision_proj", "image_proj"),
    **both("text_proj", "text_proj"),
    **both("itm_head", "match"),
}
CAPTIONER_RULES: Rules = {**eva_rules("vision_model", "image"), **_CAPTIONER}
MATCHER_RULES: Rules = {**eva_rules("vision_model", "image"), **_MATCHER}

# Salesforce's own files differ only in the image tower, which is laid out like BLIP-2's, but
# with one bias for queries, keys and values.
_TOWER: dict[str, Rule] = {
    **lavis_eva_rules("visual_encoder", "image"),
    **both("visual_encoder.norm", "image.norm_out"),
    "visual_encoder.blocks.{}.attn.qkv.bias": tuple(
        f"image.blocks.{{}}.attention.{part}.bias" for part in PARTS
    ),
}
SALESFORCE_CAPTIONER_RULES: Rules = {**_TOWER, **_CAPTIONER}
SALESFORCE_MATCHER_RULES: Rules = {**_TOWER, **_MATCHER}
