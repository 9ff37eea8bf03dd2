"""Pillow's readers of picture files, with fixes for wrong pixels and excessive cost.

Each class fixes one format and is used only by `seesay.data.decoding`: registering it would change
Pillow for the whole process. After `load` every mode means what it says (L from 0 to 255, I;16 from
0 to 65,535, an alpha channel that hides something on purpose), and neither opening a file nor
reading its EXIF decodes a pixel. `benchmarks/pixels.py` compares the result for each kind of file
with another decoder's.
"""

import io
import struct
from contextlib import suppress
from typing import Any

from PIL import Image, ImageFile, ImagePalette
from PIL.BmpImagePlugin import BmpImageFile, DibImageFile
from PIL.IcoImagePlugin import IcoFile, IcoImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.PngImagePlugin import PngImageFile, PngStream
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TgaImagePlugin import TgaImageFile
from PIL.TiffImagePlugin import TiffImageFile

# Numpy takes longer to import than most pictures to decode, and few files need it: see deep_modes.


# Numbers of TIFF come from libtiff in the machine's byte order, which Pillow knows of some modes.
_NATIVE = {"F;32BF": "F;32NF", "I;32BS": "I;32NS", "I;16BS": "I;16NS"}
_BY_PLANE = {"RGB": "RGB;16N", "RGBA": "RGBA;16N", "CMYK": "CMYK;16N"}


class _Png(PngImageFile):
    """Reads EXIF without decoding, and colour keys (tRNS) in the depth of the file.

    PNG 3rd edition, 11.3.1.1: a key is one number per channel, in as many bits as the samples.
    """

    _has_looked_behind = False
    _MOST_CHUNKS = 100_000  # a 256 MB file of libpng's 8 kB chunks has 32,000

    def _open(self) -> None:
        super()._open()
        self._depth = _raw_mode(self) if self.tile else ""
        key = self.info.get("transparency")
        if isinstance(key, int) and self._depth in ("L;2", "L;4"):  # widened to 8 bits on reading
            self.info["transparency"] = key * (85 if self._depth == "L;2" else 17)

    def getexif(self) -> Image.Exif:
        """Pillow decodes the whole picture to find the chunks after its pixels."""
        if self.tile and not self._has_looked_behind:
            self._has_looked_behind = True
            assert self.fp is not None
            position = self.fp.tell()
            with suppress(SyntaxError, ValueError, OSError, struct.error):  # pixels may be whole
                self._look_behind_pixels()
            self.fp.seek(position)
        return Image.Image.getexif(self)

    def _look_behind_pixels(self) -> None:
        """Read EXIF and XMP, which ExifTool writes there by default."""
        assert self.fp is not None
        self.fp.seek(8)
        chunks = PngStream(self.fp)
        for _ in range(self._MOST_CHUNKS):
            name, position, length = chunks.read()
            if name == b"IEND":
                break
            if name in (b"eXIf", b"iTXt", b"zTXt", b"tEXt"):
                chunks.call(name, position, length)
            self.fp.seek(position + length + 4)
        for known in ("exif", "xmp", "Raw profile type exif"):
            if known in chunks.im_info:
                self.info.setdefault(known, chunks.im_info[known])

    def load_end(self) -> None:
        super().load_end()
        key = self.info.get("transparency")
        if key is None or not self._depth.endswith("16B"):
            return
        from seesay.data.deep_modes import without_grey, without_rgb

        if self.mode == "I;16":
            shown = without_grey(self, key)
        elif self.mode == "RGB":
            shown = without_rgb(self, self._low_bytes(), key)
        else:
            return
        del self.info["transparency"]
        self._mode, self.im = shown.mode, shown.im

    def _low_bytes(self) -> Image.Image:
        """The half of 16-bit colours that Pillow drops: read as if the other byte came first."""
        assert self.fp is not None
        self.fp.seek(0)
        again = PngImageFile(self.fp)
        again.tile = [again.tile[0]._replace(args="RGB;16L")]
        again.load()
        return again


