"""Any of Pillow's pixel modes -> RGB, eight bits a channel."""

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

from seesay.errors import ImageError

_DEEP = ("I", "F")  # 32-bit modes, which convert() clips at 255


def to_rgb(image: Image.Image, label: str) -> Image.Image:
    """RGB from a loaded picture of any mode.

    Transparent pixels are laid on white. What they hide is mostly black or left over from editing,
    and the pages that such pictures are made for are white; transformers does the same since 5.0
    (convert_to_rgb), so embeddings agree. Deep greyscale is scaled, where convert() would clip it
    to an all-white picture. Raises ImageError for floating values that are not finite.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        # np.asarray knows the byte order of each of these modes
        return Image.fromarray(_eight_bits(np.asarray(image), 65535.0)).convert("RGB")
    if image.mode in _DEEP:
        return Image.fromarray(_deep_to_eight_bits(np.asarray(image), label)).convert("RGB")
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image  # Pillow has no La to RGBA
        layers = straight.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layers).convert("RGB")
    return image.convert("RGB")


def _deep_to_eight_bits(
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
