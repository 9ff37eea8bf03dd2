"""How fast vision-language models read a picture and write an answer, beside transformers and
llama.cpp.

    python benchmarks/vlm.py                      # under 8 minutes a shape on two idle cores
    python benchmarks/vlm.py --shape qwen         # one of them
    python benchmarks/vlm.py --llama-cpp FOLDER   # with its libraries: see peers/llama_cpp.py
    python benchmarks/vlm.py --quick              # tiny shapes: whether it runs

The shapes are those of LLaVA-1.5 7B, Qwen2-VL 2B and InternVL2 2B (its language model), with fewer
layers and random weights, which all sides share. All sides of a comparison take turns in one
process. Seconds are medians; "times" is the median of each round's own ratio. FastV is measured on
a decoder of more layers, which repeats those there are: it saves nothing in the first two. PruMerge
keeps the patches that stand out, of which random weights have few: 32 are left by trained ones on
average (arXiv 2403.15388).

    prefill         the prompt, picture included, through the language model
    first token     from the prepared picture to the first token
    decode          each further token, timed as it comes
    logits          how far those after the prompt are from ours, as a share of the largest

llama.cpp runs the language model alone, on the same rows of the picture: where there is an image
tower, it has no first token.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from vlm_contenders import Contender, difference, llama_cpp, seesay, transformers
from vlm_shapes import CPU, Pair, internvl, llava, qwen

from seesay.inference.decoding import ContrastConfig, DecodingConfig
from seesay.inference.devices import fastest_dtype
from seesay.inference.generation import write_tokens
from seesay.inference.prompt_reading import PromptReader
from seesay.inference.request import Request
from seesay.models.cache import KeyValueCache
from seesay.models.decoder import Decoder
from seesay.models.quantized import quantize
from seesay.models.token_reduction import FastVConfig, PruMergeConfig, fastv
from seesay.models.vlm import Vlm

SHAPES = {"llava": llava, "qwen": qwen, "internvl": internvl}
QUESTIONS, SHORT, ANSWER = 8, 8, 16
FASTV_GOALS = {0.5: 1.4, 0.25: 1.8}
SEVERAL_GOAL, FLOAT_GOAL, INT8_GOAL = 4.0, 1.0, 1.3
TIMES = ("prefill", "first token", "decode")

Seconds = dict[str, list[float]]
"""Those of each round, by what is timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes, one round")
    parser.add_argument("--shape", choices=SHAPES, help="this one only")
    parser.add_argument("--llama-cpp", type=Path, metavar="FOLDER", help="with libllama.so")
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
        for name in [options.shape] if options.shape else SHAPES:
            pair = SHAPES[name](dtype, options.quick)
            print(f"\n{pair.name}: {pair.decoder.config.depth} layers, {count(pair)}")
            figures[pair.name] = {
                **beside_peers(pair, options.rounds, options.llama_cpp),
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


# Beside peers


def beside_peers(pair: Pair, rounds: int, folder: Path | None) -> dict[str, Any]:
    """All contenders with the same prompt, in the numbers of the model and in int8."""
    int8 = copy.deepcopy(pair.decoder)
    quantize(int8, "int8")
    contenders = {
        "seesay": seesay(pair, pair.decoder),
        "transformers": transformers(pair),
        "seesay int8": seesay(pair, int8),
    }
    with nullcontext({}) if folder is None else llama_cpp(pair, folder) as more:
        contenders |= more
        logits = {name: contender.prefill() for name, contender in contenders.items()}
        seconds = interleaved(contenders, rounds)
    mine = seconds["seesay"]
    off = {name: difference(logits[name], logits["seesay"]) for name in contenders}
    print(f"  {'seconds (times ours)':22}{''.join(f'{what:>17}' for what in TIMES)}{'logits':>10}")
    for name, times in seconds.items():
        cells = [cell(times.get(what), mine[what]) for what in TIMES]
        print(f"  {name:22}{''.join(cells)}{off[name]:10.1e}")
    return {"seconds": seconds, "logits": off, "times": beside_faster(seconds)}


def interleaved(contenders: dict[str, Contender], rounds: int) -> dict[str, Seconds]:
    """Seconds of each contender. Every other round goes through them backwards."""
    seconds: dict[str, Seconds] = {name: {what: [] for what in TIMES} for name in contenders}
    for at in range(rounds):
        order = list(contenders.items())[:: -1 if at % 2 else 1]
        for name, contender in order:
            start = time.perf_counter()
            contender.prefill()
            seconds[name]["prefill"].append(time.perf_counter() - start)
        for name, contender in order:
            first, decode = paced(lambda contender=contender: contender.write(1 + ANSWER))
            seconds[name]["decode"].append(decode)
            if contender.sees:
                seconds[name]["first token"].append(first)
    return {name: {what: s for what, s in times.items() if s} for name, times in seconds.items()}


def paced(write: Callable[[], Iterable[float]]) -> tuple[float, float]:
    """Seconds to the first token, and the median of those of each further one."""
    start = time.perf_counter()
    clock = list(write())
    return clock[0] - start, statistics.median(b - a for a, b in pairwise(clock))


def times_as_long(theirs: list[float], mine: list[float]) -> float:
    """The median of what each round says: load that comes and goes changes it little."""
    return statistics.median(a / b for a, b in zip(theirs, mine, strict=True))


def cell(theirs: list[float] | None, mine: list[float]) -> str:
    if theirs is None:
        return f"{'-':>17}"
    return f"{statistics.median(theirs):9.4f} ({times_as_long(theirs, mine):.2f})"


def beside_faster(seconds: dict[str, Seconds]) -> dict[str, float]:
    """How many times as fast we are as the faster peer."""
    q8 = {name for name in seconds if name.endswith("Q8_0")}
    peers = seconds.keys() - {"seesay", "seesay int8"} - q8
    figures = {}
    cases = [("seesay", what, peers, FLOAT_GOAL) for what in TIMES]
    cases += [
        ("seesay int8", "decode", peers, INT8_GOAL),
        ("seesay int8", "decode", q8, FLOAT_GOAL),
    ]
    for ours, what, among, wanted in cases:
        timed = {name: seconds[name][what] for name in among if what in seconds[name]}
        if timed:
            faster = min(timed, key=lambda name: statistics.median(timed[name]))
            times = times_as_long(timed[faster], seconds[ours][what])
            name = f"{ours}, {what} / {faster}"
            figures[name] = show(name, times, goal(times, wanted))
    return figures


# Other ways


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
    def write(contrast: ContrastConfig | None) -> Iterable[float]:
        reader = PromptReader(pair.model, pair.inputs, CPU)
        reading = reader.read([pair.request])
        if contrast is not None:
            reading = reading.stacked(reader.read([pair.request.noised(contrast.noise_step)]))
        config = DecodingConfig(contrast=contrast)
        steps = write_tokens(reading, 1, config, max_tokens=1 + ANSWER, end_ids=())
        return [time.perf_counter() for _ in steps]

    turns = [
        (paced(lambda: write(None)), paced(lambda: write(ContrastConfig()))) for _ in range(rounds)
    ]
    first, decode = (
        statistics.median(contrasted[what] / plain[what] for plain, contrasted in turns)
        for what in (0, 1)
    )
    show("contrastive decoding, first token", first, "times as long as without")
    show("contrastive decoding, decode", decode, "times as long as without")
    return {"contrast_first": first, "contrast_decode": decode}


def several_questions(pair: Pair, rounds: int) -> dict[str, float]:
    base, end = pair.request, pair.request.images_end
    asked = [replace(base, ids=(*base.ids[:end], *range(10 + n, 22 + n))) for n in range(QUESTIONS)]

    def answer(requests: list[Request]) -> None:
        reading = PromptReader(pair.model, pair.inputs, CPU).read(requests)
        rows = len(requests)
        list(write_tokens(reading, rows, DecodingConfig(), max_tokens=SHORT, end_ids=()))

    s = take_turns(
        min(2, rounds),
        single=lambda: [answer([one]) for one in asked],
        several=lambda: answer(asked),
    )
    times = s["single"] / s["several"]
    show(f"{QUESTIONS} questions about one picture", times, goal(times, SEVERAL_GOAL))
    return {"several": times}


def quantized(pair: Pair, rounds: int) -> dict[str, Any]:
    """Decode after a few tokens in each format, and how far the logits are from float32's."""
    decoders: dict[str, Decoder] = {"float32": copy.deepcopy(pair.decoder).float()}
    for name in ("bfloat16", "int8", "int4"):
        decoders[name] = copy.deepcopy(pair.decoder).to(torch.bfloat16)
        if name != "bfloat16":
            quantize(decoders[name], name)
    ids = torch.randint(0, pair.decoder.config.vocab_size, (1, 16))
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
    for name in decoders:
        off = (logits[name] - expected).abs()
        mean, most = off.mean() / expected.abs().mean(), off.max() / expected.abs().max()
        note = f"error of logits: {mean:.4f} on average, {most:.4f} at most"
        show(f"decode in {name}, seconds", s[name] / ANSWER, note)
        figures |= {f"decode_{name}": s[name] / ANSWER, f"error_{name}": float(mean)}
    return figures


if __name__ == "__main__":
    main()
