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

from picture_bombs import (
    FileData,
    ImageTransformConfig,
    ReadLimits,
    ReadSettings,
    read_picture,
    transparent,
)
from pixel_patterns import chunk, colours, png, saved
from seesay.data.decoding import open_header
from seesay.data.images import open_image

PROGRAM = Path(__file__).parents[1] / "picture_bombs.py"


def measure(what: str) -> dict:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux, which tells the peak memory of a process")
    command = [sys.executable, PROGRAM, what]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.fixture(scope="module")
def measured() -> dict:
    return measure("bombs")


def test_no_small_file_costs_much_memory(measured):
    assert measured["mib"] < 150


def test_small_files_that_would_cost_much_are_refused_at_every_door(measured):
    for name, said in measured["said"].items():
        assert len(said) >= 2, name  # opened alone, and with its pixels when indexing
        assert all("Expected" in text for text in said), said


def read(data: bytes, *, decoded: bool):
    """As indexing reads a picture."""
    content = FileData(path="it", data=data, content_hash="", size=len(data), mtime_ns=0)
    transform = ImageTransformConfig(size=32)
    settings = ReadSettings(transform=transform, reduce_large=True, limits=ReadLimits())
    return read_picture(content, settings, decoded).passages[0]


def with_late_exif(image: np.ndarray) -> bytes:
    """A PNG whose EXIF and XMP stand behind its pixels, as ExifTool writes them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[271] = "Maker"
    data = png(image.astype(int), 8, 2)
    end = data.index(b"IEND") - 4
    xmp = chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + b"<x/>")
    return data[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + xmp + data[end:]


def test_exif_and_xmp_behind_the_pixels_are_read_without_decoding(monkeypatch):
    def refuse(image):
        raise AssertionError("decoded")

    data = with_late_exif(colours())
    with monkeypatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", refuse)
        header = open_header(io.BytesIO(data), "it")
        assert header.getexif()[271] == "Maker"
        assert header.info["xmp"] == b"<x/>"
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


def test_transparency_costs_little_more_than_its_layers(tmp_path):
    """4 bytes a pixel for the picture and 3 for what is shown."""
    path = tmp_path / "transparent.png"
    path.write_bytes(transparent(3000))
    assert measure(str(path))["mib"] * 2**20 / 3000**2 < 11


def test_deep_greyscale_costs_little_more_than_its_samples(tmp_path):
    """2 bytes a pixel for the picture, as many for its copy as an array, 1 and 3 for the result."""
    path = tmp_path / "deep.png"
    Image.fromarray(np.zeros((3000, 3000), np.uint16)).save(path, compress_level=1)
    assert measure(str(path))["mib"] * 2**20 / 3000**2 < 11


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("side", [1, 3, 6, 8])
def test_the_upright_size_is_known_from_the_header(kind, side):
    exif = Image.Exif()
    exif[0x0112] = side
    data = saved(Image.new("RGB", (32, 48)), kind, exif=exif)
    known = read(data, decoded=False).metadata
    assert (known["width"], known["height"]) == open_image(data).size
