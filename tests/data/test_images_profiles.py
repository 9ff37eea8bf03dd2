"""Colour profiles: converted for people to look at, left alone for models."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from seesay.data.images import open_image

RED, BLUE = (230, 20, 10), (10, 20, 230)


def exchanging_profile(*, grey: bool = False) -> bytes:
    """sRGB with red and blue exchanged, under a name of its own; or one that is for grey only."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    profile = profile.replace(b"rXYZ", b"____").replace(b"bXYZ", b"rXYZ").replace(b"____", b"bXYZ")
    return profile.replace(b"RGB ", b"GRAY", 1) if grey else profile


def picture(mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (16, 8), RED)
    return image.quantize(4) if mode == "P" else image.convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def middle(data: bytes, **options: object) -> np.ndarray:
    return np.asarray(open_image(data, **options))[4, 8].astype(int)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("JPEG", "RGB"), ("TIFF", "RGB"), ("AVIF", "RGB"), ("WEBP", "RGB"), ("WEBP", "RGBA")),
        *(("PNG", "RGB"), ("PNG", "P"), ("PNG", "RGBA")),
    ],
)
def test_people_see_the_colours_that_the_profile_means(kind, mode):
    best = {"lossless": True} if kind == "WEBP" else {"quality": 100}
    data = saved(picture(mode), kind, icc_profile=exchanging_profile(), **best)
    assert np.abs(middle(data, srgb=True) - BLUE).max() < 6
    assert np.abs(middle(data) - RED).max() < 6  # what models are trained on


def test_transparency_stays_under_a_profile():
    image = picture("RGBA")
    image.putalpha(51)  # a fifth
    data = saved(image, "PNG", icc_profile=exchanging_profile())
    expected = np.asarray(BLUE) / 5 + 255 * 4 / 5
    assert np.abs(middle(data, srgb=True) - expected).max() < 2


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile at all",
        exchanging_profile()[:200],
        exchanging_profile(grey=True),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ],
    ids=["nonsense", "truncated", "for grey", "sRGB"],
)
def test_a_profile_that_cannot_be_used_changes_nothing(profile):
    data = saved(picture(), "PNG", icc_profile=profile)
    assert tuple(middle(data, srgb=True)) == RED


def test_a_grey_profile_brightens_grey():
    """Linear grey: half the light is 188 of 255 in sRGB."""
    curve = b"curv" + bytes(4) + struct.pack(">I", 0)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = struct.pack(">I", 2)
    at = 128 + 4 + 24
    tags += b"wtpt" + struct.pack(">2I", at, 20) + b"kTRC" + struct.pack(">2I", at + 20, 12)
    body = tags + white + curve
    head = struct.pack(
        ">I4sI4s4s4s", 128 + len(body), b"test", 0x02400000, b"mntr", b"GRAY", b"XYZ "
    )
    head = (head.ljust(36, b"\0") + b"acsp").ljust(68, b"\0")
    head = (head + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0")
    data = saved(Image.new("L", (16, 8), 128), "PNG", icc_profile=head + body)
    assert abs(middle(data, srgb=True)[0] - 188) < 3
    assert middle(data)[0] == 128


def test_a_turned_picture_stands_upright_under_a_profile():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(picture(), "JPEG", exif=exif, icc_profile=exchanging_profile())
    assert open_image(data, srgb=True).size == (8, 16)
