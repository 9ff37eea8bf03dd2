"""A published folder -> everything that an assistant on this machine needs.

A family of vision-language models is one line in FAMILIES.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from seesay.data.chat_templates import ChatTemplate, Source, chat_template
from seesay.data.model_files import read_json
from seesay.data.vocabularies import read_vocabulary
from seesay.errors import WeightsError
from seesay.inference.devices import choose_device, choose_dtype
from seesay.inference.generation import DecodingConfig
from seesay.inference.visual_inputs import (
    PackedInputs,
    SquareInputs,
    VisualInputs,
    packed_rule,
    preprocessor_settings,
)
from seesay.models.vlm import PackedVlm, Vlm
from seesay.text import Text
from seesay.weights.catalog import require_assistant
from seesay.weights.hub import locate
from seesay.weights.llava import load_llava
from seesay.weights.qwen_vl import load_qwen_vl

Published = Mapping[str, Any]
"""A config.json."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AssistantFiles:
    """A model that answers, with what its prompts and answers need."""

    name: str
    """The name that the user gave."""
    model: Vlm | PackedVlm
    inputs: VisualInputs
    tokenizer: Tokenizer
    template: ChatTemplate
    end_ids: tuple[int, ...]
    """Tokens that end an answer."""
    decoding: DecodingConfig
    """How tokens are chosen unless the user says otherwise."""
    device: torch.device

    @property
    def context(self) -> int:
        """Most tokens of a prompt and its answer, pictures included."""
        return self.model.decoder.config.context


@dataclass(frozen=True)
class Family:
    """How the folders of a "model_type" are read."""

    load: Callable[[Path], Vlm | PackedVlm]
    template: Callable[[Published, Tokenizer], str]
    """The name of its chat template."""


def _fixed(name: str) -> Callable[[Published, Tokenizer], str]:
    return lambda published, tokenizer: name


def _llava_next(published: Published, tokenizer: Tokenizer) -> str:
    if tokenizer.token_to_id("<|im_start|>") is not None:
        return "llava-1.6-34b"  # Yi, whose class is Llama's
    text = (published.get("text_config") or {}).get("model_type", "llama")
    return "llava-1.6-mistral" if text == "mistral" else "llava-1.6-vicuna"


FAMILIES: dict[str, Family] = {
    "llava": Family(load_llava, _fixed("llava-1.5")),
    "llava_next": Family(load_llava, _llava_next),
    "llava_onevision": Family(load_llava, _fixed("llava-onevision")),
    "qwen2_vl": Family(load_qwen_vl, _fixed("qwen2-vl")),
    "qwen2_5_vl": Family(load_qwen_vl, _fixed("qwen2.5-vl")),
    "qwen3_vl": Family(load_qwen_vl, _fixed("qwen3-vl")),
}


def load_assistant(
    name: str | Path,
    *,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    revision: str | None,
    template: Source,
) -> AssistantFiles:
    """Load a published vision-language model. Raises as `seesay.chat` does."""
    chosen = choose_device(device)  # a wrong setting fails before anything is downloaded
    number = choose_dtype(chosen, dtype)
    _ = chat_template("llava-1.5", template)
    require_assistant(str(name))
    folder = locate(str(name), revision=revision).folder
    published = read_json(folder / "config.json")
    model_type = published.get("model_type")
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise _unknown(folder, model_type)
    tokenizer = read_vocabulary(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = family.load(folder).to(chosen, number)
    settings = preprocessor_settings(folder)
    inputs: VisualInputs
    if isinstance(model, PackedVlm):
        inputs = PackedInputs(model, settings, packed_rule(str(model_type), published))
    else:
        inputs = SquareInputs(model, str(model_type), settings, template)
    prompts = chat_template(family.template(published, tokenizer), template)
    _check_placeholder(folder, prompts, tokenizer, model.config.image_ids)
    generation = _generation(folder)
    return AssistantFiles(
        name=str(name),
        model=model,
        inputs=inputs,
        tokenizer=tokenizer,
        template=prompts,
        end_ids=_end_ids(generation, published, prompts, tokenizer),
        decoding=_decoding(generation),
        device=chosen,
    )


def _generation(folder: Path) -> Published:
    path = folder / "generation_config.json"
    return read_json(path) if path.is_file() else {}


def _decoding(generation: Published) -> DecodingConfig:
    """The published way of choosing tokens. Repetition is not penalised: Qwen2-VL's 1.05 changes
    numbers that a picture shows twice."""
    if not generation.get("do_sample"):
        return DecodingConfig()
    return DecodingConfig(
        temperature=float(generation.get("temperature") or 1.0),
        top_k=int(generation.get("top_k") or 0),
        top_p=float(generation.get("top_p") or 1.0),
    )


def _end_ids(
    generation: Published, published: Published, template: ChatTemplate, tokenizer: Tokenizer
) -> tuple[int, ...]:
    ids = {tokenizer.token_to_id(text) for text in template.stops}
    text = published.get("text_config") or {}
    for source in (generation, published, text):
        given = source.get("eos_token_id")
        ids |= set(given) if isinstance(given, list) else {given}
    return tuple(sorted(one for one in ids if isinstance(one, int)))


def _check_placeholder(
    folder: Path, template: ChatTemplate, tokenizer: Tokenizer, image_ids: tuple[int, ...]
) -> None:
    written = tokenizer.token_to_id(template.marks.image)
    if written in image_ids:
        return
    raise WeightsError(
        Text(
            f"the tokenizer in {folder} has {template.marks.image} as {written}, and config.json "
            f"has pictures at {image_ids}; expected the same number. Use the tokenizer files that "
            "the checkpoint came with",
            f"{folder} 的分词器里 {template.marks.image} 的编号是 {written}，而 config.json 中图片"
            f"的编号是 {image_ids}；两者应一致；请使用检查点自带的分词器文件",
        )
    )


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
