"""Small picture files of every kind that can be opened, with the pixels that they must show.

What they must show is computed from the numbers that went in, so it depends on no decoder.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pixel_patterns import (
    HEIGHT,
    WHITE,
    WIDTH,
    PixelFile,
    alphas,
    chunk,
    colours,
    deep,
    from_cmyk,
    greys,
    inks,
    on_white,
    packed,
    palette,
    png,
    saved,
    shallow,
    shown,
    three,
)
from pixel_tiff import (
    tiff_alpha_files,
    tiff_colour_files,
    tiff_grey_files,
    tiff_layout_files,
    tiff_others_files,
)
from pixel_windows import bmp_files, ico_files, tga_files

REFUSED = {
    r"tiff: grey, (10|14|24) bits": "depths that Pillow does not know",
    r"tiff: grey, 12 bits, white is zero|tiff: .*12 bits.*big endian|tiff: 1 x 12 bits.*reversed": (
        "Pillow unpacks 12 bits of little-endian files only"
    ),
    r"tiff: grey, 16 bits, white.*big|tiff: grey, 32 bits, (white|black.*big)": (
        "Pillow knows one byte order or photometric interpretation of the two"
    ),
    r"tiff: .*(16|64)-bit floating|tiff: RGB, (32-bit|32 bits)": "Pillow reads floats of 32 bits",
    r"tiff: .* 8 bits, signed": "decoders disagree on where black is",
    r"tiff: .*floating, white is zero": "floats have no white to subtract from",
    r"tiff: RGB, 4 bits": "Pillow reads colours of 8 and 16 bits",
    r"tiff: grey and (straight|associated) alpha, 16 bits": "Pillow has no 16-bit alpha",
    r"tiff: grey and associated alpha": "Pillow has no grey of associated alpha",
    r"tiff: RGB and (associated alpha|something else), 8 bits, by plane, .*raw": "Pillow's planes",
    r"tiff: ICCLAB": "Pillow knows CIELAB only",
    r"tiff: (1 x 16 bits.*reversed, big|3 x 16 bits.*reversed)": (
        "Pillow reverses bits of 8-bit samples and of little-endian grey"
    ),
    r"bmp: .*palette, 2 bits": "no version of the format allows it",
    r"bmp: .*(4-4-4|10-10-10|fields BGR|4 of alpha)": "fields that Pillow does not know",
    r"tga: palette, 32 bits": "Pillow reads tables of 16 and 24 bits",
    r"jp2: RGB, 12 bits": "Pillow turns the brightest colours black",
}
"""Names of files that are refused, and why: nobody has to guess what they show."""

SECOND_DIFFERS = {
    r"tiff: grey, (2|4|10|12|14|24|32) bits, white is zero": "does not invert these depths",
    r"tiff: grey, 24 bits|tiff: .*floating, white is zero": "reads another range or no inversion",
    r"tiff: .* (8|32) bits, signed": "counts negative numbers from white",
    r"tiff: ICCLAB": "shows the three channels as red, green and blue",
    r"tiff: .*something else|tiff: .*undeclared": "takes any fourth channel for alpha",
    r"(bmp|tga|ico): .*alpha of zeros": "shows a picture that is all hidden",
    r"bmp: 32 bits, fourth byte used": "takes a byte for alpha that the format reserves",
    r"bmp: .*(palette, 2 bits|4-4-4|of alpha)": "refuses it, or widens few bits otherwise",
    r"tga: grey and alpha": "reads alpha upside down",
    r"tga: palette, 32 bits": "takes the fourth byte of the table for alpha",
    r"gif: a frame smaller": "gives the frame without its screen",
    r"j2k: grey and alpha": "ignores alpha where no header declares it",
    r"avif:": "has no reader, or one without alpha, depending on how it was built",
}
"""Names of files that ImageMagick 6 shows otherwise than their format says, and how."""


def all_files() -> list[PixelFile]:
    makers: tuple[Callable[[], Iterator[PixelFile]], ...] = (
        png_files,
        png_keys_files,
        tiff_grey_files,
        tiff_colour_files,
        tiff_alpha_files,
        tiff_others_files,
        tiff_layout_files,
        pnm_files,
        bmp_files,
        tga_files,
        ico_files,
        gif_files,
        webp_files,
        jpeg_files,
        jpeg2000_files,
        avif_files,
    )
    return [file for maker in makers for file in maker()]


def png_files() -> Iterator[PixelFile]:
    for bits in (1, 2, 4, 8, 16):
        numbers = deep(greys(), bits)
        yield PixelFile(
            kind="png",
            what=f"grey, {bits} bits",
            data=png(numbers, bits, 0),
            shows=three(shallow(numbers, bits)),
        )
        yield PixelFile(
            kind="png",
            what=f"grey, {bits} bits, interlaced",
            data=png(numbers, bits, 0, interlaced=True),
            shows=three(shallow(numbers, bits)),
        )
    for bits in (1, 2, 4, 8):
        table = palette(2**bits)
        numbers = deep(greys(), bits)
        plte = chunk(b"PLTE", table.tobytes())
        yield PixelFile(
            kind="png",
            what=f"palette, {bits} bits",
            data=png(numbers, bits, 3, plte),
            shows=table[numbers],
        )
        clear = np.linspace(0, 255, 2**bits).astype(np.uint8)
        trns = chunk(b"tRNS", clear.tobytes())
        yield PixelFile(
            kind="png",
            what=f"palette with alpha, {bits} bits",
            data=png(numbers, bits, 3, plte, trns),
            shows=on_white(table[numbers], clear[numbers]),
        )
    for bits in (8, 16):
        layers = np.dstack([greys(), alphas()])
        yield PixelFile(
            kind="png",
            what=f"grey and alpha, {bits} bits",
            data=png(deep(layers, bits), bits, 4),
            shows=on_white(three(greys()), alphas()),
        )
        yield PixelFile(
            kind="png",
            what=f"RGB, {bits} bits",
            data=png(deep(colours(), bits), bits, 2),
            shows=colours(),
        )
        layers = np.dstack([colours(), alphas()])
        yield PixelFile(
            kind="png",
            what=f"RGBA, {bits} bits",
            data=png(deep(layers, bits), bits, 6),
            shows=on_white(colours(), alphas()),
        )


def png_keys_files() -> Iterator[PixelFile]:
    """One grey or colour that is transparent, as the chunk tRNS names it: in the file's depth."""
    for bits in (1, 2, 4, 8, 16):
        numbers = deep(greys(), bits)
        if bits == 16:  # neighbours of the key that share its upper byte stay
            numbers[0, :4] = (0x8000, 0x8001, 0x8000, 0x80FF)
        key = int(numbers[HEIGHT // 2, WIDTH // 2]) if bits < 16 else 0x8000
        shows = three(shallow(numbers, bits))
        shows[numbers == key] = 255
        yield PixelFile(
            kind="png",
            what=f"grey with a key, {bits} bits",
            data=png(numbers, bits, 0, chunk(b"tRNS", struct.pack(">H", key))),
            shows=shows,
        )
    for bits in (8, 16):
        numbers = deep(colours(), bits)
        key = numbers[3, 5].copy()
        numbers[8:12, 8:20] = key
        if bits == 16:
            numbers[0, :9] = (*key[:2], key[2] + 1)  # differs from the key in its low byte only
        shows = shallow(numbers, bits)
        shows[(numbers == key).all(-1)] = 255
        yield PixelFile(
            kind="png",
            what=f"RGB with a key, {bits} bits",
            data=png(numbers, bits, 2, chunk(b"tRNS", struct.pack(">3H", *key))),
            shows=shows,
        )


def pnm_files() -> Iterator[PixelFile]:
    size = f"{WIDTH} {HEIGHT}\n"
    bits = deep(greys(), 1)
    shows = three(shown(greys(), 1))
    plain = "\n".join(" ".join(str(1 - v) for v in row) for row in bits)
    yield PixelFile(kind="pbm", what="plain", data=f"P1\n{size}{plain}\n".encode(), shows=shows)
    yield PixelFile(
        kind="pbm",
        what="packed",
        data=f"P4\n{size}".encode() + packed(1 - bits, 1, ">"),
        shows=shows,
    )
    for most in (1, 15, 100, 255, 256, 1000, 4095, 65534, 65535):
        dtype = ">u1" if most < 256 else ">u2"
        for kind, letter, pixels in (("pgm", 2, greys()), ("ppm", 3, colours())):
            numbers = np.rint(pixels / WHITE * most).astype(int)
            shows = np.rint(numbers * (WHITE / most)).astype(np.uint8)
            shows = three(shows) if kind == "pgm" else shows
            head = f"{size}{most}\n"
            text = "\n".join(" ".join(map(str, row.ravel())) for row in numbers)
            yield PixelFile(
                kind=kind,
                what=f"plain, up to {most}",
                data=f"P{letter}\n{head}{text}\n".encode(),
                shows=shows,
            )
            yield PixelFile(
                kind=kind,
                what=f"raw, up to {most}",
                shows=shows,
                data=f"P{letter + 3}\n{head}".encode() + numbers.astype(dtype).tobytes(),
            )
    for most in (1000, 65535):
        numbers = greys().astype(int)
        shows = three(np.rint(numbers * (WHITE / most)).astype(np.uint8))
        yield PixelFile(
            kind="pgm",
            what=f"raw, up to {most}, but dark",
            shows=shows,
            data=f"P5\n{size}{most}\n".encode() + numbers.astype(">u2").tobytes(),
        )
    rows = (greys() / WHITE)[::-1]  # from the bottom up
    for scale, dtype in ((-1.0, "<f4"), (1.0, ">f4")):
        yield PixelFile(
            kind="pfm",
            what=f"floating, scale {scale}",
            shows=three(greys()),
            data=f"Pf\n{size}{scale}\n".encode() + rows.astype(dtype).tobytes(),
        )


def _animated(kind: str, **options: object) -> bytes:
    frames = [Image.fromarray(colours()), Image.new("RGB", (WIDTH, HEIGHT), "red")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=99, **options)


def gif_files() -> Iterator[PixelFile]:
    table = np.asarray(Image.fromarray(colours()).quantize(64).convert("RGB"))
    image = Image.fromarray(colours()).quantize(64)
    yield PixelFile(kind="gif", what="palette", data=saved(image, "GIF", interlace=0), shows=table)
    yield PixelFile(
        kind="gif", what="interlaced", data=saved(image, "GIF", interlace=1), shows=table
    )
    key = image.getpixel((5, 5))
    shows = table.copy()
    shows[np.asarray(image) == key] = 255
    yield PixelFile(
        kind="gif", what="with a key", data=saved(image, "GIF", transparency=key), shows=shows
    )
    yield PixelFile(
        kind="gif", what="grey", data=saved(Image.fromarray(greys()), "GIF"), shows=three(greys())
    )
    yield PixelFile(
        kind="gif", what="first of two frames", data=_animated("GIF"), shows=colours(), tolerance=24
    )
    small = saved(image, "GIF")
    wide = small[:6] + struct.pack("<HH", WIDTH + 9, HEIGHT + 6) + small[10:]
    background = table.dtype.type(list(small[13 + 3 * small[11] : 16 + 3 * small[11]]))
    shows = np.full((HEIGHT + 6, WIDTH + 9, 3), background)
    shows[:HEIGHT, :WIDTH] = table
    yield PixelFile(kind="gif", what="a frame smaller than the screen", data=wide, shows=shows)


def webp_files() -> Iterator[PixelFile]:
    layers = Image.fromarray(np.dstack([colours(), alphas()]))
    seen = on_white(colours(), alphas())
    yield PixelFile(
        kind="webp",
        what="lossless",
        data=saved(Image.fromarray(colours()), "WEBP", lossless=True),
        shows=colours(),
    )
    yield PixelFile(
        kind="webp",
        what="lossy",
        data=saved(Image.fromarray(colours()), "WEBP", quality=100),
        shows=colours(),
        tolerance=12,
    )
    yield PixelFile(
        kind="webp",
        what="lossless with alpha",
        data=saved(layers, "WEBP", lossless=True, exact=True),
        shows=seen,
    )
    yield PixelFile(
        kind="webp",
        what="lossy with alpha",
        data=saved(layers, "WEBP", quality=100),
        shows=seen,
        tolerance=12,
    )
    yield PixelFile(
        kind="webp",
        what="first of two frames",
        data=_animated("WEBP", lossless=True),
        shows=colours(),
    )


def jpeg_files() -> Iterator[PixelFile]:
    best = dict(quality=100, subsampling=0)
    rgb = Image.fromarray(colours())
    yield PixelFile(
        kind="jpg", what="YCbCr", data=saved(rgb, "JPEG", **best), shows=colours(), tolerance=4
    )
    yield PixelFile(
        kind="jpg",
        what="YCbCr, half the colours",
        data=saved(rgb, "JPEG", quality=100, subsampling=2),
        shows=colours(),
        tolerance=12,
    )
    yield PixelFile(
        kind="jpg",
        what="RGB",
        data=saved(rgb, "JPEG", keep_rgb=True, **best),
        shows=colours(),
        tolerance=4,
    )
    yield PixelFile(
        kind="jpg",
        what="grey",
        data=saved(Image.fromarray(greys()), "JPEG", quality=100),
        shows=three(greys()),
        tolerance=4,
    )
    yield PixelFile(
        kind="jpg",
        what="progressive",
        data=saved(rgb, "JPEG", progressive=True, **best),
        shows=colours(),
        tolerance=4,
    )
    cmyk = saved(Image.frombytes("CMYK", (WIDTH, HEIGHT), inks().tobytes()), "JPEG", **best)
    yield PixelFile(
        kind="jpg", what="CMYK of Adobe, inverted", data=cmyk, shows=from_cmyk(inks()), tolerance=5
    )
    at = cmyk.index(b"\xff\xee")
    length = struct.unpack(">H", cmyk[at + 2 : at + 4])[0]
    plain = cmyk[:at] + cmyk[at + 2 + length :]
    yield PixelFile(
        kind="jpg",
        what="CMYK without Adobe's mark",
        data=plain,
        shows=from_cmyk(inks()),
        tolerance=5,
    )


def jpeg2000_files() -> Iterator[PixelFile]:
    seen = on_white(colours(), alphas())
    pictures = (
        ("RGB", colours(), colours()),
        ("grey, 8 bits", greys(), three(greys())),
        ("grey, 16 bits", deep(greys(), 16).astype(np.uint16), three(greys())),
        ("grey and alpha", np.dstack([greys(), alphas()]), on_white(three(greys()), alphas())),
        ("RGBA", np.dstack([colours(), alphas()]), seen),
    )
    for kind, bare in (("jp2", False), ("j2k", True)):
        for what, numbers, shows in pictures:
            data = saved(Image.fromarray(numbers), "JPEG2000", irreversible=False, no_jp2=bare)
            yield PixelFile(kind=kind, what=what, data=data, shows=shows)
    # Written by ImageMagick, which cuts numbers to fewer bits where others round them.
    four = Path(__file__).with_name("data") / "grey_4_bits.jp2"
    shows = three(shown(greys(), 4))
    yield PixelFile(
        kind="jp2", what="grey, 4 bits", data=four.read_bytes(), shows=shows, tolerance=17
    )
    twelve = Path(__file__).with_name("data") / "colours_12_bits.jp2"
    yield PixelFile(kind="jp2", what="RGB, 12 bits", data=twelve.read_bytes(), shows=colours())


def avif_files() -> Iterator[PixelFile]:
    best = dict(quality=100, subsampling="4:4:4")
    layers = Image.fromarray(np.dstack([colours(), alphas()]))
    yield PixelFile(
        kind="avif",
        what="RGB",
        data=saved(Image.fromarray(colours()), "AVIF", **best),
        shows=colours(),
        tolerance=6,
    )
    yield PixelFile(
        kind="avif",
        what="grey",
        data=saved(Image.fromarray(greys()), "AVIF", **best),
        shows=three(greys()),
        tolerance=6,
    )
    yield PixelFile(
        kind="avif",
        what="RGBA",
        data=saved(layers, "AVIF", **best),
        shows=on_white(colours(), alphas()),
        tolerance=8,
    )
    yield PixelFile(
        kind="avif",
        what="premultiplied",
        data=saved(layers, "AVIF", alpha_premultiplied=True, **best),
        shows=on_white(colours(), alphas()),
        tolerance=8,
    )
    yield PixelFile(
        kind="avif",
        what="first of two frames",
        data=_animated("AVIF", **best),
        shows=colours(),
        tolerance=8,
    )
