"""How fast vision-language models read a picture and write an answer, beside transformers.

    python benchmarks/vlm.py                # under 8 minutes on two idle cores
    python benchmarks/vlm.py --quick        # tiny shapes: whether it runs

The shapes are those of LLaVA-1.5 7B, Qwen2-VL 2B and InternVL2 2B (its language model), with fewer
layers and random weights, which both sides share. All sides of a comparison take turns in one
process; seconds are medians. FastV is measured on a decoder of more layers, which repeats those
there are: it saves nothing in the first two. PruMerge keeps the patches that stand out, of which
random weights have few: 32 are left by trained ones on average (arXiv 2403.15388).

    prefill         the prompt, picture included, through the language model
    first token     from the prepared picture to the first token
    decode          each further token
"""

import argparse
import copy
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import torchvision_shim  # noqa: F401
from seesay.data.chat import Span
from seesay.data.native_resolution import normalise_patches
from seesay.inference.devices import fastest_dtype
from seesay.inference.generation import ContrastConfig, DecodingConfig, write_tokens
from seesay.inference.prompt_reading import PromptReader, Reading, Request
from seesay.inference.visual_inputs import PackedInputs, SquareInputs, VisualInputs, packed_rule
from seesay.models.cache import KeyValueCache
from seesay.models.decoder import Decoder
from seesay.models.positions import multimodal_positions
from seesay.models.quantized import quantize
from seesay.models.token_reduction import FastVConfig, Prompt, PruMergeConfig, fastv
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
QUESTIONS, ANSWER = 8, 8
FASTV_GOALS = {0.5: 1.4, 0.25: 1.8}
SEVERAL_GOAL, INT8_GOAL = 4.0, 1.3


@dataclass
class Pair:
    """One shape on both sides, with the same weights and prompt."""

    name: str
    theirs: nn.Module
    decoder: Decoder
    given: dict[str, Any]
    """What their `generate` takes."""
    read: Callable[[], Reading]
    """Reads the prompt, picture included."""
    prompt: Prompt
    images: Tensor
    model: Vlm | PackedVlm | None = None
    inputs: VisualInputs | None = None
    request: Request | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes, one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fastv-layers", type=int, default=8)
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    options.rounds = 1 if options.quick else options.rounds
    dtype = fastest_dtype(CPU) if options.dtype == "auto" else getattr(torch, options.dtype)
    torch.manual_seed(0)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, {dtype} of {options.dtype}, {options.rounds} rounds"
    )
    figures: dict[str, Any] = {}
    with torch.no_grad():
        for make in (llava, qwen, internvl):
            pair = make(dtype, options.quick)
            print(f"\n{pair.name}: {pair.decoder.config.depth} layers, {count(pair)}")
            figures[pair.name] = {
                **beside_transformers(pair, options.rounds),
                **pruned(pair, options.fastv_layers, options.rounds),
                **of_this_family(pair, options.rounds),
            }
            del pair
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def of_this_family(pair: Pair, rounds: int) -> dict[str, Any]:
    if isinstance(pair.model, Vlm):
        return merged(pair, rounds) | contrast_cost(pair, rounds) | quantized(pair, rounds)
    return several_questions(pair, rounds) if pair.model is not None else {}


def count(pair: Pair) -> str:
    return f"{int(pair.images.sum())} image tokens of {pair.images.shape[1]}"


