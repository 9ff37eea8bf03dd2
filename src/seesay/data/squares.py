"""A picture of any shape -> the square, or the strip of patches, that a model sees.

Works without torch, so that a process that only decodes pictures starts at once and stays small.
Sources: as in `seesay.data.images`.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from PIL import Image

from seesay.errors import ConfigError
from seesay.text import Text

_LONGEST = 16  # long side over short side, beyond which only the square itself is computed
_GREY = (114, 114, 114)  # what YOLOX fills the rest of a letterbox with (data_augment.preproc)

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, kw_only=True)
class ImageTransformConfig:
    """The defaults are OpenAI's CLIP as transformers reads it."""

    size: int = 224
    """Side of the square that the image tower sees, in pixels."""
    resize: Literal["shortest", "squash", "patches", "letterbox"] = "shortest"
    """Scale the shorter side to `size` and keep the shape, squash both sides to `size`, keep the
    shape and cut at most `patches` patches (SigLIP 2 NaFlex), or scale the longer side to `size`
    and fill the square with grey on the right or below (YOLOX)."""
    patch: int = 16
    """Side of a patch, in pixels; used when resize is "patches"."""
    patches: int = 256
    """Most patches; used when resize is "patches"."""
    crop: bool = True
    """Cut out the centre square after resizing; needed with "shortest", no effect on others."""
    crop_rounding: Literal["down", "half_even"] = "down"
    """Where the square begins when the margin is odd: transformers rounds down, torchvision (so
    OpenAI's code, open_clip and cn_clip) to the even neighbour, which is one pixel further when
    the margin is 3, 7, 11, ..."""
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = (
        "bicubic"
    )
    """Pillow's resampling filter."""
    mean: tuple[float, float, float] = OPENAI_MEAN
    """Subtracted from red, green and blue after they are scaled from 0..255 to 0..1."""
    std: tuple[float, float, float] = OPENAI_STD
    """Each colour is divided by it after that."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(
                Text(
                    f"size={self.size} leaves no pixel, expected at least 1: give that of the "
                    "image tower",
                    f"size={self.size} 不剩任何像素；应至少为 1；请填图像塔的输入大小",
                )
            )
        if self.resize not in ("shortest", "squash", "patches", "letterbox"):
            raise ConfigError(
                Text(
                    f"resize={self.resize!r} is not known, expected shortest or squash or "
                    "patches or letterbox: choose one",
                    f"resize={self.resize!r} 无法识别；应为 shortest、squash、patches 或 "
                    "letterbox；请选一个",
                )
            )
        if self.resize == "patches" and not (
            1 <= self.patch <= self.size and 1 <= self.patches < 1 << 16
        ):
            raise ConfigError(
                Text(
                    f"patch={self.patch} and patches={self.patches} stand beside size={self.size}, "
                    "expected patches that fit into the square, from 1 to 65,535: correct them",
                    f"patch={self.patch}、patches={self.patches} 与 size={self.size} 不相配；图块"
                    "应能放进正方形，数目为 1 到 65,535；请改正",
                )
            )
        if self.resize == "shortest" and not self.crop:
            raise ConfigError(
                Text(
                    "resize='shortest' with crop=False gives pictures of different shapes, "
                    "expected one shape for a batch: set crop=True or resize='squash'",
                    "resize='shortest' 且 crop=False 会得到形状不同的图片；一批图片的形状应相同；"
                    "请设 crop=True 或 resize='squash'",
                )
            )
        self._check_pixels()

    def _check_pixels(self) -> None:
        if self.crop_rounding not in ("down", "half_even"):
            raise ConfigError(
                Text(
                    f"crop_rounding={self.crop_rounding!r} is not known, expected down or "
                    "half_even: choose one",
                    f"crop_rounding={self.crop_rounding!r} 无法识别；应为 down 或 half_even；请选"
                    "一个",
                )
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ConfigError(
                Text(
                    f"interpolation={self.interpolation!r} is not known, expected "
                    f"{' or '.join(INTERPOLATIONS)}: choose one",
                    f"interpolation={self.interpolation!r} 无法识别；应为 "
                    f"{' 或 '.join(INTERPOLATIONS)}；请选一个",
                )
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ConfigError(
                Text(
                    f"mean={self.mean} and std={self.std} cannot be used, expected three numbers "
                    "each, those of std above 0: copy them from the checkpoint",
                    f"mean={self.mean} 和 std={self.std} 不能用；应各为三个数，std 的都大于 0；请"
                    "照检查点的设置填写",
                )
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the result of `square`."""
        if self.resize == "patches":
            return self.patch, (1 + self.patches) * self.patch
        return self.size, self.size


