"""BMP, ICO and TGA in every layout, written byte by byte."""

import struct
from collections.abc import Iterator

import numpy as np

from pixel_patterns import (
    HEIGHT,
    WIDTH,
    PixelFile,
    alphas,
    chunk,
    colours,
    deep,
    greys,
    on_white,
    packed,
    palette,
    png,
    shallow,
    three,
)


def dib(  # noqa: PLR0913  # the fields of the header
    rows: bytes,
    bits: int,
    *,
    header: int = 40,
    masks: tuple[int, ...] = (),
    compression: int = 0,
    palette: bytes = b"",
    height: int = HEIGHT,
) -> bytes:
    head = struct.pack(
        "<IiiHHIIiiII",
        header,
        WIDTH,
        height,
        1,
        bits,
        compression,
        len(rows),
        2835,
        2835,
        len(palette) // 4,
        0,
    )
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


def bmp_files() -> Iterator[PixelFile]:
    def one(what: str, shows: np.ndarray, rows: bytes, bits: int, **more: object) -> PixelFile:
        body = dib(rows, bits, **more)  # type: ignore[arg-type]
        return PixelFile(kind="bmp", what=what, data=bmp(body, rows), shows=shows)

    for bits in (1, 2, 4, 8):
        numbers, table = deep(greys(), bits), palette(2**bits)
        quads = np.dstack([_bgr(table)[None], np.zeros((1, len(table), 1), np.uint8)]).tobytes()
        yield one(
            f"palette, {bits} bits", table[numbers], _rows(numbers, bits), bits, palette=quads
        )
        grey = np.repeat(np.rint(np.linspace(0, 255, 2**bits)).astype(np.uint8)[:, None], 3, 1)
        quads = np.dstack([grey[None], np.zeros((1, len(grey), 1), np.uint8)]).tobytes()
        yield one(
            f"grey palette, {bits} bits", grey[numbers], _rows(numbers, bits), bits, palette=quads
        )
    yield one("24 bits", colours(), _rows(_bgr(colours()), 8), 24)
    yield one(
        "24 bits, from the top", colours(), _rows(_bgr(colours()[::-1]), 8), 24, height=-HEIGHT
    )
    core = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    rows = _rows(_bgr(colours()), 8)
    yield PixelFile(kind="bmp", what="24 bits, OS/2", data=bmp(core + rows, rows), shows=colours())
    unused = np.dstack([_bgr(colours()), np.zeros_like(alphas())])
    yield one("32 bits, fourth byte of zeros", colours(), _rows(unused, 8), 32)
    straight = np.dstack([_bgr(colours()), alphas()])
    seen = on_white(colours(), alphas())
    yield one("32 bits, fourth byte used", colours(), _rows(straight, 8), 32)
    usual = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    for header in (56, 108, 124):
        fields = dict(header=header, compression=3, masks=usual)
        yield one(f"32 bits with alpha, header {header}", seen, _rows(straight, 8), 32, **fields)
        yield one(
            f"32 bits, alpha of zeros, header {header}", colours(), _rows(unused, 8), 32, **fields
        )
    for bits, name, masks in (
        (16, "5-5-5", (0x7C00, 0x3E0, 0x1F)),
        (16, "5-6-5", (0xF800, 0x7E0, 0x1F)),
        (16, "4-4-4", (0xF00, 0xF0, 0xF)),
        (32, "8-8-8", (0xFF0000, 0xFF00, 0xFF)),
        (32, "8-8-8 from the top", (0xFF000000, 0xFF0000, 0xFF00)),
        (32, "10-10-10", (0x3FF00000, 0xFFC00, 0x3FF)),
        (32, "BGR", (0xFF, 0xFF00, 0xFF0000)),
    ):
        numbers, shows = _fields(colours(), masks)
        yield one(
            f"{bits} bits, fields {name}",
            shows,
            _rows(numbers, bits),
            bits,
            compression=3,
            masks=masks,
        )
    numbers, shows = _fields(colours(), (0x7C00, 0x3E0, 0x1F))
    yield one("16 bits", shows, _rows(numbers, 16), 16)
    layers = np.dstack([colours(), alphas()])
    for bits, masks in ((16, (0xF00, 0xF0, 0xF, 0xF000)), (16, (0x7C00, 0x3E0, 0x1F, 0x8000))):
        numbers, shows = _fields(layers, masks)
        yield one(
            f"{bits} bits with {masks[3].bit_count()} of alpha",
            on_white(shows[..., :3], shows[..., 3]),
            _rows(numbers, bits),
            bits,
            header=56,
            compression=3,
            masks=masks,
        )
    numbers, table = deep(greys(), 8), palette(256)
    quads = np.dstack([_bgr(table)[None], np.zeros((1, 256, 1), np.uint8)]).tobytes()
    lines = [b"".join(bytes([1, int(v)]) for v in row) + b"\0\0" for row in numbers[::-1]]
    runs = b"".join(lines) + b"\0\1"
    yield one("palette, run lengths", table[numbers], runs, 8, palette=quads, compression=1)


def ico(image: bytes, bits: int) -> bytes:
    entry = struct.pack("<BBBBHHII", WIDTH, HEIGHT, 0, 0, 1, bits, len(image), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + image


def ico_files() -> Iterator[PixelFile]:
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
        yield PixelFile(kind="ico", what=f"{what}, undeclared", data=ico(image, 0), shows=shows)
    numbers, table = deep(greys(), 4), palette(16)
    quads = np.dstack([_bgr(table)[None], np.zeros((1, 16, 1), np.uint8)]).tobytes()
    shows = table[numbers]
    shows[hidden == 1] = 255
    image = dib(_rows(numbers, 4) + mask, 4, palette=quads, height=2 * HEIGHT)
    yield PixelFile(kind="ico", what="palette with a mask", data=ico(image, 4), shows=shows)
    layers = np.dstack([colours(), alphas()])
    keyed = colours().copy()
    keyed[3:9, 3:9] = 7
    shows = keyed.copy()
    shows[3:9, 3:9] = 255
    trns = chunk(b"tRNS", struct.pack(">3H", 7, 7, 7))
    yield PixelFile(
        kind="ico", what="PNG with a key inside", data=ico(png(keyed, 8, 2, trns), 24), shows=shows
    )
    yield PixelFile(
        kind="ico",
        what="PNG inside",
        data=ico(png(layers, 8, 6), 32),
        shows=on_white(colours(), alphas()),
    )


def tga(  # noqa: PLR0913  # the fields of the header
    body: bytes,
    kind: int,
    bits: int,
    *,
    alpha_bits: int = 0,
    top: bool = True,
    right: bool = False,
    table: bytes = b"",
    table_bits: int = 0,
    count: int = 0,
) -> bytes:
    flags = alpha_bits | (0x20 if top else 0) | (0x10 if right else 0)
    head = struct.pack(
        "<BBBHHBHHHHBB",
        0,
        int(count > 0),
        kind,
        0,
        count,
        table_bits,
        0,
        0,
        WIDTH,
        HEIGHT,
        bits,
        flags,
    )
    return head + table + body


def tga_files() -> Iterator[PixelFile]:
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
    yield one(
        "RGB, 24 bits, from the bottom",
        colours(),
        bgr[::-1].astype(np.uint8).tobytes(),
        2,
        24,
        top=False,
    )
    yield one(
        "RGB, 24 bits, from the right",
        colours(),
        bgr[:, ::-1].astype(np.uint8).tobytes(),
        2,
        24,
        right=True,
    )
    yield one("RGB, 24 bits, run lengths", colours(), runs(bgr, 8), 10, 24)
    yield one("grey, 8 bits", three(greys()), greys().tobytes(), 3, 8)
    yield one("grey, 8 bits, run lengths", three(greys()), runs(greys().astype(int), 8), 11, 8)
    straight = np.dstack([bgr, alphas()])
    yield one(
        "RGBA, 32 bits",
        on_white(colours(), alphas()),
        straight.astype(np.uint8).tobytes(),
        2,
        32,
        alpha_bits=8,
    )
    yield one(
        "RGBA, 32 bits, run lengths",
        on_white(colours(), alphas()),
        runs(straight, 8),
        10,
        32,
        alpha_bits=8,
    )
    nothing = np.dstack([bgr, 0 * alphas()]).astype(np.uint8)
    yield one("RGBA, 32 bits, alpha of zeros", colours(), nothing.tobytes(), 2, 32, alpha_bits=8)
    yield one(
        "RGBA, 32 bits, alpha of zeros, run lengths",
        colours(),
        runs(nothing.astype(int), 8),
        10,
        32,
        alpha_bits=8,
    )
    # Programs leave the count of alpha bits at 0 and mean it: GIMP and ImageMagick read it, too.
    yield one(
        "RGBA, 32 bits, undeclared",
        on_white(colours(), alphas()),
        straight.astype(np.uint8).tobytes(),
        2,
        32,
    )
    numbers, shows = _fields(colours(), (0x7C00, 0x3E0, 0x1F))
    yield one(
        "RGB, 16 bits, highest set, without alpha", shows, packed(numbers | 0x8000, 16, "<"), 2, 16
    )
    yield one("RGB, 16 bits without alpha", shows, packed(numbers, 16, "<"), 2, 16)
    yield one("RGB, 16 bits without alpha, run lengths", shows, runs(numbers, 16), 10, 16)
    layers = np.dstack([colours(), 255 * (alphas() > 99)])
    numbers, shows = _fields(layers, (0x7C00, 0x3E0, 0x1F, 0x8000))
    yield one(
        "RGB, 16 bits with 1 of alpha",
        on_white(shows[..., :3], shows[..., 3]),
        packed(numbers, 16, "<"),
        2,
        16,
        alpha_bits=1,
    )
    grey = np.dstack([greys(), alphas()])
    yield one(
        "grey and alpha", on_white(three(greys()), alphas()), grey.tobytes(), 3, 16, alpha_bits=8
    )
    yield one(
        "grey, alpha of zeros",
        three(greys()),
        (grey * [1, 0]).astype(np.uint8).tobytes(),
        3,
        16,
        alpha_bits=8,
    )
    table, numbers = palette(256), deep(greys(), 8)
    yield one(
        "palette, 24 bits",
        table[numbers],
        numbers.astype(np.uint8).tobytes(),
        1,
        8,
        table=_bgr(table).tobytes(),
        table_bits=24,
        count=256,
    )
    with_zeros = np.hstack([_bgr(table), np.zeros((256, 1), np.uint8)])
    yield one(
        "palette, 32 bits, alpha of zeros",
        table[numbers],
        numbers.astype(np.uint8).tobytes(),
        1,
        8,
        table=with_zeros.tobytes(),
        table_bits=32,
        count=256,
    )
    packed_table, seen = _fields(table[None], (0x7C00, 0x3E0, 0x1F))
    yield one(
        "palette, 16 bits, highest set",
        seen[0][numbers],
        numbers.astype(np.uint8).tobytes(),
        1,
        8,
        table=packed(packed_table | 0x8000, 16, "<"),
        table_bits=16,
        count=256,
    )
    yield one(
        "palette, 16 bits",
        seen[0][numbers],
        numbers.astype(np.uint8).tobytes(),
        1,
        8,
        table=packed(packed_table, 16, "<"),
        table_bits=16,
        count=256,
    )
