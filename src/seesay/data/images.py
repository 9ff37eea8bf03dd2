"""Pictures from anywhere: paths, bytes, Pillow images, arrays and tensors -> upright RGB.

Without torch, so that a program that only looks things up starts at once.
"""

import errno
import io
import os
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from seesay.data.arrays import TensorLike, picture_from_numbers
from seesay.data.decoding import (
    DEFAULT_LIMITS,
    DecodeLimits,
    check_size,
    decode,
    too_large,
    upright_rgb,
)
from seesay.data.opening import NoFileError, open_file
from seesay.errors import ImageError
from seesay.text import Text

ImageSource: TypeAlias = str | Path | bytes | Image.Image | np.ndarray | TensorLike


def open_image(
    source: ImageSource,
    *,
    target: int | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
    srgb: bool = False,
) -> Image.Image:
    """An upright RGB picture from a path, a file's bytes, a Pillow image, an array or a tensor.

    Arrays are (height, width) or (height, width, 1, 3 or 4), tensors (1, 3 or 4, height, width) or
    (height, width); both hold uint8 from 0 to 255 or floating values from 0 to 1. `target` is the
    side in pixels that the picture will be resized to: large JPEGs are then decoded at reduced
    scale. Without it every pixel is decoded. With `srgb`, colours are converted from the profile
    in the file to those of a screen: for people to look at, not for models, which are trained and
    published with the numbers as they stand in the file.

    Raises ImageError, naming the source, when it is not a whole picture within the limits.
    """
    label = describe_source(source)
    if isinstance(source, str | Path):
        with _opened(source, label) as stream:
            _check_bytes(os.fstat(stream.fileno()).st_size, label, limits)
            return decode(stream, label, target, limits, srgb=srgb)
    if isinstance(source, bytes):
        _check_bytes(len(source), label, limits)
        return decode(io.BytesIO(source), label, target, limits, srgb=srgb)
    image = source if isinstance(source, Image.Image) else picture_from_numbers(source, label)
    check_size(image, label, limits)
    return upright_rgb(image, label, limits, srgb=srgb)


def describe_source(source: Any) -> str:
    """What a message calls a source: its path, or what kind of thing it is."""
    match source:
        case str() | Path():
            return str(source)
        case bytes():
            return f"<{len(source)} bytes>"
        case Image.Image():
            return getattr(source, "filename", "") or f"<{source.mode} picture {source.size}>"
        case np.ndarray() | TensorLike():
            kind = "array" if isinstance(source, np.ndarray) else "tensor"
            return f"<{kind} {tuple(source.shape)} {source.dtype}>"
    return f"<{type(source).__name__}>"


def _opened(path: str | Path, label: str) -> BufferedReader:
    try:
        return open_file(path)
    except NoFileError as error:
        if error.errno == errno.EISDIR:
            what, remedy = (
                Text("is a folder", "是文件夹"),
                Text("Name the files inside it", "请指定其中的文件"),
            )
        else:
            what, remedy = (
                Text("is a device or pipe", "是设备或管道"),
                Text("Save the picture to one", "请把图片存成文件"),
            )
    except PermissionError as error:
        what = Text(f"cannot be read ({error.strerror})", f"无法读取（{error.strerror}）")
        remedy = Text("Check its permissions", "请检查权限")
    except OSError as error:
        reason = error.strerror or error
        what = Text(f"cannot be found ({reason})", f"找不到（{reason}）")
        remedy = Text("Check the path", "请检查路径")
    raise ImageError(
        Text(
            f"{label}: {what.en}. Expected a picture file. {remedy.en}.",
            f"{label}：{what.zh}；应为图片文件；{remedy.zh}",
        )
    )


def _check_bytes(size: int, label: str, limits: DecodeLimits) -> None:
    if size > limits.max_file_bytes:
        raise too_large(
            Text(
                f"{label}: is {size:,} bytes long. Expected at most {limits.max_file_bytes:,}. "
                "Save it smaller with a picture editor.",
                f"{label}：有 {size:,} 字节；最多应为 {limits.max_file_bytes:,}；"
                "请用图片编辑软件缩小",
            ),
            max_file_bytes=size,
        )
