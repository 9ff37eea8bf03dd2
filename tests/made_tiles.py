"""Results as reports and contact sheets show them, with small real photographs."""

import io

from PIL import Image

from photographs import folder
from seesay.web.report import Tile


def small(name: str) -> bytes:
    with Image.open(folder() / name) as picture:
        shrunk = picture.convert("RGB")
    shrunk.thumbnail((128, 128))
    stream = io.BytesIO()
    shrunk.save(stream, "WEBP")
    return stream.getvalue()


def card(name: str = "chelsea.png", **changes) -> Tile:
    return Tile(**{"name": name, "folder": "/photos", "picture": small("chelsea.png"), **changes})
