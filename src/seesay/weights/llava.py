"""LLaVA 1, 1.5, NeXT (1.6) and OneVision, in Hugging Face's and the authors' layouts.

    model = load_llava(Path("llava-hf/llava-1.5-7b-hf"))
    model = load_llava(Path("liuhaotian/llava-v1.5-7b"), Path("openai/clip-vit-large-patch14-336"))

The authors' files of LLaVA 1 and 1.5 lack the image tower, which is the original CLIP.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from seesay.data.model_files import read_json
from seesay.models.connectors import LinearConnectorConfig, MlpConnectorConfig
from seesay.models.vit import VitConfig
from seesay.models.vlm import Vlm, VlmConfig
from seesay.weights import clip, decoders
from seesay.weights.connectors import mlp_rules, numbered_mlp_rules
from seesay.weights.decoders import read_decoder
from seesay.weights.image_towers import TOWERS
from seesay.weights.settings import Known, Settings
from seesay.weights.tensors import Rules, both, read_tensors, with_prefix
from seesay.weights.vlm import ModelBlueprint, load_model

KNOWN: Known = {
    **decoders.KNOWN,
    "image_seq_length": "follows from the tower",
    **dict.fromkeys(("image_grid_pinpoints", "image_aspect_ratio"), "for preparing pictures"),
    **dict.fromkeys(("projection_dim", "vocab_size"), "for the tower's text half"),
    "vision_config.model_type": "is read",
    **dict.fromkeys(("tokenizer_padding_side", "tokenizer_model_max_length"), "for training"),
    **dict.fromkeys(("use_pos_skipping", "pos_skipping_range"), "for training"),
    "image_crop_resolution": "for preparing pictures",
    **dict.fromkeys(("unfreeze_mm_vision_tower", "freeze_mm_mlp_adapter"), "for training"),
    **dict.fromkeys(("mm_vision_tower_lr", "mm_projector_lr", "mm_tunable_parts"), "for training"),
    "tune_mm_mlp_adapter": "for training",
    **dict.fromkeys(("mm_use_im_patch_token", "mm_use_im_start_end"), "the prompt has them"),
    "mm_resampler_type": (None,),
}

# Defaults of transformers without a vision_config (LlavaConfig and the like).
CLIP_L_336: dict[str, Any] = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
SO400M_384: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
    "vision_use_head": False,
}


ORIGINAL_TOWERS = {
    "openai/clip-vit-large-patch14": {**CLIP_L_336, "image_size": 224},
    "openai/clip-vit-large-patch14-336": CLIP_L_336,
    "google/siglip-so400m-patch14-384": SO400M_384,
}
"""The values of "mm_vision_tower"."""
ARCHITECTURES = {
    "LlavaLlamaForCausalLM": "llama",
    "LlavaMistralForCausalLM": "mistral",
    "LlavaQwenForCausalLM": "qwen2",
}
"""The authors' class names -> language model family."""
IMAGE_TOKEN_INDEX = -200
"""Placeholder of the authors' code for each row of a picture (llava/constants.py)."""


class Variant(NamedTuple):
    """What a "model_type" implies."""

    tower: dict[str, Any]
    text: str
    image_id: int
    layer: int
    strategy: str
    newline: bool
    tiles: str | None


VARIANTS = {
    "llava": Variant(CLIP_L_336, "llama", 32000, -2, "default", False, None),
    "llava_next": Variant(CLIP_L_336, "llama", 32000, -2, "default", True, None),
    "llava_onevision": Variant(SO400M_384, "qwen2", 151646, -1, "full", True, "anyres_max_9"),
}


class Places(NamedTuple):
    """Prefixes of the parts in a file."""

    body: str
    head: str
    tower: str
    connector: str
    newline: str


HUGGING_FACE = Places(
    "language_model.model",
    "language_model.lm_head",
    "vision_tower",
    "multi_modal_projector",
    "image_newline",
)
IN_MEMORY = Places(
    "model.language_model",
    "lm_head",
    "model.vision_tower",
    "model.multi_modal_projector",
    "model.image_newline",
)
"""Names of transformers 5 in memory, and of files saved without converting them back."""
ORIGINAL = Places(
    "model",
    "lm_head",
    "model.vision_tower.vision_tower",
    "model.mm_projector",
    "model.image_newline",
)


def load_llava(
    folder: Path,
    tower_folder: Path | None = None,
    find_tower: Callable[[str], Path] | None = None,
) -> Vlm:
    """Loads a published LLaVA in float32 and evaluation mode.

    If `folder` has no image tower, it comes from `tower_folder`, or from the folder that
    `find_tower` returns for the tower's name in the authors' config. Raises WeightsError unless
    config and tensors match the model exactly.
    """
    tensors = read_tensors(folder)
    if tower_folder is None and find_tower is not None and not _has_tower(tensors):
        name = read_json(folder / "config.json").get("mm_vision_tower")
        tower_folder = find_tower(name) if name in ORIGINAL_TOWERS else None
    if tower_folder is not None:
        tensors |= {
            f"{ORIGINAL.tower}.{name}": tensor
            for name, tensor in read_tensors(tower_folder).items()
            if name.startswith("vision_model.")
        }

    def read(config: Settings, names: Collection[str]) -> ModelBlueprint[VlmConfig]:
        original = "mm_vision_tower" in config
        return read_original(config, names) if original else read_llava(config, names)

    return load_model(folder, (Vlm, VlmConfig), read, KNOWN, tensors)


