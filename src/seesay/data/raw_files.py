"""Camera RAW files: the JPEG that the camera embeds, as it shows the photograph itself.

The sensor data is not developed: that takes seconds, and a profile of each camera. The largest
JPEG in the file is found by its markers (ITU-T T.81, annex B), so that the layouts of the makers
need not be known. In files after TIFF, date, camera and orientation come from the file's own tags.
"""

import io
import re
import struct
from contextlib import suppress
from io import BufferedIOBase
from typing import IO, cast

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from seesay.errors import ImageError
from seesay.text import Text

_STARTS = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR")  # the last three: Olympus
_TIFF = (b"II*\0", b"MM\0*")
_PHOTOMETRIC, _DNG_VERSION, _FILE_TYPE, _PARTS = 262, 50706, 254, 330
_SENSOR = (32803, 34892)  # colour filter array, linear raw: TIFF/EP and DNG
_JPEG = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]")
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; sensor data are lossless
_TABLES = (0xC4, 0xCC)  # Huffman and arithmetic: what comes before the frame
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xDA))
_MOST_SEGMENTS = 200
_MOST_TRIES = 10_000


def open_raw(stream: BufferedIOBase, prefix: bytes, label: str) -> JpegImageFile | None:
    """Opens the preview in a RAW file that begins with `prefix`, at least 16 bytes. Returns None
    for any other file, and for one after TIFF without a preview, which may have a thumbnail. Raises
    ImageError if another RAW file has no preview."""
    is_tiff = prefix.startswith(_TIFF)
    is_raw = is_tiff and _is_sensor(stream, prefix)
    if not is_raw and not prefix.startswith(_STARTS) and prefix[4:12] != b"ftypcrx ":
        return None
    start = _largest_jpeg(stream)
    if start is None and is_tiff:
        return None
    if start is None:
        raise ImageError(
            Text(
                f"{label}: is a camera's RAW file without a preview. Expected one with an embedded "
                "JPEG, as cameras write. Develop it, and save it as JPEG.",
                f"{label}：是没有预览图的相机 RAW 文件；应内嵌 JPEG 预览，相机通常会写入；"
                "请冲印后另存为 JPEG",
            )
        )
    stream.seek(start)
    image = JpegImageFile(cast(IO[bytes], stream), "")
    image.tile = [tile._replace(offset=start) for tile in image.tile]
    if is_tiff:
        image.getexif = lambda: _exif(stream)  # type: ignore[method-assign]
    return image


def _is_sensor(stream: BufferedIOBase, prefix: bytes) -> bool:
    """Whether a TIFF is a RAW file: it says so, or its first picture stands for a larger one."""
    with suppress(Exception):  # damaged tags fail in every way; the reader of TIFF tells them
        stream.seek(0)
        tags = ImageFileDirectory_v2(stream.read(8))
        stream.seek(tags.next)
        tags.load(cast(IO[bytes], stream))
        is_reduced = bool(tags.get(_FILE_TYPE, 0) & 1) and _PARTS in tags
        says_so = prefix[8:10] == b"CR" or _DNG_VERSION in tags
        return says_so or is_reduced or tags.get(_PHOTOMETRIC) in _SENSOR
    return False


def _largest_jpeg(stream: BufferedIOBase) -> int | None:
    """Returns where the JPEG with the most pixels begins."""
    stream.seek(0)
    data = stream.getbuffer() if isinstance(stream, io.BytesIO) else stream.read()
    most, best = 0, None
    for number, found in enumerate(_JPEG.finditer(data)):
        if number >= _MOST_TRIES:
            break
        pixels = _pixels(data, found.start())
        if pixels > most:
            most, best = pixels, found.start()
    return best


def _pixels(data: "bytes | memoryview", start: int) -> int:
    """Returns how many pixels a JPEG has by its frame header; 0 if it is none that Pillow reads."""
    at = start + 2
    for _ in range(_MOST_SEGMENTS):
        if at + 10 > len(data) or data[at] != 0xFF:
            return 0
        marker = data[at + 1]
        if marker == 0xFF:  # a filling byte
            at += 1
            continue
        if marker in _FRAMES:
            depth, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            return height * width if depth == 8 and channels in (1, 3) else 0
        if marker in _WITHOUT_LENGTH or (0xC3 <= marker <= 0xCF and marker not in _TABLES):
            return 0
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return 0


def _exif(stream: BufferedIOBase) -> Image.Exif:
    """Returns the tags of the RAW file itself: its preview may have none."""
    exif, place = Image.Exif(), stream.tell()
    stream.seek(0)
    exif.load_from_fp(cast(IO[bytes], stream))
    stream.seek(place)
    return exif
