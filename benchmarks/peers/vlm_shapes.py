"""Shapes of published vision-language models with random weights, ours and those of transformers
with the same memory, and a prompt with a picture for both."""

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import torchvision_shim  # noqa: F401
from seesay.data.chat import Span
from seesay.data.native_resolution import normalise_patches
from seesay.inference.prompt_reading import PromptReader, Reading
from seesay.inference.request import Request, VisualInputs
from seesay.inference.visual_inputs import PackedInputs, SquareInputs, packed_rule
from seesay.models.cache import KeyValueCache
from seesay.models.decoder import Decoder
from seesay.models.positions import multimodal_positions
from seesay.models.token_reduction import Prompt
from seesay.models.vlm import PackedVlm, Vlm
from seesay.weights.decoders import read_decoder
from seesay.weights.llava import read_llava
from seesay.weights.qwen_vl import read_qwen_vl
from seesay.weights.settings import Settings
from seesay.weights.tensors import blank_model, load_weights, loading_as

CPU = torch.device("cpu")
TEXT = 40
"""Tokens of a question, template included."""
SIZE = (800, 600)


@dataclass
class Pair:
    """One shape on both sides, with the same weights and prompt."""

    name: str
    theirs: nn.Module
    decoder: Decoder
    given: dict[str, Any]
    """What their `generate` takes."""
    read: Callable[[Decoder], Reading]
    """Reads the prompt, picture included, with that decoder in place of the model's own."""
    prompt: Prompt
    images: Tensor
    model: Vlm | PackedVlm | None = None
    inputs: VisualInputs | None = None
    request: Request | None = None


def shape(real: dict[str, int], tiny: dict[str, int], quick: bool) -> dict[str, int]:
    return tiny if quick else real


def built(make: Callable[[], nn.Module], dtype: torch.dtype) -> tuple[nn.Module, dict, dict]:
    """A model of transformers with random weights, its config and its tensors."""
    from transformers.initialization import no_init_weights

    torch.set_default_dtype(dtype)
    try:
        with no_init_weights():
            model = make()
    finally:
        torch.set_default_dtype(torch.float32)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            parameter.uniform_(-0.035, 0.035)
    model.tie_weights()
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None
    return model.eval(), json.loads(model.config.to_json_string()), model.state_dict()


def same_weights(make: Any, blueprint: Any, tensors: dict[str, Tensor], dtype: torch.dtype) -> Any:
    model = blank_model(make, blueprint.model)
    with loading_as(dtype):  # both sides hold the same memory
        load_weights(model, tensors, blueprint.rules)
    return model.eval()


def picture() -> Image.Image:
    spots = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize(SIZE, Image.Resampling.BICUBIC)


def vlm_pair(name: str, theirs: nn.Module, model: Vlm | PackedVlm, inputs: VisualInputs) -> Pair:
    one, image_id = inputs.picture(picture(), alone=True), model.config.image_ids[0]
    length = one.media.counts[0]
    ids = (*range(3, 8), *(image_id,) * length, *range(8, 3 + TEXT))
    request = Request(ids, (Span(5, 5 + length, 0, "image"),), (one,))
    rows, tokens = inputs.see([one]), torch.tensor([ids])
    given: dict[str, Any] = dict(input_ids=tokens, attention_mask=torch.ones_like(tokens))
    positions, dtype = None, next(theirs.parameters()).dtype
    if isinstance(model, PackedVlm):
        grids = [replace(grid, start=5) for grid in one.grids]
        positions, _ = multimodal_positions(torch.ones_like(tokens, dtype=torch.bool), [grids])
        pixels = torch.from_numpy(normalise_patches(one.pixels, inputs._config))
        shape = (one.shape.time, one.shape.height, one.shape.width)
        given |= dict(image_grid_thw=torch.tensor([shape]), pixel_values=pixels.to(dtype))
        given["mm_token_type_ids"] = (tokens == image_id).int()
        rows = rows.rows
    else:
        squares = torch.from_numpy(one.pixels.copy())
        given["pixel_values"] = inputs._transform.normalise(squares).to(dtype)

    def read(decoder: Decoder) -> Reading:
        same = copy.copy(model)
        same._modules = model._modules | {"decoder": decoder}
        return PromptReader(same, inputs, CPU).read([request])

    embeds = model.decoder.embed(tokens.masked_fill(tokens == image_id, 0))
    embeds = embeds.masked_scatter((tokens == image_id)[..., None], rows)
    prompt = Prompt(embeds, positions)
    return Pair(
        name, theirs, model.decoder, given, read, prompt, tokens == image_id, model, inputs, request
    )


