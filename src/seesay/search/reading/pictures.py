"""Picture files: one passage, with the pixels as the model sees them and the facts of the EXIF."""

import io
from dataclasses import replace

from PIL.Image import Image, Resampling

from seesay.data.decoding import (
    SUFFIXES,
    DecodeLimits,
    check_size,
    decode,
    open_header,
    upright_size,
)
from seesay.data.encodings import decode_text
from seesay.data.squares import square
from seesay.errors import DataError, ImageError, MissingExtraError
from seesay.search.catalog.drafts import FINGERPRINT_SIDE
from seesay.search.reading.exif import details
from seesay.search.reading.files import FileData, ReadLimits, RefusedError, millions
from seesay.search.reading.messages import FileContent, FileReader, Passage, ReadSettings
from seesay.text import Text


def read_picture(file: FileData, settings: ReadSettings, decode_pixels: bool) -> FileContent:
    """One passage, with its pixels where they are needed. Raises RefusedError."""
    limits = _decode_limits(settings.limits)
    label = "the picture"
    try:
        header = open_header(io.BytesIO(file.data), label)
        width, height = upright_size(header)
        metadata = {**details(header), "width": width, "height": height}
        passage = Passage(media_type="image", modality="image", metadata=metadata)
        if decode_pixels:
            target = settings.transform.size if settings.reduce_large else None
            _refuse_large(header, target, limits)
            image = decode(io.BytesIO(file.data), label, target, limits)
            pixels = square(image, settings.transform).tobytes()
            passage = replace(passage, fingerprint=fingerprint(image), payload=pixels)
        return FileContent(passages=(passage,))
    except MissingExtraError as error:
        raise RefusedError("codec", error.text) from None
    except ImageError as error:
        if _is_text(file.data):
            raise RefusedError(
                "kind",
                Text(
                    "it holds text, perhaps a saved web page, whatever its name says. Expected a "
                    "picture. Download the picture itself, or end the name in .txt to have it "
                    "found as a text.",
                    "内容是文本（可能是保存下来的网页），与扩展名不符；应为图片；请下载图片本身，"
                    "或把扩展名改为 .txt，当作文本收录",
                ),
            ) from None
        en, zh = error.text.en, error.text.zh
        reason = Text(f"it {en.removeprefix(f'{label}: ')}", zh.removeprefix(f"{label}："))
        raise RefusedError("decode", reason) from None


def fingerprint(image: Image) -> bytes:
    """See `Fingerprints`. The mean of each field hardly depends on the size at which the picture
    was decoded."""
    return image.resize((FINGERPRINT_SIDE, FINGERPRINT_SIDE), Resampling.BOX).convert("L").tobytes()


def _decode_limits(limits: ReadLimits) -> DecodeLimits:
    usual = DecodeLimits()
    return DecodeLimits(
        max_file_bytes=limits.max_file_bytes,
        max_pixels=limits.max_pixels,
        max_source_pixels=max(usual.max_source_pixels, limits.max_pixels),
    )


def _refuse_large(header: Image, target: int | None, limits: DecodeLimits) -> None:
    """As `decode` does, with the option that lets the picture through."""
    width, height = header.size
    if target is not None:
        header.draft(None, (2 * target, 2 * target))
    try:
        check_size(header, "", limits)
    except ImageError:
        raise RefusedError(
            "size",
            Text(
                f"it is {width:,} x {height:,} pixels large. Expected at most "
                f"{limits.max_pixels:,} that must be decoded. Save it smaller, or let it through "
                f"with --max-pixels {millions(width * height)} if you trust it.",
                f"尺寸为 {width:,} x {height:,} 像素，最多解码 {limits.max_pixels:,} 像素；"
                f"请缩小后另存；信得过的图片可加 --max-pixels {millions(width * height)}",
            ),
        ) from None


def _is_text(data: bytes) -> bool:
    try:
        return bool(decode_text(data))
    except DataError:
        return False


def is_picture(data: bytes) -> bool:
    """Whether a file begins like a picture, whatever its name."""
    try:
        open_header(io.BytesIO(data), "")
    except MissingExtraError:
        return True
    except ImageError:
        return False
    return True


READER = FileReader(
    media_type="image",
    endings=SUFFIXES,
    read=read_picture,
    recognises=is_picture,
    is_text=False,
)
