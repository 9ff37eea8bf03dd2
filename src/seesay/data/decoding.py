"""Picture files -> upright RGB pixels, with every limit checked before memory is allocated."""

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import BufferedIOBase
from typing import IO, cast

from PIL import Image, ImageFile, UnidentifiedImageError

from seesay.data.pixel_modes import to_rgb, to_srgb
from seesay.errors import ConfigError, ImageError, MissingExtraError
from seesay.text import Text

# Only formats that hold pictures and whose readers are plain libraries; Pillow's full list also
# starts Ghostscript for EPS. TGA is last because it has no signature.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "TGA")
_PLUGINS = "Jpeg Png WebP Gif Bmp Tiff Avif Jpeg2K Ppm Ico Tga"
_Reader = Callable[[IO[bytes], str], ImageFile.ImageFile]
_Accepts = Callable[[bytes], bool | str] | None
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")  # a codestream, or boxes with one

# Extensions of pictures inside a folder. A file named by its path is always tried.
SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"),
        *("heic", "heif", "avif", "jxl", "jp2", "ppm", "pgm", "tga", "ico"),
        *("arw", "cr2", "cr3", "dng", "nef", "nrw", "orf", "pef", "raf", "rw2", "srw"),
    )
)

# Errors that Pillow's readers raise on damaged files (fuzzing their chunk, tag and box parsers).
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    OverflowError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    Warning,
)

# EXIF tag 0x0112 -> the operation that makes the picture upright (Exif 2.32, table 6).
_ORIENTATION = 0x0112
_FIRST_ON_ITS_SIDE = 5
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """Limits of a picture's cost. The defaults admit the files of every camera."""

    max_file_bytes: int = 256 * 2**20
    """Largest file that is opened."""
    max_pixels: int = 128 * 2**20
    """Most pixels that are decoded into memory (3 to 4 bytes each, twice that with alpha)."""
    max_source_pixels: int = 2**30
    """Most pixels in the file: a JPEG decoded at reduced scale may be larger, but still costs
    time."""
    huge_pixels: int = 32 * 2**20
    """Pictures beyond this are decoded one at a time, whatever the number of threads."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ConfigError(
                    Text(
                        f"{name}={value} lets no picture through; give a positive number",
                        f"{name}={value} 会拒绝所有图片；应为正数；请改正",
                    )
                )


DEFAULT_LIMITS = DecodeLimits()
_one_huge_picture = threading.Lock()


def decode(
    stream: BufferedIOBase,
    label: str,
    target: int | None,
    limits: DecodeLimits,
    *,
    srgb: bool = False,
) -> Image.Image:
    """Returns the upright RGB picture in a file; of an animation, the first frame.

    `target` is the side in pixels that the picture will be resized to: a JPEG that is at least
    four times larger is decoded at 1/2, 1/4 or 1/8 scale, never below twice the target. libjpeg
    then computes fewer coefficients per block (jpeg_decompress_struct.scale_denom), which is
    several times faster; benchmarks/embed.py measures what it does to the embedding. With None
    every pixel is decoded. `srgb` is described in `seesay.data.images.open_image`.

    Raises ImageError, naming `label`, for anything that is not a whole, allowed picture.
    """
    with _damage_is_an_image_error(label):
        image = _open(stream, label)
        if target is not None:
            image.draft(None, (2 * target, 2 * target))  # a no-op for all but JPEG
        check_size(image, label, limits)
    return upright_rgb(image, label, limits, srgb=srgb)


def open_header(stream: BufferedIOBase, label: str) -> Image.Image:
    """Opens a picture without decoding it: format, size and EXIF are available, and even `getexif`
    decodes no pixel. Raises ImageError."""
    with _damage_is_an_image_error(label):
        return _open(stream, label)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the upright picture, from its header."""
    width, height = image.size
    # Pillow's reader of TIFF has turned the size in the header already.
    turned = image.format != "TIFF" and orientation(image) >= _FIRST_ON_ITS_SIDE
    return (height, width) if turned else (width, height)


