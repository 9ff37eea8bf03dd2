"""Samples of more than eight bits: greyscale -> eight bits, colour keys, numbers of odd ranges."""

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

from seesay.errors import ImageError
from seesay.text import Text

_STRIP_PIXELS = 1 << 20  # scaled at a time


def deep_to_grey(image: Image.Image, label: str) -> Image.Image:
    """A loaded picture of mode I, F or one of I;16, scaled to mode L. Raises ImageError for
    floating values that are not finite."""
    values = np.asarray(image)  # which knows the byte order of each of these modes
    if image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(values, 65535.0))
    return Image.fromarray(_from_any_range(values, label))


def _from_any_range(
    values: Num[np.ndarray, "height width"], label: str
) -> UInt8[np.ndarray, "height width"]:
    """Mode I holds 16-bit greyscale from some readers and 32-bit from others, mode F anything.

    Values that fit a usual range are read as such; others are stretched from their own.
    """
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ImageError(
            Text(
                f"{label}: holds pixels that are infinite or not a number. Expected finite "
                "values. Replace them before saving.",
                f"{label}：含有无穷大或非数值的像素；应为有限的数；请在保存前替换它们",
            )
        )
    whole = np.issubdtype(values.dtype, np.integer)
    for top in (255.0, 65535.0) if whole else (1.0, 255.0, 65535.0):
        if low >= 0 and high <= top:
            return _eight_bits(values, top)
    return _eight_bits(values, high - low or 1.0, low)


def _eight_bits(
    values: Num[np.ndarray, "height width"], top: float, low: float | None = None
) -> UInt8[np.ndarray, "height width"]:
    """Scaled from 0 (or `low`) to `top` above it; in strips, since the products take 16 bytes."""
    small = np.empty(values.shape, np.uint8)
    rows = max(1, _STRIP_PIXELS // values.shape[1])
    for start in range(0, len(values), rows):
        strip = values[start : start + rows]
        if low is not None:
            strip = strip.astype(np.float64) - low
        small[start : start + rows] = np.rint(strip * (255.0 / top))
    return small


def whole_range(image: Image.Image, bits: int, white_is_zero: bool) -> Image.Image:
    """Unsigned greyscale of 12, 16 or 32 bits, of mode I;16 or I -> I;16 from black to white.

    Integers of 32 bits have no usual white: those that Pillow's mode I can hold stay there, as
    counts and labels do; others need the whole range.
    """
    values = np.asarray(image)
    if bits == 32:
        values = values.astype(np.int32).view(np.uint32)
        if values.max() < 2**31 and not white_is_zero:
            return image
        values = (values >> 16).astype(np.uint16)
    elif bits == 12:
        values = (values.astype(np.uint16) << 4) | (values.astype(np.uint16) >> 8)
    return Image.fromarray(65535 - values if white_is_zero else values)


def without_grey(image: Image.Image, key: int) -> Image.Image:
    """Mode I;16 -> LA, transparent where it has the value `key`."""
    values = np.asarray(image)
    opaque = np.where(values == key, 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([_eight_bits(values, 65535.0), opaque]))


def without_rgb(high: Image.Image, low: Image.Image, key: tuple[int, int, int]) -> Image.Image:
    """RGB -> RGBA, transparent where 16-bit colours, given as their two bytes, equal `key`."""
    is_key = np.ones(high.size[::-1], bool)
    for channel, value in enumerate(key):
        is_key &= np.asarray(high.getchannel(channel)) == value >> 8
        is_key &= np.asarray(low.getchannel(channel)) == value & 255
    layers = high.copy()
    layers.info = {}
    layers.putalpha(Image.fromarray(np.where(is_key, 0, 255).astype(np.uint8)))
    return layers
