"""The families of vision-language models: how to read their folders, which prompts they take and
how to preprocess their pictures.

A family is one entry in FAMILIES, keyed by the "model_type" of its config.json.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tokenizers import AddedToken, Tokenizer, decoders, processors
from torch import nn

from seesay.data.chat_templates import Source
from seesay.data.model_files import read_json
from seesay.data.vocabularies import read_vocabulary
from seesay.errors import WeightsError
from seesay.inference.blip_reading import QueryInputs
from seesay.inference.request import VisualInputs
from seesay.inference.visual_inputs import (
    PackedInputs,
    PictureInputs,
    SquareInputs,
    TileInputs,
    packed_rule,
    tile_rule,
    whole_square,
)
from seesay.models.blip import BlipCaptioner
from seesay.models.blip2 import Blip2
from seesay.models.connectors import QueryResamplerConfig
from seesay.models.flamingo import Flamingo
from seesay.models.vlm import PackedVlm, Vlm
from seesay.text import Text
from seesay.weights.blip import load_blip
from seesay.weights.blip2 import load_blip2
from seesay.weights.flamingo import CHECKPOINT, LANGUAGE, PUBLISHED, TOWER, load_flamingo
from seesay.weights.hub import locate
from seesay.weights.internvl import load_internvl
from seesay.weights.llava import ARCHITECTURES, load_llava
from seesay.weights.qwen_vl import load_first_qwen_vl, load_qwen_vl

Published = Mapping[str, Any]
"""A config.json."""
Model: TypeAlias = Vlm | PackedVlm | Flamingo | Blip2 | BlipCaptioner


@dataclass(frozen=True)
class Opened:
    """What has been read from a folder when its image preprocessing is chosen."""

    folder: Path
    model: Any
    published: Published
    settings: Mapping[str, Any]
    """Settings of the image processor."""
    source: Source


@dataclass(frozen=True, kw_only=True)
class Family:
    """How to load the models of one "model_type"."""

    load: Callable[[Path], nn.Module]
    template: Callable[[Published, Tokenizer], str]
    """The name of its chat template, from config.json and generation_config.json together."""
    vocabulary: Callable[[Path], Tokenizer] = read_vocabulary
    """Reads its tokenizer."""
    inputs: Callable[[Opened], VisualInputs]
    """Chooses its image preprocessing."""
    caption: str | None = None
    """The authors' prompt for captions; None: any prompt works."""
    caption_template: str = ""
    """The template for captions, if different."""
    placeholder: Literal["config", "tokenizer", "added"] = "config"
    """Where the image placeholder token is defined: in config.json, which the tokenizer must match;
    only in the tokenizer; or nowhere, so it is added."""


def _fixed(name: str) -> Callable[[Published, Tokenizer], str]:
    return lambda published, tokenizer: name


# LLaVA


def _llava_next(published: Published, tokenizer: Tokenizer) -> str:
    if tokenizer.token_to_id("<|im_start|>") is not None:
        return "llava-1.6-34b"  # Yi, whose class is Llama's
    text = (published.get("text_config") or {}).get("model_type", "llama")
    return "llava-1.6-mistral" if text == "mistral" else "llava-1.6-vicuna"


def _llava_inputs(family: str) -> Callable[[Opened], VisualInputs]:
    return lambda it: SquareInputs(it.model, family, it.settings, it.source)


def _llava_original(folder: Path) -> Vlm:
    return load_llava(folder, find_tower=lambda name: locate(name).folder)


def _llava_original_template(published: Published, tokenizer: Tokenizer) -> str:
    [written] = published["architectures"]
    if written == "LlavaQwenForCausalLM":
        return "llava-onevision"
    if published.get("mm_patch_merge_type", "flat") != "flat":
        text = {"model_type": ARCHITECTURES[written]}
        return _llava_next({"text_config": text}, tokenizer)
    linear = published.get("mm_projector_type", "linear") == "linear"
    return "llava-v1" if linear else "llava-1.5"


def _llava_original_inputs(it: Opened) -> VisualInputs:
    """The authors keep image settings in config.json."""
    tower, family = it.model.config.tower, "llava"
    if it.model.newline is not None:
        family = "llava_next" if tower.has_class_token else "llava_onevision"
    pad = it.published.get("image_aspect_ratio") == "pad"
    return SquareInputs(it.model, family, it.published, it.source, pad)


