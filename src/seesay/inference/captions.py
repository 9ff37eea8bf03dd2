"""Pictures in, captions out, of a model that was trained to write them (CoCa)."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from seesay.data.images import ImageSource, open_image
from seesay.errors import ConfigError
from seesay.inference.embedder import Embedder
from seesay.models.caption_search import search_captions

IMAGES_AT_ONCE = 16


def caption(
    embedder: Embedder, images: Sequence[ImageSource], *, begin: str = "", beams: int = 1
) -> Iterator[str]:
    """One caption per image, in their order; `begin` is how each begins.

        embedder = seesay.load("runs/captions/model")
        print(*caption(embedder, ["cat.jpg"], beams=3))

    With several `beams` so many beginnings are followed at once, and the likeliest is taken.
    Raises ConfigError where the model writes no captions, ImageError where a picture is damaged.
    """
    model, tokenizer = embedder.model, embedder.tokenizer
    if model.captioner is None or not tokenizer.suffix or beams < 1:
        raise ConfigError(
            f"{embedder.name} was asked for captions with beams={beams}, expected a model with a "
            "captioner, a vocabulary with a token that ends a text, and at least 1: train one with "
            'an objective of kind = "captioning"'
        )
    words = tokenizer.encode([begin]).ids[0].tolist()
    start = torch.tensor(words[: words.index(tokenizer.suffix[0])])
    if not len(start):
        raise ConfigError(
            "a caption was asked for with begin='', expected at least a word, since texts of "
            f'{embedder.name} begin with no token of their own: give one, such as "a"'
        )
    return _captions(embedder, images, start, beams)


def _captions(
    embedder: Embedder, images: Sequence[ImageSource], start: Int[Tensor, " begin"], beams: int
) -> Iterator[str]:
    model, tokenizer, transform = embedder.model, embedder.tokenizer, embedder.transform
    for first in range(0, len(images), IMAGES_AT_ONCE):
        chosen = images[first : first + IMAGES_AT_ONCE]
        squares = [
            transform.pixels(open_image(one, target=transform.config.size)) for one in chosen
        ]
        pixels = transform.normalise(torch.stack(squares).to(embedder.device))
        with torch.inference_mode():
            ids = search_captions(
                model,
                model.see(pixels.to(embedder.dtype))[1],
                start,
                end_id=tokenizer.suffix[0],
                pad_id=tokenizer.config.pad_id,
                beams=beams,
            )
        yield from (tokenizer.decode(row) for row in ids.tolist())
