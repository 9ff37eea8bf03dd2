"""Generates text token by token, by greedy decoding, sampling or beam search; streams text as it
comes; and captions pictures (CoCa)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, log
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from seesay.data.images import ImageSource, open_image
from seesay.data.vocabularies import library_errors
from seesay.errors import ConfigError
from seesay.inference.embedder import Embedder
from seesay.models.dual_encoder import DualEncoder
from seesay.models.token_reduction import TokenReduction
from seesay.text import Text

IMAGES_AT_ONCE = 16
DIFFUSION_STEPS = 1000
"""Diffusion steps of the noise that visual contrastive decoding adds to a picture."""


@runtime_checkable
class Cache(Protocol):
    """A model's results for the earlier tokens of each row, so that only the last token is
    computed."""

    def select(self, rows: Int[Tensor, " rows"]) -> "Cache":
        """Returns the same for these rows, in this order."""
        ...


NextLogits = Callable[
    [Int[Tensor, "rows tokens"], Cache | None], tuple[Float[Tensor, "rows vocab"], Cache | None]
]
"""Rows of ids and the cache of the last call -> logits of each row's next token and the cache for
the next call; None if nothing is cached."""


@dataclass(frozen=True, kw_only=True)
class ContrastConfig:
    """Visual contrastive decoding: penalises tokens that are also likely given a noised picture
    (VCD, Leng et al. 2024, arXiv 2311.16922)."""

    alpha: float = 1.0
    """Strength: a token's logit grows by this times its difference from the logit with the noised
    picture."""
    beta: float = 0.1
    """Drop tokens less likely than this fraction of the most likely token's probability."""
    noise_step: int = 500
    """Noise in the other picture, in diffusion steps out of 1000: after 500, about a quarter of its
    variance is noise."""

    def __post_init__(self) -> None:
        if (
            not (isfinite(self.alpha) and self.alpha >= 0)
            or not 0 < self.beta <= 1
            or not 1 <= self.noise_step <= DIFFUSION_STEPS
        ):
            given = f"alpha={self.alpha}, beta={self.beta}, noise_step={self.noise_step}"
            raise ConfigError(
                Text(
                    f"{given} contrast no pictures; expected alpha of at least 0, beta above 0 and "
                    f"up to 1, and a step from 1 to {DIFFUSION_STEPS}. Correct them, or leave them "
                    "out.",
                    f"{given} 无法对比图片；alpha 应不小于 0，beta 应大于 0 且不超过 1，noise_step "
                    f"应为 1 到 {DIFFUSION_STEPS}；请改正或省略",
                )
            )


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How pictures are read, and how the next token is chosen."""

    temperature: float = 0.0
    """0 always takes the most likely token. Above 0, tokens are sampled: 1 uses the model's own
    probabilities, and higher values make unlikely tokens likelier."""
    top_k: int = 0
    """Sample from this many of the most likely tokens; 0 means all."""
    top_p: float = 1.0
    """Sample from the smallest set of most likely tokens whose probabilities add up to this."""
    seed: int | None = None
    """The same seed gives a question the same answer, alone or in a batch; None gives a new one
    each time."""
    beams: int = 1
    """Beam search width; only at temperature 0."""
    contrast: ContrastConfig | None = None
    """Visual contrastive decoding, against answers that the picture does not support."""
    reduction: TokenReduction | None = None
    """Fewer tokens per picture: FastV or PruMerge."""

    def __post_init__(self) -> None:
        if self.contrast is not None and self.beams > 1:
            raise ConfigError(
                Text(
                    f"beams={self.beams} and contrast are both set; expected only one: "
                    "leave the other out.",
                    f"beams={self.beams} 与 contrast 不能同时使用；应只用其一；请去掉另一项",
                )
            )
        impossible = (
            not (isfinite(self.temperature) and self.temperature >= 0)
            or not 0 < self.top_p <= 1
            or self.top_k < 0
            or self.beams < 1
        )
        if impossible or (self.beams > 1 and self.temperature > 0):
            given = (
                f"temperature={self.temperature}, top_k={self.top_k}, top_p={self.top_p}, "
                f"beams={self.beams}"
            )
            raise ConfigError(
                Text(
                    f"{given} choose no token; expected temperature and top_k of at least 0, top_p "
                    "above 0 and up to 1, and at least one beam, several only with temperature=0. "
                    "Correct them, or leave them out.",
                    f"{given} 选不出词元；temperature 和 top_k 应不小于 0，top_p 应大于 0 且不超过 "
                    "1，beams 至少为 1，大于 1 时 temperature 应为 0；请改正或省略",
                )
            )


class WrittenToken(NamedTuple):
    id: int
    log_probability: float
    """Natural logarithm of its probability before `DecodingConfig` applies."""


@torch.no_grad()
def write_tokens(
    next_logits: NextLogits,
    rows: int,
    decoding: DecodingConfig,
    *,
    max_tokens: int,
    end_ids: Sequence[int],
) -> Iterator[list[WrittenToken | None]]:
    """Yields the next token of every row until all rows have ended or have `max_tokens`; None for
    rows that ended earlier. The end token is included.

    `next_logits` is called with the tokens so far, at first none. With `decoding.contrast`, it has
    twice as many rows: those of the prompts, then the same with noised pictures. Does no beam
    search.
    """
    contrast = decoding.contrast
    generators = [_generator(decoding.seed) for _ in range(rows)]
    ended = [False] * rows
    ids: Tensor | None = None
    cache: Cache | None = None
    for _ in range(max_tokens):
        begun = torch.zeros(rows, 0, dtype=torch.long) if ids is None else ids
        logits, cache = next_logits(begun if contrast is None else begun.repeat(2, 1), cache)
        logits = scores = logits.float()
        if contrast is not None:
            logits, noised = logits.chunk(2)
            scores = contrasted(logits, noised, contrast)
        chosen = choose_tokens(scores, decoding, generators)
        logs = logits.log_softmax(-1).gather(1, chosen[:, None])[:, 0].tolist()
        tokens = chosen.tolist()
        yield [
            None if over else WrittenToken(token, log)
            for token, log, over in zip(tokens, logs, ended, strict=True)
        ]
        ended = [over or token in end_ids for token, over in zip(tokens, ended, strict=True)]
        if all(ended):
            return
        ids = torch.cat([begun.to(chosen.device), chosen[:, None]], dim=1)


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
        return generator
    return generator.manual_seed(seed)


def contrasted(
    logits: Float[Tensor, "rows vocab"],
    noised: Float[Tensor, "rows vocab"],
    contrast: ContrastConfig,
) -> Float[Tensor, "rows vocab"]:
    """Returns the logits contrasted with those of noised pictures; minus infinity for tokens that
    are too unlikely before the contrast."""
    scores = (1 + contrast.alpha) * logits - contrast.alpha * noised
    least = logits.amax(-1, keepdim=True) + log(contrast.beta)
    return scores.masked_fill(logits < least, -torch.inf)


def choose_tokens(
    logits: Float[Tensor, "rows vocab"],
    decoding: DecodingConfig,
    generators: Sequence[torch.Generator],
) -> Int[Tensor, " rows"]:
    """Returns the next token of each row. Each row has its own generator, on the CPU, so every
    device samples the same."""
    if decoding.temperature == 0:
        return logits.argmax(-1)
    kept = keep_likeliest(logits / decoding.temperature, decoding.top_k, decoding.top_p)
    odds = kept.softmax(-1).cpu()
    drawn = [
        torch.multinomial(row, 1, generator=generator)
        for row, generator in zip(odds, generators, strict=True)
    ]
    return torch.cat(drawn).to(logits.device)


def keep_likeliest(
    logits: Float[Tensor, "rows vocab"], top_k: int, top_p: float
) -> Float[Tensor, "rows vocab"]:
    """Returns the logits with minus infinity for all tokens outside the `top_k`, and outside the
    smallest set of these whose probabilities add up to `top_p`."""
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        ordered, places = logits.sort(descending=True)
        odds = ordered.softmax(-1)
        before = odds.cumsum(-1) - odds
        dropped = (before >= top_p).scatter(1, places, before >= top_p)
        logits = logits.masked_fill(dropped, -torch.inf)
    return logits


class TextStream:
    """Tokens one by one -> the text that is certain so far.

    A character may span several tokens and appears once it is complete. White space at either end
    is dropped; inside, it appears with the text that follows it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # Text is compared from `_start` on: a token may be decoded differently after others. Text
        # before `_done` has been returned.
        self._start, self._done = 0, 0
        self._space = ""
        self._begun = False

    def add(self, token: int) -> str:
        """Returns the text that has become certain."""
        self._ids.append(token)
        return self._new(whole=False)

    def end(self) -> str:
        """Returns the rest, with an incomplete character as U+FFFD."""
        return self._new(whole=True)

    def _new(self, whole: bool) -> str:
        before = self._decode(self._ids[self._start : self._done])
        now = self._decode(self._ids[self._start :])
        if len(now) <= len(before) or (now.endswith("\ufffd") and not whole):
            return ""
        new = now[len(before) :]
        if not now.startswith(before):  # invalid bytes change how those before them decode
            new = self._decode(self._ids[self._done :])
        self._start, self._done = self._done, len(self._ids)
        return self._stripped(new)

    def _stripped(self, new: str) -> str:
        text = self._space + new
        if not self._begun:
            text = text.lstrip()
        kept = text.rstrip()
        self._space = text[len(kept) :]
        self._begun = self._begun or bool(kept)
        return kept

    def _decode(self, ids: list[int]) -> str:
        return decode(ids, self._tokenizer) if ids else ""


