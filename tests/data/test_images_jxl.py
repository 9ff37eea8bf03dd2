"""JPEG XL, made here by libjxl."""

import sys

import numpy as np
import pytest
from PIL import Image

import photographs
from seesay.data.decoding import SUFFIXES, DecodeLimits
from seesay.data.images import open_image
from seesay.errors import ImageError, MissingExtraError

pylibjxl = pytest.importorskip("pylibjxl")


@pytest.fixture
def original():
    with Image.open(photographs.folder() / "chelsea.png") as picture:
        return np.asarray(picture.convert("RGB").resize((90, 60)))


def test_a_photograph_opens_upright_whatever_its_exif_says(original, tmp_path):
    assert ".jxl" in SUFFIXES
    exif = Image.Exif()
    exif[0x0112] = 6  # libjxl has applied it to the pixels
    for name, metadata in {"plain": {}, "with exif": {"exif": exif.tobytes()}}.items():
        data = pylibjxl.encode(np.ascontiguousarray(original), lossless=True, **metadata)
        image = open_image(data)
        assert (image.mode, image.size) == ("RGB", (90, 60)), name
        assert np.array_equal(np.asarray(image), original), name


def test_transparency_becomes_white_and_grey_stays_grey(original):
    clear = np.dstack([original, np.zeros((60, 90), np.uint8)])
    assert np.asarray(open_image(pylibjxl.encode(clear, lossless=True))).min() == 255


def test_a_truncated_one_and_one_too_large_are_refused(original):
    data = pylibjxl.encode(np.ascontiguousarray(original))
    for broken in (data[: len(data) // 2], data[:2]):
        with pytest.raises(ImageError):
            open_image(broken)
    with pytest.raises(ImageError, match="90 x 60"):
        open_image(data, limits=DecodeLimits(max_pixels=100))


def test_without_the_package_the_error_says_what_to_install(original, monkeypatch):
    data = pylibjxl.encode(np.ascontiguousarray(original))
    monkeypatch.setitem(sys.modules, "pylibjxl.pillow_plugin", None)
    with pytest.raises(MissingExtraError, match=r"seesay\[jxl\]"):
        open_image(data)
