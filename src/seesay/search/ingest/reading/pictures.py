"""A picture file's bytes -> the square that the model sees, and what is known of the picture."""

import io

from seesay.data.decoding import DecodeLimits, decode, open_header
from seesay.data.squares import square
from seesay.errors import ImageError, MissingExtraError
from seesay.search.ingest.reading.exif import details
from seesay.search.ingest.reading.files import Content, RefusedError
from seesay.search.ingest.reading.messages import Setup
from seesay.search.store.records import UnitDraft

_TURNED = (5, 6, 7, 8)  # values of the EXIF orientation that exchange width and height
_ORIENTATION = 0x0112


def read_picture(content: Content, setup: Setup, *, decoded: bool) -> tuple[UnitDraft, bytes]:
    """The picture's unit, and its pixels where they are wanted. Raises RefusedError."""
    limits = DecodeLimits(
        max_file_bytes=setup.limits.max_file_bytes, max_pixels=setup.limits.max_pixels
    )
    label = "the picture"
    try:
        header = open_header(io.BytesIO(content.data), label)
        width, height = header.size
        known = details(header)
        if _orientation(header) in _TURNED:
            width, height = height, width
        unit = UnitDraft(kind="image", metadata={**known, "width": width, "height": height})
        if not decoded:
            return unit, b""
        target = setup.transform.size if setup.reduce_large else None
        image = decode(io.BytesIO(content.data), label, target, limits)
        return unit, square(image, setup.transform).tobytes()
    except MissingExtraError as error:
        raise RefusedError("codec", str(error)) from None
    except ImageError as error:
        raise RefusedError("decode", str(error).removeprefix(f"{label}: ")) from None


def is_picture(data: bytes) -> bool:
    """Whether it begins like a picture, whatever its name."""
    try:
        open_header(io.BytesIO(data), "")
    except MissingExtraError:
        return True
    except ImageError:
        return False
    return True


def _orientation(header: object) -> int:
    try:
        return int(header.getexif().get(_ORIENTATION, 1))  # type: ignore[attr-defined]
    except Exception:  # broken EXIF, in whichever way
        return 1
