"""A dual encoder as objectives call it: rows of a batch in, embeddings and caption losses out.

A frozen text tower always gives a text the same vector, so each is computed once and kept in
memory: 2 KB for each different text. On request the same holds for images, and for the lower layers
of a tower whose upper ones are trained. Texts of similar length are computed together, since
padding takes as long as text.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from hashlib import blake2b
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from seesay.data.transform import ImageTransform
from seesay.models.bert import Bert
from seesay.models.dual_encoder import DualEncoder
from seesay.models.mobilenet import MobileNet
from seesay.models.vit import Vit, VitConfig
from seesay.objectives.captioning import caption_losses
from seesay.objectives.contrastive import clamp_scale
from seesay.objectives.objective import TrainedModel, View
from seesay.weights.bundle import Bundle
from seesay.weights.feature_files import FeatureFiles, digest_of

TEXTS_AT_ONCE = 64  # that share their padding


class Towers(TrainedModel):
    """Both towers behind one forward call, which is what DDP and FSDP2 hook into. With `autocast`,
    their arithmetic is in that dtype."""

    def __init__(self, bundle: Bundle[DualEncoder], autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = bundle.model
        self._transform = ImageTransform(bundle.transform)
        self._pad_id = bundle.tokenizer.config.pad_id
        self._autocast = autocast
        # Convolutions run faster with the channels last; for patches it makes no difference.
        self._last = not isinstance(bundle.config.image, VitConfig)
        if self._last and self.model.image is not None:
            channels_last(self.model.image)
        self._classes: int = getattr(bundle.config.image, "classes", 0)
        self._frozen_texts = Reused(lambda ids: self._by_length(ids, self.model.text))

    def forward(self, inputs: Mapping[View, Tensor]) -> tuple[Tensor, ...]:
        """By view, rows -> an embedding per row, or a sum of losses per image, in float32 or
        wider."""
        with self._context(next(iter(inputs.values())).device.type):
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
        images = self._transform.normalise(rows).to(self.model.log_scale.dtype)
        if self._last:
            images = images.contiguous(memory_format=torch.channels_last)
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

    def _context(self, device: str) -> AbstractContextManager[Any]:
        return torch.autocast(device, self._autocast) if self._autocast else nullcontext()


class Seen(NamedTuple):
    """What is computed from the images of a source."""

    embeds: Tensor
    tokens: Tensor | None = None
    """The captioner's input, if the images have captions."""
    classes: Tensor | None = None
    """The class probabilities that the tower itself returns, if it has classes."""


class Reused:
    """Caches a frozen module's output for each row, in `dtype` or the module's own. Equal rows are
    computed once. With `pad_id`, rows are token ids, the module returns a vector per token, and
    padding makes no difference. `kept` holds the results, in memory unless it is given."""

    def __init__(
        self,
        compute: Callable[[Tensor], Tensor],
        dtype: torch.dtype | None = None,
        pad_id: int | None = None,
        kept: MutableMapping[bytes, Tensor] | None = None,
    ) -> None:
        self._compute, self._dtype, self._pad_id = compute, dtype, pad_id
        self._kept = {} if kept is None else kept

    @torch.no_grad()
    def __call__(self, rows: Tensor) -> Tensor:
        """Returns one result per row; for texts, (texts, tokens, dim) with zeros at padding."""
        ends: list[int | None] = [None] * len(rows)
        if self._pad_id is not None:
            ends = (rows != self._pad_id).sum(1).tolist()
        keys = row_keys(rows, ends)
        new = {key: row for row, key in enumerate(keys) if key not in self._kept}
        if new:
            results = self._compute(rows[list(new.values())]).to(self._dtype)
            for (key, row), result in zip(new.items(), results, strict=True):
                self._kept[key] = result[: ends[row]].clone()
        kept = [self._kept[key].to(rows.device) for key in keys]
        with torch.autocast(rows.device.type, enabled=False):  # bfloat16's cannot join float16
            if self._pad_id is None:
                return torch.stack(kept)
            texts = pad_sequence(kept, batch_first=True)
            return F.pad(texts, (0, 0, 0, rows.shape[1] - texts.shape[1]))


def row_keys(rows: Tensor, ends: Sequence[int | None] | None = None) -> list[bytes]:
    """Returns a key for each row, equal for equal ones; only the values before `ends` count."""
    stops = [None] * len(rows) if ends is None else ends
    parts = [row[:end].tobytes() for row, end in zip(rows.cpu().numpy(), stops, strict=True)]
    return [blake2b(part, digest_size=16).digest() for part in parts]


def reuse_features(tower: Vit | MobileNet, folder: Path | None) -> None:
    """Makes a frozen tower keep what a vision-language model takes of each image, in float16: in
    the files of a folder, or in memory."""
    kept = None if folder is None else FeatureFiles(folder, f"features-{digest_of(tower)}")
    features = Reused(tower.features, torch.float16, kept=kept)
    tower.features = lambda pixels: features(pixels).to(pixels.dtype)  # type: ignore[method-assign,assignment]


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
            tokens = Reused(lower, torch.float16, text.config.pad_id)
            upper_text = partial(text.upper, count=layers)
            text.forward = lambda ids: upper_text(tokens(ids).to(dtype), ids)  # type: ignore[method-assign]


def is_frozen(module: nn.Module) -> bool:
    """Whether no parameter of a module is trained."""
    return not any(parameter.requires_grad for parameter in module.parameters())


def frozen_blocks(tower: MobileNet | Bert, *below: nn.Module) -> int:
    """How many of the first blocks of a tower are frozen, with all that is below them."""
    if not all(is_frozen(module) for module in below):
        return 0
    return len(list(takewhile(is_frozen, tower.blocks)))


def channels_last(module: nn.Module) -> None:
    """Stores a module's kernels channels last, as its images are."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
