"""Files as people have them: turned, transparent, deep, animated, damaged or hostile."""

import io
import os
import resource
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from skimage import data as photographs
from transformers.image_transforms import convert_to_rgb

from seesay.data.decoding import DecodeLimits
from seesay.data.images import open_image
from seesay.errors import ConfigError, ImageError, MissingExtraError

PHOTOGRAPH = Image.fromarray(photographs.chelsea())  # 451 x 300


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def transparent() -> Image.Image:
    image = PHOTOGRAPH.copy()
    image.putalpha(Image.linear_gradient("L").resize(PHOTOGRAPH.size))
    return image


def ramp(top: float, dtype) -> np.ndarray:
    return np.linspace(0, top, 256).astype(dtype).reshape(16, 16)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """900 million pixels in about 110 kilobytes: 112 megabytes of zeros, one bit a pixel."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    packer = zlib.compressobj()
    body = b"".join(packer.compress(bytes(3_751 * 1_000)) for _ in range(30)) + packer.flush()
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


# --- what is decoded -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_as_the_camera_was_held(kind, orientation):
    upright = Image.new("RGB", (32, 48), "black")
    upright.paste("white", (0, 0, 16, 16))  # one light corner tells all eight apart
    stored_as = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(stored_as[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(saved(stored, kind, exif=exif))
    assert image.size == upright.size
    assert np.abs(np.asarray(image).astype(int) - np.asarray(upright)).mean() < 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_leaves_the_picture_as_it_lies():
    image = open_image(saved(PHOTOGRAPH, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken"))
    assert image.size == PHOTOGRAPH.size


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_white_as_in_transformers(mode):
    image = transparent().convert("P" if mode == "PA" else "RGBA").convert(mode)
    expected = convert_to_rgb(image, return_numpy=True)
    assert np.array_equal(np.asarray(open_image(image)), expected)


@pytest.mark.parametrize(("mode", "premultiplied"), [("LA", "La"), ("RGBA", "RGBa")])
def test_premultiplied_transparency_lies_on_white_too(mode, premultiplied):
    image = transparent().convert(mode)
    expected = np.asarray(open_image(image)).astype(int)
    assert np.abs(expected - np.asarray(open_image(image.convert(premultiplied)))).max() <= 1


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_transparent_colour_lies_on_white_as_in_transformers(mode):
    image = PHOTOGRAPH.convert(mode)
    colour = image.getpixel((0, 0))
    data = saved(image, "PNG", transparency=bool(colour) if mode == "1" else colour)
    expected = convert_to_rgb(Image.open(io.BytesIO(data)), return_numpy=True)
    actual = np.asarray(open_image(data))
    assert np.array_equal(actual, expected)
    assert (actual[0, 0] == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_opaque_modes_convert_as_in_transformers(mode):
    image = PHOTOGRAPH.convert(mode)
    expected = convert_to_rgb(image, return_numpy=True)
    assert np.array_equal(np.asarray(open_image(image)), expected)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_print_colours_come_back_as_screen_colours(kind):
    image = open_image(saved(PHOTOGRAPH.convert("CMYK"), kind))
    assert np.abs(np.asarray(image).astype(int) - np.asarray(PHOTOGRAPH)).mean() < 4


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("PNG", ramp(65535, np.uint16)),
        ("TIFF", ramp(65535, np.uint16)),
        ("TIFF", ramp(65535, ">u2")),
        ("TIFF", ramp(65535, np.int32)),
        ("TIFF", ramp(255, np.int32)),
        ("TIFF", ramp(2**31 - 1, np.int32)),
        ("TIFF", ramp(1, np.float32)),
        ("TIFF", ramp(255, np.float32)),
        ("TIFF", ramp(1e7, np.float32)),
        ("TIFF", ramp(2, np.float32) - 1),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype} to {value.max()}",
)
def test_deep_greyscale_is_scaled_and_not_clipped(kind, values):
    image = np.asarray(open_image(saved(Image.fromarray(values), kind)))
    expected = np.arange(256).reshape(16, 16, 1).repeat(3, 2)
    assert np.abs(image.astype(int) - expected).max() <= 1


def test_a_dark_sixteen_bit_picture_stays_dark():
    """The scale is the format's, not the picture's: 255 of 65,535 is black."""
    assert np.asarray(open_image(saved(Image.fromarray(ramp(255, np.uint16))))).max() == 1


def test_an_even_picture_of_odd_values_is_black():
    image = open_image(Image.fromarray(np.full((4, 4), -5.0, dtype=np.float32)))
    assert np.asarray(image).max() == 0


def test_infinite_pixels_are_an_error():
    values = ramp(1, np.float32)
    values[3, 3] = np.inf
    with pytest.raises(ImageError, match="infinite"):
        open_image(saved(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_its_first_frame(kind):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    options = dict(save_all=True, append_images=frames[1:])
    image = open_image(saved(frames[0], kind, **options | ({} if kind == "TIFF" else {"loop": 0})))
    assert image.size == (20, 10)
    assert np.abs(np.asarray(image)[5, 5].astype(int) - [255, 0, 0]).max() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
def test_every_format_opens_whatever_its_name_ends_in(tmp_path, kind):
    path = tmp_path / "picture.txt"
    path.write_bytes(saved(PHOTOGRAPH, kind))
    image = open_image(path)
    assert (image.mode, image.size) == ("RGB", PHOTOGRAPH.size)


def test_heic_without_its_package_names_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)
    with pytest.raises(MissingExtraError, match=r"seesay\[heif\]"):
        open_image(b"\0\0\0\x18ftypheic" + bytes(100))


@pytest.mark.parametrize(
    "source",
    [
        photographs.chelsea(),
        photographs.chelsea() / 255.0,
        torch.from_numpy(photographs.chelsea()).permute(2, 0, 1),
        torch.from_numpy(photographs.chelsea()).permute(2, 0, 1) / 255,
        (torch.from_numpy(photographs.chelsea()).permute(2, 0, 1) / 255).double(),
    ],
    ids=["bytes array", "float array", "byte tensor", "float tensor", "double tensor"],
)
def test_arrays_and_tensors_are_pictures(source):
    assert np.array_equal(np.asarray(open_image(source)), photographs.chelsea())


def test_arrays_may_be_grey_or_transparent():
    grey = photographs.camera()
    for source in (grey, grey[..., None], torch.from_numpy(grey), torch.from_numpy(grey)[None]):
        assert np.array_equal(np.asarray(open_image(source))[..., 0], grey)
    hidden = np.zeros((4, 4, 4), dtype=np.uint8)
    assert (np.asarray(open_image(hidden)) == 255).all()


# --- reduced decoding ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "target", "decoded"),
    [
        ((4000, 3000), None, (4000, 3000)),
        ((4000, 3000), 224, (1000, 750)),  # an eighth would leave 375, less than twice 224
        ((4000, 3000), 187, (500, 375)),
        ((895, 895), 224, (895, 895)),
        ((896, 897), 224, (448, 449)),
        ((9000, 400), 224, (9000, 400)),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_above_twice_the_target(size, target, decoded):
    data = saved(Image.new("RGB", size, "teal"), "JPEG")
    assert open_image(data, target=target).size == decoded


def test_other_formats_are_decoded_whole():
    assert open_image(saved(PHOTOGRAPH), target=8).size == PHOTOGRAPH.size


def test_a_picture_of_the_callers_is_left_as_it_was():
    image = Image.open(io.BytesIO(saved(PHOTOGRAPH.convert("L"), "JPEG")))
    open_image(image, target=8)
    assert (image.size, image.mode) == (PHOTOGRAPH.size, "L")


# --- what is refused -----------------------------------------------------------------------------


def refused(source, *words: str, **options) -> str:
    with pytest.raises(ImageError) as error:
        open_image(source, **options)
    message, notes = str(error.value), getattr(error.value, "__notes__", ())
    assert "\n" not in message and "Expected" in message
    assert "DecodeLimits" not in message  # which nobody at a terminal knows
    assert all(word in " ".join([message, *notes]) for word in words)
    return message


def test_bad_files_are_named_with_their_path(tmp_path):
    jpeg = saved(PHOTOGRAPH, "JPEG")
    contents = {
        "empty.jpg": (b"", "0 bytes"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "truncated.png": (saved(PHOTOGRAPH)[:50_000], "truncated"),
        "text.jpg": (b"hello, this is not a picture at all\n" * 9, "does not begin like"),
        "page.jpg": (b"<!DOCTYPE html><html></html>", "web page"),
        "header.jpg": (jpeg[:20], "header.jpg"),
        "byte.jpg": (b"P", "byte.jpg"),
    }
    for name, (content, word) in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        refused(path, str(path), word)
        refused(str(path), str(path), word, target=32)
        refused(content, word.replace(name, f"<{len(content)} bytes>"))


def test_a_kind_of_tiff_that_cannot_be_read_is_called_a_tiff_with_the_readers_reason():
    file = Path(skimage.__file__).parent / "data" / "multipage_rgb.tif"
    message = refused(file, "begins like TIFF", "unknown pixel mode", "Save it as PNG")
    assert "does not begin" not in message


def test_folders_missing_paths_and_pipes_are_refused(tmp_path):
    refused(tmp_path, str(tmp_path), "is a folder")
    refused(tmp_path / "none.jpg", "none.jpg", "cannot be found")
    refused("a\0b.jpg", "cannot be found")
    refused("https://example.org/cat.jpg", "https://example.org/cat.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    refused(tmp_path / "pipe.jpg", "pipe.jpg", "is a device or pipe")
    refused("/dev/zero", "is a device or pipe")


@given(cut=st.floats(0, 1, exclude_max=True), target=st.sampled_from([None, 32]))
@example(cut=1 - 1e-9, target=None)
@example(cut=0.999, target=32)
@settings(max_examples=30)
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_is_an_error_and_never_half_a_picture(progressive, cut, target):
    jpeg = saved(PHOTOGRAPH, "JPEG", progressive=progressive)
    try:
        image = open_image(jpeg[: int(cut * len(jpeg))], target=target)
    except ImageError as error:
        assert "truncated" in str(error) or "empty" in str(error) or "begin" in str(error)
    else:  # only the end mark was cut off
        assert int(cut * len(jpeg)) >= len(jpeg) - 2
        assert np.array_equal(np.asarray(image), np.asarray(open_image(jpeg, target=target)))


def test_a_bomb_is_refused_in_milliseconds_and_without_memory(tmp_path, bomb):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    message = refused(path, "bomb.png", "900,000,000", "30,000 x 30,000", "max_pixels")
    assert time.process_time() - start < 0.05
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4_000, message  # KiB


def test_a_bomb_that_pillows_reader_refuses_itself_is_called_too_large():
    """16,383 x 16,383 in one WebP: a reader that would make room for all of it on opening."""
    side = 0x3FFF - 1
    body = b"\x2f" + struct.pack("<I", side | side << 14) + bytes(9)
    chunk_ = b"WEBPVP8L" + struct.pack("<I", len(body)) + body
    refused(b"RIFF" + struct.pack("<I", len(chunk_)) + chunk_, "too large")


def test_limits_count_the_pixels_to_be_decoded():
    jpeg = saved(Image.new("RGB", (800, 800)), "JPEG")
    limits = DecodeLimits(max_pixels=10_000)
    assert open_image(jpeg, target=50, limits=limits).size == (100, 100)
    refused(jpeg, "640,000", limits=limits)
    few = DecodeLimits(max_source_pixels=10_000)
    refused(jpeg, "DecodeLimits(max_source_pixels=640000)", target=50, limits=few)
    refused(Image.new("RGB", (200, 200)), "40,000", limits=limits)
    refused(np.zeros((200, 200, 3), np.uint8), "40,000", limits=limits)
    refused(jpeg, f"(max_file_bytes={len(jpeg)})", limits=DecodeLimits(max_file_bytes=1000))


def test_a_progressive_jpeg_counts_in_full():
    """libjpeg holds all its coefficients, whatever the scale it is decoded at."""
    jpeg = saved(Image.new("RGB", (800, 800)), "JPEG", progressive=True)
    refused(jpeg, "640,000", target=50, limits=DecodeLimits(max_pixels=10_000))


def test_limits_that_let_nothing_through_are_refused():
    with pytest.raises(ConfigError, match="max_pixels=0"):
        DecodeLimits(max_pixels=0)


def test_pillows_own_limit_neither_warns_nor_refuses_nor_is_changed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(saved(PHOTOGRAPH, "JPEG"), target=50).size == (226, 150)
    assert Image.MAX_IMAGE_PIXELS == 100
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_huge_pictures_are_decoded_one_at_a_time(monkeypatch):
    inside, most = [], []
    load = ImageFile.ImageFile.load

    def watched(image):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    png = saved(PHOTOGRAPH)

    def decode_all(limits):
        most.clear()
        arguments = dict(args=(png,), kwargs=dict(limits=limits))
        threads = [threading.Thread(target=open_image, **arguments) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        return max(most)

    assert decode_all(DecodeLimits(huge_pixels=1000)) == 1
    assert decode_all(DecodeLimits()) > 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.full((4, 4, 3), 2.0), "from 2.0 to 2.0"),
        (np.full((4, 4, 3), np.nan), "nan"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.zeros((3, 8, 9), np.uint8), "<array (3, 8, 9) uint8>"),
        (np.zeros((2, 4, 4, 3), np.uint8), "one by one"),
        (np.zeros((0, 4, 3), np.uint8), "side of 0"),
        (np.zeros(4, np.uint8), "height, width"),
        (torch.zeros(8, 9, 3, dtype=torch.uint8), "<tensor (8, 9, 3) torch.uint8>"),
        (torch.zeros(3, 4, 4) - 1, "-1.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype} {tuple(value.shape)}",
)
def test_arrays_that_are_no_pictures_are_refused_with_shape_and_type(source, words):
    refused(source, words)