def llava(dtype: torch.dtype, quick: bool) -> Pair:
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    text = shape(
        dict(hidden_size=4096, intermediate_size=11008, num_attention_heads=32, vocab_size=32064),
        dict(hidden_size=64, intermediate_size=96, num_attention_heads=4, vocab_size=32064),
        quick,
    )
    vision = shape(
        dict(hidden_size=1024, intermediate_size=4096, num_attention_heads=16),
        dict(hidden_size=64, intermediate_size=96, num_attention_heads=4),
        quick,
    )
    config = LlavaConfig(
        vision_config=dict(
            vision,
            model_type="clip_vision_model",
            num_hidden_layers=4,
            image_size=336,
            patch_size=14,
        ),
        text_config=dict(text, model_type="llama", num_hidden_layers=2),
        image_token_index=32000,
    )
    theirs, published, tensors = built(lambda: LlavaForConditionalGeneration(config), dtype)
    blueprint = read_llava(Settings("config.json", "", published), tensors)
    model = same_weights(Vlm, blueprint, tensors, dtype)
    return vlm_pair("LLaVA-1.5 7B", theirs, model, SquareInputs(model, "llava", {}, "hf"))


def qwen(dtype: torch.dtype, quick: bool) -> Pair:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    text = shape(
        dict(hidden_size=1536, intermediate_size=8960, num_attention_heads=12),
        dict(hidden_size=512, intermediate_size=96, num_attention_heads=4),
        quick,
    )
    vision = shape(
        dict(embed_dim=1280, num_heads=16, mlp_ratio=4),
        dict(embed_dim=64, num_heads=4, mlp_ratio=2),
        quick,
    )
    rope = dict(rope_type="default", rope_theta=1e6, mrope_section=[16, 24, 24])
    config = Qwen2VLConfig(
        vision_config=dict(vision, depth=4, patch_size=14, hidden_size=text["hidden_size"]),
        text_config=dict(
            text,
            num_key_value_heads=2,
            rms_norm_eps=1e-12,  # llama.cpp 0.5.0 reads none for this family and adds nothing
            vocab_size=151936,
            num_hidden_layers=4,
            rope_parameters=rope,
            tie_word_embeddings=True,
        ),
        image_token_id=151655,
        video_token_id=151656,
        vision_start_token_id=151652,
        vision_end_token_id=151653,
        tie_word_embeddings=True,
    )
    theirs, published, tensors = built(lambda: Qwen2VLForConditionalGeneration(config), dtype)
    tensors.pop("lm_head.weight", None)  # the table of tokens
    blueprint = read_qwen_vl(Settings("config.json", "", published), tensors)
    model = same_weights(PackedVlm, blueprint, tensors, dtype)
    inputs = PackedInputs(model, {}, packed_rule(published))
    return vlm_pair("Qwen2-VL 2B", theirs, model, inputs)


def internvl(dtype: torch.dtype, quick: bool) -> Pair:
    """The language model, InternLM2, whose parts are Llama's; with rows for five tiles."""
    from transformers import LlamaConfig, LlamaForCausalLM

    text = shape(
        dict(hidden_size=2048, intermediate_size=8192, num_attention_heads=16),
        dict(hidden_size=64, intermediate_size=96, num_attention_heads=4),
        quick,
    )
    config = LlamaConfig(
        **text,
        num_key_value_heads=text["num_attention_heads"] // 2,
        vocab_size=92553,
        num_hidden_layers=3,
        max_position_embeddings=32768,
        rope_parameters=dict(rope_type="default", rope_theta=1e6),
    )
    theirs, published, tensors = built(lambda: LlamaForCausalLM(config), dtype)
    blueprint = read_decoder(Settings("config.json", "", published), tensors)
    decoder = same_weights(Decoder, blueprint, tensors, dtype)
    images = torch.zeros(1, 5 * 256 + TEXT, dtype=torch.bool)
    images[:, 5 : 5 + 5 * 256] = True
    embeds = torch.randn(*images.shape, text["hidden_size"]).to(dtype)

    def read(decoder: Decoder) -> Reading:
        cache = KeyValueCache()
        whole = decoder(embeds, cache=cache)
        parts = SimpleNamespace(decoder=decoder, logits=decoder.logits)
        return Reading(parts, decoder.logits(whole[:, -1:])[:, -1], cache, None)

    given = dict(inputs_embeds=embeds, attention_mask=torch.ones_like(images, dtype=torch.long))
    return Pair("InternVL2 2B", theirs, decoder, given, read, Prompt(embeds), images)
