"""Pictures that come inside of a request, as data URLs: nothing is fetched, no file is named."""

import base64
import binascii
import io

from seesay.data.decoding import DecodeLimits, check_size, open_header
from seesay.errors import ImageError
from seesay.text import Text

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mP8z4AdMDEMKQkA"
    "zUEBD7t4NqoAAAAASUVORK5CYII="
)
"""An example: a red square of 8 pixels."""
_PREFIX = "data:image/"


def is_picture(text: str) -> bool:
    """Whether a text is meant as a picture."""
    return text[: len(_PREFIX)].lower() == _PREFIX


def read_data_url(url: str, max_pixels: int) -> bytes:
    """The file inside of a data URL, judged by its header before anything of it is decoded.

    Raises ImageError for anything else, and for a picture of more pixels than are allowed."""
    head, comma, data = url.partition(",")
    if not (is_picture(head) and comma and head.lower().endswith(";base64")):
        raise ImageError(
            Text(
                f"{url[:40]!r} is no picture; expected data:image/png;base64,..., since addresses "
                "are never fetched and files of the server are never read; send the picture itself",
                f"{url[:40]!r} 不是图片；应为 data:image/png;base64,...，因为服务器不会下载网址，"
                "也不会读取本机文件；请直接发送图片",
            )
        )
    try:
        content = base64.b64decode("".join(data.split()), validate=True)  # lines are often wrapped
    except (binascii.Error, ValueError):
        raise ImageError(
            Text(
                f"{url[:40]!r} holds something other than base64; expected its letters, digits, + "
                "and /; encode the bytes of the picture file",
                f"{url[:40]!r} 不是 base64；应只含字母、数字、+ 和 /；请对图片文件的字节编码",
            )
        ) from None
    limits = DecodeLimits(max_pixels=max_pixels, max_source_pixels=max_pixels)
    label = f"<{len(content)} bytes>"
    check_size(open_header(io.BytesIO(content), label), label, limits)
    return content
