"""Small picture files of every kind, written byte by byte, with the pixels that they must show.

Written here and not by Pillow wherever Pillow writes fewer kinds than it reads. What they must
show is computed from the numbers that went in, so it depends on no decoder.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 37, 22  # odd, so that rows of packed bits end within a byte
WHITE = 255.0


@dataclass(frozen=True, kw_only=True)
class PixelFile:
    """One file. `shows` is what it must look like, or None where it must be refused."""

    kind: str
    """The format, and the end of the name for a second decoder."""
    what: str
    data: bytes
    shows: np.ndarray | None
    tolerance: int = 1
    """Of any channel of any pixel: readers round differently, lossy formats lose."""
    second: bool = True
    """Whether ImageMagick 6 reads it as the format's text says; where not, the reason stands in
    the comment beside it."""

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


def all_files() -> list[PixelFile]:
    makers: tuple[Callable[[], Iterator[PixelFile]], ...] = (
        _png, _png_keys, _tiff_grey, _tiff_colour, _tiff_alpha, _tiff_others, _tiff_layout,
        _pnm, _bmp, _tga, _ico, _gif, _webp, _jpeg, _jpeg2000, _avif,
    )  # fmt: skip
    return [file for maker in makers for file in maker()]


# --- PNG -----------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    numbers: np.ndarray, bits: int, colour_type: int, *chunks: bytes, interlaced: bool = False
) -> bytes:
    """(height, width[, channels]) of so many bits; `chunks` stand before the pixels."""
    height, width = numbers.shape[:2]
    passes = [numbers]
    if interlaced:
        starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
        passes = [numbers[top::down, left::right] for top, left, down, right in starts]
    rows = b"".join(
        b"\0" + packed(row.reshape(1, -1), bits, ">") for part in passes for row in part
    )
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    parts = (chunk(b"IHDR", head), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _palette(count: int) -> np.ndarray:
    step = np.arange(count) / max(count - 1, 1)
    return np.rint(WHITE * np.stack([step, 1 - step, (step * 3) % 1], -1)).astype(np.uint8)


def _png() -> Iterator[PixelFile]:
    for bits in (1, 2, 4, 8, 16):
        numbers = deep(greys(), bits)
        yield PixelFile(
            kind="png", what=f"grey, {bits} bits", data=png(numbers, bits, 0),
            shows=three(shallow(numbers, bits)),
        )  # fmt: skip
        yield PixelFile(
            kind="png", what=f"grey, {bits} bits, interlaced",
            data=png(numbers, bits, 0, interlaced=True), shows=three(shallow(numbers, bits)),
        )  # fmt: skip
    for bits in (1, 2, 4, 8):
        table = _palette(2**bits)
        numbers = deep(greys(), bits)
        plte = chunk(b"PLTE", table.tobytes())
        yield PixelFile(
            kind="png", what=f"palette, {bits} bits", data=png(numbers, bits, 3, plte),
            shows=table[numbers],
        )  # fmt: skip
        clear = np.linspace(0, 255, 2**bits).astype(np.uint8)
        trns = chunk(b"tRNS", clear.tobytes())
        yield PixelFile(
            kind="png", what=f"palette with alpha, {bits} bits",
            data=png(numbers, bits, 3, plte, trns),
            shows=on_white(table[numbers], clear[numbers]),
        )  # fmt: skip
    for bits in (8, 16):
        layers = np.dstack([greys(), alphas()])
        yield PixelFile(
            kind="png", what=f"grey and alpha, {bits} bits",
            data=png(deep(layers, bits), bits, 4), shows=on_white(three(greys()), alphas()),
        )  # fmt: skip
        yield PixelFile(
            kind="png", what=f"RGB, {bits} bits", data=png(deep(colours(), bits), bits, 2),
            shows=colours(),
        )  # fmt: skip
        layers = np.dstack([colours(), alphas()])
        yield PixelFile(
            kind="png", what=f"RGBA, {bits} bits", data=png(deep(layers, bits), bits, 6),
            shows=on_white(colours(), alphas()),
        )  # fmt: skip


def _png_keys() -> Iterator[PixelFile]:
    """One grey or colour that is transparent, as the chunk tRNS names it: in the file's depth."""
    for bits in (1, 2, 4, 8, 16):
        numbers = deep(greys(), bits)
        if bits == 16:  # neighbours of the key that share its upper byte stay
            numbers[0, :4] = (0x8000, 0x8001, 0x8000, 0x80FF)
        key = int(numbers[HEIGHT // 2, WIDTH // 2]) if bits < 16 else 0x8000
        shows = three(shallow(numbers, bits))
        shows[numbers == key] = 255
        yield PixelFile(
            kind="png", what=f"grey with a key, {bits} bits",
            data=png(numbers, bits, 0, chunk(b"tRNS", struct.pack(">H", key))), shows=shows,
        )  # fmt: skip
    for bits in (8, 16):
        numbers = deep(colours(), bits)
        key = numbers[3, 5].copy()
        numbers[8:12, 8:20] = key
        if bits == 16:
            numbers[0, :9] = key + [0, 0, 1]
        shows = shallow(numbers, bits)
        shows[(numbers == key).all(-1)] = 255
        yield PixelFile(
            kind="png", what=f"RGB with a key, {bits} bits",
            data=png(numbers, bits, 2, chunk(b"tRNS", struct.pack(">3H", *key))), shows=shows,
        )  # fmt: skip


# --- TIFF ----------------------------------------------------------------------------------------

_TYPES = {"H": (3, 2), "I": (4, 4)}
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True, kw_only=True)
class Tiff:
    """How numbers are laid out. `numbers` is (height, width, channels)."""

    numbers: np.ndarray
    bits: int
    photometric: int
    order: str = "<"
    sample_format: int = 1
    planar: int = 1
    extra: tuple[int, ...] = ()
    deflate: bool = False
    fill_order: int = 1
    rows_per_strip: int = HEIGHT
    tile: int = 0
    tags: tuple[tuple[int, str, tuple[int, ...]], ...] = ()

    def data(self) -> bytes:
        height, width, channels = self.numbers.shape
        strips = [self._strip(part) for part in self._parts()]
        tags: dict[int, tuple[str, tuple[int, ...]]] = {
            256: ("I", (width,)),
            257: ("I", (height,)),
            258: ("H", (self.bits,) * channels),
            259: ("H", (8 if self.deflate else 1,)),
            262: ("H", (self.photometric,)),
            277: ("H", (channels,)),
            284: ("H", (self.planar,)),
        }
        where, lengths = (324, 325) if self.tile else (273, 279)
        if self.tile:
            tags |= {322: ("I", (self.tile,)), 323: ("I", (self.tile,))}
        else:
            tags[278] = ("I", (self.rows_per_strip,))
        tags[lengths] = ("I", tuple(len(strip) for strip in strips))
        tags[where] = ("I", (0,) * len(strips))
        if self.fill_order != 1:
            tags[266] = ("H", (self.fill_order,))
        if self.sample_format != 1:
            tags[339] = ("H", (self.sample_format,) * channels)
        if self.extra:
            tags[338] = ("H", self.extra)
        tags |= {number: (kind, values) for number, kind, values in self.tags}
        return self._written(tags, where, strips)

    def _parts(self) -> Iterator[np.ndarray]:
        """(rows, numbers of a row) of every strip or tile, plane by plane."""
        planes = (
            [self.numbers[..., i : i + 1] for i in range(self.numbers.shape[2])]
            if self.planar == 2
            else [self.numbers]
        )
        for plane in planes:
            if self.tile:
                side = self.tile
                down, right = -plane.shape[0] % side, -plane.shape[1] % side
                full = np.pad(plane, ((0, down), (0, right), (0, 0)))
                for top in range(0, full.shape[0], side):
                    for left in range(0, full.shape[1], side):
                        yield full[top : top + side, left : left + side].reshape(side, -1)
            else:
                for top in range(0, plane.shape[0], self.rows_per_strip):
                    part = plane[top : top + self.rows_per_strip]
                    yield part.reshape(len(part), -1)

    def _strip(self, rows: np.ndarray) -> bytes:
        if self.sample_format == 3:
            data = rows.astype(f"{self.order}f{self.bits // 8}").tobytes()
        else:
            data = packed(rows, self.bits, self.order)
        if self.deflate:
            data = zlib.compress(data)
        return data.translate(_REVERSED) if self.fill_order == 2 else data

    def _written(
        self, tags: dict[int, tuple[str, tuple[int, ...]]], where: int, strips: list[bytes]
    ) -> bytes:
        after = 8 + 2 + 12 * len(tags) + 4
        sizes = {n: len(v) * _TYPES[k][1] for n, (k, v) in tags.items()}
        place = after + sum(size + size % 2 for size in sizes.values() if size > 4)
        offsets = []
        for strip in strips:
            offsets.append(place)
            place += len(strip)
        tags[where] = ("I", tuple(offsets))
        head = (b"II" if self.order == "<" else b"MM") + struct.pack(f"{self.order}HI", 42, 8)
        entries, far, at = b"", b"", after
        for number in sorted(tags):
            kind, values = tags[number]
            body = struct.pack(f"{self.order}{len(values)}{kind}", *values)
            entries += struct.pack(f"{self.order}HHI", number, _TYPES[kind][0], len(values))
            if len(body) <= 4:
                entries += body.ljust(4, b"\0")
            else:
                entries += struct.pack(f"{self.order}I", at + len(far))
                far += body + b"\0" * (len(body) % 2)
        count = struct.pack(f"{self.order}H", len(tags))
        return head + count + entries + bytes(4) + far + b"".join(strips)


_ORDERS = (("<", "little endian"), (">", "big endian"))
_PACKING = ((False, "raw"), (True, "deflated"))


def _tiff(what: str, shows: np.ndarray | None, layout: Tiff, **more: object) -> PixelFile:
    return PixelFile(kind="tiff", what=what, data=layout.data(), shows=shows, **more)  # type: ignore[arg-type]


def _variants(
    what: str, shows: np.ndarray | None, second: bool = True, **layout: object
) -> Iterator[PixelFile]:
    for order, order_name in _ORDERS:
        for deflate, packing in _PACKING:
            file = Tiff(order=order, deflate=deflate, **layout)  # type: ignore[arg-type]
            yield _tiff(f"{what}, {order_name}, {packing}", shows, file, second=second)


def _tiff_grey() -> Iterator[PixelFile]:
    for bits in (1, 2, 4, 8, 10, 12, 14, 16, 24, 32):
        numbers = deep(greys(), bits)
        shows = three(shallow(numbers, bits))
        for photometric, name in ((1, "black is zero"), (0, "white is zero")):
            held = numbers if photometric else 2**bits - 1 - numbers
            yield from _variants(
                f"grey, {bits} bits, {name}", shows,
                numbers=held[..., None], bits=bits, photometric=photometric,
            )  # fmt: skip
    for bits in (16, 32, 64):
        for photometric, name in ((1, "black is zero"), (0, "white is zero")):
            unit = greys() / WHITE
            held = unit if photometric else 1 - unit
            yield from _variants(
                f"grey, {bits}-bit floating, {name}", three(greys()),
                numbers=held[..., None], bits=bits, photometric=photometric, sample_format=3,
            )  # fmt: skip
    for bits in (8, 16, 32):
        half = 2 ** (bits - 1)
        numbers = deep(greys(), bits) - half
        yield from _variants(
            f"grey, {bits} bits, signed", three(greys()), numbers=numbers[..., None],
            bits=bits, photometric=1, sample_format=2,
        )  # fmt: skip


def _tiff_colour() -> Iterator[PixelFile]:
    for bits in (4, 8, 16):
        for planar, name in ((1, "by pixel"), (2, "by plane")):
            yield from _variants(
                f"RGB, {bits} bits, {name}", shown(colours(), bits),
                numbers=deep(colours(), bits), bits=bits, photometric=2, planar=planar,
            )  # fmt: skip
    for bits in (16, 32):
        yield from _variants(
            f"RGB, {bits}-bit floating", colours(), numbers=colours() / WHITE, bits=bits,
            photometric=2, sample_format=3,
        )  # fmt: skip
    yield from _variants(
        "RGB, 8 bits, signed", None, numbers=colours().astype(int) - 128, bits=8, photometric=2,
        sample_format=2,
    )  # fmt: skip
    yield from _variants(
        "RGB, 32 bits", colours(), numbers=deep(colours(), 32), bits=32, photometric=2
    )
    for bits in (1, 2, 4, 8):
        table = _palette(2**bits)
        numbers = deep(greys(), bits)
        for scale, name in ((257, "16-bit table"), (1, "8-bit table")):
            entries = tuple(int(v) for v in (table.T.astype(int) * scale).ravel())
            yield from _variants(
                f"palette, {bits} bits, {name}", table[numbers], numbers=numbers[..., None],
                bits=bits, photometric=3, tags=((320, "H", entries),),
            )  # fmt: skip


def _tiff_alpha() -> Iterator[PixelFile]:
    shows = on_white(colours(), alphas())
    share = alphas()[..., None] / WHITE
    for bits in (8, 16):
        alpha = deep(alphas(), bits)
        straight = np.dstack([deep(colours(), bits), alpha])
        associated = np.dstack([np.rint(deep(colours(), bits) * share).astype(int), alpha])
        for planar, name in ((1, "by pixel"), (2, "by plane")):
            layout = dict(bits=bits, photometric=2, planar=planar)
            yield from _variants(
                f"RGB and straight alpha, {bits} bits, {name}", shows, numbers=straight,
                extra=(2,), **layout,
            )  # fmt: skip
            yield from _variants(
                f"RGB and associated alpha, {bits} bits, {name}", shows, numbers=associated,
                extra=(1,), **layout,
            )  # fmt: skip
            yield from _variants(
                f"RGB and something else, {bits} bits, {name}", colours(), numbers=straight,
                extra=(0,), **layout,
            )  # fmt: skip
        grey = np.dstack([deep(greys(), bits), alpha])
        hidden = np.dstack([np.rint(deep(greys(), bits) * share[..., 0]).astype(int), alpha])
        seen = on_white(three(greys()), alphas())
        layout = dict(bits=bits, photometric=1)
        yield from _variants(
            f"grey and straight alpha, {bits} bits", seen, numbers=grey, extra=(2,), **layout
        )
        yield from _variants(
            f"grey and associated alpha, {bits} bits", seen, numbers=hidden, extra=(1,), **layout
        )
    nothing = np.dstack([colours(), np.zeros_like(alphas())])
    yield from _variants(
        "RGB and an undeclared channel of zeros", colours(), numbers=nothing, bits=8, photometric=2
    )


def from_cmyk(inks: np.ndarray) -> np.ndarray:
    paper = WHITE - inks.astype(float)
    return np.rint(paper[..., :3] * paper[..., 3:] / WHITE).astype(np.uint8)


def inks() -> np.ndarray:
    return np.dstack([colours(), alphas() // 3])


def to_ycbcr(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("YCbCr"))


def _tiff_others() -> Iterator[PixelFile]:
    for bits in (8, 16):
        for planar, name in ((1, "by pixel"), (2, "by plane")):
            yield from _variants(
                f"CMYK, {bits} bits, {name}", from_cmyk(inks()), numbers=deep(inks(), bits),
                bits=bits, photometric=5, planar=planar,
            )  # fmt: skip
    subsampling = ((530, "H", (1, 1)),)
    yield from _variants(
        "YCbCr, 8 bits", colours(), numbers=to_ycbcr(colours()), bits=8, photometric=6,
        tags=subsampling,
    )  # fmt: skip
    grey = np.full((HEIGHT, WIDTH, 3), 0, np.int64)
    grey[..., 0] = greys()
    for photometric, name, zero in ((8, "CIELAB", 0), (9, "ICCLAB", 128)):
        lab = grey.copy()
        lab[..., 1:] = zero
        yield from _variants(f"{name}, 8 bits, neutral", None, numbers=lab, bits=8, photometric=photometric)


def _tiff_layout() -> Iterator[PixelFile]:
    for bits, photometric, held, shows in (
        (1, 1, deep(greys(), 1)[..., None], three(shown(greys(), 1))),
        (1, 0, 1 - deep(greys(), 1)[..., None], three(shown(greys(), 1))),
        (4, 1, deep(greys(), 4)[..., None], three(shown(greys(), 4))),
        (8, 1, greys()[..., None].astype(int), three(greys())),
        (12, 1, deep(greys(), 12)[..., None], three(greys())),
        (16, 1, deep(greys(), 16)[..., None], three(greys())),
        (8, 2, colours().astype(int), colours()),
        (16, 2, deep(colours(), 16), colours()),
    ):
        channels = held.shape[2]
        what = f"{channels} x {bits} bits, photometric {photometric}"
        layout = dict(numbers=held, bits=bits, photometric=photometric)
        yield from _variants(f"{what}, bits reversed", shows, fill_order=2, **layout)
        yield from _variants(f"{what}, strips", shows, rows_per_strip=5, **layout)
        yield from _variants(f"{what}, tiles", shows, tile=16, **layout)
        if channels == 3:
            yield from _variants(f"{what}, planes in strips", shows, planar=2, rows_per_strip=5, **layout)
            yield from _variants(f"{what}, planes in tiles", shows, planar=2, tile=16, **layout)
    for order, name in _ORDERS:
        for bits, held in ((8, greys().astype(int)), (16, deep(greys(), 16))):
            steps = np.diff(held, axis=1, prepend=0)
            yield _tiff(
                f"grey, {bits} bits, predicted, {name}", three(greys()),
                Tiff(numbers=steps[..., None], bits=bits, photometric=1, deflate=True,
                     order=order, tags=((317, "H", (2,)),)),
            )  # fmt: skip


# --- PNM -----------------------------------------------------------------------------------------


def _pnm() -> Iterator[PixelFile]:
    size = f"{WIDTH} {HEIGHT}\n"
    bits = deep(greys(), 1)
    shows = three(shown(greys(), 1))
    plain = "\n".join(" ".join(str(1 - v) for v in row) for row in bits)
    yield PixelFile(kind="pbm", what="plain", data=f"P1\n{size}{plain}\n".encode(), shows=shows)
    yield PixelFile(
        kind="pbm", what="packed", data=f"P4\n{size}".encode() + packed(1 - bits, 1, ">"),
        shows=shows,
    )  # fmt: skip
    for most in (1, 15, 100, 255, 256, 1000, 4095, 65534, 65535):
        dtype = ">u1" if most < 256 else ">u2"
        for kind, letter, pixels in (("pgm", 2, greys()), ("ppm", 3, colours())):
            numbers = np.rint(pixels / WHITE * most).astype(int)
            shows = np.rint(numbers * (WHITE / most)).astype(np.uint8)
            shows = three(shows) if kind == "pgm" else shows
            head = f"{size}{most}\n"
            text = "\n".join(" ".join(map(str, row.ravel())) for row in numbers)
            yield PixelFile(
                kind=kind, what=f"plain, up to {most}", data=f"P{letter}\n{head}{text}\n".encode(),
                shows=shows,
            )  # fmt: skip
            yield PixelFile(
                kind=kind, what=f"raw, up to {most}", shows=shows,
                data=f"P{letter + 3}\n{head}".encode() + numbers.astype(dtype).tobytes(),
            )  # fmt: skip
    for most in (1000, 65535):
        numbers = greys().astype(int)
        shows = three(np.rint(numbers * (WHITE / most)).astype(np.uint8))
        yield PixelFile(
            kind="pgm", what=f"raw, up to {most}, but dark", shows=shows,
            data=f"P5\n{size}{most}\n".encode() + numbers.astype(">u2").tobytes(),
        )  # fmt: skip
    rows = (greys() / WHITE)[::-1]  # from the bottom up
    for scale, dtype in ((-1.0, "<f4"), (1.0, ">f4")):
        yield PixelFile(
            kind="pfm", what=f"floating, scale {scale}", shows=three(greys()),
            data=f"Pf\n{size}{scale}\n".encode() + rows.astype(dtype).tobytes(),
        )  # fmt: skip


# --- BMP and ICO ---------------------------------------------------------------------------------


def dib(
    rows: bytes, bits: int, *, header: int = 40, masks: tuple[int, ...] = (), compression: int = 0,
    palette: bytes = b"", top_down: bool = False, height: int = HEIGHT,
) -> bytes:  # fmt: skip
    high = -height if top_down else height
    head = struct.pack("<IiiHHIIiiII", header, WIDTH, high, 1, bits, compression, len(rows), 2835, 2835, len(palette) // 4, 0)
    if masks:
        head += struct.pack(f"<{len(masks)}I", *masks)
    head = head.ljust(max(header, len(head)), b"\0")
    return head + palette + rows


def bmp(body: bytes, rows: bytes) -> bytes:
    offset = 14 + len(body) - len(rows)
    return b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, offset) + body


def _rows(numbers: np.ndarray, bits: int) -> bytes:
    """From the bottom up, each row filled to four bytes."""
    flat = numbers.reshape(len(numbers), -1)[::-1]
    rows = [packed(row[None], bits, "<") for row in flat]
    return b"".join(row.ljust(-(-len(row) // 4) * 4, b"\0") for row in rows)


def _bgr(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 2::-1]


def _fields(pixels: np.ndarray, masks: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """One number a pixel with every channel under its mask, and what it shows."""
    numbers = np.zeros(pixels.shape[:2], np.int64)
    seen = np.zeros_like(pixels)
    for channel, mask in enumerate(masks):
        low = (mask & -mask).bit_length() - 1
        bits = mask.bit_count()
        value = deep(pixels[..., channel], bits)
        numbers |= value << low
        seen[..., channel] = shallow(value, bits)
    return numbers, seen


def _bmp() -> Iterator[PixelFile]:
    def one(what: str, shows: np.ndarray | None, rows: bytes, bits: int, **more: object) -> PixelFile:
        body = dib(rows, bits, **more)  # type: ignore[arg-type]
        return PixelFile(kind="bmp", what=what, data=bmp(body, rows), shows=shows)

    for bits in (1, 2, 4, 8):
        numbers, table = deep(greys(), bits), _palette(2**bits)
        quads = np.dstack([_bgr(table)[None], np.zeros((1, len(table), 1), np.uint8)]).tobytes()
        yield one(f"palette, {bits} bits", table[numbers], _rows(numbers, bits), bits, palette=quads)
        grey = np.repeat(np.rint(np.linspace(0, 255, 2**bits)).astype(np.uint8)[:, None], 3, 1)
        quads = np.dstack([grey[None], np.zeros((1, len(grey), 1), np.uint8)]).tobytes()
        yield one(f"grey palette, {bits} bits", grey[numbers], _rows(numbers, bits), bits, palette=quads)
    yield one("24 bits", colours(), _rows(_bgr(colours()), 8), 24)
    yield one("24 bits, from the top", colours(), _rows(_bgr(colours()[::-1]), 8), 24, top_down=True)
    core = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    rows = _rows(_bgr(colours()), 8)
    yield PixelFile(kind="bmp", what="24 bits, OS/2", data=bmp(core + rows, rows), shows=colours())
    unused = np.dstack([_bgr(colours()), np.zeros_like(alphas())])
    yield one("32 bits, fourth byte of zeros", colours(), _rows(unused, 8), 32)
    straight = np.dstack([_bgr(colours()), alphas()])
    seen = on_white(colours(), alphas())
    yield one("32 bits, fourth byte used", None, _rows(straight, 8), 32)
    usual = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    for header in (56, 108, 124):
        fields = dict(header=header, compression=3, masks=usual)
        yield one(f"32 bits with alpha, header {header}", seen, _rows(straight, 8), 32, **fields)
        yield one(f"32 bits, alpha of zeros, header {header}", colours(), _rows(unused, 8), 32, **fields)
    for bits, name, masks in (
        (16, "5-5-5", (0x7C00, 0x3E0, 0x1F)), (16, "5-6-5", (0xF800, 0x7E0, 0x1F)),
        (16, "4-4-4", (0xF00, 0xF0, 0xF)), (32, "8-8-8", (0xFF0000, 0xFF00, 0xFF)),
        (32, "8-8-8 from the top", (0xFF000000, 0xFF0000, 0xFF00)),
        (32, "10-10-10", (0x3FF00000, 0xFFC00, 0x3FF)), (32, "BGR", (0xFF, 0xFF00, 0xFF0000)),
    ):  # fmt: skip
        numbers, shows = _fields(colours(), masks)
        yield one(f"{bits} bits, fields {name}", shows, _rows(numbers, bits), bits, compression=3, masks=masks)
    numbers, shows = _fields(colours(), (0x7C00, 0x3E0, 0x1F))
    yield one("16 bits", shows, _rows(numbers, 16), 16)
    layers = np.dstack([colours(), alphas()])
    for bits, masks in ((16, (0xF00, 0xF0, 0xF, 0xF000)), (16, (0x7C00, 0x3E0, 0x1F, 0x8000))):
        numbers, shows = _fields(layers, masks)
        yield one(
            f"{bits} bits with {masks[3].bit_count()} of alpha", on_white(shows[..., :3], shows[..., 3]),
            _rows(numbers, bits), bits, header=56, compression=3, masks=masks,
        )  # fmt: skip
    numbers, table = deep(greys(), 8), _palette(256)
    quads = np.dstack([_bgr(table)[None], np.zeros((1, 256, 1), np.uint8)]).tobytes()
    runs = b"".join(bytes([1, int(v)]) for row in numbers[::-1] for v in [*row, -1][:-1])
    lines = [b"".join(bytes([1, int(v)]) for v in row) + b"\0\0" for row in numbers[::-1]]
    runs = b"".join(lines) + b"\0\1"
    yield one("palette, run lengths", table[numbers], runs, 8, palette=quads, compression=1)


def ico(image: bytes, bits: int) -> bytes:
    entry = struct.pack("<BBBBHHII", WIDTH, HEIGHT, 0, 0, 1, bits, len(image), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + image


def _ico() -> Iterator[PixelFile]:
    hidden = np.zeros((HEIGHT, WIDTH), np.int64)
    hidden[2:9, 4:20] = 1
    cut = colours().copy()
    cut[hidden == 1] = 255
    mask = _rows(hidden, 1)
    bgr = _bgr(colours()).copy()
    for what, numbers, bits, shows in (
        ("24 bits with a mask", bgr, 24, cut),
        ("32 bits with alpha", np.dstack([bgr, alphas()]), 32, on_white(colours(), alphas())),
        ("32 bits, alpha of zeros, with a mask", np.dstack([bgr, 0 * alphas()]), 32, cut),
    ):
        image = dib(_rows(numbers, 8) + mask, bits, height=2 * HEIGHT)
        yield PixelFile(kind="ico", what=what, data=ico(image, bits), shows=shows)
    numbers, table = deep(greys(), 4), _palette(16)
    quads = np.dstack([_bgr(table)[None], np.zeros((1, 16, 1), np.uint8)]).tobytes()
    shows = table[numbers]
    shows[hidden == 1] = 255
    image = dib(_rows(numbers, 4) + mask, 4, palette=quads, height=2 * HEIGHT)
    yield PixelFile(kind="ico", what="palette with a mask", data=ico(image, 4), shows=shows)
    layers = np.dstack([colours(), alphas()])
    yield PixelFile(
        kind="ico", what="PNG inside", data=ico(png(layers, 8, 6), 32),
        shows=on_white(colours(), alphas()),
    )  # fmt: skip


# --- TGA -----------------------------------------------------------------------------------------


def tga(
    body: bytes, kind: int, bits: int, *, alpha_bits: int = 0, top: bool = True, right: bool = False,
    table: bytes = b"", table_bits: int = 0, count: int = 0,
) -> bytes:  # fmt: skip
    flags = alpha_bits | (0x20 if top else 0) | (0x10 if right else 0)
    head = struct.pack("<BBBHHBHHHHBB", 0, int(count > 0), kind, 0, count, table_bits, 0, 0, WIDTH, HEIGHT, bits, flags)
    return head + table + body


def _tga() -> Iterator[PixelFile]:
    def one(what: str, shows: np.ndarray, body: bytes, *layout: int, **more: object) -> PixelFile:
        return PixelFile(kind="tga", what=what, data=tga(body, *layout, **more), shows=shows)  # type: ignore[arg-type]

    def runs(numbers: np.ndarray, bits: int) -> bytes:
        """Run lengths of one pixel each, then of a whole row as it is."""
        out = b""
        for row in numbers.reshape(HEIGHT, WIDTH, -1):
            raw = [packed(pixel[None], bits, "<") for pixel in row]
            out += b"".join(b"\x80" + pixel for pixel in raw[:5])
            out += bytes([len(raw) - 6]) + b"".join(raw[5:])
        return out

    bgr = _bgr(colours()).astype(int)
    yield one("RGB, 24 bits", colours(), packed(bgr.reshape(HEIGHT, -1), 8, "<"), 2, 24)
    yield one("RGB, 24 bits, from the bottom", colours(), bgr[::-1].astype(np.uint8).tobytes(), 2, 24, top=False)
    yield one("RGB, 24 bits, from the right", colours(), bgr[:, ::-1].astype(np.uint8).tobytes(), 2, 24, right=True)
    yield one("RGB, 24 bits, run lengths", colours(), runs(bgr, 8), 10, 24)
    yield one("grey, 8 bits", three(greys()), greys().tobytes(), 3, 8)
    yield one("grey, 8 bits, run lengths", three(greys()), runs(greys().astype(int), 8), 11, 8)
    straight = np.dstack([bgr, alphas()])
    yield one("RGBA, 32 bits", on_white(colours(), alphas()), straight.astype(np.uint8).tobytes(), 2, 32, alpha_bits=8)
    yield one("RGBA, 32 bits, run lengths", on_white(colours(), alphas()), runs(straight, 8), 10, 32, alpha_bits=8)
    nothing = np.dstack([bgr, 0 * alphas()]).astype(np.uint8)
    yield one("RGBA, 32 bits, alpha of zeros", colours(), nothing.tobytes(), 2, 32, alpha_bits=8)
    yield one("RGBA, 32 bits, alpha of zeros, run lengths", colours(), runs(nothing.astype(int), 8), 10, 32, alpha_bits=8)
    yield one("RGB, 32 bits without alpha", colours(), straight.astype(np.uint8).tobytes(), 2, 32)
    numbers, shows = _fields(colours(), (0x7C00, 0x3E0, 0x1F))
    yield one("RGB, 16 bits without alpha", shows, packed(numbers, 16, "<"), 2, 16)
    yield one("RGB, 16 bits without alpha, run lengths", shows, runs(numbers, 16), 10, 16)
    layers = np.dstack([colours(), 255 * (alphas() > 99)])
    numbers, shows = _fields(layers, (0x7C00, 0x3E0, 0x1F, 0x8000))
    yield one("RGB, 16 bits with 1 of alpha", on_white(shows[..., :3], shows[..., 3]), packed(numbers, 16, "<"), 2, 16, alpha_bits=1)
    grey = np.dstack([greys(), alphas()])
    yield one("grey and alpha", on_white(three(greys()), alphas()), grey.tobytes(), 3, 16, alpha_bits=8)
    yield one("grey, alpha of zeros", three(greys()), (grey * [1, 0]).astype(np.uint8).tobytes(), 3, 16, alpha_bits=8)
    table, numbers = _palette(256), deep(greys(), 8)
    yield one("palette, 24 bits", table[numbers], numbers.astype(np.uint8).tobytes(), 1, 8, table=_bgr(table).tobytes(), table_bits=24, count=256)
    with_zeros = np.hstack([_bgr(table), np.zeros((256, 1), np.uint8)])
    yield one("palette, 32 bits, alpha of zeros", table[numbers], numbers.astype(np.uint8).tobytes(), 1, 8, table=with_zeros.tobytes(), table_bits=32, count=256)
    packed_table, seen = _fields(table[None], (0x7C00, 0x3E0, 0x1F))
    yield one("palette, 16 bits", seen[0][numbers], numbers.astype(np.uint8).tobytes(), 1, 8, table=packed(packed_table, 16, "<"), table_bits=16, count=256)


# --- the formats that Pillow writes in all kinds ---------------------------------------------------


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _animated(kind: str, **options: object) -> bytes:
    frames = [Image.fromarray(colours()), Image.new("RGB", (WIDTH, HEIGHT), "red")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=99, **options)


def _gif() -> Iterator[PixelFile]:
    table = np.asarray(Image.fromarray(colours()).quantize(64).convert("RGB"))
    image = Image.fromarray(colours()).quantize(64)
    yield PixelFile(kind="gif", what="palette", data=saved(image, "GIF", interlace=0), shows=table)
    yield PixelFile(kind="gif", what="interlaced", data=saved(image, "GIF", interlace=1), shows=table)
    key = image.getpixel((5, 5))
    shows = table.copy()
    shows[np.asarray(image) == key] = 255
    yield PixelFile(kind="gif", what="with a key", data=saved(image, "GIF", transparency=key), shows=shows)
    yield PixelFile(kind="gif", what="grey", data=saved(Image.fromarray(greys()), "GIF"), shows=three(greys()))
    yield PixelFile(kind="gif", what="first of two frames", data=_animated("GIF"), shows=colours(), tolerance=24)
    small = saved(image, "GIF")
    wide = small[:6] + struct.pack("<HH", WIDTH + 9, HEIGHT + 6) + small[10:]
    yield PixelFile(kind="gif", what="a frame smaller than the screen", data=wide, shows=None)


def _webp() -> Iterator[PixelFile]:
    layers = Image.fromarray(np.dstack([colours(), alphas()]))
    seen = on_white(colours(), alphas())
    yield PixelFile(kind="webp", what="lossless", data=saved(Image.fromarray(colours()), "WEBP", lossless=True), shows=colours())
    yield PixelFile(kind="webp", what="lossy", data=saved(Image.fromarray(colours()), "WEBP", quality=100), shows=colours(), tolerance=12)
    yield PixelFile(kind="webp", what="lossless with alpha", data=saved(layers, "WEBP", lossless=True, exact=True), shows=seen)
    yield PixelFile(kind="webp", what="lossy with alpha", data=saved(layers, "WEBP", quality=100), shows=seen, tolerance=12)
    yield PixelFile(kind="webp", what="first of two frames", data=_animated("WEBP", lossless=True), shows=colours(), second=False)


def _jpeg() -> Iterator[PixelFile]:
    best = dict(quality=100, subsampling=0)
    rgb = Image.fromarray(colours())
    yield PixelFile(kind="jpg", what="YCbCr", data=saved(rgb, "JPEG", **best), shows=colours(), tolerance=4)
    yield PixelFile(kind="jpg", what="YCbCr, half the colours", data=saved(rgb, "JPEG", quality=100, subsampling=2), shows=colours(), tolerance=12)
    yield PixelFile(kind="jpg", what="RGB", data=saved(rgb, "JPEG", keep_rgb=True, **best), shows=colours(), tolerance=4)
    yield PixelFile(kind="jpg", what="grey", data=saved(Image.fromarray(greys()), "JPEG", quality=100), shows=three(greys()), tolerance=4)
    yield PixelFile(kind="jpg", what="progressive", data=saved(rgb, "JPEG", progressive=True, **best), shows=colours(), tolerance=4)
    cmyk = saved(Image.fromarray(inks(), "CMYK") if False else Image.frombytes("CMYK", (WIDTH, HEIGHT), inks().tobytes()), "JPEG", **best)
    yield PixelFile(kind="jpg", what="CMYK of Adobe, inverted", data=cmyk, shows=from_cmyk(inks()), tolerance=5)
    at = cmyk.index(b"\xff\xee")
    length = struct.unpack(">H", cmyk[at + 2 : at + 4])[0]
    plain = cmyk[:at] + cmyk[at + 2 + length :]
    yield PixelFile(kind="jpg", what="CMYK without Adobe's mark", data=plain, shows=None)


def _jpeg2000() -> Iterator[PixelFile]:
    lossless = dict(irreversible=False)
    for ending, options in (("jp2", {}), ("j2k", {"no_jp2": True})):
        more = lossless | options
        def one(what: str, image: Image.Image, shows: np.ndarray | None, **extra: object) -> PixelFile:
            return PixelFile(kind=ending, what=what, data=saved(image, "JPEG2000", **more, **extra), shows=shows)
        yield one("RGB", Image.fromarray(colours()), colours())
        yield one("grey, 8 bits", Image.fromarray(greys()), three(greys()))
        yield one("grey, 16 bits", Image.fromarray(deep(greys(), 16).astype(np.uint16)), three(greys()))
        yield one("grey and alpha", Image.fromarray(np.dstack([greys(), alphas()])), on_white(three(greys()), alphas()))
        yield one("RGBA", Image.fromarray(np.dstack([colours(), alphas()])), on_white(colours(), alphas()))


def _avif() -> Iterator[PixelFile]:
    best = dict(quality=100, subsampling="4:4:4")
    layers = Image.fromarray(np.dstack([colours(), alphas()]))
    yield PixelFile(kind="avif", what="RGB", data=saved(Image.fromarray(colours()), "AVIF", **best), shows=colours(), tolerance=6, second=False)
    yield PixelFile(kind="avif", what="grey", data=saved(Image.fromarray(greys()), "AVIF", **best), shows=three(greys()), tolerance=6, second=False)
    yield PixelFile(kind="avif", what="RGBA", data=saved(layers, "AVIF", **best), shows=on_white(colours(), alphas()), tolerance=8, second=False)
    yield PixelFile(kind="avif", what="premultiplied", data=saved(layers, "AVIF", alpha_premultiplied=True, **best), shows=on_white(colours(), alphas()), tolerance=8, second=False)
    yield PixelFile(kind="avif", what="first of two frames", data=_animated("AVIF", **best), shows=colours(), tolerance=8, second=False)