def take_turns(rounds: int, **calls: Callable[[], object]) -> dict[str, float]:
    """The median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(some) for name, some in seconds.items()}


def show(what: str, value: float, note: str = "") -> float:
    print(f"  {what:40}{value:9.3f}   {note}")
    return value


def goal(value: float, wanted: float) -> str:
    return f"times; goal {wanted} {'reached' if value >= wanted else 'missed'}"


# What is measured


def beside_transformers(pair: Pair, rounds: int) -> dict[str, float]:
    def generate(tokens: int) -> Tensor:
        return pair.theirs.generate(
            **pair.given, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False
        )

    def read() -> None:
        whole = pair.decoder(pair.prompt.embeds, pair.prompt.positions, KeyValueCache())
        pair.decoder.logits(whole[:, -1:])

    def read_theirs() -> None:
        body = getattr(pair.theirs.model, "language_model", pair.theirs.model)
        positions = pair.prompt.positions
        whole = body(inputs_embeds=pair.prompt.embeds, position_ids=positions, use_cache=True)
        pair.theirs.lm_head(whole.last_hidden_state[:, -1:])

    def write(tokens: int) -> None:
        steps = write_tokens(pair.read(), 1, DecodingConfig(), max_tokens=tokens, end_ids=())
        assert len(list(steps)) == tokens

    expected = pair.theirs(**pair.given, logits_to_keep=1).logits[0, -1].float()
    off = (pair.read().logits[0].float() - expected).abs().max() / expected.abs().max()
    show("largest difference of logits", float(off), "as a share of the largest")
    s = take_turns(
        rounds,
        prefill=read,
        prefill_theirs=read_theirs,
        first=lambda: write(1),
        first_theirs=lambda: generate(1),
        whole=lambda: write(1 + ANSWER),
        whole_theirs=lambda: generate(1 + ANSWER),
    )
    for side in ("", "_theirs"):
        s[f"decode{side}"] = (s.pop(f"whole{side}") - s[f"first{side}"]) / ANSWER
    for what, name in (("prefill", "prefill"), ("first token", "first"), ("decode", "decode")):
        times = s[f"{name}_theirs"] / s[name]
        show(f"{what}, seconds", s[name], f"transformers {s[f'{name}_theirs']:.3f}: {times:.2f}x")
    return s


def pruned(pair: Pair, layers: int, rounds: int) -> dict[str, float]:
    """The same prompt in a decoder of more layers, whole and with fewer image tokens."""
    decoder = repeated(pair.decoder, layers)
    memory: dict[float, int] = {}

    def read(keep: float) -> None:
        cache, given = KeyValueCache(), pair.prompt
        if keep == 1.0:
            decoder(given.embeds, given.positions, cache)
        else:
            fastv(decoder, given, pair.images, FastVConfig(layer=2, keep=keep), cache)
        memory[keep] = sum(2 * layer.keys.nbytes for layer in cache.layers)

    s = take_turns(
        min(2, rounds), **{f"{keep}": lambda keep=keep: read(keep) for keep in (1.0, 0.5, 0.25)}
    )
    show(f"prefill of {layers} layers, seconds", s["1.0"], f"cache {memory[1.0] / 2**20:.0f} MiB")
    figures = {"fastv_unpruned": s["1.0"]}
    for keep, wanted in FASTV_GOALS.items():
        times = s["1.0"] / s[f"{keep}"]
        size = f"cache {memory[keep] / 2**20:.0f} MiB"
        figures |= {f"fastv_{keep}": times, f"fastv_{keep}_cache": memory[keep] / memory[1.0]}
        show(f"FastV K=2, {keep:.0%} kept", times, f"{goal(times, wanted)}; {size}")
    return figures


def repeated(decoder: Decoder, layers: int) -> Decoder:
    """A decoder of that many layers, which are those of another again and again."""
    more = copy.copy(decoder)
    more._modules = dict(decoder._modules)
    blocks = decoder.blocks
    more.blocks = nn.ModuleList(blocks[at % len(blocks)] for at in range(layers))
    more.config = replace(decoder.config, depth=layers)
    return more


def merged(pair: Pair, rounds: int) -> dict[str, float]:
    figures = {}
    for name, config in (("PruMerge", PruMergeConfig()), ("PruMerge+", PruMergeConfig(plus=True))):
        reader = PromptReader(pair.model, pair.inputs, CPU, config)
        length = reader.read([pair.request]).cache.length
        s = take_turns(
            rounds,
            plain=lambda: PromptReader(pair.model, pair.inputs, CPU).read([pair.request]),
            fewer=lambda config=config: PromptReader(pair.model, pair.inputs, CPU, config).read(
                [pair.request]
            ),
        )
        left = length - (pair.images.shape[1] - int(pair.images.sum()))
        figures[name] = show(
            f"{name}, first token",
            s["plain"] / s["fewer"],
            f"times faster with {left} tokens left, of a tower with random weights",
        )
    return figures


def contrast_cost(pair: Pair, rounds: int) -> dict[str, float]:
    decoding = DecodingConfig(contrast=ContrastConfig())

    def write(tokens: int, contrast: bool) -> None:
        reader = PromptReader(pair.model, pair.inputs, CPU)
        reading = reader.read([pair.request])
        if contrast:
            reading = reading.stacked(reader.read([pair.request.noised(500)]))
        config = decoding if contrast else DecodingConfig()
        list(write_tokens(reading, 1, config, max_tokens=tokens, end_ids=()))

    s = take_turns(
        rounds,
        first=lambda: write(1, False),
        whole=lambda: write(1 + ANSWER, False),
        first_contrast=lambda: write(1, True),
        whole_contrast=lambda: write(1 + ANSWER, True),
    )
    first = s["first_contrast"] / s["first"]
    decode = (s["whole_contrast"] - s["first_contrast"]) / (s["whole"] - s["first"])
    show("contrastive decoding, first token", first, "times as long as without")
    show("contrastive decoding, decode", decode, "times as long as without")
    return {"contrast_first": first, "contrast_decode": decode}


def several_questions(pair: Pair, rounds: int) -> dict[str, float]:
    base, end = pair.request, pair.request.images_end
    asked = [replace(base, ids=(*base.ids[:end], *range(10 + n, 22 + n))) for n in range(QUESTIONS)]

    def answer(requests: list[Request]) -> None:
        reading = PromptReader(pair.model, pair.inputs, CPU).read(requests)
        rows = len(requests)
        list(write_tokens(reading, rows, DecodingConfig(), max_tokens=ANSWER, end_ids=()))

    s = take_turns(
        min(2, rounds),
        single=lambda: [answer([one]) for one in asked],
        several=lambda: answer(asked),
    )
    times = s["single"] / s["several"]
    show(f"{QUESTIONS} questions about one picture", times, goal(times, SEVERAL_GOAL))
    return {"several": times}


def quantized(pair: Pair, rounds: int) -> dict[str, float]:
    """Decode in each format, and how far the logits are from those in float32."""
    config = pair.decoder.config
    decoders: dict[str, Decoder] = {"float32": copy.deepcopy(pair.decoder).float()}
    for name in ("bfloat16", "int8", "int4"):
        decoders[name] = copy.deepcopy(pair.decoder).to(torch.bfloat16)
        if name != "bfloat16":
            quantize(decoders[name], name)
    ids = torch.randint(0, config.vocab_size, (1, 16))
    logits, caches = {}, {}
    for name, decoder in decoders.items():
        caches[name] = KeyValueCache()
        logits[name] = decoder.logits(decoder(decoder.embed(ids), cache=caches[name])).float()

    def write(name: str) -> None:
        for _ in range(ANSWER):
            decoder = decoders[name]
            decoder.logits(decoder(decoder.embed(ids[:, :1]), cache=caches[name]))

    s = take_turns(rounds, **{name: lambda name=name: write(name) for name in decoders})
    figures, expected = {}, logits["float32"]
    plain = min(s["float32"], s["bfloat16"])
    for name in decoders:
        off = (logits[name] - expected).abs()
        mean, most = off.mean() / expected.abs().mean(), off.max() / expected.abs().max()
        note = f"error of logits: {mean:.4f} on average, {most:.4f} at most"
        show(f"decode in {name}, seconds", s[name] / ANSWER, note)
        figures |= {f"decode_{name}": s[name] / ANSWER, f"error_{name}": float(mean)}
    times = plain / s["int8"]
    show("decode in int8, beside the faster float", times, goal(times, INT8_GOAL))
    return figures


# The shapes


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

    def read() -> Reading:
        return PromptReader(model, inputs, CPU).read([request])

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

    def read() -> Reading:
        cache = KeyValueCache()
        whole = decoder(embeds, cache=cache)
        parts = SimpleNamespace(decoder=decoder, logits=decoder.logits)
        return Reading(parts, decoder.logits(whole[:, -1:])[:, -1], cache, None)

    given = dict(inputs_embeds=embeds, attention_mask=torch.ones_like(images, dtype=torch.long))
    return Pair("InternVL2 2B", theirs, decoder, given, read, Prompt(embeds), images)


if __name__ == "__main__":
    main()
