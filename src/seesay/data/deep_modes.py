"""Greyscale of more than eight bits -> eight bits."""

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

from seesay.errors import ImageError


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
            f"{label}: holds pixels that are infinite or not a number. Expected finite values. "
            "Replace them before saving."
        )
    whole = np.issubdtype(values.dtype, np.integer)
    for top in (255.0, 65535.0) if whole else (1.0, 255.0, 65535.0):
        if low >= 0 and high <= top:
            return _eight_bits(values, top)
    return _eight_bits(values.astype(np.float64) - low, high - low or 1.0)


def _eight_bits(
    values: Num[np.ndarray, "height width"], top: float
) -> UInt8[np.ndarray, "height width"]:
    return np.rint(values * (255.0 / top)).astype(np.uint8)
