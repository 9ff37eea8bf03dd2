"""Any of Pillow's pixel modes -> RGB, eight bits a channel."""

from PIL import Image

_DEEP = ("I", "F")  # beginnings of the modes that convert() clips at 255


def to_rgb(image: Image.Image, label: str) -> Image.Image:
    """RGB from a loaded picture of any mode.

    Transparent pixels are laid on white. What they hide is mostly black or left over from editing,
    and the pages that such pictures are made for are white; transformers does the same since 5.0
    (convert_to_rgb), so embeddings agree. Deep greyscale is scaled, where convert() would clip it
    to an all-white picture. Raises ImageError for floating values that are not finite.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(_DEEP):
        # Brings numpy, which takes longer to import than most pictures to decode.
        from seesay.data.deep_modes import deep_to_grey

        return deep_to_grey(image, label).convert("RGB")
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image  # Pillow has no La to RGBA
        layers = straight.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layers).convert("RGB")
    return image.convert("RGB")
