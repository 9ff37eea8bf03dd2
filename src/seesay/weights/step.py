"""What the training of every family needs: pictures as a tower takes them, the precision of the
arithmetic, and what frozen parts return, kept for the next time."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from seesay.data.squares import ImageTransformConfig
from seesay.data.transform import ImageTransform
from seesay.models.mobilenet import MobileNet
from seesay.models.vit import Vit
from seesay.objectives.objective import View
from seesay.weights.feature_files import FeatureFiles, digest_of


class Pixels:
    """Bytes of pictures -> normalised pixels. Convolutions run faster with the channels last, so
    the kernels of such a tower are stored that way, too; for patches it makes no difference."""

    def __init__(self, config: ImageTransformConfig, tower: nn.Module | None) -> None:
        self._transform = ImageTransform(config)
        self._last = not isinstance(tower, Vit)
        if self._last and tower is not None:
            channels_last(tower)

    def __call__(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """Bytes (images height width 3) -> (images 3 height width)."""
        pixels = self._transform.normalise(images).to(dtype)
        return pixels.contiguous(memory_format=torch.channels_last) if self._last else pixels


def computing_in(
    dtype: torch.dtype | None, inputs: Mapping[View, Tensor]
) -> AbstractContextManager[Any]:
    """Within it, arithmetic about these rows is in `dtype`; none: that of the weights."""
    device = next(iter(inputs.values())).device.type
    return nullcontext() if dtype is None else torch.autocast(device, dtype)


def channels_last(module: nn.Module) -> None:
    """Stores a module's kernels channels last, as its images are."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def is_frozen(module: nn.Module) -> bool:
    """Whether no parameter of a module is trained."""
    return not any(parameter.requires_grad for parameter in module.parameters())


class Reused:
    """Caches a frozen module's output for each row, in `dtype` or the module's own. Equal rows are
    computed once. With `lengths`, rows are token ids of which that many come first and count, and
    the module returns a vector per token. `kept` holds the results, in memory unless it is
    given."""

    def __init__(
        self,
        compute: Callable[[Tensor], Tensor],
        dtype: torch.dtype | None = None,
        lengths: Callable[[Tensor], Tensor] | None = None,
        kept: MutableMapping[bytes, Tensor] | None = None,
    ) -> None:
        self._compute, self._dtype, self._lengths = compute, dtype, lengths
        self._kept = {} if kept is None else kept

    @torch.no_grad()
    def __call__(self, rows: Tensor) -> Tensor:
        """Returns one result per row; for texts, (texts, tokens, dim) with zeros at padding."""
        ends: list[int | None] = [None] * len(rows)
        if self._lengths is not None:
            ends = self._lengths(rows).tolist()
        keys = row_keys(rows, ends)
        new = {key: row for row, key in enumerate(keys) if key not in self._kept}
        if new:
            results = self._compute(rows[list(new.values())]).to(self._dtype)
            for (key, row), result in zip(new.items(), results, strict=True):
                self._kept[key] = result[: ends[row]].clone()
        kept = [self._kept[key].to(rows.device) for key in keys]
        with torch.autocast(rows.device.type, enabled=False):  # bfloat16's cannot join float16
            if self._lengths is None:
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