class _Tiff(TiffImageFile):
    """Reads 12-bit, unsigned 32-bit and inverted 16-bit greyscale, 16-bit planes, tables of 8-bit
    colours, and numbers of the other byte order in compressed strips. TIFF 6.0, sections 3 to 8."""

    _LARGEST_TILE = 1 << 24  # pixels; files of 100 megapixels have tiles of 256 to 1,024 a side

    def _setup(self) -> None:
        tags = self.tag_v2
        if tags.get(277, 1) == 1 and tags.get(284) == 2:
            tags[284] = 1  # one channel is one plane, which Pillow reads as 8 bits, black is zero
        super()._setup()
        self._refuse_large_tiles(tags)
        signed, floating = 2 in tags.get(339, ()), 3 in tags.get(339, ())
        bits, white_is_zero = max(tags.get(258, (1,))), tags.get(262, 0) == 0
        if signed and bits == 8:
            raise SyntaxError("signed 8-bit samples")
        if floating and white_is_zero:
            raise SyntaxError("floating samples with white as zero")
        if self.use_load_libtiff:
            raw = _raw_mode(self)
            _set_raw_mode(self, _NATIVE.get(raw, raw))
        elif self._planar_configuration == 2 and bits == 16:
            self._leave_to_libtiff(_BY_PLANE[self.mode])
        elif self.mode == "RGB" and tags.get(262) == 6:  # YCbCr
            self._leave_to_libtiff("RGBX")
        if self.mode in ("P", "PA") and max(tags[320]) < 256:  # as libtiff's checkcmap tells it
            self.palette = ImagePalette.raw("RGB;L", bytes(tags[320]))
        self._grey = (bits, signed or floating, white_is_zero)
        self._fourth_is_unknown = not {0, 1, 2} & set(tags.get(338, ()))

    def _leave_to_libtiff(self, raw: str) -> None:
        """Pillow uses it for compressed files only, though it knows more layouts than Pillow."""
        self.use_load_libtiff = True
        args = (raw, self._compression, False, self.tag_v2.offset)
        self.tile = [ImageFile._Tile("libtiff", (0, 0, *self._tile_size), 0, args)]

    def _refuse_large_tiles(self, tags: Any) -> None:
        """libtiff allocates a whole tile, however small the picture."""
        across, down = tags.get(322, 0), tags.get(323, 0)
        if across * down > max(2 * self.width * self.height, self._LARGEST_TILE):
            raise SyntaxError(f"tiles of {across:,} x {down:,} pixels")

    def load_prepare(self) -> None:
        if self._im is None:  # Pillow judges the size here, by a limit of the whole process
            self.im = Image.new(self.mode, self._tile_size).im
        super().load_prepare()

    def load_end(self) -> None:
        super().load_end()
        if self._fourth_is_unknown:
            _drop_empty_alpha(self)
        bits, other_numbers, white_is_zero = self._grey
        if self.mode.startswith("I") and not other_numbers and (bits != 16 or white_is_zero):
            from seesay.data.deep_modes import whole_range

            shown = whole_range(self, bits, white_is_zero)
            self._mode, self.im = shown.mode, shown.im


class _Ppm(PpmImageFile):
    """Keeps deep greyscale, which Pillow scales from the maximum in the header to 65,535, apart
    from integers of unknown range."""

    def load_end(self) -> None:
        super().load_end()
        if self.mode == "I":
            shown = self.convert("I;16")
            self._mode, self.im = shown.mode, shown.im


class _Jpeg2K(Jpeg2KImageFile):
    """Brings samples of fewer than 8 bits to their full range; Pillow leaves white of 4 bits at
    240. Refuses colours of more than 8 bits: Pillow rounds the brightest up to 256, which is black.
    ISO 15444-1, A.5.1 and I.5."""

    _MOST_BOXES = 10_000  # a handful is usual

    def _open(self) -> None:
        super()._open()
        assert self.fp is not None
        position = self.fp.tell()
        self._depths = self._read_depths()
        self.fp.seek(position)
        if len(self._depths) > 1 and max(self._depths) > 8:
            raise SyntaxError("colours of more than 8 bits a channel")

    def _read_depths(self) -> list[int]:
        """Bits of each channel, from the marker SIZ."""
        assert self.fp is not None
        self.fp.seek(0)
        if self.codec == "jp2":
            self._skip_to_codestream()
        head = self.fp.read(42)
        channels = self.fp.read(3 * struct.unpack(">H", head[40:])[0])
        return [(depth & 127) + 1 for depth in channels[::3]]

    def _skip_to_codestream(self) -> None:
        assert self.fp is not None
        for _ in range(self._MOST_BOXES):
            length, name = struct.unpack(">I4s", self.fp.read(8))
            done = 8
            if length == 1:
                length, done = struct.unpack(">Q", self.fp.read(8))[0], 16
            if name == b"jp2c":
                return
            if length < done:
                break
            self.fp.seek(length - done, io.SEEK_CUR)
        raise SyntaxError("no codestream")

    def load_end(self) -> None:
        super().load_end()
        if self.mode in ("L", "LA", "RGB", "RGBA", "CMYK") and min(self._depths) < 8:
            bands = zip(self.split(), self._depths, strict=True)
            wide = [band.point(_widening(bits)) if bits < 8 else band for band, bits in bands]
            self.im = Image.merge(self.mode, wide).im


