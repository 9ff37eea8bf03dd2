"""When, where and with what a photograph was taken, as far as its EXIF can be believed.

Exif 2.32 (CIPA DC-008), tables 4, 8 and 15.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from PIL import Image

from seesay.search.store.records import Value

_MAKE, _MODEL, _CHANGED, _TAKEN = 271, 272, 306, 36867
_EXIF, _GPS = 0x8769, 0x8825
_LATITUDE, _LONGITUDE = (1, 2, "S", 90.0), (3, 4, "W", 180.0)
_FIRST_PHOTOGRAPH = 1826
_LONGEST = 80


def details(image: Image.Image) -> dict[str, Value]:
    """`date`, `camera`, `latitude` and `longitude`: those that are there and make sense."""
    found: dict[str, Value | None] = {}
    tags = _directory(lambda: image.getexif())
    inner = _directory(lambda: image.getexif().get_ifd(_EXIF))
    places = _directory(lambda: image.getexif().get_ifd(_GPS))
    found["date"] = _date(inner.get(_TAKEN)) or _date(tags.get(_CHANGED))
    found["camera"] = _camera(_text(tags.get(_MAKE)), _text(tags.get(_MODEL)))
    latitude, longitude = _angle(places, *_LATITUDE), _angle(places, *_LONGITUDE)
    # A receiver without a fix writes zeros: no photograph is lost that is not in the Gulf of Guinea
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
    """Maker and model, the maker once: models often begin with it."""
    first = make.split(" ")[0].lower()
    if not first or model.lower().startswith(first):
        return model or make or None
    return f"{make} {model}".strip()


def _date(value: object) -> datetime | None:
    """As the camera's clock stood; cameras without a battery write zeros or 1970."""
    with suppress(ValueError):
        date = datetime.strptime(_text(value)[:19], "%Y:%m:%d %H:%M:%S")
        if _FIRST_PHOTOGRAPH <= date.year < 2200:
            return date
    return None


def _angle(
    places: Mapping[int, Any], side_tag: int, tag: int, negative: str, most: float
) -> float | None:
    """Degrees from degrees, minutes and seconds."""
    with suppress(TypeError, ValueError, ZeroDivisionError, OverflowError):
        parts = [float(part) for part in places[tag]] if tag in places else []
        if not 1 <= len(parts) <= 3:
            return None
        degrees = sum(part / 60**power for power, part in enumerate(parts))
        if math.isfinite(degrees) and min(parts) >= 0 and degrees <= most:
            side = _text(places.get(side_tag)).upper()
            return round(-degrees if side.startswith(negative) else degrees, 6)
    return None
