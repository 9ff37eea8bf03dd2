"""Camera RAW files are read by the preview in them, and are told from ordinary TIFFs."""

import io
import struct

import pytest
from PIL import Image

from seesay.data.decoding import DecodeLimits, decode, open_header, orientation
from seesay.errors import ImageError
from seesay.search.reading.pictures import details

LEFT, RIGHT = (200, 30, 30), (30, 40, 200)
MAKE, DATE, ORIENTATION, STRIP, LENGTH = 271, 306, 274, 273, 279


def jpeg(width=320, height=240):
    """A picture that is red on its left and blue on its right."""
    image, data = Image.new("RGB", (width, height), LEFT), io.BytesIO()
    image.paste(RIGHT, (width // 2, 0, width, height))
    image.save(data, "JPEG", quality=95)
    return data.getvalue()


def lossless(width=6000, height=4000):
    """How a JPEG of sensor data begins, which Pillow does not decode."""
    return b"\xff\xd8\xff\xc3\0\x11\x08" + struct.pack(">HHB", height, width, 1) + bytes(4000)


def tiff(tags, *rest, order="<", mark=b""):
    """A TIFF of one directory, then what follows it; a tag given as None is where that begins."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    at = 8 + len(mark)
    texts, after = b"", at + 2 + 12 * len(tags) + 4
    size = sum(len(one) + 1 for one in tags.values() if isinstance(one, bytes))
    data = head + struct.pack(order + "I", at) + mark + struct.pack(order + "H", len(tags))
    for tag, value in sorted(tags.items()):
        if isinstance(value, bytes):
            place = after + len(texts)
            data += struct.pack(order + "HHII", tag, 2, len(value) + 1, place)
            texts += value + b"\0"
        else:
            number = after + size if value is None else value
            data += struct.pack(order + "HHII", tag, 4, 1, number)
    return data + bytes(4) + texts + b"".join(rest)


TAKEN = {MAKE: b"Canon", DATE: b"2021:05:04 10:11:12"}
CR2 = tiff(
    {**TAKEN, 256: 320, 257: 240, STRIP: None, LENGTH: 9000},
    *(jpeg(), jpeg(160, 120), lossless()),
    mark=b"CR\2\0" + bytes(4),
)
NEF = tiff(
    {**TAKEN, 254: 1, 256: 16, 257: 16, STRIP: None, LENGTH: 768, 330: 0},
    *(bytes(768), lossless(), jpeg(160, 120), jpeg()),
    order=">",
)
DNG = tiff({**TAKEN, 50706: 0x0401, 256: 16, 257: 16}, jpeg(160, 120), lossless(), jpeg())
RAF = b"FUJIFILMCCD-RAW 0201FF383501" + bytes(120) + jpeg() + bytes(5000)
CR3 = b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(500) + jpeg(160, 120) + jpeg() + bytes(999)
FILES = {"CR2": CR2, "NEF": NEF, "DNG": DNG, "RAF": RAF, "CR3": CR3}


def opened(data, target=None):
    return decode(io.BytesIO(data), "a", target, DecodeLimits())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("target", [None, 32])
def test_the_largest_preview_is_the_picture(name, target):
    image = opened(FILES[name], target)
    width, height = (320, 240) if target is None else (160, 120)
    assert image.size == (width, height)
    for x, colour in ((2, LEFT), (width - 3, RIGHT)):
        assert all(abs(a - b) < 12 for a, b in zip(image.getpixel((x, 9)), colour, strict=True))


@pytest.mark.parametrize("name", ["CR2", "NEF", "DNG"])
def test_date_camera_and_orientation_come_from_the_tags_of_the_file(name):
    known = details(open_header(io.BytesIO(FILES[name]), ""))
    assert (known["camera"], str(known["date"])) == ("Canon", "2021-05-04 10:11:12")


def test_a_preview_is_turned_as_the_file_says():
    data = tiff({ORIENTATION: 6, 50706: 1}, jpeg())
    assert orientation(open_header(io.BytesIO(data), "")) == 6
    image = opened(data)
    assert image.size == (240, 320)
    assert image.getpixel((9, 9))[0] > 150 and image.getpixel((9, 310))[2] > 150


def test_an_ordinary_tiff_with_a_jpeg_in_it_stays_itself():
    data = io.BytesIO()
    Image.new("RGB", (50, 40), LEFT).save(data, "TIFF", tiffinfo={MAKE: "Canon"})
    assert opened(data.getvalue() + jpeg()).size == (50, 40)


def test_a_tiff_without_a_preview_is_shown_by_its_thumbnail():
    data = io.BytesIO()
    Image.new("RGB", (50, 40), LEFT).save(data, "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    assert opened(data.getvalue()).size == (50, 40)


@pytest.mark.parametrize(
    "data, words",
    [
        (RAF[:148], "without a preview"),
        (RAF[:148] + lossless(), "without a preview"),
        (RAF[:2000], "truncated or damaged"),
        (CR2[:60] + bytes(5000), "truncated or damaged"),
        (b"MM\0*" + b"\xff" * 500, "cannot be read"),
    ],
)
def test_what_has_no_whole_preview_is_named(data, words):
    with pytest.raises(ImageError, match=words) as caught:
        opened(data)
    assert caught.value.text.zh != caught.value.text.en