def _patch_grid(width: int, height: int, config: ImageTransformConfig) -> tuple[int, int]:
    """Rows and columns of patches that keep a picture's shape best and are not too many: sides are
    rounded up to whole patches (transformers, Siglip2ImageProcessor, whose search this repeats)."""

    def grid(scale: float) -> tuple[int, int]:
        rows, columns = (max(1, ceil(side * scale / config.patch)) for side in (height, width))
        return rows, columns

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        middle = (low + high) / 2
        rows, columns = grid(middle)
        low, high = (middle, high) if rows * columns <= config.patches else (low, middle)
    return grid(low)


def _strip(image: Image.Image, config: ImageTransformConfig) -> Image.Image:
    """A picture's patches side by side, row by row, so that pictures of any shape fit one batch. An
    extra first patch holds the numbers of rows and columns in its first two pixels, each as two
    bytes; black fills the end."""
    rows, columns = _patch_grid(image.width, image.height, config)
    p = config.patch
    resized = image.resize((columns * p, rows * p), INTERPOLATIONS[config.interpolation])
    import numpy as np  # takes longer to import than most pictures to decode

    patches = np.asarray(resized).reshape(rows, p, columns, p, 3).transpose(1, 0, 2, 3, 4)
    result = np.zeros((p, (1 + config.patches) * p, 3), dtype=np.uint8)
    result[:, p : (1 + rows * columns) * p] = patches.reshape(p, -1, 3)
    result[0, :2, :2] = [divmod(rows, 256), divmod(columns, 256)]
    return Image.fromarray(result)


def _letterbox(image: Image.Image, config: ImageTransformConfig) -> Image.Image:
    """The whole picture in the upper left corner."""
    long = max(image.size)
    width, height = (max(1, side * config.size // long) for side in image.size)
    result = Image.new("RGB", (config.size, config.size), _GREY)
    result.paste(image.resize((width, height), INTERPOLATIONS[config.interpolation]), (0, 0))
    return result


def square(image: Image.Image, config: ImageTransformConfig) -> Image.Image:
    """Resized and cropped to `config.shape`; the picture is RGB."""
    if config.resize == "patches":
        return _strip(image, config)
    if config.resize == "letterbox":
        return _letterbox(image, config)
    width, height = _resized(image, config)
    left, top = _margin(width, config), _margin(height, config)
    side, interpolation = config.size, INTERPOLATIONS[config.interpolation]
    if max(width, height) > _LONGEST * side:
        # A strip of 1 x 30,000 would be resized to gigabytes, of which one square is kept.
        x, y = image.width / width, image.height / height
        box = (left * x, top * y, (left + side) * x, (top + side) * y)
        return image.resize((side, side), interpolation, box=box)
    # The box would do for every picture and save a quarter of the work, but Pillow keeps it in
    # single precision, which moves some pixels by one step from the published preprocessing.
    resized = image.resize((width, height), interpolation)
    return resized.crop((left, top, left + side, top + side))


def _resized(image: Image.Image, config: ImageTransformConfig) -> tuple[int, int]:
    """Width and height before the crop; the longer side is rounded down, as the sources do."""
    if config.resize == "squash":
        return config.size, config.size
    short = min(image.size)
    return config.size * image.width // short, config.size * image.height // short


def _margin(side: int, config: ImageTransformConfig) -> int:
    spare = side - config.size
    return spare // 2 if config.crop_rounding == "down" else round(spare / 2)