def _widening(bits: int) -> list[int]:
    """Returns the values of samples that were shifted up to eight bits."""
    return [round((value >> (8 - bits)) * 255 / (2**bits - 1)) for value in range(256)]


class _Bmp(BmpImageFile):
    """Ignores an alpha channel of zeros and reads one of a single bit."""

    def _open(self) -> None:
        super()._open()
        assert self.fp is not None
        self.fp.seek(14)
        head = self.fp.read(56)  # BITMAPV3INFOHEADER: the fourth mask is its last field
        size, bits, compression = struct.unpack_from("<I10xHI", head)
        has_alpha = size >= 56 and (bits, compression) == (16, 3) and head[52:] == b"\0\x80\0\0"
        if has_alpha and _raw_mode(self) == "BGR;15":
            self._mode = "RGBA"
            _set_raw_mode(self, "BGRA;15")

    def load_end(self) -> None:
        super().load_end()
        _drop_empty_alpha(self)


class _Tga(TgaImageFile):
    """Ignores an alpha channel of zeros; in 16 bits, takes the highest for alpha only if the file
    says so, and 1 for opaque (Truevision TGA 2.0, field 5.6) while Pillow takes 0."""

    def _open(self) -> None:
        super()._open()
        assert self.fp is not None
        position = self.fp.tell()
        self.fp.seek(17)
        has_alpha = self.fp.read(1)[0] & 15
        self.fp.seek(position)
        if self.tile and _raw_mode(self) == "BGRA;15Z":
            self._mode, raw = ("RGBA", "BGRA;15") if has_alpha else ("RGB", "BGR;15")
            _set_raw_mode(self, raw)
        if self.palette is not None and self.palette.rawmode == "BGRA;15Z":
            colours = bytes(self.palette.palette)
            self.palette = ImagePalette.raw("BGRA;15" if has_alpha else "BGR;15", colours)
            self.palette.mode = "RGBA" if has_alpha else "RGB"

    def load_end(self) -> None:
        super().load_end()
        _drop_empty_alpha(self)


class _Ico(IcoImageFile):
    """Opens an icon without decoding its largest picture, and uses the mask if a 32-bit one has an
    alpha channel of zeros. The depth is the picture's: directories often say 0."""

    def _open(self) -> None:
        assert self.fp is not None
        self.ico = IcoFile(self.fp)
        first = self.ico.entry[0]
        self.fp.seek(first.offset)
        is_png = self.fp.read(8) == b"\x89PNG\r\n\x1a\n"
        self.fp.seek(first.offset)
        inner = _Png(self.fp) if is_png else DibImageFile(self.fp)
        width, height = inner.size
        self.info["sizes"] = {(width, height if is_png else height // 2)}
        self._size = next(iter(self.info["sizes"]))
        self._mode = inner.mode
        self._inner = inner if is_png else None
        if not is_png:
            self.fp.seek(first.offset + 14)
            bits = int.from_bytes(self.fp.read(2), "little")
            self.ico.entry[0] = first._replace(bpp=bits)

    def load(self) -> Any:
        if self._im is None:
            shown = self._inner or self.ico.frame(0)
            shown.load()
            if self._inner is None and _alpha_is_empty(shown):
                self.ico.entry[0] = self.ico.entry[0]._replace(bpp=24)  # by the mask, then
                shown = self.ico.frame(0)
            self.im, self._mode, self.palette = shown.im, shown.mode, shown.palette
            self.info |= shown.info
        return Image.Image.load(self)


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How the samples lie in the file, in Pillow's words."""
    args = image.tile[0].args
    return str(args[0] if isinstance(args, tuple) else args)


def _set_raw_mode(image: ImageFile.ImageFile, raw: str) -> None:
    tile = image.tile[0]
    args = (raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw
    image.tile = [tile._replace(args=args), *image.tile[1:]]


def _alpha_is_empty(image: Image.Image) -> bool:
    return image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema() == (0, 0)


def _drop_empty_alpha(image: ImageFile.ImageFile) -> None:
    """Old programs leave the fourth byte at zero: nobody saves a fully transparent picture."""
    if image.mode in ("LA", "RGBA") and image.im.getband(image.im.bands - 1).getextrema() == (0, 0):
        image.im.fillband(image.im.bands - 1, 255)


CORRECTED: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": _Png,
    "TIFF": _Tiff,
    "PPM": _Ppm,
    "JPEG2000": _Jpeg2K,
    "BMP": _Bmp,
    "TGA": _Tga,
    "ICO": _Ico,
}
"""Corrected readers by Pillow's name of the format."""
