"""TIFF in every layout: written byte by byte, since Pillow writes fewer kinds than it reads."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pixel_patterns import (
    HEIGHT,
    WHITE,
    WIDTH,
    PixelFile,
    alphas,
    colours,
    deep,
    from_cmyk,
    greys,
    inks,
    on_white,
    packed,
    palette,
    shallow,
    shown,
    three,
)

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


def _tiff(what: str, shows: np.ndarray, layout: Tiff, **more: object) -> PixelFile:
    return PixelFile(kind="tiff", what=what, data=layout.data(), shows=shows, **more)  # type: ignore[arg-type]


def _variants(
    what: str, shows: np.ndarray, tolerance: int = 1, **layout: object
) -> Iterator[PixelFile]:
    for order, order_name in _ORDERS:
        for deflate, packing in _PACKING:
            file = Tiff(order=order, deflate=deflate, **layout)  # type: ignore[arg-type]
            name = f"{what}, {order_name}, {packing}"
            yield _tiff(name, shows, file, tolerance=tolerance)


def tiff_grey_files() -> Iterator[PixelFile]:
    for bits in (1, 2, 4, 8, 10, 12, 14, 16, 24, 32):
        numbers = deep(greys(), bits)
        shows = three(shallow(numbers, bits))
        for photometric, name in ((1, "black is zero"), (0, "white is zero")):
            held = numbers if photometric else 2**bits - 1 - numbers
            yield from _variants(
                f"grey, {bits} bits, {name}",
                shows,
                numbers=held[..., None],
                bits=bits,
                photometric=photometric,
            )
    for bits in (16, 32, 64):
        for photometric, name in ((1, "black is zero"), (0, "white is zero")):
            unit = greys() / WHITE
            held = unit if photometric else 1 - unit
            yield from _variants(
                f"grey, {bits}-bit floating, {name}",
                three(greys()),
                numbers=held[..., None],
                bits=bits,
                photometric=photometric,
                sample_format=3,
            )
    for bits in (8, 16, 32):
        half = 2 ** (bits - 1)
        numbers = deep(greys(), bits) - half
        yield from _variants(
            f"grey, {bits} bits, signed",
            three(greys()),
            numbers=numbers[..., None],
            bits=bits,
            photometric=1,
            sample_format=2,
        )


def tiff_colour_files() -> Iterator[PixelFile]:
    for bits in (4, 8, 16):
        for planar, name in ((1, "by pixel"), (2, "by plane")):
            yield from _variants(
                f"RGB, {bits} bits, {name}",
                shown(colours(), bits),
                numbers=deep(colours(), bits),
                bits=bits,
                photometric=2,
                planar=planar,
            )
    for bits in (16, 32):
        yield from _variants(
            f"RGB, {bits}-bit floating",
            colours(),
            numbers=colours() / WHITE,
            bits=bits,
            photometric=2,
            sample_format=3,
        )
    yield from _variants(
        "RGB, 8 bits, signed",
        colours(),
        numbers=colours().astype(int) - 128,
        bits=8,
        photometric=2,
        sample_format=2,
    )
    yield from _variants(
        "RGB, 32 bits", colours(), numbers=deep(colours(), 32), bits=32, photometric=2
    )
    for bits in (1, 2, 4, 8):
        table = palette(2**bits)
        numbers = deep(greys(), bits)
        for scale, name in ((257, "16-bit table"), (1, "8-bit table")):
            entries = tuple(int(v) for v in (table.T.astype(int) * scale).ravel())
            yield from _variants(
                f"palette, {bits} bits, {name}",
                table[numbers],
                numbers=numbers[..., None],
                bits=bits,
                photometric=3,
                tags=((320, "H", entries),),
            )


def tiff_alpha_files() -> Iterator[PixelFile]:
    shows = on_white(colours(), alphas())
    share = alphas()[..., None] / WHITE
    for bits in (8, 16):
        alpha = deep(alphas(), bits)
        straight = np.dstack([deep(colours(), bits), alpha])
        associated = np.dstack([np.rint(deep(colours(), bits) * share).astype(int), alpha])
        for planar, name in ((1, "by pixel"), (2, "by plane")):
            layout = dict(bits=bits, photometric=2, planar=planar)
            yield from _variants(
                f"RGB and straight alpha, {bits} bits, {name}",
                shows,
                numbers=straight,
                extra=(2,),
                **layout,
            )
            yield from _variants(
                f"RGB and associated alpha, {bits} bits, {name}",
                shows,
                numbers=associated,
                extra=(1,),
                tolerance=2,
                **layout,
            )
            yield from _variants(
                f"RGB and something else, {bits} bits, {name}",
                colours(),
                numbers=straight,
                extra=(0,),
                **layout,
            )
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


def to_ycbcr(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("YCbCr"))


def _from_lightness(grey: np.ndarray) -> np.ndarray:
    """L* of CIELAB -> the grey of sRGB (IEC 61966-2-1)."""
    lightness = grey / WHITE * 100
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    power = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    return np.rint(WHITE * power).astype(np.uint8)


def tiff_others_files() -> Iterator[PixelFile]:
    for bits in (8, 16):
        for planar, name in ((1, "by pixel"), (2, "by plane")):
            yield from _variants(
                f"CMYK, {bits} bits, {name}",
                from_cmyk(inks()),
                numbers=deep(inks(), bits),
                bits=bits,
                photometric=5,
                planar=planar,
            )
    subsampling = ((530, "H", (1, 1)),)
    yield from _variants(
        "YCbCr, 8 bits",
        colours(),
        numbers=to_ycbcr(colours()),
        bits=8,
        photometric=6,
        tags=subsampling,
        tolerance=3,
    )
    for photometric, name, zero in ((8, "CIELAB", 0), (9, "ICCLAB", 128)):
        lab = np.full((HEIGHT, WIDTH, 3), zero, np.int64)
        lab[..., 0] = greys()
        yield from _variants(
            f"{name}, 8 bits, neutral",
            three(_from_lightness(greys())),
            numbers=lab,
            bits=8,
            photometric=photometric,
            tolerance=2,
        )


def tiff_layout_files() -> Iterator[PixelFile]:
    for bits in (1, 4, 8, 16):
        for photometric in (0, 1):
            held = deep(greys(), bits)
            held = held if photometric else 2**bits - 1 - held
            yield from _variants(
                f"grey, {bits} bits, {'black' if photometric else 'white'} is zero, as a plane",
                three(shown(greys(), bits)),
                numbers=held[..., None],
                bits=bits,
                photometric=photometric,
                planar=2,
            )
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
            yield from _variants(
                f"{what}, planes in strips", shows, planar=2, rows_per_strip=5, **layout
            )
            yield from _variants(f"{what}, planes in tiles", shows, planar=2, tile=16, **layout)
    for order, name in _ORDERS:
        for bits, held in ((8, greys().astype(int)), (16, deep(greys(), 16))):
            steps = np.diff(held, axis=1, prepend=0)
            yield _tiff(
                f"grey, {bits} bits, predicted, {name}",
                three(greys()),
                Tiff(
                    numbers=steps[..., None],
                    bits=bits,
                    photometric=1,
                    deflate=True,
                    order=order,
                    tags=((317, "H", (2,)),),
                ),
            )
