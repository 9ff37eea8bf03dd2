"""Picture files: one passage, with the pixels as the model sees them, and the date, place and
camera of the photograph, as far as its EXIF and XMP are plausible.

Exif 2.32 (CIPA DC-008), tables 4, 8 and 15.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from PIL import Image

from seesay.data.decoding import (
    SUFFIXES,
    DecodeLimits,
    check_size,
    decode,
    open_header,
    upright_size,
)
from seesay.data.encodings import decode_text
from seesay.data.squares import square
from seesay.errors import DataError, ImageError, MissingExtraError
from seesay.search.catalog.drafts import FINGERPRINT_SIDE
from seesay.search.catalog.metadata import Value
from seesay.search.reading.dates import read_day
from seesay.search.reading.files import FileData, ReadLimits, RefusedError, millions
from seesay.search.reading.messages import FileContent, FileReader, Passage, ReadSettings
from seesay.search.reading.ocr import read_picture_text
from seesay.text import Text


def read_picture(file: FileData, settings: ReadSettings, decode_pixels: bool) -> FileContent:
    """Returns one passage, with its pixels if needed. Raises RefusedError."""
    limits = _decode_limits(settings.limits)
    label = "the picture"
    try:
        header = open_header(io.BytesIO(file.data), label)
        width, height = upright_size(header)
        metadata = {**details(header), "width": width, "height": height}
        passage = Passage(media_type="image", modality="image", metadata=metadata)
        if decode_pixels:
            shrinks = settings.reduce_large and not settings.ocr
            target = settings.transform.size if shrinks else None
            _refuse_large(header, target, limits)
            image = decode(io.BytesIO(file.data), label, target, limits)
            pixels = square(image, settings.transform).tobytes()
            passage = replace(passage, fingerprint=fingerprint(image), payload=pixels)
            if settings.ocr:
                passage = replace(passage, text=read_picture_text(image))
        return FileContent(passages=(passage,))
    except MissingExtraError as error:
        raise RefusedError("codec", error.text) from None
    except ImageError as error:
        if _is_text(file.data):
            raise RefusedError(
                "kind",
                Text(
                    "it holds text, perhaps a saved web page, whatever its name says. Expected a "
                    "picture. Download the picture itself, or end the name in .txt to have it "
                    "found as a text.",
                    "内容是文本（可能是保存下来的网页），与扩展名不符；应为图片；请下载图片本身，"
                    "或把扩展名改为 .txt，当作文本收录",
                ),
            ) from None
        en, zh = error.text.en, error.text.zh
        reason = Text(f"it {en.removeprefix(f'{label}: ')}", zh.removeprefix(f"{label}："))
        raise RefusedError("decode", reason) from None


def fingerprint(image: Image.Image) -> bytes:
    """Compute a fingerprint; see `Fingerprints`. The mean of each field hardly depends on the size
    at which the picture was decoded."""
    return (
        image.resize((FINGERPRINT_SIDE, FINGERPRINT_SIDE), Image.Resampling.BOX)
        .convert("L")
        .tobytes()
    )


def _decode_limits(limits: ReadLimits) -> DecodeLimits:
    usual = DecodeLimits()
    return DecodeLimits(
        max_file_bytes=limits.max_file_bytes,
        max_pixels=limits.max_pixels,
        max_source_pixels=max(usual.max_source_pixels, limits.max_pixels),
    )


def _refuse_large(header: Image.Image, target: int | None, limits: DecodeLimits) -> None:
    """Refuse as `decode` does, but name the option that accepts the picture."""
    width, height = header.size
    if target is not None:
        header.draft(None, (2 * target, 2 * target))
    try:
        check_size(header, "", limits)
    except ImageError:
        raise RefusedError(
            "size",
            Text(
                f"it is {width:,} x {height:,} pixels large. Expected at most "
                f"{limits.max_pixels:,} that must be decoded. Save it smaller, or let it through "
                f"with --max-pixels {millions(width * height)} if you trust it.",
                f"尺寸为 {width:,} x {height:,} 像素，最多解码 {limits.max_pixels:,} 像素；"
                f"请缩小后另存；信得过的图片可加 --max-pixels {millions(width * height)}",
            ),
        ) from None


def _is_text(data: bytes) -> bool:
    try:
        return bool(decode_text(data))
    except DataError:
        return False


def is_picture(data: bytes) -> bool:
    """Whether a file starts like a picture, whatever its name."""
    try:
        open_header(io.BytesIO(data), "")
    except MissingExtraError:
        return True
    except ImageError:
        return False
    return True


_MAKE, _MODEL, _CHANGED, _TAKEN, _DIGITISED = 271, 272, 306, 36867, 36868
_EXIF, _GPS = 0x8769, 0x8825
_LATITUDE, _LONGITUDE = (1, 2, "S", 90.0), (3, 4, "W", 180.0)
_FIRST_PHOTOGRAPH = 1826
_LONGEST = 80
_EXIF_LENGTH = len("2021:05:04 10:11:12")
_MOST_XMP = 1 << 18
# The same three dates in XMP, each as an attribute or as an element (Guidelines for Handling Image
# Metadata 2.0 of the Metadata Working Group, 5.3).
_XMP = tuple(
    re.compile(rf"""\b(?:{names})(?:\s*=\s*["']([^"'<>]{{4,64}})["']|\s*>\s*([^<>]{{4,64}})<)""")
    for names in (
        "exif:DateTimeOriginal|photoshop:DateCreated",
        "exif:DateTimeDigitized|xmp:CreateDate|xap:CreateDate",
        "xmp:ModifyDate|xap:ModifyDate|tiff:DateTime",
    )
)


def details(image: Image.Image) -> dict[str, Value]:
    """Returns `date`, `camera`, `latitude` and `longitude`, where present and plausible."""
    found: dict[str, Value | None] = {}
    tags = _directory(lambda: image.getexif())
    inner = _directory(lambda: image.getexif().get_ifd(_EXIF))
    places = _directory(lambda: image.getexif().get_ifd(_GPS))
    found["date"] = _date(tags, inner, _xmp(image))
    found["camera"] = _camera(_text(tags.get(_MAKE)), _text(tags.get(_MODEL)))
    latitude, longitude = _angle(places, *_LATITUDE), _angle(places, *_LONGITUDE)
    # A GPS receiver without a fix writes zeros: this loses only photographs in the Gulf of Guinea
    if latitude is not None and longitude is not None and (latitude or longitude):
        found |= {"latitude": latitude, "longitude": longitude}
    return {name: value for name, value in found.items() if value is not None}


def _directory(read: Any) -> Mapping[int, Any]:
    with suppress(Exception):  # EXIF is written by anything: its readers fail in every way
        return dict(read())
    return {}


def _text(value: object) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return ""
    clean = "".join(c if c.isprintable() else " " for c in text.split("\0")[0])
    return " ".join(clean.split())[:_LONGEST]


def _camera(make: str, model: str) -> str | None:
    """Join maker and model, without repeating a maker that the model starts with."""
    first = make.split(" ")[0].lower()
    if not first or model.lower().startswith(first):
        return model or make or None
    return f"{make} {model}".strip()


def _date(exif: Mapping[int, Any], inner: Mapping[int, Any], xmp: str) -> datetime | None:
    """Returns when the picture was taken, else scanned, else changed, in the camera's local time.
    Cameras without a battery write zeros or 1970."""
    places: Sequence[tuple[Mapping[int, Any], int]] = (
        (inner, _TAKEN),
        (inner, _DIGITISED),
        (exif, _CHANGED),
    )
    for (directory, tag), names in zip(places, _XMP, strict=True):
        written = (found[1] or found[2] for found in names.finditer(xmp))
        for text in (_text(directory.get(tag)), *written):
            # Some programs append something after the seconds.
            date = read_day(text) or read_day(text[:_EXIF_LENGTH])
            if date is not None and _FIRST_PHOTOGRAPH <= date.year < 2200:
                return date
    return None


def _xmp(image: Image.Image) -> str:
    """Returns the XMP of a picture, up to a limit."""
    packet = image.info.get("xmp", b"")
    raw = packet.encode(errors="replace") if isinstance(packet, str) else packet
    return raw[:_MOST_XMP].decode(errors="replace") if isinstance(raw, bytes) else ""


def _angle(
    places: Mapping[int, Any], side_tag: int, tag: int, negative: str, most: float
) -> float | None:
    """Convert degrees, minutes and seconds to degrees."""
    with suppress(TypeError, ValueError, ZeroDivisionError, OverflowError):
        parts = [float(part) for part in places[tag]] if tag in places else []
        if not 1 <= len(parts) <= 3:
            return None
        degrees = sum(part / 60**power for power, part in enumerate(parts))
        if math.isfinite(degrees) and min(parts) >= 0 and degrees <= most:
            side = _text(places.get(side_tag)).upper()
            return round(-degrees if side.startswith(negative) else degrees, 6)
    return None


READER = FileReader(
    media_type="image",
    endings=SUFFIXES,
    read=read_picture,
    recognises=is_picture,
    is_text=False,
)