def text_of(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Returns the joined text of a stream of these tokens."""
    stream = TextStream(tokenizer)
    return "".join([*map(stream.add, ids), stream.end()])


def decode(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Returns the text of tokens, without special ones."""
    with library_errors("the tokenizer"):
        return tokenizer.decode(list(ids), skip_special_tokens=True)


@torch.no_grad()
def beam_search(
    next_logits: NextLogits,
    begin: Int[Tensor, "texts begun"],
    *,
    length: int,
    end_ids: Sequence[int],
    pad_id: int,
    beams: int = 1,
) -> Int[Tensor, "texts tokens"]:
    """Returns the ids of one text per row of `begin`, at most `length` tokens long, ended by any of
    `end_ids` and padded after that.

    The search follows `beams` continuations of each row; the finished one with the highest average
    log-probability wins. 1 is greedy decoding. Rows are ordered by text, then by beam, as in
    `begin.repeat_interleave(beams, 0)`.
    """
    texts, begun = begin.shape
    ids = begin[:, None].repeat(1, beams, 1)
    scores = torch.zeros(texts, beams, device=begin.device)
    scores[:, 1:] = -torch.inf  # all beams start equal, so only one continues
    ended = torch.zeros_like(scores, dtype=torch.bool)
    first = beams * torch.arange(texts, device=begin.device)[:, None]
    ends = torch.tensor(end_ids, device=begin.device)
    cache: Cache | None = None
    while ids.shape[2] < length and not ended.all():
        logits, cache = next_logits(ids.flatten(0, 1), cache)
        steps = _steps(logits.float().log_softmax(-1).unflatten(0, (texts, beams)), ended, pad_id)
        vocab = steps.shape[2]
        scores, best = (scores[..., None] + steps).flatten(1).topk(beams)
        beam, token = best // vocab, best % vocab
        ids = torch.cat([ids.take_along_dim(beam[..., None], 1), token[..., None]], dim=2)
        ended = ended.take_along_dim(beam, 1) | torch.isin(token, ends)
        if cache is not None:
            cache = cache.select((first + beam).flatten())
    lengths = (ids[..., begun:] != pad_id).sum(2).clamp(min=1)
    # Texts that have not ended are cut off: any finished text is better.
    chosen = (scores / lengths - 1e9 * ~ended).argmax(1)
    return ids[torch.arange(texts, device=ids.device), chosen]


def _steps(
    log_probabilities: Float[Tensor, "texts beams vocab"],
    ended: Bool[Tensor, "texts beams"],
    pad_id: int,
) -> Float[Tensor, "texts beams vocab"]:
    """Returns what each next token adds to a score. After the end only padding may follow, which
    adds 0."""
    steps = log_probabilities.masked_fill(ended[..., None], -torch.inf)
    steps[..., pad_id] = torch.where(ended, 0.0, -torch.inf)
    return steps


def caption(
    embedder: Embedder,
    images: Sequence[ImageSource],
    *,
    begin: str = "",
    beams: int | None = None,
) -> Iterator[str]:
    """Yields one caption per image, in order, each starting with `begin`.

        embedder = seesay.load("runs/captions/model")
        print(*caption(embedder, ["cat.jpg"], beams=3))

    `beams` is the beam search width; it defaults to the model's own setting, or 1. Raises
    ConfigError if the model writes no captions, ImageError for a damaged picture.
    """
    model, tokenizer = embedder.model, embedder.tokenizer
    if beams is None:
        settings = embedder.bundle.generation
        beams = 1 if settings is None else settings.beams
    if model.captioner is None or not tokenizer.suffix or beams < 1:
        raise ConfigError(
            Text(
                f"{embedder.name} was asked for captions with beams={beams}, expected a model with "
                "a captioner, a vocabulary with a token that ends a text, and at least 1: train "
                'one with an objective of kind = "captioning"',
                f"要 {embedder.name} 用 beams={beams} 写描述；应为带描述解码器的模型，词表里有结束"
                '词元，且 beams 至少为 1：请用 kind = "captioning" 的目标训练一个',
            )
        )
    words = tokenizer.encode([begin]).ids[0].tolist()
    start = torch.tensor(words[: words.index(tokenizer.suffix[0])], device=embedder.device)
    if not len(start):
        raise ConfigError(
            Text(
                "a caption was asked for with begin='', expected at least a word, since texts of "
                f'{embedder.name} begin with no token of their own: give one, such as "a"',
                f"要写描述，但 begin=''；至少应有一个词，因为 {embedder.name} 的文字没有开头词元："
                '请给出一个，如 "a"',
            )
        )
    return _captions(embedder, images, start, beams)


def _captions(
    embedder: Embedder, images: Sequence[ImageSource], start: Int[Tensor, " begun"], beams: int
) -> Iterator[str]:
    model, tokenizer, transform = embedder.model, embedder.tokenizer, embedder.transform
    for first in range(0, len(images), IMAGES_AT_ONCE):
        chosen = images[first : first + IMAGES_AT_ONCE]
        squares = [
            transform.pixels(open_image(one, target=transform.config.size)) for one in chosen
        ]
        pixels = transform.normalise(torch.stack(squares).to(embedder.device))
        with torch.inference_mode():
            ids = beam_search(
                caption_logits(model, model.embed_with_tokens(pixels.to(embedder.dtype))[1], beams),
                start.expand(len(chosen), -1),
                length=model.config.text.context,
                end_ids=tokenizer.suffix[:1],
                pad_id=tokenizer.config.pad_id,
                beams=beams,
            )
        yield from (tokenizer.decode(row) for row in ids.tolist())


def caption_logits(
    model: DualEncoder, seen: Float[Tensor, "images seen image_dim"], beams: int
) -> NextLogits:
    """Returns the `NextLogits` of a captioner. Every step recomputes the whole text: fine for
    captions, slow for long texts."""
    every = seen.repeat_interleave(beams, dim=0)
    return lambda ids, _: (model.caption_logits(every, ids)[:, -1], None)
