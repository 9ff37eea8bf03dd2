"""Any of Pillow's pixel modes -> RGB, eight bits a channel; and colour profiles."""

import io

from PIL import Image

_DEEP = ("I", "F")  # beginnings of the modes that convert() clips at 255
_STRIP_PIXELS = 1 << 20  # laid on white at a time
_PROFILED = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC.1:2022, 7.2.8: colour space -> mode


def to_rgb(image: Image.Image, label: str) -> Image.Image:
    """RGB from a loaded picture of any mode.

    Transparent pixels are laid on white. Their hidden colours are mostly black or left over from
    editing, and such pictures are made for white pages; transformers does the same since 5.0
    (convert_to_rgb), so embeddings agree. Deep greyscale is scaled; convert() would clip it to an
    all-white picture. Raises ImageError for floating values that are not finite.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(_DEEP):
        # Imports numpy, which takes longer than decoding most pictures.
        from seesay.data.deep_modes import deep_to_grey

        return deep_to_grey(image, label).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """In strips: the layers of a whole picture would take four times its memory."""
    width, height = image.size
    flat = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        strip = image.crop(box)
        if strip.mode == "La":  # Pillow has no conversion from La to RGBA
            strip = strip.convert("LA")
        white = Image.new("RGBA", strip.size, (255, 255, 255, 255))
        flat.paste(Image.alpha_composite(white, strip.convert("RGBA")).convert("RGB"), box)
    return flat


def to_srgb(image: Image.Image) -> Image.Image:
    """Converts a loaded picture from its ICC profile to sRGB. It stays unchanged if the profile is
    missing, broken, or of another kind than the pixels."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in (source.profile.profile_description or ""):
            return image
        return _converted(image, source, _PROFILED[source.profile.xcolor_space])
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError):
        return image


def _converted(image: Image.Image, source: object, mode: str) -> Image.Image:
    from PIL import ImageCms

    alpha = None
    if image.has_transparency_data and mode != "CMYK":
        layers = image.convert("RGBA")
        alpha = layers.getchannel("A")
        image = layers.convert("RGB")
    elif image.mode == "P":
        image = image.convert("RGB")
    colours = image.convert("L") if mode == "L" and image.mode == "RGB" else image
    if colours.mode != mode:
        raise ValueError(f"{colours.mode} is not {mode}")
    screen = ImageCms.createProfile("sRGB")
    seen = ImageCms.profileToProfile(
        colours,
        source,  # type: ignore[arg-type]
        screen,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert seen is not None
    seen.info = {name: value for name, value in image.info.items() if name == "exif"}
    if alpha is not None:
        seen.putalpha(alpha)
    return seen
