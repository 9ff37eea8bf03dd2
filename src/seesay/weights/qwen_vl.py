"""Qwen-VL in its authors' layout; Qwen2-VL, Qwen2.5-VL and Qwen3-VL in Hugging Face's.

model = load_first_qwen_vl(Path("Qwen/Qwen-VL-Chat"))
model = load_qwen_vl(Path("Qwen/Qwen2-VL-2B-Instruct"))
"""

from collections.abc import Callable, Collection
from math import isqrt
from pathlib import Path
from typing import NamedTuple

from seesay.models.connectors import PatchMergerConfig, QueryResamplerConfig
from seesay.models.packed_vit import PackedVitConfig
from seesay.models.vlm import PackedVlm, PackedVlmConfig, Vlm, VlmConfig
from seesay.weights import decoders
from seesay.weights.connectors import (
    patch_merger_rules,
    query_resampler_rules,
    qwen3_merger_rules,
)
from seesay.weights.decoders import read_decoder
from seesay.weights.image_towers import TOWERS, qwen_rules, read_qwen
from seesay.weights.settings import Known, Settings
from seesay.weights.tensors import Rules, prefix_of, with_prefix
from seesay.weights.vlm import ModelBlueprint, load_model

MARKS = ("vision_start_token_id", "vision_end_token_id", "vision_token_id")
KNOWN: Known = {**decoders.KNOWN, **dict.fromkeys(MARKS, "the prompt has them")}


class Variant(NamedTuple):
    """What a "model_type" implies for the parts."""

    text: str
    merger_rules: Callable[[str, str], Rules]


VARIANTS = {
    "qwen2_vl": Variant("qwen2_vl_text", patch_merger_rules),
    "qwen2_5_vl": Variant("qwen2_5_vl_text", patch_merger_rules),
    "qwen3_vl": Variant("qwen3_vl_text", qwen3_merger_rules),
}


def load_qwen_vl(folder: Path) -> PackedVlm:
    """Loads a published model in float32 and evaluation mode. Raises WeightsError unless config and
    tensors match the model exactly."""
    return load_model(folder, (PackedVlm, PackedVlmConfig), read_qwen_vl, KNOWN)


def load_first_qwen_vl(folder: Path) -> Vlm:
    """Loads the first Qwen-VL in float32 and evaluation mode. Raises WeightsError unless config and
    tensors match the model exactly."""
    return load_model(folder, (Vlm, VlmConfig), read_first_qwen_vl, KNOWN)


HEAD_DIM = 128
"""Head width of the resampler (Qwen-VL, visual.py)."""
PLACEHOLDER_OFFSET = 2
"""Offset of the image placeholder token from the token that starts a picture."""


def read_first_qwen_vl(c: Settings, names: Collection[str]) -> ModelBlueprint[VlmConfig]:
    """Returns the blueprint of the first Qwen-VL, whose image tower is part of its language
    model."""
    c.require("model_type", "", ("qwen",))
    decoder = read_decoder(c, names, "qwen")
    visual = c.section("visual")
    tower = read_qwen(visual)
    resampler = QueryResamplerConfig(
        image_dim=tower.dim,
        text_dim=visual["output_dim"],
        side=isqrt(visual.get("n_queries", 256)),
        heads=max(1, visual["output_dim"] // HEAD_DIM),
    )
    theirs = "transformer.visual"
    return ModelBlueprint(
        model=VlmConfig(
            tower=tower,
            connector=resampler,
            decoder=decoder.model,
            image_ids=(visual.get("image_start_id", 151857) + PLACEHOLDER_OFFSET,),
        ),
        rules={
            **with_prefix(decoder.rules, "", "decoder."),
            **qwen_rules(theirs, "tower", tower.heads),
            **query_resampler_rules(theirs, "connector"),
        },
    )


def read_qwen_vl(c: Settings, names: Collection[str]) -> ModelBlueprint[PackedVlmConfig]:
    """Returns the blueprint of a model from its config and tensor names. Older files keep the
    language model's settings at the top level."""
    name = c.require("model_type", "", tuple(VARIANTS))
    variant = VARIANTS[name]
    text = c.section("text_config") if c.get("text_config") else c
    # Qwen3-VL keeps its parts under "model", as transformers 5 does in memory.
    body = prefix_of(names, ".layers.", "model")
    visual = prefix_of(names, ".blocks.", "visual")
    decoder = read_decoder(text, names, variant.text, body, "lm_head")
    read, tower_rules = TOWERS[name]
    tower = read(c.section("vision_config"))
    assert isinstance(tower, PackedVitConfig)
    model = PackedVlmConfig(
        tower=tower,
        connector=PatchMergerConfig(
            image_dim=tower.dim,
            text_dim=decoder.model.dim,
            side=tower.merge,
            norm=tower.norm,
            norm_eps=tower.norm_eps,
        ),
        decoder=decoder.model,
        image_ids=(c.get("image_token_id", 151655), c.get("video_token_id", 151656)),
    )
    deep = qwen3_merger_rules(f"{visual}.deepstack_merger_list.{{}}", "deep_connectors.{}")
    return ModelBlueprint(
        model=model,
        rules={
            **with_prefix(decoder.rules, "", "decoder."),
            **tower_rules(visual, "tower"),
            **variant.merger_rules(f"{visual}.merger", "connector"),
            **deep,
        },
    )
