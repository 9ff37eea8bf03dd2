"""The models of the vision-language checkpoints in the catalogue, as their published configs
describe them, on the "meta" device: shapes, and no numbers. The built-in ones are loaded.

Sources: config.json of the checkpoints and of the language models that they began from; for
OpenFlamingo, also open_flamingo/src/factory.py.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from seesay.models.blip import BlipCaptioner, BlipMatcher
from seesay.models.blip2 import Blip2
from seesay.models.connectors import (
    Perceiver,
    PerceiverConfig,
    PixelShuffle,
    PixelShuffleConfig,
    QueryResampler,
    QueryResamplerConfig,
)
from seesay.models.cross_attention import GatedCrossConfig
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.vit import Vit
from seesay.models.vlm import PackedVlm, Vlm
from seesay.weights import blip, blip2
from seesay.weights.bundle import load_bundle
from seesay.weights.catalog import published_assistants
from seesay.weights.decoders import read_decoder
from seesay.weights.image_towers import TOWERS, read_qwen
from seesay.weights.llava import CLIP_L_336, read_llava
from seesay.weights.qwen_vl import read_qwen_vl
from seesay.weights.settings import Settings
from seesay.weights.tensors import blank_model

Config = dict[str, Any]
HEADS = ("language_model.lm_head.weight", "lm_head.weight", "output.weight", "embed_out.weight")
"""Where a head of words is in a file, unless it is the table of tokens."""


def settings(values: Config) -> Settings:
    return Settings("config.json", "", values)


SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)


def language(family: str, *sizes: int) -> Config:
    fixed = {"mistral": {"sliding_window": None}, "internlm2": {"bias": False}}
    named = dict(zip(SIZES, sizes, strict=True))
    return {"model_type": family, **named, **fixed.get(family, {})}


vicuna_7b = partial(language, "llama", 4096, 11008, 32, 32, 32)
vicuna_13b = partial(language, "llama", 5120, 13824, 40, 40, 40)
yi_34b = partial(language, "llama", 7168, 20480, 60, 56, 8)
mistral_7b = partial(language, "mistral", 4096, 14336, 32, 32, 8)
qwen_05b = partial(language, "qwen2", 896, 4864, 24, 14, 2)
qwen_15b = partial(language, "qwen2", 1536, 8960, 28, 12, 2)
qwen_3b = partial(language, "qwen2", 2048, 11008, 36, 16, 2)
qwen_7b = partial(language, "qwen2", 3584, 18944, 28, 28, 4)
qwen3_2b = partial(language, "qwen3", 2048, 6144, 28, 16, 8)
qwen3_4b = partial(language, "qwen3", 2560, 9728, 36, 32, 8)
qwen3_8b = partial(language, "qwen3", 4096, 12288, 36, 32, 8)
internlm_2b = partial(language, "internlm2", 2048, 8192, 24, 16, 8)
internlm_7b = partial(language, "internlm2", 4096, 14336, 32, 32, 8)


def llava(model_type: str, text: Config, *, tied: bool = False) -> nn.Module:
    config = {"model_type": model_type, "text_config": text}
    return blank_model(Vlm, read_llava(settings(config), () if tied else HEADS).model)


def qwen_vl(model_type: str, text: Config, vision: Config, *, tied: bool = True) -> nn.Module:
    rope = {"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}
    config = {**text, **rope, "model_type": model_type, "vision_config": vision}
    read = read_qwen_vl(settings(config), () if tied else HEADS)
    return blank_model(PackedVlm, read.model)


def qwen3_vl(text: Config, vision: Config, *, tied: bool = True) -> nn.Module:
    rope = {"mrope_section": [24, 20, 20], "mrope_interleaved": True, "rope_type": "default"}
    text = {**text, "rope_scaling": rope}
    config = {"model_type": "qwen3_vl", "text_config": text, "vision_config": vision}
    return blank_model(PackedVlm, read_qwen_vl(settings(config), () if tied else HEADS).model)


SMALL_VISION = {
    "hidden_size": 1024,
    "depth": 24,
    "intermediate_size": 4096,
    "deepstack_visual_indexes": [5, 11, 17],
}


def internvl(text: Config) -> nn.Module:
    vision = {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "image_size": 448,
        "norm_type": "layer_norm",
        "qkv_bias": True,
        "qk_normalization": False,
    }
    decoder = read_decoder(settings(text), HEADS).model
    connector = PixelShuffleConfig(image_dim=1024, text_dim=decoder.dim)
    return nn.ModuleList(
        [
            blank_model(Vit, TOWERS["intern_vit_6b"][0](settings(vision))),
            blank_model(PixelShuffle, connector),
            blank_model(Decoder, decoder),
        ]
    )


def first_qwen_vl() -> nn.Module:
    vision = {"width": 1664, "layers": 48, "heads": 16, "mlp_ratio": 4.9231}
    vision |= {"image_size": 448, "patch_size": 14}
    text = DecoderConfig(
        vocab_size=151_936, context=8192, dim=4096, depth=32, hidden=11_008, input_bias=True
    )
    return nn.ModuleList(
        [
            blank_model(Vit, read_qwen(settings(vision))),
            blank_model(QueryResampler, QueryResamplerConfig()),
            blank_model(Decoder, text),
        ]
    )


def blip_model(form: str, vision: Config) -> nn.Module:
    config = {"model_type": "blip", "vision_config": vision}
    config["text_config"] = {"num_attention_heads": 12}
    if form == "captioner":
        return blank_model(BlipCaptioner, blip.read(settings(config), ["text_decoder.x"]).model)
    return blank_model(BlipMatcher, blip.read(settings(config), ["itm_head.weight"]).model)


LARGE_VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}


def blip2_model(model_type: str, text: Config) -> nn.Module:
    words = ["qformer.embeddings.word_embeddings.weight"] if model_type == "instructblip" else []
    names = [*words, *(() if text["model_type"] == "opt" else ["language_model.lm_head.weight"])]
    qformer = {"vocab_size": 30523} if words else {}
    vision = {"model_type": f"{model_type.replace('-', '_')}_vision_model"}
    config = {
        "model_type": model_type,
        "vision_config": vision,
        "qformer_config": qformer,
        "text_config": text,
    }
    return blank_model(Blip2, blip2.read(settings(config), names).model)


def opt(width: int) -> Config:
    sizes = {"hidden_size": width, "word_embed_proj_dim": width, "ffn_dim": 4 * width}
    return {"model_type": "opt", **sizes, "num_hidden_layers": 32, "num_attention_heads": 32}


def flan_t5(width: int, hidden: int, heads: int) -> Config:
    layers = {"num_layers": 24, "num_decoder_layers": 24, "d_kv": 64, "num_heads": heads}
    gated = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    sizes = {"d_model": width, "d_ff": hidden, "vocab_size": 32128}
    return {"model_type": "t5", **sizes, **layers, **gated}


FLAN_XL, FLAN_XXL = flan_t5(2048, 5120, 32), flan_t5(4096, 10240, 64)


def flamingo(text: DecoderConfig) -> nn.Module:
    tower = TOWERS["clip_vision_model"][0](settings({**CLIP_L_336, "image_size": 224}))
    return nn.ModuleList(
        [
            blank_model(Vit, tower),
            blank_model(Perceiver, PerceiverConfig()),
            blank_model(Decoder, text),
        ]
    )


def mpt(width: int, depth: int, heads: int, every: int) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=50_434,  # with <|endofchunk|> and <image>
        context=2048,
        dim=width,
        depth=depth,
        heads=heads,
        key_heads=heads,
        head_dim=width // heads,
        hidden=4 * width,
        activation="gelu",
        gated=False,
        norm="layer",
        norm_bias=False,
        positions="alibi",
        tied=True,
        cross=GatedCrossConfig(every=every, hidden=4 * width),
    )


def redpajama(every: int) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=50_434,
        context=2048,
        dim=2560,
        depth=32,
        heads=32,
        key_heads=32,
        head_dim=80,
        hidden=10_240,
        activation="gelu",
        gated=False,
        norm="layer",
        input_bias=True,
        output_bias=True,
        mlp_bias=True,
        cross=GatedCrossConfig(every=every, hidden=10_240),
    )


def built_in(name: str) -> nn.Module:
    folder = published_assistants()[name].built_in
    assert folder is not None
    return load_bundle(folder).model


ASSISTANTS: dict[str, Callable[[], nn.Module]] = {
    "seesay-assistant": lambda: built_in("seesay-assistant"),
    "llava-1.5-7b": lambda: llava("llava", vicuna_7b(32_064)),
    "llava-1.5-13b": lambda: llava("llava", vicuna_13b(32_064)),
    "llava-next-vicuna-7b": lambda: llava("llava_next", vicuna_7b(32_064)),
    "llava-next-vicuna-13b": lambda: llava("llava_next", vicuna_13b(32_064)),
    "llava-next-mistral-7b": lambda: llava("llava_next", mistral_7b(32_064)),
    "llava-next-34b": lambda: llava("llava_next", yi_34b(64_064)),
    "llava-onevision-0.5b": lambda: llava("llava_onevision", qwen_05b(152_000), tied=True),
    "llava-onevision-7b": lambda: llava("llava_onevision", qwen_7b(152_128)),
    "internvl2-1b": lambda: internvl(qwen_05b(151_655)),
    "internvl2-2b": lambda: internvl(internlm_2b(92_553)),
    "internvl2-8b": lambda: internvl(internlm_7b(92_553)),
    "internvl2.5-1b": lambda: internvl(qwen_05b(151_674)),
    "internvl2.5-2b": lambda: internvl(internlm_2b(92_553)),
    "internvl2.5-4b": lambda: internvl(qwen_3b(151_674)),
    "internvl2.5-8b": lambda: internvl(internlm_7b(92_553)),
    "internvl3-1b": lambda: internvl(qwen_05b(151_674)),
    "internvl3-2b": lambda: internvl(qwen_15b(151_674)),
    "internvl3-8b": lambda: internvl(qwen_7b(151_674)),
    "qwen-vl": first_qwen_vl,
    "qwen-vl-chat": first_qwen_vl,
    "qwen2-vl-2b": lambda: qwen_vl("qwen2_vl", qwen_15b(151_936), {"hidden_size": 1536}),
    "qwen2-vl-7b": lambda: qwen_vl("qwen2_vl", qwen_7b(152_064), {"hidden_size": 3584}, tied=False),
    "qwen2.5-vl-3b": lambda: qwen_vl("qwen2_5_vl", qwen_3b(151_936), {"hidden_size": 1280}),
    "qwen2.5-vl-7b": lambda: qwen_vl(
        "qwen2_5_vl", qwen_7b(152_064), {"hidden_size": 1280}, tied=False
    ),
    "qwen3-vl-2b": lambda: qwen3_vl(qwen3_2b(151_936), SMALL_VISION),
    "qwen3-vl-4b": lambda: qwen3_vl(qwen3_4b(151_936), SMALL_VISION),
    "qwen3-vl-8b": lambda: qwen3_vl(qwen3_8b(151_936), {}, tied=False),
    "blip-caption-base": lambda: blip_model("captioner", {}),
    "blip-caption-large": lambda: blip_model("captioner", LARGE_VISION),
    "blip-itm-base": lambda: blip_model("matcher", {}),
    "blip-itm-large": lambda: blip_model("matcher", LARGE_VISION),
    "blip2-opt-2.7b": lambda: blip2_model("blip-2", opt(2560)),
    "blip2-opt-6.7b": lambda: blip2_model("blip-2", opt(4096)),
    "blip2-flan-t5-xl": lambda: blip2_model("blip-2", FLAN_XL),
    "blip2-flan-t5-xxl": lambda: blip2_model("blip-2", FLAN_XXL),
    "instructblip-vicuna-7b": lambda: blip2_model("instructblip", vicuna_7b(32_001)),
    "instructblip-vicuna-13b": lambda: blip2_model("instructblip", vicuna_13b(32_001)),
    "instructblip-t5-xl": lambda: blip2_model("instructblip", FLAN_XL),
    "instructblip-t5-xxl": lambda: blip2_model("instructblip", FLAN_XXL),
    "flamingo-3b": lambda: flamingo(mpt(2048, 24, 16, every=1)),
    "flamingo-3b-instruct": lambda: flamingo(mpt(2048, 24, 16, every=1)),
    "flamingo-4b": lambda: flamingo(redpajama(every=2)),
    "flamingo-4b-instruct": lambda: flamingo(redpajama(every=2)),
    "flamingo-9b": lambda: flamingo(mpt(4096, 32, 32, every=4)),
}
