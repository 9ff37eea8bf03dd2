"""Limits come before cost: what a picture takes is known before it is taken."""

import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from picture_bombs import Content, ImageTransformConfig, ReadLimits, Setup, read_picture
from pixel_patterns import chunk, colours, png, saved
from seesay.data.decoding import open_header
from seesay.data.images import open_image

PROGRAM = Path(__file__).parents[1] / "picture_bombs.py"
TRANSPARENT = """
import io, resource
from PIL import Image
from seesay.data.images import open_image
stream = io.BytesIO()
Image.new("RGBA", (3000, 3000), (9, 9, 9, 99)).save(stream, "PNG", compress_level=1)
data = stream.getvalue()
open_image(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.fixture(scope="module")
def measured() -> dict:
    done = subprocess.run([sys.executable, PROGRAM], capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


def test_no_small_file_costs_much_memory(measured):
    assert measured["mib"] < 150


def test_small_files_that_would_cost_much_are_refused_at_every_door(measured):
    for name, said in measured["said"].items():
        assert len(said) >= 2, name  # opened alone, and with its pixels when indexing
        assert all("Expected" in text for text in said), said


def read(data: bytes, *, decoded: bool):
    """As indexing reads a picture."""
    content = Content(path="it", data=data, content_hash="", size=len(data), mtime_ns=0)
    setup = Setup(transform=ImageTransformConfig(size=32), reduce_large=True, limits=ReadLimits())
    return read_picture(content, setup, decoded=decoded)[0]


def with_late_exif(image: np.ndarray, side: int = 6) -> bytes:
    """A PNG whose EXIF stands behind its pixels, as several programs write it."""
    exif = Image.Exif()
    exif[0x0112] = side
    exif[271] = "Maker"
    data = png(image.astype(int), 8, 2)
    end = data.index(b"IEND") - 4
    return data[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + data[end:]


def test_exif_behind_the_pixels_is_read_without_decoding(monkeypatch):
    def refuse(image):
        raise AssertionError("decoded")

    data = with_late_exif(colours())
    with monkeypatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", refuse)
        header = open_header(io.BytesIO(data), "it")
        assert header.getexif()[271] == "Maker"
        bare = open_header(io.BytesIO(png(colours().astype(int), 8, 2)), "it")
        assert dict(bare.getexif()) == {}
    assert open_image(data).size == colours().shape[:2]


def test_a_png_without_end_has_no_late_exif():
    data = with_late_exif(colours())
    cut = data[: data.index(b"eXIf") - 4]
    assert dict(open_header(io.BytesIO(cut), "it").getexif()) == {}
    endless = cut + struct.pack(">I", 2**31 - 1) + b"juNk"
    assert dict(open_header(io.BytesIO(endless), "it").getexif()) == {}


def test_a_png_is_decoded_once_while_indexing(monkeypatch):
    loads = []
    load = PngImagePlugin.PngImageFile.load_prepare
    monkeypatch.setattr(
        PngImagePlugin.PngImageFile, "load_prepare", lambda image: loads.append(1) or load(image)
    )
    data = saved(Image.fromarray(colours()), "PNG")
    read(data, decoded=False)
    assert loads == []
    read(data, decoded=True)
    assert loads == [1]


def test_transparency_costs_no_more_than_its_layers():
    """Peak memory of 9 million pixels, beside that of one pixel: 4 bytes for the picture and 3 for
    what is shown."""
    pixels = 3000 * 3000
    program = [sys.executable, "-c", TRANSPARENT]
    whole = int(subprocess.run(program, capture_output=True, check=True, text=True).stdout)
    program[-1] = TRANSPARENT.replace("3000", "1")
    nothing = int(subprocess.run(program, capture_output=True, check=True, text=True).stdout)
    assert (whole - nothing) / pixels < 11


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("side", [1, 3, 6, 8])
def test_the_upright_size_is_known_from_the_header(kind, side):
    exif = Image.Exif()
    exif[0x0112] = side
    data = saved(Image.new("RGB", (32, 48)), kind, exif=exif)
    known = read(data, decoded=False).metadata
    assert (known["width"], known["height"]) == open_image(data).size
