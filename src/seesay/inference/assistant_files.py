"""A published folder -> everything a local assistant needs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from torch import nn

from seesay.data.chat import end_ids
from seesay.data.chat_templates import ChatTemplate, Source, chat_template
from seesay.data.model_files import read_json
from seesay.errors import WeightsError
from seesay.inference.answer_writer import Captions, PromptFiles
from seesay.inference.certainty import read_certainty
from seesay.inference.decoding import DecodingConfig
from seesay.inference.devices import choose_device, choose_dtype
from seesay.inference.families import (
    Family,
    Model,
    Opened,
    Published,
    find_family,
    read_published,
)
from seesay.inference.visual_inputs import PictureInputs, preprocessor_settings
from seesay.models.blip import BlipCaptioner
from seesay.models.blip2 import Blip2
from seesay.models.quantized import Bits, check_quantization, quantize
from seesay.models.t5 import T5
from seesay.models.vlm import Vlm
from seesay.text import Text
from seesay.weights.bundle import FILE, Bundle, load_bundle
from seesay.weights.catalog import require_assistant
from seesay.weights.hub import locate, split_adapter
from seesay.weights.lora import merge_adapter
from seesay.weights.tensors import loading_as
from seesay.weights.vlm_step import rows_per_picture

T5_CONTEXT = 512
"""Training length of T5's input and of its output, in tokens; the model itself has no limit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AssistantFiles(PromptFiles):
    """A vision-language model with all that its prompts and answers need."""

    model: Model
    device: torch.device


