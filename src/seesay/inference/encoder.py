"""One batch of pixels or token ids -> unit vectors, on the model's device and in its format."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from seesay.data.transform import ImageTransform
from seesay.inference.cancelling import check_cancelled
from seesay.inference.devices import rows_per_batch
from seesay.models.dual_encoder import DualEncoder


class Encoder:
    """A dual encoder that takes batches from several threads at once.

    `model` is used as it is where it already lies on `device` in `dtype`, and copied otherwise.
    """

    def __init__(
        self,
        model: DualEncoder,
        transform: ImageTransform,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        here = model.log_scale
        if (here.device, here.dtype) != (device, dtype):
            model = copy.deepcopy(model).to(device, dtype)
        self.model, self.transform = model, transform
        self.device, self.dtype = device, dtype
        # One batch at a time on a GPU, whose memory is planned for one; decoding goes on meanwhile.
        self._turn: AbstractContextManager[Any] = nullcontext() if device.type == "cpu" else Lock()

    def images(
        self, pixels: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float[np.ndarray, "batch embed"]:
        """Unit float32 vectors of squares that the transform made."""
        squares = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            squares = squares.pin_memory()
        check_cancelled()
        try:
            with torch.inference_mode(), self._turn:
                images = self.transform.normalise(squares.to(self.device, non_blocking=True))
                return _unit(self.model.embed_images(images.to(self.dtype)))
        except torch.OutOfMemoryError:
            if len(pixels) == 1:
                raise
        halves = np.array_split(pixels, 2)  # others use the GPU too: less is free than it seemed
        return np.concatenate([self.images(half) for half in halves])

    def texts(self, ids: Int[np.ndarray, "windows tokens"]) -> Float[np.ndarray, "windows embed"]:
        """Unit float32 vectors of rows that the tokenizer made, in their order."""
        vectors = np.empty((len(ids), self.model.config.embed_dim), dtype=np.float32)
        windows = torch.from_numpy(ids)
        for batch in by_length(windows, rows_per_batch(self.device)):
            check_cancelled()
            rows = self.model.text.trim(windows[batch]).to(self.device)  # type: ignore[operator]
            with torch.inference_mode(), self._turn:
                vectors[batch.numpy()] = _unit(self.model.embed_texts(rows))
        return vectors


def by_length(ids: Int[Tensor, "windows tokens"], rows: int) -> Iterator[Int[Tensor, " batch"]]:
    """Indices of windows in batches of about `rows` tokens, each of windows of similar length, so
    that little is computed for padding.

    Padding stands at the end, in one value: whatever differs from the last token counts.
    """
    lengths, order = (ids != ids[:, -1:]).sum(dim=1).sort(descending=True, stable=True)
    start = 0
    while start < len(order):
        stop = start + max(1, rows // (int(lengths[start]) + 1))
        yield order[start:stop]
        start = stop


def _unit(embeds: Float[Tensor, "batch embed"]) -> Float[np.ndarray, "batch embed"]:
    """Normalised once more, in float32: in bfloat16 a length is one only to within 1/256."""
    return F.normalize(embeds.float(), dim=-1).cpu().numpy()
