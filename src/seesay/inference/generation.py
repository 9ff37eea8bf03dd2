"""Generate text token by token: beam search, and captions of pictures (CoCa)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seesay.data.images import ImageSource, open_image
from seesay.errors import ConfigError
from seesay.inference.embedder import Embedder
from seesay.models.dual_encoder import DualEncoder
from seesay.text import Text

IMAGES_AT_ONCE = 16


class Cache(Protocol):
    """A model's results for the earlier tokens of each row: only the last token is computed
    anew."""

    def select(self, rows: Int[Tensor, " rows"]) -> "Cache":
        """The same for these rows, in this order."""
        ...


NextLogits = Callable[
    [Int[Tensor, "rows tokens"], Cache | None], tuple[Float[Tensor, "rows vocab"], Cache | None]
]
"""Rows of ids, and their cache from the last call -> logits of each row's next token, and the cache
for the next call; None if nothing is cached."""


@torch.no_grad()
def beam_search(
    next_logits: NextLogits,
    begin: Int[Tensor, "texts begun"],
    *,
    length: int,
    end_id: int,
    pad_id: int,
    beams: int = 1,
) -> Int[Tensor, "texts tokens"]:
    """Returns the ids of one text per row of `begin`, at most `length` tokens long and padded after
    its end.

    The search follows `beams` continuations of each row at once; of the finished ones, the one with
    the likeliest tokens on average wins. 1 takes the likeliest token each time. Rows are ordered by
    text, then by beam, as in `begin.repeat_interleave(beams, 0)`.
    """
    texts, begun = begin.shape
    ids = begin[:, None].repeat(1, beams, 1)
    scores = torch.zeros(texts, beams, device=begin.device)
    scores[:, 1:] = -torch.inf  # all beams begin alike, so one continues
    ended = torch.zeros_like(scores, dtype=torch.bool)
    first = beams * torch.arange(texts, device=begin.device)[:, None]
    cache: Cache | None = None
    while ids.shape[2] < length and not ended.all():
        logits, cache = next_logits(ids.flatten(0, 1), cache)
        steps = _steps(logits.float().log_softmax(-1).unflatten(0, (texts, beams)), ended, pad_id)
        vocab = steps.shape[2]
        scores, best = (scores[..., None] + steps).flatten(1).topk(beams)
        beam, token = best // vocab, best % vocab
        ids = torch.cat([ids.take_along_dim(beam[..., None], 1), token[..., None]], dim=2)
        ended = ended.take_along_dim(beam, 1) | (token == end_id)
        if cache is not None:
            cache = cache.select((first + beam).flatten())
    lengths = (ids[..., begun:] != pad_id).sum(2).clamp(min=1)
    # A text that has not ended by now is cut off: any finished text is better.
    chosen = (scores / lengths - 1e9 * ~ended).argmax(1)
    return ids[torch.arange(texts, device=ids.device), chosen]


def _steps(
    log_probabilities: Float[Tensor, "texts beams vocab"],
    ended: Bool[Tensor, "texts beams"],
    pad_id: int,
) -> Float[Tensor, "texts beams vocab"]:
    """Returns what each next token adds to a score. After the end only padding may follow; it adds
    0."""
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
    """Yields one caption per image, in order; each starts with `begin`.

        embedder = seesay.load("runs/captions/model")
        print(*caption(embedder, ["cat.jpg"], beams=3))

    The search follows `beams` continuations at once and takes the likeliest; the default is the
    model's own setting, or 1. Raises ConfigError if the model writes no captions, ImageError if a
    picture is damaged.
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
                end_id=tokenizer.suffix[0],
                pad_id=tokenizer.config.pad_id,
                beams=beams,
            )
        yield from (tokenizer.decode(row) for row in ids.tolist())


def caption_logits(
    model: DualEncoder, seen: Float[Tensor, "images seen image_dim"], beams: int
) -> NextLogits:
    """The next tokens of a captioner. Every step recomputes the whole text: fine for captions, slow
    for long texts."""
    every = seen.repeat_interleave(beams, dim=0)
    return lambda ids, _: (model.caption_logits(every, ids)[:, -1], None)
