"""Pictures from anywhere: paths, bytes, Pillow images, arrays and tensors -> upright RGB; and the
picture files below given paths.

Works without torch, so that a program that only searches starts at once.
"""

import errno
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from seesay.data.decoding import (
    DEFAULT_LIMITS,
    SUFFIXES,
    DecodeLimits,
    check_size,
    decode,
    too_large,
    upright_rgb,
)
from seesay.data.files import NoFileError, open_file
from seesay.errors import ImageError
from seesay.text import Text


@runtime_checkable
class TensorLike(Protocol):
    """A torch tensor, recognised by its methods: checking its type would load torch."""

    shape: Any
    dtype: Any
    ndim: int

    def detach(self) -> Any: ...

    def movedim(self, source: Any, destination: Any) -> Any: ...


One = TypeVar("One")
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
    scale. Without it every pixel is decoded. With `srgb`, colours are converted from the profile in
    the file to those of a screen: for people to look at, not for models, which are trained and
    published with the raw values in the file.

    Raises ImageError, naming the source, if it is not a complete picture within the limits.
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
    """Returns the name of a source in messages: its path, or its type."""
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
        if error.errno == errno.EISDIR and list_images(Path(path)):
            what, remedy = (
                Text("is a folder", "是文件夹"),
                Text("Name the files inside it", "请指定其中的文件"),
            )
        elif error.errno == errno.EISDIR:
            what, remedy = (
                Text("is a folder without a picture in it", "是文件夹，其中没有图片"),
                Text("Name a picture, or a folder with some", "请指定图片，或有图片的文件夹"),
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
        what, remedy = _missing(label, error)
    raise ImageError(
        Text(
            f"{label}: {what.en}. Expected a picture file. {remedy.en}.",
            f"{label}：{what.zh}；应为图片文件；{remedy.zh}",
        )
    )


def _missing(label: str, error: OSError) -> tuple[Text, Text]:
    """What is wrong with a path that nothing is at, and what to do."""
    if re.match("https?://", label):
        return (
            Text("is a web address, which is not fetched", "是网址，seesay 不会去下载"),
            Text("Download the picture first", "请先下载图片"),
        )
    if isinstance(error, FileNotFoundError):
        what = Text("cannot be found", "找不到该文件")
    else:
        reason = error.strerror or error
        what = Text(f"cannot be opened ({reason})", f"无法打开（{reason}）")
    return what, Text("Check the path", "请检查路径")


def _check_bytes(size: int, label: str, limits: DecodeLimits) -> None:
    if size > limits.max_file_bytes:
        raise too_large(
            Text(
                f"{label}: is {size:,} bytes long. Expected at most {limits.max_file_bytes:,}. "
                "Save it smaller with a picture editor.",
                f"{label}：有 {size:,} 字节；最多应为 {limits.max_file_bytes:,}；请用图片编辑软件"
                "缩小",
            ),
            max_file_bytes=size,
        )


def picture_from_numbers(source: Any, label: str) -> Image.Image:
    """A Pillow image from (height, width[, 1, 3 or 4]) of an array, ([1, 3 or 4,] height, width)
    of a tensor. Raises ImageError for other shapes, types and ranges, and for anything else."""
    if isinstance(source, TensorLike):
        values = source.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        pixels = np.asarray(values.movedim(0, -1) if values.ndim == 3 else values)
    elif isinstance(source, np.ndarray):
        pixels = source
    else:
        raise ImageError(
            Text(
                f"{label}: is not a picture. Expected a path, the bytes of a file, a Pillow "
                "image, an array or a tensor. Convert it to one of these.",
                f"{label}：不是图片；应为路径、文件的字节、Pillow 图片、数组或张量；请转换为其中一"
                "种",
            )
        )
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if 0 in pixels.shape or not (
        pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (3, 4))
    ):
        raise ImageError(
            Text(
                f"{label}: has no picture's shape. Expected an array (height, width, 3) or a "
                "tensor (3, height, width), also with 1 or 4 channels, and no side of 0. Move "
                "its axes, or pass the pictures of a batch one by one.",
                f"{label}：形状不是图片的形状；应为数组 (高, 宽, 3) 或张量 (3, 高, 宽)，也可为 1 "
                "或 4 个通道，且各边不为 0；请调整轴的顺序，或把一批图片逐张传入",
            )
        )
    return Image.fromarray(np.ascontiguousarray(_as_bytes(pixels, label)))


def _as_bytes(pixels: np.ndarray, label: str) -> UInt8[np.ndarray, "..."]:
    if pixels.dtype == np.uint8:
        return pixels
    # the comparison is false for NaN too
    if np.issubdtype(pixels.dtype, np.floating) and pixels.min() >= 0 and pixels.max() <= 1:
        return np.rint(pixels * 255.0).astype(np.uint8)
    raise ImageError(
        Text(
            f"{label}: holds {pixels.dtype} from {pixels.min()} to {pixels.max()}. Expected uint8 "
            "from 0 to 255, or floating values from 0 to 1. Scale it, then convert it to uint8.",
            f"{label}：取值类型为 {pixels.dtype}，范围 {pixels.min()} 到 {pixels.max()}；应为 0 "
            "到 255 的 uint8，或 0 到 1 的浮点数；请先缩放，再转换为 uint8",
        )
    )


@dataclass(frozen=True, kw_only=True)
class PictureFiles:
    files: tuple[Path, ...]
    """Each file once: in the order the paths came, sorted by name within a folder. Missing paths
    are included: reading them reports the problem, as for any other file."""
    empty: tuple[Path, ...]
    """Folders that contain no picture, not even in subfolders."""


def several(given: Iterable[One] | str | Path) -> list[One]:
    """Returns a list, even for a single text or path."""
    one = isinstance(given, str | Path)
    return [given] if one else list(given)  # type: ignore[list-item, arg-type]


def several_images(given: object) -> Iterable[object]:
    """Yields pictures one by one. A single picture needs no list, and a folder stands for all
    pictures in it. A folder without pictures stays: reading it reports the problem.
    """
    if isinstance(given, np.ndarray | TensorLike):
        return cast(Iterable[object], given) if given.ndim >= 4 else [given]
    if isinstance(given, str | Path | bytes | Image.Image):
        given = [given]
    assert isinstance(given, Iterable)
    return list(_expanded(given)) if isinstance(given, Sized) else _expanded(given)


def _expanded(images: Iterable[object]) -> Iterator[object]:
    for image in images:
        inside: Sequence[object] = ()
        if isinstance(image, str | Path) and os.path.isdir(image):
            inside = list_images(Path(image))
        yield from inside or [image]


def find_images(paths: Iterable[Path]) -> PictureFiles:
    """Walk the folders without hidden files, and without following links to other folders."""
    files: dict[Path, None] = {}
    empty = []
    for path in paths:
        inside = list_images(path) if path.is_dir() else [path]
        files.update(dict.fromkeys(inside))
        if not inside:
            empty.append(path)
    return PictureFiles(files=tuple(files), empty=tuple(empty))


def list_images(folder: Path) -> list[Path]:
    """Every picture below a folder, sorted, by file ending in any case."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if _is_picture(name)]
    return sorted(found)


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