# InternVL


def _internvl_template(published: Published, tokenizer: Tokenizer) -> str:
    written = published.get("template")
    if isinstance(written, str) and written in INTERNVL_TEMPLATES:
        return INTERNVL_TEMPLATES[written]
    known = ", ".join(INTERNVL_TEMPLATES)
    raise WeightsError(
        Text(
            f"config.json names the chat template {written!r:.60}; expected one of {known}. Choose "
            "another model: seesay models list",
            f"config.json 里的对话模板是 {written!r:.60}；应为 {known} 之一；请换一个模型："
            "seesay models list",
        )
    )


INTERNVL_TEMPLATES = {
    "Hermes-2": "internvl-2",
    "internlm2-chat": "internvl-2",
    "phi3-chat": "internvl-2-phi3",
    "internvl2_5": "internvl-2.5",
}
"""The authors' template names -> ours."""


def _internvl_inputs(it: Opened) -> VisualInputs:
    return TileInputs(it.model, it.settings, tile_rule(it.published, it.settings))


# Qwen


def _qwen(template: str) -> Family:
    return Family(load=load_qwen_vl, template=_fixed(template), inputs=_packed)


def _packed(it: Opened) -> VisualInputs:
    return PackedInputs(it.model, it.settings, packed_rule(it.published))


def _first_qwen_template(published: Published, tokenizer: Tokenizer) -> str:
    """Its generation_config.json tells the chat model from the base model."""
    return "qwen-vl-base" if published.get("chat_format") == "raw" else "qwen-vl"


def _first_qwen_inputs(it: Opened) -> VisualInputs:
    model: Vlm = it.model
    assert isinstance(model.config.connector, QueryResamplerConfig)
    return PictureInputs(
        model,
        whole_square(model.config.vit.image_size, it.settings),
        model.config.connector.side**2,
        lambda pixels: model.see(pixels).flatten(0, 1),
        most_images=None,
    )


# BLIP


def _query_inputs(it: Opened) -> VisualInputs:
    model: Blip2 = it.model
    reads = model.config.qformer.vocab_size is not None
    words = read_vocabulary(it.folder / QFORMER_WORDS) if reads else None
    return QueryInputs(model, whole_square(model.config.image.image_size, it.settings), words)


QFORMER_WORDS = "qformer_tokenizer"
"""Folder of the tokenizer of InstructBLIP's Q-Former."""


def _blip_vocabulary(folder: Path) -> Tokenizer:
    """BERT's word pieces; a caption starts with its own token and ends only when the model writes
    the end token (LAVIS, blip_models)."""
    tokenizer = read_vocabulary(folder)
    tokenizer.add_special_tokens([AddedToken(BLIP_BEGIN, normalized=False)])
    begin = (BLIP_BEGIN, tokenizer.token_to_id(BLIP_BEGIN))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BLIP_BEGIN} $A", pair=None, special_tokens=[begin]
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


BLIP_BEGIN = "[DEC]"


def _blip_inputs(it: Opened) -> VisualInputs:
    model: BlipCaptioner = it.model
    square = whole_square(model.config.image.image_size, it.settings)
    return PictureInputs(model, square, 1, model.patches)


# OpenFlamingo


def _flamingo(folder: Path) -> Flamingo:
    return load_flamingo(folder, *_flamingo_parts(folder))


def _flamingo_parts(folder: Path) -> tuple[Path, Path]:
    """Returns the folders of the language model and the image tower: beside the checkpoint, or the
    published ones."""
    found = [folder / LANGUAGE, folder / TOWER]
    parts = PUBLISHED.get(_repository(folder))
    for at, name in enumerate(parts or ()):
        if not found[at].is_dir():
            found[at] = locate(name).folder
    if missing := [one for one in found if not one.is_dir()]:
        raise WeightsError(
            Text(
                f"{folder} has no {missing[0].name}; expected a folder of that name with the model "
                f"it was trained from, or one of {', '.join(PUBLISHED)}. Put the language "
                f"model into {LANGUAGE} and CLIP ViT-L/14 into {TOWER}",
                f"{folder} 里没有 {missing[0].name}；应有这个名称的文件夹，存放训练该检查点所用的"
                f"模型，或者是 {', '.join(PUBLISHED)} 之一；请把语言模型放进 {LANGUAGE}，把 CLIP "
                f"ViT-L/14 放进 {TOWER}",
            )
        )
    return found[0], found[1]


