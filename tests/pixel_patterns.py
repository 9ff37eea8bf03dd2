"""What goes into picture files of every kind, and must come out of them."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 37, 22  # odd, so that rows of packed bits end within a byte
WHITE = 255.0


@dataclass(frozen=True, kw_only=True)
class PixelFile:
    """One file and what it must look like."""

    kind: str
    """The format, and the end of the name for a second decoder."""
    what: str
    data: bytes
    shows: np.ndarray
    tolerance: int = 1
    """Of any channel of any pixel: readers round differently, lossy formats lose."""

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.what}"


def colours() -> np.ndarray:
    """(height, width, 3) from 0 to 255, smooth, different in every channel and direction."""
    down, across = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    return np.rint(WHITE * np.stack([across, down, 1 - (across + down) / 2], -1)).astype(np.uint8)


def greys() -> np.ndarray:
    return colours()[..., 0]


def alphas() -> np.ndarray:
    return 255 - colours()[..., 1]


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, -1)


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / WHITE
    return np.rint(pixels * share + WHITE * (1 - share)).astype(np.uint8)


def deep(pixels: np.ndarray, bits: int) -> np.ndarray:
    """The numbers that hold these pixels in so many bits."""
    return np.rint(pixels / WHITE * (2**bits - 1)).astype(np.int64)


def shallow(numbers: np.ndarray, bits: int) -> np.ndarray:
    """The eight bits that so many bits show."""
    return np.rint(numbers * (WHITE / (2**bits - 1))).astype(np.uint8)


def shown(pixels: np.ndarray, bits: int) -> np.ndarray:
    return shallow(deep(pixels, bits), bits)


def packed(rows: np.ndarray, bits: int, order: str) -> bytes:
    """(height, numbers) as rows of so many bits each, from the highest bit on."""
    if bits in (8, 16, 32, 64):
        return (rows & (2**bits - 1)).astype(f"{order}u{bits // 8}").tobytes()
    places = np.arange(bits - 1, -1, -1)
    flat = (rows[..., None] >> places & 1).astype(np.uint8).reshape(len(rows), -1)
    return np.packbits(flat, axis=1).tobytes()


def palette(count: int) -> np.ndarray:
    step = np.arange(count) / max(count - 1, 1)
    return np.rint(WHITE * np.stack([step, 1 - step, (step * 3) % 1], -1)).astype(np.uint8)


def from_cmyk(inks: np.ndarray) -> np.ndarray:
    paper = WHITE - inks.astype(float)
    return np.rint(paper[..., :3] * paper[..., 3:] / WHITE).astype(np.uint8)


def inks() -> np.ndarray:
    return np.dstack([colours(), alphas() // 3])


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    numbers: np.ndarray, bits: int, colour_type: int, *chunks: bytes, interlaced: bool = False
) -> bytes:
    """(height, width[, channels]) of so many bits; `chunks` stand before the pixels."""
    height, width = numbers.shape[:2]
    passes = [numbers]
    if interlaced:
        starts = (
            (0, 0, 8, 8),
            (0, 4, 8, 8),
            (4, 0, 8, 4),
            (0, 2, 4, 4),
            (2, 0, 4, 2),
            (0, 1, 2, 2),
            (1, 0, 2, 1),
        )
        passes = [numbers[top::down, left::right] for top, left, down, right in starts]
    rows = b"".join(
        b"\0" + packed(row.reshape(1, -1), bits, ">") for part in passes for row in part
    )
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    parts = (
        chunk(b"IHDR", head),
        *chunks,
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