def load_assistant(
    name: str,
    *,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    revision: str | None,
    template: Source,
    weights: Bits | None,
) -> AssistantFiles:
    """Loads a published vision-language model, with an adapter if its name says so. Raises the same
    errors as `seesay.chat`."""
    chosen = choose_device(device)  # a wrong setting fails before anything is downloaded
    number = choose_dtype(chosen, "auto" if dtype is None else dtype)
    if weights is not None:
        check_quantization(weights, chosen)
    _ = chat_template("llava-1.5", template)
    base = split_adapter(name)[0]
    require_assistant(base)
    folder = locate(base, revision=revision).folder
    if (folder / FILE).is_file():
        return _load_own(name, folder, chosen, number, weights)
    published = read_published(folder)
    family = find_family(folder, published)
    tokenizer = family.vocabulary(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with loading_as(number):
        model = family.load(folder)
    if not isinstance(model, Model):
        raise _no_writer(folder, model)
    merge_adapter(model, name, folder)
    model = model.to(chosen, number)
    if weights is not None:
        quantize(model, weights)
    generation = _generation(folder)
    written = family.template({**generation, **published}, tokenizer)
    prompts = _with_marks(folder, chat_template(written, template), published, tokenizer)
    _match_placeholders(folder, family, model, prompts, tokenizer)
    other = family.caption_template
    captions = None
    if family.caption is not None:
        captions = Captions(chat_template(other, template) if other else prompts, family.caption)
    opened = Opened(folder, model, published, preprocessor_settings(folder), template)
    return AssistantFiles(
        name=name,
        model=model,
        inputs=family.inputs(opened),
        tokenizer=tokenizer,
        template=prompts,
        captions=captions,
        end_ids=_end_ids(generation, published, prompts, tokenizer),
        decoding=_decoding(generation),
        context=context_of(model),
        device=chosen,
    )


def _load_own(
    name: str, folder: Path, device: torch.device, dtype: torch.dtype, weights: Bits | None
) -> AssistantFiles:
    """Loads a model in seesay's own layout."""
    bundle = load_bundle(folder, name=name)
    merge_adapter(bundle.model, name, folder)
    files = files_of(bundle, device, dtype)
    if split_adapter(name)[1] is None:  # how often an adapted model is right is not known
        files = replace(files, certainty=read_certainty(folder))
    if weights is not None:
        quantize(files.model, weights)
    return files


def files_of(
    bundle: Bundle[Any], device: torch.device, dtype: torch.dtype = torch.float32
) -> AssistantFiles:
    """Returns a vision-language model in seesay's own layout as an assistant. Raises WeightsError
    for another model."""
    model = bundle.model
    if not isinstance(model, Vlm):
        raise _no_writer(Path(bundle.name), model)
    tokenizer, template = bundle.tokenizer.for_prompts(), chat_template(bundle.template)
    rows = rows_per_picture(bundle)
    model = model.to(device, dtype)

    def look(pixels: torch.Tensor) -> torch.Tensor:
        seen = model.see(pixels)
        return seen.flatten(0, 1) if model.config.rows_in_prompt else seen

    return AssistantFiles(
        name=bundle.name,
        model=model,
        inputs=PictureInputs(model, bundle.transform, rows, look, keep_means=True),
        tokenizer=tokenizer,
        template=template,
        captions=None,
        end_ids=tuple(sorted(end_ids(template, tokenizer))),
        decoding=DecodingConfig(),
        context=model.config.decoder.context,
        caption_beams=1 if bundle.generation is None else bundle.generation.beams,
        device=device,
    )


def _generation(folder: Path) -> Published:
    path = folder / "generation_config.json"
    return read_json(path) if path.is_file() else {}


def _decoding(generation: Published) -> DecodingConfig:
    """Returns the published decoding without its repetition penalty: Qwen2-VL's 1.05 changes
    numbers that a picture shows twice."""
    if not generation.get("do_sample"):
        return DecodingConfig()
    return DecodingConfig(
        temperature=float(generation.get("temperature") or 1.0),
        top_k=int(generation.get("top_k") or 0),
        top_p=float(generation.get("top_p") or 1.0),
    )


def context_of(model: Model) -> int:
    """Returns the most tokens in a prompt and its answer, pictures included."""
    if isinstance(model, BlipCaptioner):
        return model.config.text.context
    if isinstance(model, Blip2) and isinstance(model.language, T5):
        return 2 * T5_CONTEXT
    return model.decoder.config.context


def _end_ids(
    generation: Published, published: Published, template: ChatTemplate, tokenizer: Tokenizer
) -> tuple[int, ...]:
    ids: set[int | None] = {*end_ids(template, tokenizer)}
    text = published.get("text_config") or published.get("llm_config") or {}
    for source in (generation, published, text):
        given = source.get("eos_token_id")
        ids |= set(given) if isinstance(given, list) else {given}
    return tuple(sorted(one for one in ids if isinstance(one, int)))


def _with_marks(
    folder: Path, template: ChatTemplate, published: Published, tokenizer: Tokenizer
) -> ChatTemplate:
    """Returns the template with the marks that the first LLaVA puts around a picture."""
    if not published.get("mm_use_im_start_end"):
        return template
    start, end = "<im_start>", "<im_end>"
    if None in (tokenizer.token_to_id(start), tokenizer.token_to_id(end)):
        raise WeightsError(
            Text(
                f"the tokenizer in {folder} has no {start} and {end}, which config.json puts "
                "around pictures; expected both. Use the tokenizer files that the checkpoint came "
                "with",
                f"{folder} 的分词器里没有 {start} 和 {end}，而 config.json 说它们写在图片前后；"
                "应两者都有；请使用检查点自带的分词器文件",
            )
        )
    return replace(template, marks=replace(template.marks, start=start, end=end))


def _match_placeholders(
    folder: Path, family: Family, model: Model, template: ChatTemplate, tokenizer: Tokenizer
) -> None:
    """Makes model and tokenizer agree on the image placeholder tokens."""
    marks = [mark for mark in (template.marks.image, template.marks.video) if mark]
    if family.placeholder == "added":
        tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in marks])
    if isinstance(model, BlipCaptioner):
        return  # its tokens include no picture
    ids = [tokenizer.token_to_id(mark) for mark in marks]
    image_ids, found = model.config.image_ids, tuple(one for one in ids if one is not None)
    if family.placeholder != "config" and len(found) == len(ids):
        model.config = replace(model.config, image_ids=found)
        return
    written = ids[0]
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


def _no_writer(folder: Path, model: nn.Module) -> WeightsError:
    name = type(model).__name__
    return WeightsError(
        Text(
            f"{folder} holds a {name}, which compares pictures with texts and writes none; "
            "expected a model that writes. Choose another model: seesay models list",
            f"{folder} 里是 {name}，只比较图片和文本，不生成文字；应为能生成文字的模型；请换一个"
            "模型：seesay models list",
        )
    )
