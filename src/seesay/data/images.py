"""Pictures -> the tensor that an image tower reads, number for number as the published models do.

Sources: transformers 5 (image_processing_backends.py PilBackend, image_transforms.py) and
open_clip 3 (transform.py) on torchvision.
"""

import errno
import io
import os
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from seesay.data.arrays import picture_from_numbers
from seesay.data.decoding import (
    DEFAULT_LIMITS,
    DecodeLimits,
    check_size,
    decode,
    too_large,
    upright_rgb,
)
from seesay.data.opening import NoFileError, open_file
from seesay.data.squares import OPENAI_MEAN, OPENAI_STD, ImageTransformConfig, square
from seesay.errors import ImageError

__all__ = [
    "OPENAI_MEAN",
    "OPENAI_STD",
    "ImageSource",
    "ImageTransform",
    "ImageTransformConfig",
    "describe_source",
    "open_image",
]

ImageSource: TypeAlias = str | Path | bytes | Image.Image | np.ndarray | Tensor


class ImageTransform:
    """Resize, crop and normalise. The first two run per picture, the last on whole batches."""

    def __init__(self, config: ImageTransformConfig) -> None:
        self.config = config
        self._mean = torch.tensor(config.mean).view(3, 1, 1)
        self._std = torch.tensor(config.std).view(3, 1, 1)

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 height width"]:
        """An RGB picture of any size, resized, cropped and normalised."""
        return self.normalise(self.pixels(image)[None])[0]

    def pixels(self, image: Image.Image) -> UInt8[Tensor, "height width 3"]:
        """The square that the image tower sees, before normalisation: a quarter of the bytes."""
        return _tensor(square(image, self.config))

    def normalise(
        self, pixels: UInt8[Tensor, "batch height width 3"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """(pixels / 255 - mean) / std in float32, on the device where the pixels are.

        The result keeps the channels last in memory, which is how convolutions like to read it.
        """
        values = pixels.permute(0, 3, 1, 2).float()
        mean, std = self._mean.to(pixels.device), self._std.to(pixels.device)
        return values.div_(255).sub_(mean).div_(std)


def _tensor(image: Image.Image) -> UInt8[Tensor, "height width 3"]:
    return torch.from_numpy(np.array(image))


def open_image(
    source: ImageSource, *, target: int | None = None, limits: DecodeLimits = DEFAULT_LIMITS
) -> Image.Image:
    """An upright RGB picture from a path, a file's bytes, a Pillow image, an array or a tensor.

    Arrays are (height, width) or (height, width, 1, 3 or 4), tensors (1, 3 or 4, height, width) or
    (height, width); both hold uint8 from 0 to 255 or floating values from 0 to 1. `target` is the
    side in pixels that the picture will be resized to: large JPEGs are then decoded at reduced
    scale. Without it every pixel is decoded.

    Raises ImageError, naming the source, when it is not a whole picture within the limits.
    """
    label = describe_source(source)
    if isinstance(source, str | Path):
        with _opened(source, label) as stream:
            _check_bytes(os.fstat(stream.fileno()).st_size, label, limits)
            return decode(stream, label, target, limits)
    if isinstance(source, bytes):
        _check_bytes(len(source), label, limits)
        return decode(io.BytesIO(source), label, target, limits)
    image = source if isinstance(source, Image.Image) else picture_from_numbers(source, label)
    check_size(image, label, limits)
    return upright_rgb(image, label, limits)


def describe_source(source: Any) -> str:
    """What a message calls a source: its path, or what kind of thing it is."""
    match source:
        case str() | Path():
            return str(source)
        case bytes():
            return f"<{len(source)} bytes>"
        case Image.Image():
            return getattr(source, "filename", "") or f"<{source.mode} picture {source.size}>"
        case np.ndarray() | Tensor():
            kind = "array" if isinstance(source, np.ndarray) else "tensor"
            return f"<{kind} {tuple(source.shape)} {source.dtype}>"
    return f"<{type(source).__name__}>"


def _opened(path: str | Path, label: str) -> BufferedReader:
    try:
        return open_file(path)
    except NoFileError as error:
        if error.errno == errno.EISDIR:
            what, remedy = "is a folder", "Name the files inside it"
        else:
            what, remedy = "is a device or pipe", "Save the picture to one"
    except PermissionError as error:
        what, remedy = f"cannot be read ({error.strerror})", "Check its permissions"
    except OSError as error:
        what, remedy = f"cannot be found ({error.strerror or error})", "Check the path"
    raise ImageError(f"{label}: {what}. Expected a picture file. {remedy}.")


def _check_bytes(size: int, label: str, limits: DecodeLimits) -> None:
    if size > limits.max_file_bytes:
        raise too_large(
            f"{label}: is {size:,} bytes long. Expected at most {limits.max_file_bytes:,}. "
            "Save it smaller with a picture editor.",
            max_file_bytes=size,
        )