def orientation(image: Image.Image) -> int:
    """EXIF's number for how the camera was held, from 1 (upright) to 8."""
    try:
        found = int(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGE:  # broken EXIF, but intact pixels: do not rotate
        return 1
    return found if found in _UPRIGHT else 1


def check_size(image: Image.Image, label: str, limits: DecodeLimits) -> None:
    """Refuse a picture by its header, before anything is decoded.

    Pillow's own check counts pixels before the reduced decoding, and its threshold and its warning
    are state shared by the whole process; so pictures are opened without it and checked here.
    """
    width, height = image.size
    pixels = source_pixels = width * height
    if (jpeg := getattr(image, "decoderconfig", None)) and image.tile:  # type: ignore[attr-defined]
        source_pixels *= jpeg[0] ** 2
        if image.info.get("progressive") or image.info.get("progression"):
            pixels = source_pixels  # libjpeg holds a progressive file's coefficients at full size
    for count, most, name in (
        (pixels, limits.max_pixels, "max_pixels"),
        (source_pixels, limits.max_source_pixels, "max_source_pixels"),
    ):
        if count > most:
            raise too_large(
                Text(
                    f"{label}: is too large: decoding this {image.format or 'picture'} means "
                    f"{count:,} pixels ({width:,} x {height:,}). Expected at most {most:,}. Save "
                    "it smaller with a picture editor.",
                    f"{label}：过大：解码这张 {image.format or '图片'} 需要 {count:,} 像素"
                    f"（{width:,} x {height:,}）；最多应为 {most:,}；请用图片编辑软件缩小",
                ),
                **{name: count},
            )


def too_large(message: Text, **limit: int) -> ImageError:
    """Returns the error for a refused picture, with a note for programmers on how to allow it."""
    error = ImageError(message)
    ((name, count),) = limit.items()
    error.add_note(f"If you trust it, let it through by DecodeLimits({name}={count}).")
    return error


def upright_rgb(
    image: Image.Image, label: str, limits: DecodeLimits, *, srgb: bool = False
) -> Image.Image:
    """Load, rotate upright, and convert. Raises ImageError."""
    with _damage_is_an_image_error(label), _in_turn(image, limits):
        image.load()
        if srgb:
            image = to_srgb(image)
        if (turn := _UPRIGHT.get(orientation(image))) is not None:
            return to_rgb(image, label).transpose(turn)
        return to_rgb(image, label)


@cache
def _readers() -> dict[str, tuple[_Reader, _Accepts]]:
    """Returns the reader of each format and the test of its first bytes. Imported for the first
    picture: a text search needs none of it."""
    from seesay.data.readers import CORRECTED

    for plugin in _PLUGINS.split():  # each enters its reader into Image.OPEN
        import_module(f"PIL.{plugin}ImagePlugin")
    known = {name: Image.OPEN[name] for name in FORMATS}
    return {
        name: (CORRECTED.get(name, reader), accepts) for name, (reader, accepts) in known.items()
    }


def _open(stream: BufferedIOBase, label: str) -> Image.Image:
    """Like Image.open, for FORMATS only and without the check described in `check_size`."""
    prefix = stream.read(16)
    if not prefix:
        raise ImageError(
            Text(
                f"{label}: is empty (0 bytes). Expected a picture. Copy or download it again.",
                f"{label}：是空文件（0 字节）；应为图片；请重新复制或下载",
            )
        )
    if (other := _open_other(stream, prefix, label)) is not None:
        return other
    for name, (reader, accepts) in _readers().items():
        if accepts is not None and accepts(prefix) is not True:
            continue  # another format, or text: Pillow was built without that library
        stream.seek(0)
        try:
            return reader(cast(IO[bytes], stream), "")
        except _DAMAGE as error:  # a reader raises SyntaxError for a file of another format
            if accepts is not None:  # though it begins like one
                raise ImageError(
                    Text(
                        f"{label}: begins like {name}, but is damaged or of a kind of {name} that "
                        f"cannot be read ({error}). Expected a whole picture of a usual kind. "
                        "Save it as PNG or JPEG, or copy it again.",
                        f"{label}：开头像 {name}，但已损坏，或属于读不了的 {name} 变体"
                        f"（{error}）；应为完整的常见图片；请另存为 PNG 或 JPEG，或重新复制",
                    )
                ) from None
    if prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIF_BRANDS:
        return _open_heif(stream)
    raise UnidentifiedImageError


def _open_other(stream: BufferedIOBase, prefix: bytes, label: str) -> Image.Image | None:
    """Opens what Pillow's readers do not know, or take for a TIFF; None for anything else."""
    from seesay.data.raw_files import open_raw  # which imports two of Pillow's readers

    if prefix.startswith(_JXL):
        return _open_jxl(stream)
    return open_raw(stream, prefix, label)


def _open_heif(stream: BufferedIOBase) -> ImageFile.ImageFile:
    try:
        from pi_heif import HeifImageFile  # used directly: registering it would change Pillow
    except ModuleNotFoundError:
        raise MissingExtraError("pi-heif", "heif") from None
    stream.seek(0)
    return HeifImageFile(stream)


def _open_jxl(stream: BufferedIOBase) -> ImageFile.ImageFile:
    try:
        from pylibjxl.pillow_plugin import JxlImageFile  # used directly, like the one above
    except ModuleNotFoundError:
        raise MissingExtraError("pylibjxl", "jxl") from None
    stream.seek(0)
    image = JxlImageFile(cast(IO[bytes], stream))
    # libjxl turns the pixels upright, so that the orientation in the EXIF must not count: it is
    # left out with the rest, which comes with the pixels only.
    image.getexif = Image.Exif  # type: ignore[method-assign]
    return image


@contextmanager
def _in_turn(image: Image.Image, limits: DecodeLimits) -> Iterator[None]:
    """Decode one huge picture at a time, so that threads do not add up their memory."""
    if image.width * image.height <= limits.huge_pixels:
        yield
        return
    with _one_huge_picture:
        yield


@contextmanager
def _damage_is_an_image_error(label: str) -> Iterator[None]:
    try:
        yield
    except (ImageError, MissingExtraError):
        raise
    except UnidentifiedImageError:
        raise ImageError(
            Text(
                f"{label}: does not begin like any picture. Expected one of {', '.join(FORMATS)}, "
                "HEIF or JPEG XL, whatever the name ends in. Check that it is a picture and not, "
                "for instance, a saved web page; save the pages of a PDF as pictures.",
                f"{label}：开头不像任何图片格式；应为 {'、'.join(FORMATS)}、HEIF 或 JPEG XL，"
                "与扩展名无关；请确认它是图片，而不是保存下来的网页之类；PDF 请先把各页存成图片",
            )
        ) from None
    except Image.DecompressionBombError as error:  # raised by the few readers with their own check
        raise ImageError(
            Text(
                f"{label}: is too large to be read ({error}). Expected fewer pixels. Make it "
                "smaller.",
                f"{label}：过大，无法读取（{error}）；应有较少的像素；请缩小",
            )
        ) from None
    except MemoryError:
        raise ImageError(
            Text(
                f"{label}: does not fit into memory. Expected room for every pixel. Make it "
                "smaller, or free memory.",
                f"{label}：内存放不下；应能容纳所有像素；请缩小图片，或腾出内存",
            )
        ) from None
    except _DAMAGE as error:
        raise ImageError(
            Text(
                f"{label}: is truncated or damaged ({error}). Expected a whole picture. Copy, "
                "download or export it again.",
                f"{label}：不完整或已损坏（{error}）；应为完整的图片；请重新复制、下载或导出",
            )
        ) from error
