"""Small files that would cost much, and a program that measures what opening them costs.

python tests/picture_bombs.py    # prints MiB above the start, and each file's refusal
"""

import io
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from pixel_patterns import chunk, saved
from pixel_tiff import Tiff
from pixel_windows import ico
from seesay.data.decoding import open_header
from seesay.data.images import open_image
from seesay.data.squares import ImageTransformConfig
from seesay.errors import ImageError
from seesay.search.reading.files import FileData, ReadLimits, RefusedError
from seesay.search.reading.messages import ReadSettings
from seesay.search.reading.pictures import is_picture, read_picture


def png(side: int) -> bytes:
    packer = zlib.compressobj(9)
    row = bytes(side // 8 + 1)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def webp(side: int, *, animated: bool) -> bytes:
    small = saved(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:]
    edge = struct.pack("<I", side - 1)[:3]
    body = b"VP8X" + struct.pack("<I4B", 10, 2 if animated else 0, 0, 0, 0) + edge + edge
    if animated:
        frame = bytes(6) + struct.pack("<I", 15)[:3] * 2 + bytes(4) + small
        body += b"ANIM" + struct.pack("<I", 6) + bytes(6)
        body += b"ANMF" + struct.pack("<I", len(frame)) + frame
    else:
        body += small
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff(tag: int, other: int, side: int) -> bytes:
    zeros = np.zeros((16, 16, 1), int)
    data = Tiff(numbers=zeros, bits=8, photometric=1, deflate=True, tile=16).data()
    for number in (tag, other):
        entry = struct.pack("<HHI", number, 4, 1)
        data = data.replace(entry + struct.pack("<I", 16), entry + struct.pack("<I", side))
    return data


def gif(*, frame: bool) -> bytes:
    data = bytearray(saved(Image.new("P", (16, 16)), "GIF"))
    at = data.index(b",") + 5 if frame else 6
    data[at : at + 4] = struct.pack("<HH", 65_535, 65_535)
    return bytes(data)


def bombs() -> dict[str, bytes]:
    return {
        "PNG of 900 million pixels": png(30_000),
        "PNG inside an icon": ico(png(12_000), 1),
        "WebP canvas": webp(16_000, animated=False),
        "animated WebP canvas": webp(16_000, animated=True),
        "TIFF of 3,600 million pixels": tiff(256, 257, 60_000),
        "TIFF of one large tile": tiff(322, 323, 40_000),
        "GIF screen": gif(frame=False),
        "GIF frame beyond its screen": gif(frame=True),
    }


def refusals(data: bytes) -> list[str]:
    """What each way that a picture takes into the program says of it."""
    said = []
    settings = ReadSettings(
        transform=ImageTransformConfig(), reduce_large=True, limits=ReadLimits()
    )
    content = FileData(path="it", data=data, content_hash="", size=len(data), mtime_ns=0)
    is_picture(data)
    try:
        open_header(io.BytesIO(data), "it").getexif()
        open_image(data)
    except ImageError as error:
        said.append(str(error))
    for decoded in (False, True):
        try:
            read_picture(content, settings, decoded)
        except RefusedError as error:
            said.append(str(error))
    return said


def peak_mib() -> float:
    """Not getrusage's: that begins with the memory of the process that started this one."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def transparent(side: int) -> bytes:
    return saved(Image.new("RGBA", (side, side), (9, 9, 9, 99)), "PNG", compress_level=1)


def main() -> None:
    open_image(transparent(9))
    said = {}
    if sys.argv[1] == "bombs":
        files = bombs()
        start = peak_mib()
        said = {name: refusals(data) for name, data in files.items()}
    else:
        picture = Path(sys.argv[1]).read_bytes()
        start = peak_mib()
        open_image(picture)
    json.dump({"mib": peak_mib() - start, "said": said}, sys.stdout)


if __name__ == "__main__":
    main()
