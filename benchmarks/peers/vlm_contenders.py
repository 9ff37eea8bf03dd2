"""What benchmarks/vlm.py compares: seesay, transformers and llama.cpp, with the same weights and
the same prompt."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from gguf import GGMLQuantizationType
from llama_cpp import LlamaCpp, library, write_gguf
from torch import Tensor
from vlm_shapes import Pair

from seesay.inference.decoding import DecodingConfig
from seesay.inference.generation import write_tokens
from seesay.models.cache import KeyValueCache
from seesay.models.decoder import Decoder

FORMATS = {torch.float32: GGMLQuantizationType.F32, torch.bfloat16: GGMLQuantizationType.BF16}
SAME = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""The largest difference of logits of one computation, as a share of the largest logit."""
CHECKED = 4
"""Tokens that are written on both sides, besides the prompt, before anything is timed."""
ROOM = 256
"""Tokens that fit after the prompt."""


@dataclass
class Contender:
    prefill: Callable[[], Tensor]
    """Reads the prompt, its picture as rows, and returns the logits of the next token."""
    write: Callable[[int], Iterable[float]]
    """Reads the prompt, writes that many tokens, and returns the clock at each."""
    sees: bool = True
    """Whether `write` begins with the picture, and not with its rows."""


def seesay(pair: Pair, decoder: Decoder) -> Contender:
    def prefill() -> Tensor:
        whole = decoder(pair.prompt.embeds, pair.prompt.positions, KeyValueCache())
        return decoder.logits(whole[:, -1:])[0, -1]

    def write(tokens: int) -> Iterable[float]:
        reading = pair.read(decoder)
        steps = write_tokens(reading, 1, DecodingConfig(), max_tokens=tokens, end_ids=())
        return [time.perf_counter() for _ in steps]

    return Contender(prefill, write)


class _Clock:
    """A streamer of transformers that notes when it is given something."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def put(self, ids: Tensor) -> None:
        self.seconds.append(time.perf_counter())

    def end(self) -> None:
        pass


def transformers(pair: Pair) -> Contender:
    body = getattr(pair.theirs.model, "language_model", pair.theirs.model)

    def prefill() -> Tensor:
        prompt = dict(inputs_embeds=pair.prompt.embeds, position_ids=pair.prompt.positions)
        whole = body(**prompt, use_cache=True).last_hidden_state
        return pair.theirs.lm_head(whole[:, -1:])[0, -1]

    def write(tokens: int) -> Iterable[float]:
        clock = _Clock()
        length = dict(max_new_tokens=tokens, min_new_tokens=tokens)
        pair.theirs.generate(**pair.given, **length, do_sample=False, streamer=clock)
        return clock.seconds[1:]  # the prompt's ids come first

    return Contender(prefill, write)


@contextmanager
def llama_cpp(pair: Pair, folder: Path) -> Iterator[dict[str, Contender]]:
    """llama.cpp with the decoder's own numbers and with 8 bits, by the names of its formats. Exits
    unless it computes what we do."""
    llama, dtype = library(folder), pair.decoder.token_embed.weight.dtype
    context = pair.images.shape[1] + ROOM
    threads = torch.get_num_threads()
    with ExitStack() as opened:
        files = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        contenders = {}
        for kind in (FORMATS[dtype], GGMLQuantizationType.Q8_0):
            file = files / f"{kind.name}.gguf"
            write_gguf(pair.decoder, file, kind)
            if not contenders:
                with closing(LlamaCpp(llama, file, context, threads, exact=True)) as exact:
                    require_same(pair, exact, SAME[dtype])
            model = opened.enter_context(closing(LlamaCpp(llama, file, context, threads)))
            contenders[f"llama.cpp {kind.name}"] = _llama_cpp(pair, model)
        yield contenders


def _llama_cpp(pair: Pair, model: LlamaCpp) -> Contender:
    embeds, positions, begin = _prompt(pair)

    def write(tokens: int) -> Iterator[float]:
        token = int(model.read(embeds, positions).argmax())
        yield time.perf_counter()
        for at in range(begin, begin + tokens - 1):
            token = int(model.step(token, at).argmax())
            yield time.perf_counter()

    return Contender(lambda: model.read(embeds, positions), write, sees=pair.model is None)


def _prompt(pair: Pair) -> tuple[Tensor, Tensor | None, int]:
    """The rows of the prompt, their positions and that of the next token."""
    embeds, positions = pair.prompt.embeds[0], pair.prompt.positions
    if positions is None:
        return embeds, None, len(embeds)
    return embeds, positions[:, 0], int(positions.max()) + 1


def require_same(pair: Pair, model: LlamaCpp, most: float) -> None:
    embeds, positions, begin = _prompt(pair)
    decoder, cache = pair.decoder, KeyValueCache()
    whole = decoder(pair.prompt.embeds, pair.prompt.positions, cache)
    theirs, differences = model.read(embeds, positions), []
    for at in range(begin, begin + CHECKED + 1):
        logits = decoder.logits(whole[:, -1:])[0, -1]
        differences.append(difference(theirs, logits))
        token = logits.argmax()
        place = None if positions is None else torch.full((3, 1, 1), at)
        whole = decoder(decoder.embed(token[None, None]), place, cache)
        theirs = model.step(int(token), at)
    if max(differences) > most:
        raise SystemExit(f"llama.cpp's logits differ by {differences}, expected {most} at most")
    print(f"  llama.cpp's logits of {len(differences)} tokens differ by {max(differences):.1e}")


def difference(logits: Tensor, expected: Tensor) -> float:
    """The largest one, as a share of the largest expected logit."""
    return float((logits.float() - expected.float()).abs().max() / expected.float().abs().max())
