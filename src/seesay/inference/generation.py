"""Generates text token by token, by greedy decoding, sampling or beam search; and captions pictures
(CoCa)."""

from collections.abc import Callable, Iterator, Sequence
from math import log
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seesay.data.images import ImageSource, open_image
from seesay.errors import ConfigError
from seesay.inference.decoding import ContrastConfig, DecodingConfig, WrittenToken
from seesay.inference.embedder import Embedder
from seesay.models.dual_encoder import DualEncoder
from seesay.text import Text

IMAGES_AT_ONCE = 16


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