def _has_tower(names: Collection[str]) -> bool:
    places = (HUGGING_FACE.tower, IN_MEMORY.tower, ORIGINAL.tower)
    return any(name.startswith(f"{place}.") for name in names for place in places)


def read_llava(c: Settings, names: Collection[str]) -> ModelBlueprint[VlmConfig]:
    """Returns the blueprint of a LLaVA in Hugging Face's layout."""
    variant = VARIANTS[c.require("model_type", "", tuple(VARIANTS))]
    inside = any(name.startswith(f"{IN_MEMORY.body}.") for name in names)
    places = IN_MEMORY if inside else HUGGING_FACE
    text = c.section("text_config")
    family = text.get("model_type", variant.text)
    decoder = read_decoder(text, names, family, places.body, places.head)
    patches = c.require("vision_feature_select_strategy", variant.strategy, ("default", "full"))
    vision = c.section("vision_config") or Settings("config.json", "", variant.tower)
    tower, rules = vit(vision, c.get("vision_feature_layer", variant.layer), places.tower)
    connector = MlpConnectorConfig(
        image_dim=tower.dim,
        text_dim=decoder.model.dim,
        activation=clip.activation(c.get("projector_hidden_act", "gelu")),
        bias=c.get("multimodal_projector_bias", True),
    )
    ids = [c.get("image_token_index", c.get("image_token_id", variant.image_id))]
    if variant.tiles is not None:
        ids.append(c.get("video_token_index", c.get("video_token_id", ids[0] + 1)))
    model = VlmConfig(
        tower=tower,
        connector=connector,
        decoder=decoder.model,
        image_ids=tuple(ids),
        class_token=patches == "full" and tower.has_class_token,
        newline=variant.newline,
        most_tiles=_most_tiles(c.get("vision_aspect_ratio", variant.tiles)),
    )
    return ModelBlueprint(
        model=model,
        rules={
            **with_prefix(decoder.rules, "", "decoder."),
            **rules,
            **mlp_rules(places.connector, "connector"),
            places.newline: "newline",
        },
    )


def read_original(c: Settings, names: Collection[str]) -> ModelBlueprint[VlmConfig]:
    """Returns the blueprint of a LLaVA in the authors' layout, whose config is the language model's
    plus extra settings."""
    [written] = c.get("architectures") or [""]
    if written not in ARCHITECTURES:
        raise c.refusal("architectures", [written], *ARCHITECTURES)
    c.ignore("model_type", "mm_hidden_size")
    decoder = read_decoder(c, names, ARCHITECTURES[written], ORIGINAL.body, ORIGINAL.head)
    tower_config = ORIGINAL_TOWERS[c.require("mm_vision_tower", "", tuple(ORIGINAL_TOWERS))]
    # The authors drop the last of SigLIP's 27 layers, then read the last one left.
    siglip_tower = tower_config["model_type"] == "siglip_vision_model"
    layer = c.get("mm_vision_select_layer", -2)
    vision = Settings("config.json", "", tower_config)
    tower, rules = vit(vision, -1 if siglip_tower else layer, ORIGINAL.tower)
    patches = c.require("mm_vision_select_feature", "patch", ("patch", "cls_patch"))
    connector, connector_rules = _original_connector(c, tower.dim, decoder.model.dim)
    newline = c.require("mm_patch_merge_type", "flat", ("flat", "spatial_unpad")) != "flat"
    aspect = c.get("image_aspect_ratio") or ""
    return ModelBlueprint(
        model=VlmConfig(
            tower=tower,
            connector=connector,
            decoder=decoder.model,
            image_ids=(IMAGE_TOKEN_INDEX,),
            class_token=patches == "cls_patch" and tower.has_class_token,
            newline=newline,
            most_tiles=_most_tiles(aspect),
        ),
        rules={
            **with_prefix(decoder.rules, "", "decoder."),
            **rules,
            **connector_rules,
            ORIGINAL.newline: "newline" if newline else None,
        },
    )


def _original_connector(
    c: Settings, image_dim: int, text_dim: int
) -> tuple[LinearConnectorConfig | MlpConnectorConfig, Rules]:
    written = c.require("mm_projector_type", "linear", ("linear", "mlp2x_gelu"))
    if written == "linear":
        linear = LinearConnectorConfig(image_dim=image_dim, text_dim=text_dim)
        return linear, both(ORIGINAL.connector, "connector.map")
    mlp = MlpConnectorConfig(image_dim=image_dim, text_dim=text_dim)
    return mlp, numbered_mlp_rules(ORIGINAL.connector, "connector")


def _most_tiles(aspect: str | None) -> int | None:
    """Returns the number in "anyres_max_9", or None for values without a limit."""
    most = (aspect or "").removeprefix("anyres_max_")
    return int(most) if most.isdecimal() else None


def vit(v: Settings, layer: int, theirs: str) -> tuple[VitConfig, Rules]:
    """Returns the image tower, read at this layer, and its rules."""
    read, rules = TOWERS[v.require("model_type", "", ("clip_vision_model", "siglip_vision_model"))]
    tower = read(v)
    assert isinstance(tower, VitConfig)
    table = {**rules(theirs, "tower"), **rules(f"{theirs}.vision_model", "tower")}
    return replace(tower, layer=layer), table
