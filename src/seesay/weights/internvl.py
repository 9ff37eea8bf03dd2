"""InternVL2, 2.5, 3 and 3.5, in OpenGVLab's and transformers' layouts.

    model = load_internvl(Path("OpenGVLab/InternVL2-2B"))
    model = load_internvl(Path("OpenGVLab/InternVL3-1B-hf"))

The language model is InternLM2, Qwen2, Qwen3 or Llama.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from seesay.models.connectors import PixelShuffleConfig
from seesay.models.decoder import DecoderConfig
from seesay.models.vit import VitConfig
from seesay.models.vlm import Vlm, VlmConfig
from seesay.weights import clip, decoders
from seesay.weights.connectors import numbered_mlp_rules, pixel_shuffle_rules
from seesay.weights.decoders import DECODERS, read_decoder
from seesay.weights.image_towers import TOWERS
from seesay.weights.llava import HUGGING_FACE, IMAGE_TOKEN_INDEX, IN_MEMORY
from seesay.weights.settings import Known, Settings
from seesay.weights.tensors import Rules, with_prefix
from seesay.weights.vlm import ModelBlueprint, load_model

CUTTING = ("dynamic_image_size", "use_thumbnail", "min_dynamic_patch", "max_dynamic_patch")
KNOWN: Known = {
    **decoders.KNOWN,
    "image_seq_length": "follows from the tower",
    **dict.fromkeys(CUTTING, "for preparing pictures"),
    "template": "for the prompt",
    "pad2square": (False,),
    **dict.fromkeys(("use_backbone_lora", "use_llm_lora"), (0,)),
    "hidden_size": "of the language model",
    **dict.fromkeys(("grad_checkpoint", "loss_reduction", "freeze_backbone"), "for training"),
    # InternLM2 and Qwen also write down:
    **dict.fromkeys(("return_dict_in_generate", "use_sliding_window_layers"), "for generation"),
    "llm_config._attn_implementation": "how it is computed",
}
LANGUAGE_MODELS = ("internlm2", "qwen2", "qwen3", "llama", "mistral")
IMAGE_IDS = {"internlm2": 92546, "qwen2": 151667, "qwen3": 151671}
"""<IMG_CONTEXT> in the published tokenizers, by language model; OpenGVLab's configs omit it."""


def load_internvl(folder: Path) -> Vlm:
    """Loads a published model in float32 and evaluation mode. Raises WeightsError unless config and
    tensors match the model exactly."""
    return load_model(folder, (Vlm, VlmConfig), read_internvl, KNOWN)


def read_internvl(c: Settings, names: Collection[str]) -> ModelBlueprint[VlmConfig]:
    """Returns the blueprint of a model from its config and tensor names."""
    form = c.require("model_type", "", ("internvl_chat", "internvl"))
    return _original(c, names) if form == "internvl_chat" else _hugging_face(c, names)


def _hugging_face(c: Settings, names: Collection[str]) -> ModelBlueprint[VlmConfig]:
    inside = any(name.startswith(f"{IN_MEMORY.body}.") for name in names)
    places = IN_MEMORY if inside else HUGGING_FACE
    text = c.section("text_config")
    family = text.require("model_type", "qwen2", LANGUAGE_MODELS)
    decoder = read_decoder(text, names, family, places.body, places.head)
    c.one_of("vision_feature_select_strategy", "default")
    tower, rules = _tower(c.section("vision_config"), "internvl_vision", places.tower)
    activation = clip.activation(c.get("projector_hidden_act", "gelu"))
    return ModelBlueprint(
        model=VlmConfig(
            tower=replace(tower, layer=c.get("vision_feature_layer", -1)),
            connector=replace(_connector(c, tower, decoder.model), activation=activation),
            decoder=decoder.model,
            image_ids=(c.get("image_token_id", c.get("image_token_index", 151667)),),
        ),
        rules={
            **with_prefix(decoder.rules, "", "decoder."),
            **rules,
            **pixel_shuffle_rules(places.connector, "connector"),
        },
    )


def _original(c: Settings, names: Collection[str]) -> ModelBlueprint[VlmConfig]:
    text = c.section("llm_config")
    family = text.require("model_type", "", LANGUAGE_MODELS)
    head = f"language_model.{DECODERS[family].head}"
    decoder = read_decoder(text, names, family, "language_model.model", head)
    tower, rules = _tower(c.section("vision_config"), "intern_vit_6b", "vision_model")
    c.require("force_image_size", tower.image_size, (tower.image_size, None))
    order = c.require("ps_version", "v1", ("v1", "v2"))
    return ModelBlueprint(
        model=VlmConfig(
            tower=replace(tower, layer=c.get("select_layer", -1)),
            connector=replace(_connector(c, tower, decoder.model), transposed=order == "v1"),
            decoder=decoder.model,
            image_ids=(IMAGE_IDS.get(family, IMAGE_TOKEN_INDEX),),
        ),
        rules={
            **with_prefix(decoder.rules, "", "decoder."),
            **rules,
            **numbered_mlp_rules("mlp1", "connector"),
        },
    )


def _tower(v: Settings, form: str, theirs: str) -> tuple[VitConfig, Rules]:
    read, rules = TOWERS[v.require("model_type", form, (form,))]
    tower = read(v)
    assert isinstance(tower, VitConfig)
    return tower, rules(theirs, "tower")


def _connector(c: Settings, tower: VitConfig, decoder: DecoderConfig) -> PixelShuffleConfig:
    """Returns the connector, which both layouts describe by the same setting."""
    side = round(1 / c.get("downsample_ratio", 0.5))
    return PixelShuffleConfig(image_dim=tower.dim, text_dim=decoder.dim, side=side)
