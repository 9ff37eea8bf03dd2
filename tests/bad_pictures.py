"""What folders of pictures hold in real life."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

BOMB_SIDE = 30_000


def write_bad_pictures(folder: Path) -> dict[str, Path]:
    """Five kinds of them, by kind; the folder must exist."""
    paths = {
        "zero-byte": folder / "zero-byte.jpg",
        "truncated": folder / "truncated.jpg",
        "text": folder / "text.jpg",
        "bomb": folder / "bomb.png",
        "directory": folder / "directory.jpg",
        "missing": folder / "missing.jpg",
    }
    paths["zero-byte"].touch()
    jpeg = io.BytesIO()
    Image.effect_noise((200, 200), 80).convert("RGB").save(jpeg, "JPEG")
    paths["truncated"].write_bytes(jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
    paths["text"].write_text("This is no picture.\n" * 50)
    write_bomb(paths["bomb"])
    paths["directory"].mkdir()
    return paths


def write_bomb(path: Path) -> None:
    """A PNG of 30,000 x 30,000 black pixels in 110 kilobytes."""
    row = b"\0" * (1 + BOMB_SIDE // 8)  # filter byte, then one bit per pixel
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header))
        for packed in _deflate(row, BOMB_SIDE):
            file.write(_chunk(b"IDAT", packed))
        file.write(_chunk(b"IEND", b""))


def _deflate(row: bytes, rows: int) -> Iterator[bytes]:
    packer = zlib.compressobj(9)
    for _ in range(rows // 100):
        if packed := packer.compress(row * 100):
            yield packed
    yield packer.flush()


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum
