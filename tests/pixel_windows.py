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


def _bmp(what: str, shows: np.ndarray, rows: bytes, bits: int, **more: object) -> PixelFile:
    body = dib(rows, bits, **more)  # type: ignore[arg-type]
    return PixelFile(kind="bmp", what=what, data=bmp(body, rows), shows=shows)


def _quads(table: np.ndarray) -> bytes:
    return np.hstack([_bgr(table), np.zeros((len(table), 1), np.uint8)]).tobytes()


def bmp_files() -> Iterator[PixelFile]:
    yield _bmp("24 bits", colours(), _rows(_bgr(colours()), 8), 24)
    upside_down = _rows(_bgr(colours()[::-1]), 8)
    yield _bmp("24 bits, from the top", colours(), upside_down, 24, height=-HEIGHT)
    core = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    rows = _rows(_bgr(colours()), 8)
    yield PixelFile(kind="bmp", what="24 bits, OS/2", data=bmp(core + rows, rows), shows=colours())
    yield from _bmp_with_a_table()
    yield from _bmp_with_alpha()
    yield from _bmp_with_fields()


def _bmp_with_a_table() -> Iterator[PixelFile]:
    for bits in (1, 2, 4, 8):
        numbers = deep(greys(), bits)
        rows = _rows(numbers, bits)
        steps = np.rint(np.linspace(0, 255, 2**bits)).astype(np.uint8)
        for what, table in (("palette", palette(2**bits)), ("grey palette", three(steps))):
            yield _bmp(f"{what}, {bits} bits", table[numbers], rows, bits, palette=_quads(table))
    numbers, table = deep(greys(), 8), palette(256)
    lines = [b"".join(bytes([1, int(v)]) for v in row) + b"\0\0" for row in numbers[::-1]]
    runs = b"".join(lines) + b"\0\1"
    more = dict(palette=_quads(table), compression=1)
    yield _bmp("palette, run lengths", table[numbers], runs, 8, **more)


def _bmp_with_alpha() -> Iterator[PixelFile]:
    unused = _rows(np.dstack([_bgr(colours()), 0 * alphas()]), 8)
    straight = _rows(np.dstack([_bgr(colours()), alphas()]), 8)
    seen = on_white(colours(), alphas())
    yield _bmp("32 bits, fourth byte of zeros", colours(), unused, 32)
    yield _bmp("32 bits, fourth byte used", colours(), straight, 32)
    for header in (56, 108, 124):
        fields = dict(header=header, compression=3, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000))
        yield _bmp(f"32 bits with alpha, header {header}", seen, straight, 32, **fields)
        what = f"32 bits, alpha of zeros, header {header}"
        yield _bmp(what, colours(), unused, 32, **fields)


def _bmp_with_fields() -> Iterator[PixelFile]:
    numbers, shows = _fields(colours(), (0x7C00, 0x3E0, 0x1F))
    yield _bmp("16 bits", shows, _rows(numbers, 16), 16)
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
        more = dict(compression=3, masks=masks)
        yield _bmp(f"{bits} bits, fields {name}", shows, _rows(numbers, bits), bits, **more)
    layers = np.dstack([colours(), alphas()])
    for count, masks in ((4, (0xF00, 0xF0, 0xF, 0xF000)), (1, (0x7C00, 0x3E0, 0x1F, 0x8000))):
        numbers, shows = _fields(layers, masks)
        more = dict(header=56, compression=3, masks=masks)
        seen = on_white(shows[..., :3], shows[..., 3])
        yield _bmp(f"16 bits with {count} of alpha", seen, _rows(numbers, 16), 16, **more)


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
    shows = table[numbers]
    shows[hidden == 1] = 255
    image = dib(_rows(numbers, 4) + mask, 4, palette=_quads(table), height=2 * HEIGHT)
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


def _tga(what: str, shows: np.ndarray, body: bytes, *layout: int, **more: object) -> PixelFile:
    return PixelFile(kind="tga", what=what, data=tga(body, *layout, **more), shows=shows)  # type: ignore[arg-type]


def _runs(numbers: np.ndarray, bits: int) -> bytes:
    """Of each row five runs of one pixel, then the rest as it is."""
    out = b""
    for row in numbers.reshape(HEIGHT, WIDTH, -1):
        raw = [packed(pixel[None], bits, "<") for pixel in row]
        out += b"".join(b"\x80" + pixel for pixel in raw[:5])
        out += bytes([len(raw) - 6]) + b"".join(raw[5:])
    return out


def tga_files() -> Iterator[PixelFile]:
    bgr = _bgr(colours())
    yield _tga("RGB, 24 bits", colours(), bgr.tobytes(), 2, 24)
    yield _tga("RGB, 24 bits, run lengths", colours(), _runs(bgr, 8), 10, 24)
    yield _tga("RGB, 24 bits, from the bottom", colours(), bgr[::-1].tobytes(), 2, 24, top=False)
    turned = bgr[:, ::-1].tobytes()
    yield _tga("RGB, 24 bits, from the right", colours(), turned, 2, 24, right=True)
    yield _tga("grey, 8 bits", three(greys()), greys().tobytes(), 3, 8)
    yield _tga("grey, 8 bits, run lengths", three(greys()), _runs(greys(), 8), 11, 8)
    yield from _tga_of_16_bits()
    yield from _tga_with_alpha()
    yield from _tga_with_a_table()


def _tga_of_16_bits() -> Iterator[PixelFile]:
    numbers, shows = _fields(colours(), (0x7C00, 0x3E0, 0x1F))
    what = "RGB, 16 bits without alpha"
    yield _tga(what, shows, packed(numbers, 16, "<"), 2, 16)
    yield _tga(f"{what}, run lengths", shows, _runs(numbers, 16), 10, 16)
    yield _tga(f"{what}, highest set", shows, packed(numbers | 0x8000, 16, "<"), 2, 16)
    layers = np.dstack([colours(), 255 * (alphas() > 99)])
    numbers, shows = _fields(layers, (0x7C00, 0x3E0, 0x1F, 0x8000))
    seen = on_white(shows[..., :3], shows[..., 3])
    what = "RGB, 16 bits with 1 of alpha"
    yield _tga(what, seen, packed(numbers, 16, "<"), 2, 16, alpha_bits=1)


def _tga_with_alpha() -> Iterator[PixelFile]:
    seen = on_white(colours(), alphas())
    straight = np.dstack([_bgr(colours()), alphas()])
    nothing = np.dstack([_bgr(colours()), 0 * alphas()])
    for what, shows, layers in (
        ("RGBA, 32 bits", seen, straight),
        ("RGBA, 32 bits, alpha of zeros", colours(), nothing),
    ):
        yield _tga(what, shows, layers.tobytes(), 2, 32, alpha_bits=8)
        yield _tga(f"{what}, run lengths", shows, _runs(layers, 8), 10, 32, alpha_bits=8)
    # Programs leave the count of alpha bits at 0 and mean it: GIMP and ImageMagick read it, too.
    yield _tga("RGBA, 32 bits, undeclared", seen, straight.tobytes(), 2, 32)
    grey = np.dstack([greys(), alphas()])
    seen = on_white(three(greys()), alphas())
    yield _tga("grey and alpha", seen, grey.tobytes(), 3, 16, alpha_bits=8)
    nothing = np.dstack([greys(), 0 * alphas()])
    yield _tga("grey, alpha of zeros", three(greys()), nothing.tobytes(), 3, 16, alpha_bits=8)


def _tga_with_a_table() -> Iterator[PixelFile]:
    table, numbers = palette(256), deep(greys(), 8)
    zeros = np.hstack([_bgr(table), np.zeros((256, 1), np.uint8)])
    few, seen = _fields(table[None], (0x7C00, 0x3E0, 0x1F))
    for what, shows, colour_map, bits in (
        ("24 bits", table, _bgr(table).tobytes(), 24),
        ("32 bits, alpha of zeros", table, zeros.tobytes(), 32),
        ("16 bits", seen[0], packed(few, 16, "<"), 16),
        ("16 bits, highest set", seen[0], packed(few | 0x8000, 16, "<"), 16),
    ):
        more = dict(table=colour_map, table_bits=bits, count=256)
        body = numbers.astype(np.uint8).tobytes()
        yield _tga(f"palette, {what}", shows[numbers], body, 1, 8, **more)
