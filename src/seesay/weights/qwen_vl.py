"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL in their Hugging Face form.

model = load_qwen_vl(Path("Qwen/Qwen2-VL-2B-Instruct"))
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from seesay.data.model_files import read_json
from seesay.models.connectors import PatchMergerConfig
from seesay.models.packed_vit import PackedVitConfig
from seesay.models.vlm import PackedVlm, PackedVlmConfig
from seesay.weights import decoders
from seesay.weights.bundle import checked
from seesay.weights.connectors import patch_merger_rules, qwen3_merger_rules
from seesay.weights.decoders import read_decoder
from seesay.weights.image_towers import TOWERS
from seesay.weights.settings import Known, Settings, every_setting
from seesay.weights.tensors import (
    MOST_PARTS,
    Rules,
    blank_model,
    load_weights,
    read_tensors,
    with_prefix,
)

MARKS = ("vision_start_token_id", "vision_end_token_id", "vision_token_id")
KNOWN: Known = {**decoders.KNOWN, **dict.fromkeys(MARKS, "the prompt has them")}


class Variant(NamedTuple):
    """What a "model_type" means for the parts."""

    text: str
    merger_rules: Callable[[str, str], Rules]


VARIANTS = {
    "qwen2_vl": Variant("qwen2_vl_text", patch_merger_rules),
    "qwen2_5_vl": Variant("qwen2_5_vl_text", patch_merger_rules),
    "qwen3_vl": Variant("qwen3_vl_text", qwen3_merger_rules),
}


@dataclass(frozen=True, kw_only=True)
class PackedVlmBlueprint:
    """The model that a config describes, before any tensor is read."""

    model: PackedVlmConfig
    rules: Rules


def load_qwen_vl(folder: Path) -> PackedVlm:
    """Load a published model, in float32 and in evaluation mode. Raises WeightsError, with the
    reason, unless every tensor has its place."""
    published, tensors = read_json(folder / "config.json"), read_tensors(folder)

    def read() -> PackedVlmBlueprint:
        with every_setting(published, "config.json", KNOWN) as config:
            return read_qwen_vl(config, tensors)

    blueprint = checked(read, folder, {"model": PackedVlmConfig})
    model = blank_model(PackedVlm, blueprint.model, MOST_PARTS * len(tensors))
    load_weights(model, tensors, blueprint.rules)
    return model.eval()


def read_qwen_vl(c: Settings, names: Collection[str]) -> PackedVlmBlueprint:
    """The blueprint of a model from its config and the names of its tensors. The older files have
    the settings of the language model beside those of the whole."""
    name = c.require("model_type", "", tuple(VARIANTS))
    variant = VARIANTS[name]
    text = c.section("text_config") if c.get("text_config") else c
    # Qwen3-VL has its parts under "model", and so does what transformers 5 keeps in memory.
    inside = any(name.startswith("model.language_model.") for name in names)
    body, visual = ("model.language_model", "model.visual") if inside else ("model", "visual")
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
    return PackedVlmBlueprint(
        model=model,
        rules={
            **with_prefix(decoder.rules, "", "decoder."),
            **tower_rules(visual, "tower"),
            **variant.merger_rules(f"{visual}.merger", "connector"),
            **deep,
        },
    )
