"""A picture that a visitor sends to be searched with, and why one is refused, in both languages."""

import base64
import binascii
import io
from collections.abc import Sequence
from urllib.parse import unquote

from seesay.data.decoding import DEFAULT_LIMITS, FORMATS, open_header
from seesay.errors import ImageError, MissingExtraError
from seesay.text import Text
from seesay.web import words

MOST_PICTURE = 16 << 20
"""Characters of a picture as a data URL; the page makes large ones smaller before it sends them."""
MOST_SENT = 10_000_000
"""Bytes of a file that the page sends as it is, when the browser cannot make it smaller."""
_TOO_LARGE = "data:application/x-too-large;"
"""How the page names a file that it does not send; see browser/script.py."""
_LONGEST_NAME, _DIGITS = 120, 16

# What people drop most often that is no picture, by how it begins.
_OTHERS: Sequence[tuple[int, tuple[bytes, ...], Text]] = (
    (0, (b"%PDF",), Text("a PDF", "PDF 文件")),
    (0, (b"<svg", b"<?xml"), Text("an SVG or another XML file", "SVG 或其他 XML 文件")),
    (0, (b"<!doctype html", b"<!DOCTYPE html", b"<html"), Text("a web page", "网页")),
    (0, (b"PK\x03\x04",), Text("an archive or an office document", "压缩包或办公文档")),
    (0, (b"8BPS",), Text("a Photoshop file", "Photoshop 文件")),
    (0, (b"\x1aE\xdf\xa3", b"OggS", b"ID3"), Text("a video or sound", "视频或音频")),
    (8, (b"AVI ", b"WAVE"), Text("a video or sound", "视频或音频")),
    (4, (b"ftypisom", b"ftypmp4", b"ftypM4", b"ftypqt"), Text("a video or sound", "视频或音频")),
)

# How files of the usual formats begin, whole or not.
_SIGNS = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF", b"\0\0\0\x0cjP")


def decode_picture(url: str | None) -> bytes | None:
    """The bytes of a picture that came as a data URL. Nothing is fetched, and no other kind of URL
    means anything. Raises ImageError."""
    if not url:
        return None
    head, _, body = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise ImageError(
            Text(
                f"the picture is given as {url[:20]!r}; expected a data URL, as in "
                "data:image/jpeg;base64,...; send the picture itself",
                f"给出的图片是 {url[:20]!r}；应为 data:image/jpeg;base64,... 这样的数据；"
                "请直接发送图片",
            )
        )
    if len(url) > MOST_PICTURE:
        raise ImageError(
            Text(
                f"the picture takes {len(url):,} characters; expected at most {MOST_PICTURE:,}; "
                "make it smaller first",
                f"图片占 {len(url)} 个字符，最多 {MOST_PICTURE} 个；请先缩小图片",
            )
        )
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ImageError(
            Text(
                f"the picture is not base64 ({error}); expected base64 after the comma of the data "
                "URL; encode it again",
                f"图片不是 base64（{error}）；数据的逗号之后应为 base64；请重新编码",
            )
        ) from error


def name_of(url: str | None) -> str:
    """The name of the file, where the page has sent one with it."""
    return _parameter(url or "", "name")[:_LONGEST_NAME]


def size_of_unsent(url: str | None) -> int | None:
    """The bytes of a file that was too large to be sent; None for one that was."""
    if not (url or "").startswith(_TOO_LARGE):
        return None
    size = _parameter(url or "", "size")
    return int(size) if size.isascii() and size.isdigit() and len(size) < _DIGITS else 0


def refusal(content: bytes) -> Text | None:
    """Why a file cannot be searched with, as far as its beginning tells; None where it can be.
    No pixel is decoded."""
    if not content:
        return words.PICTURE_EMPTY
    for start, beginnings, kind in _OTHERS:
        if content[start:].startswith(beginnings):
            return words.PICTURE_IS.format(kind=kind)
    try:
        header = open_header(io.BytesIO(content), "the picture")
    except MissingExtraError:
        return words.PICTURE_IS_HEIC
    except ImageError:
        if content.startswith(_SIGNS):
            return words.PICTURE_DAMAGED
        return words.PICTURE_UNKNOWN.format(formats=", ".join(FORMATS))
    width, height = header.size
    if width * height > DEFAULT_LIMITS.max_pixels:
        most = f"{DEFAULT_LIMITS.max_pixels:,}"
        return words.PICTURE_TOO_MANY.format(width=width, height=height, most=most)
    return None


def _parameter(url: str, name: str) -> str:
    """A parameter of a data URL, as in data:image/png;name=a.png;base64,... (RFC 2397)."""
    head = url[: 20 * _LONGEST_NAME].partition(",")[0]
    for part in head.split(";")[1:]:
        key, _, value = part.partition("=")
        if key == name:
            return unquote(value)
    return ""
