"""A dual encoder as objectives call it: rows of a batch in, embeddings and caption losses out.

A frozen text tower always gives a text the same vector, so each is computed once and kept in
memory: 2 KB for each different text. On request the same holds for images, and for the lower layers
of a tower whose upper ones are trained. Texts of similar length are computed together, since
padding takes as long as text.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seesay.models.bert import Bert
from seesay.models.dual_encoder import DualEncoder
from seesay.models.mobilenet import MobileNet
from seesay.objectives.captioning import caption_losses
from seesay.objectives.contrastive import clamp_scale
from seesay.objectives.objective import TrainedModel, View
from seesay.weights.bundle import Bundle
from seesay.weights.feature_files import FeatureFiles, digest_of
from seesay.weights.step import Pixels, Reused, computing_in, is_frozen

TEXTS_AT_ONCE = 64  # that share their padding


class Towers(TrainedModel):
    """Both towers behind one forward call, which is what DDP and FSDP2 hook into. With `autocast`,
    their arithmetic is in that dtype."""

    def __init__(self, bundle: Bundle[DualEncoder], autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = bundle.model
        self._pixels = Pixels(bundle.transform, self.model.image)
        self._pad_id = bundle.tokenizer.config.pad_id
        self._autocast = autocast
        self._classes: int = getattr(bundle.config.image, "classes", 0)
        self._frozen_texts = Reused(lambda ids: self._by_length(ids, self.model.text))

    def forward(self, inputs: Mapping[View, Tensor]) -> tuple[Tensor, ...]:
        """By view, rows -> an embedding per row, or a sum of losses per image, in float32 or
        wider."""
        with computing_in(self._autocast, inputs):
            images = {
                view.source: self._see(view.source, rows, inputs)
                for view, rows in inputs.items()
                if view.role == "images"
            }
            outputs = [self._output(view, rows, images) for view, rows in inputs.items()]
        return tuple(rows if rows.dtype == torch.float64 else rows.float() for rows in outputs)

    def compile(self, *given: Any, **settings: Any) -> None:
        """Compiles the towers; the rest of the model is small."""
        for tower in filter(None, (self.model.image, self.model.text)):
            tower.compile(*given, **settings)

    def scalars(self) -> Mapping[str, nn.Parameter | None]:
        """The scale and the bias of the logits."""
        return {"log_scale": self.model.log_scale, "bias": self.model.bias}

    def keep_in_range(self) -> None:
        """Clamps the scale, as CLIP does."""
        clamp_scale(self.model.log_scale)

    def figures(self) -> Mapping[str, float]:
        """The scale, and the bias if there is one."""
        bias = self.model.bias
        scale = {"scale": float(self.model.log_scale.detach().exp())}
        return scale if bias is None else {**scale, "bias": float(bias.detach())}

    def _see(self, source: str, rows: Tensor, inputs: Mapping[View, Tensor]) -> "Seen":
        images = self._pixels(rows, self.model.log_scale.dtype)
        if View("captions", source) in inputs:
            return Seen(*self.model.embed_with_tokens(images))
        assert self.model.image is not None  # objectives check the tower
        vectors = self.model.image(images)
        classes = vectors[:, -self._classes :] if self._classes else None
        return Seen(self.model.project_images(vectors), classes=classes)

    def _output(self, view: View, rows: Tensor, images: Mapping[str, "Seen"]) -> Tensor:
        if view.role == "texts":
            return self._embed_texts(rows)
        if view.role == "pooled":
            return self.model.embed_pooled(rows)
        seen = images[view.source]
        if view.role == "images":
            return seen.embeds
        if view.role == "classes":
            assert seen.classes is not None  # objectives check the tower
            return seen.classes
        assert seen.tokens is not None
        return self._caption_losses(seen.tokens, rows)

    def _embed_texts(self, ids: Tensor) -> Tensor:
        if is_frozen(self.model.text):
            return self.model.project_texts(self._frozen_texts(ids))
        return self._by_length(ids, self.model.embed_texts)

    def _by_length(self, ids: Tensor, tower: Callable[[Tensor], Tensor]) -> Tensor:
        """What a tower returns for each text, shortest first, in parts without the columns that are
        padding in all of their rows."""
        text = self.model.text
        order = (ids != self._pad_id).sum(1).argsort()
        parts = [tower(text.trim(ids[rows])) for rows in order.split(TEXTS_AT_ONCE)]  # type: ignore[operator]
        return torch.cat(parts)[order.argsort()]

    def _caption_losses(self, tokens: Tensor, ids: Tensor) -> Tensor:
        count, most = ids.shape[:2]
        rows = ids.flatten(0, 1)
        logits = self.model.caption_logits(tokens.repeat_interleave(most, 0), rows[:, :-1])
        return caption_losses(logits, rows[:, 1:], self._pad_id).view(count, most).sum(1)


class Seen(NamedTuple):
    """What is computed from the images of a source."""

    embeds: Tensor
    tokens: Tensor | None = None
    """The captioner's input, if the images have captions."""
    classes: Tensor | None = None
    """The class probabilities that the tower itself returns, if it has classes."""


def reuse_frozen(model: DualEncoder, folder: Path | None = None) -> None:
    """Keeps what the frozen image tower returns for an image, in the files of a folder or in
    memory, or in memory and in float16 what the frozen lower layers of a tower return."""
    image, text = model.image, model.text
    if image is not None and is_frozen(image):
        kept = None if folder is None else FeatureFiles(folder, f"vectors-{digest_of(image)}")
        image.forward = Reused(image.forward, kept=kept)
    elif isinstance(image, MobileNet) and (blocks := frozen_blocks(image, image.stem)):
        maps = Reused(partial(image.lower, count=blocks), torch.float16)
        upper = partial(image.upper, count=blocks)
        image.forward = lambda images: upper(maps(images).to(images.dtype))  # type: ignore[method-assign]
    if isinstance(text, Bert) and not is_frozen(text):
        below = text.token_embed, text.norm_in
        fixed = not (text.positions.requires_grad or text.types.requires_grad)
        if fixed and (layers := frozen_blocks(text, *below)):
            dtype = text.positions.dtype
            lower = partial(text.lower, count=layers)
            pad_id = text.config.pad_id
            tokens = Reused(lower, torch.float16, lambda ids: (ids != pad_id).sum(1))
            upper_text = partial(text.upper, count=layers)
            text.forward = lambda ids: upper_text(tokens(ids).to(dtype), ids)  # type: ignore[method-assign]


def frozen_blocks(tower: MobileNet | Bert, *below: nn.Module) -> int:
    """How many of the first blocks of a tower are frozen, with all that is below them."""
    if not all(is_frozen(module) for module in below):
        return 0
    return len(list(takewhile(is_frozen, tower.blocks)))