def _repository(folder: Path) -> str:
    """Returns the name of the repository that a folder copies: its own name or, in Hugging Face's
    cache, that of the folder above its snapshots."""
    above = folder.parent.parent.name
    return above.rpartition("--")[2] if folder.parent.name == "snapshots" else folder.name


def _flamingo_vocabulary(folder: Path) -> Tokenizer:
    """Returns the language model's tokenizer with the tokens that OpenFlamingo adds, in its
    order."""
    tokenizer = read_vocabulary(_flamingo_parts(folder)[0])
    new = [AddedToken(text, normalized=False) for text in ("<|endofchunk|>", "<image>", "<PAD>")]
    tokenizer.add_special_tokens(new)
    return tokenizer


def _flamingo_inputs(it: Opened) -> VisualInputs:
    square = whole_square(it.model.config.tower.image_size, it.settings, crop=True)
    return PictureInputs(it.model, square, 1, it.model.see, most_images=None)


FAMILIES: dict[str, Family] = {
    "llava": Family(load=load_llava, template=_fixed("llava-1.5"), inputs=_llava_inputs("llava")),
    "llava_next": Family(load=load_llava, template=_llava_next, inputs=_llava_inputs("llava_next")),
    "llava_onevision": Family(
        load=load_llava,
        template=_fixed("llava-onevision"),
        inputs=_llava_inputs("llava_onevision"),
    ),
    "llava of its authors": Family(
        load=_llava_original,
        template=_llava_original_template,
        inputs=_llava_original_inputs,
        placeholder="added",
    ),
    "internvl": Family(
        load=load_internvl, template=_fixed("internvl-2.5"), inputs=_internvl_inputs
    ),
    "internvl_chat": Family(
        load=load_internvl,
        template=_internvl_template,
        inputs=_internvl_inputs,
        placeholder="tokenizer",
    ),
    "qwen": Family(
        load=load_first_qwen_vl,
        template=_first_qwen_template,
        inputs=_first_qwen_inputs,
    ),
    "qwen2_vl": _qwen("qwen2-vl"),
    "qwen2_5_vl": _qwen("qwen2.5-vl"),
    "qwen3_vl": _qwen("qwen3-vl"),
    "blip": Family(
        load=load_blip,
        template=_fixed("blip"),
        vocabulary=_blip_vocabulary,
        inputs=_blip_inputs,
        caption="a picture of",
        placeholder="added",
    ),
    "blip-2": Family(
        load=load_blip2,
        template=_fixed("blip-2"),
        inputs=_query_inputs,
        caption="a photo of",
        caption_template="blip-2-caption",
        placeholder="added",
    ),
    "instructblip": Family(
        load=load_blip2,
        template=_fixed("instructblip"),
        inputs=_query_inputs,
        caption="Write a short description for the image.",
        placeholder="added",
    ),
    "open_flamingo": Family(
        load=_flamingo,
        template=_fixed("flamingo-vqa"),
        vocabulary=_flamingo_vocabulary,
        inputs=_flamingo_inputs,
        caption="",
        caption_template="flamingo-caption",
        placeholder="tokenizer",
    ),
}


def read_published(folder: Path) -> Published:
    """Returns the folder's config.json, empty for OpenFlamingo, which has none."""
    if (folder / CHECKPOINT).is_file() and not (folder / "config.json").is_file():
        return {"model_type": "open_flamingo"}
    return read_json(folder / "config.json")


def find_family(folder: Path, published: Published) -> Family:
    model_type = published.get("model_type")
    if "mm_vision_tower" in published:
        model_type = "llava of its authors"
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise _unknown(folder, model_type)
    return family


def _unknown(folder: Path, model_type: object) -> WeightsError:
    known = ", ".join(FAMILIES)
    return WeightsError(
        Text(
            f"{folder} holds a model of type {model_type!r:.60}, which answers no questions; "
            f"expected one of {known}. Choose another model: seesay models list",
            f"{folder} 里的模型类型是 {model_type!r:.60}，不能回答问题；应为 {known} 之一；"
            "请换一个模型：seesay models list",
        )
    )
