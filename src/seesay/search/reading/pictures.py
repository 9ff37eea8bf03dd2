"""A picture file's bytes -> the square that the model sees, and what is known of the picture."""

import io
from dataclasses import replace

from PIL.Image import Image, Resampling

from seesay.data.decoding import DecodeLimits, check_size, decode, open_header, upright_size
from seesay.data.encodings import decode_text
from seesay.data.squares import square
from seesay.errors import DataError, ImageError, MissingExtraError
from seesay.search.catalog.passages import FINGERPRINT_SIDE, UnitDraft
from seesay.search.indexing.options import ReadLimits
from seesay.search.reading.exif import details
from seesay.search.reading.files import Content, RefusedError, millions
from seesay.search.reading.messages import Setup


def read_picture(content: Content, setup: Setup, *, decoded: bool) -> tuple[UnitDraft, bytes]:
    """The picture's unit, and its pixels where they are wanted. Raises RefusedError."""
    limits = _decode_limits(setup.limits)
    label = "the picture"
    try:
        header = open_header(io.BytesIO(content.data), label)
        width, height = upright_size(header)
        known = details(header)
        unit = UnitDraft(kind="image", metadata={**known, "width": width, "height": height})
        if not decoded:
            return unit, b""
        target = setup.transform.size if setup.reduce_large else None
        _refuse_large(header, target, limits)
        image = decode(io.BytesIO(content.data), label, target, limits)
        return replace(unit, fingerprint=fingerprint(image)), square(
            image, setup.transform
        ).tobytes()
    except MissingExtraError as error:
        raise RefusedError("codec", str(error)) from None
    except ImageError as error:
        if _is_text(content.data):
            raise RefusedError(
                "kind",
                "it holds text, perhaps a saved web page, whatever its name says. Expected a "
                "picture. Download the picture itself, or end the name in .txt to have it found "
                "as a text.",
            ) from None
        told = str(error).removeprefix(f"{label}: ")
        raise RefusedError("decode", f"it {told}") from None


def fingerprint(image: Image) -> bytes:
    """See `Fingerprints`. The mean of each field hardly depends on the size that the picture was
    decoded at."""
    return image.resize((FINGERPRINT_SIDE, FINGERPRINT_SIDE), Resampling.BOX).convert("L").tobytes()


def _decode_limits(limits: ReadLimits) -> DecodeLimits:
    usual = DecodeLimits()
    return DecodeLimits(
        max_file_bytes=limits.max_file_bytes,
        max_pixels=limits.max_pixels,
        max_source_pixels=max(usual.max_source_pixels, limits.max_pixels),
    )


def _refuse_large(header: Image, target: int | None, limits: DecodeLimits) -> None:
    """As `decode` does, and says which option lets it through."""
    width, height = header.size
    if target is not None:
        header.draft(None, (2 * target, 2 * target))
    try:
        check_size(header, "", limits)
    except ImageError:
        raise RefusedError(
            "size",
            f"it is {width:,} x {height:,} pixels large. Expected at most {limits.max_pixels:,} "
            "that must be decoded. Save it smaller, or let it through with "
            f"--max-pixels {millions(width * height)} if you trust it.",
        ) from None


def _is_text(data: bytes) -> bool:
    try:
        return bool(decode_text(data))
    except DataError:
        return False


def is_picture(data: bytes) -> bool:
    """Whether it begins like a picture, whatever its name."""
    try:
        open_header(io.BytesIO(data), "")
    except MissingExtraError:
        return True
    except ImageError:
        return False
    return True
