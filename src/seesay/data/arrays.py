"""Numbers in memory -> a picture: numpy arrays and torch tensors, with their range checked."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from seesay.errors import ImageError
from seesay.text import Text


@runtime_checkable
class TensorLike(Protocol):
    """A torch tensor, told by what it can do: to look at its type torch would have to be loaded."""

    shape: Any
    dtype: Any
    ndim: int

    def detach(self) -> Any: ...

    def movedim(self, source: Any, destination: Any) -> Any: ...


def picture_from_numbers(source: Any, label: str) -> Image.Image:
    """A Pillow image from (height, width[, 1, 3 or 4]) of an array, ([1, 3 or 4,] height, width)
    of a tensor. Raises ImageError for other shapes, types and ranges, and for anything else."""
    if isinstance(source, TensorLike):
        values = source.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        pixels = np.asarray(values.movedim(0, -1) if values.ndim == 3 else values)
    elif isinstance(source, np.ndarray):
        pixels = source
    else:
        raise ImageError(
            Text(
                f"{label}: is not a picture. Expected a path, the bytes of a file, a Pillow "
                "image, an "
                "array or a tensor. Convert it to one of these.",
                f"{label}：不是图片；应为路径、文件的字节、Pillow 图片、数组或张量；请转换为其中"
                "一种",
            )
        )
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if 0 in pixels.shape or not (
        pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (3, 4))
    ):
        raise ImageError(
            Text(
                f"{label}: has no picture's shape. Expected an array (height, width, 3) or a "
                "tensor "
                "(3, height, width), also with 1 or 4 channels, and no side of 0. "
                "Move its axes, or pass the pictures of a batch one by one.",
                f"{label}：形状不是图片的形状；应为数组 (高, 宽, 3) 或张量 (3, 高, 宽)，也可为 1 "
                "或 4 个通道，且各边不为 0；请调整轴的顺序，或把一批图片逐张传入",
            )
        )
    return Image.fromarray(np.ascontiguousarray(_as_bytes(pixels, label)))


def _as_bytes(pixels: np.ndarray, label: str) -> UInt8[np.ndarray, "..."]:
    if pixels.dtype == np.uint8:
        return pixels
    # the comparison is false for NaN too
    if np.issubdtype(pixels.dtype, np.floating) and pixels.min() >= 0 and pixels.max() <= 1:
        return np.rint(pixels * 255.0).astype(np.uint8)
    raise ImageError(
        Text(
            f"{label}: holds {pixels.dtype} from {pixels.min()} to {pixels.max()}. Expected uint8 "
            "from "
            "0 to 255, or floating values from 0 to 1. Scale it, then convert it to uint8.",
            f"{label}：取值类型为 {pixels.dtype}，范围 {pixels.min()} 到 {pixels.max()}；应为 0 "
            "到 255 的 uint8，或 0 到 1 的浮点数；请先缩放，再转换为 uint8",
        )
    )
