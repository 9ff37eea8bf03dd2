"""Random changes to training images, on PIL alone. The same generator gives the same image."""

from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from PIL import Image, ImageEnhance

from seesay.errors import ConfigError
from seesay.text import Text

ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How training images are augmented. The defaults change little, which suits captions."""

    crop_scale: tuple[float, float] = (0.9, 1.0)
    """Smallest and largest part of the image's area that a random crop keeps; (1, 1): no crop."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Narrowest and widest crop, as width divided by height."""
    flip: float = 0.0
    """Chance of a left-right flip. Captions that say left and right stop being true."""
    jitter: float = 0.0
    """Chance that brightness, contrast, saturation and hue change, in random order."""
    brightness: float = 0.4
    """Largest change of brightness: 0.4 draws a factor from 0.6 to 1.4."""
    contrast: float = 0.4
    """Largest change of contrast, as brightness."""
    saturation: float = 0.4
    """Largest change of saturation, as brightness."""
    hue: float = 0.05
    """Largest shift of the hue, as a part of the colour circle; at most 0.5."""
    greyscale: float = 0.0
    """Chance that an image becomes greyscale."""
    variants: int | None = None
    """Number of variants of each image, which take turns from epoch to epoch; none: a new one in
    each. With a few, `hardware.reuse` computes less."""

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "greyscale", "brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    Text(
                        f"{name}={getattr(self, name)} is out of range, expected a number between "
                        "0 and 1: set one",
                        f"{name}={getattr(self, name)} 超出范围；应为 0 到 1 之间的数；请改正",
                    )
                )
        if not 0 <= self.hue <= 0.5:
            raise ConfigError(
                Text(
                    f"hue={self.hue} is out of range, expected a number between 0 and 0.5, half "
                    "the colour circle: set one",
                    f"hue={self.hue} 超出范围；应为 0 到 0.5 之间的数，0.5 是半个色环；请改正",
                )
            )
        if self.variants is not None and self.variants < 1:
            raise ConfigError(
                Text(
                    f"variants={self.variants} leaves no image to learn from, expected a whole "
                    "number of at least 1: set one, or leave it out",
                    f"variants={self.variants} 一张图片也不剩；应为不小于 1 的整数；请改正，或不写",
                )
            )
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ConfigError(
                Text(
                    f"crop_scale={self.crop_scale} is no range of areas, expected two parts of "
                    "the whole, above 0 and up to 1, the smaller first: correct them",
                    f"crop_scale={self.crop_scale} 不是面积范围；应为两个大于 0、不超过 1 的比例，"
                    "小的在前；请改正",
                )
            )
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ConfigError(
                Text(
                    f"crop_ratio={self.crop_ratio} is no range of shapes, expected two ratios "
                    "above 0, the smaller first: correct them",
                    f"crop_ratio={self.crop_ratio} 不是宽高比范围；应为两个大于 0 的比例，小的在"
                    "前；请改正",
                )
            )


def augment(
    image: Image.Image, config: AugmentationConfig, size: int, rng: np.random.Generator
) -> Image.Image:
    """A random variant of an RGB image; size x size pixels if the config crops."""
    if config.crop_scale != (1.0, 1.0):
        image = random_crop(image, config, size, rng)
    if rng.random() < config.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < config.jitter:
        image = change_colours(image, config, rng)
    if rng.random() < config.greyscale:
        image = image.convert("L").convert("RGB")
    return image


def random_crop(
    image: Image.Image, config: AugmentationConfig, size: int, rng: np.random.Generator
) -> Image.Image:
    """A crop of random area and shape, resized to size x size (Szegedy et al., 2014)."""
    width, height = image.size
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(*config.crop_scale)
        ratio = exp(rng.uniform(log(config.crop_ratio[0]), log(config.crop_ratio[1])))
        crop_width, crop_height = round(sqrt(area * ratio)), round(sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            break
    else:  # a very long image: its largest part of an allowed shape
        crop_width = min(width, max(1, round(height * config.crop_ratio[1])))
        crop_height = min(height, max(1, round(width / config.crop_ratio[0])))
    left = int(rng.integers(0, width - crop_width + 1))
    top = int(rng.integers(0, height - crop_height + 1))
    box = (left, top, left + crop_width, top + crop_height)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)


def change_colours(
    image: Image.Image, config: AugmentationConfig, rng: np.random.Generator
) -> Image.Image:
    """Brightness, contrast, saturation and hue, each by a random amount."""
    enhancers = (
        (ImageEnhance.Brightness, config.brightness),
        (ImageEnhance.Contrast, config.contrast),
        (ImageEnhance.Color, config.saturation),
        (None, config.hue),
    )
    for number in rng.permutation(len(enhancers)):
        enhancer, most = enhancers[number]
        amount = rng.uniform(-most, most)
        if enhancer is not None:
            image = enhancer(image).enhance(1 + amount)
        elif most:
            image = turn_hue(image, amount)
    return image


def turn_hue(image: Image.Image, turn: float) -> Image.Image:
    """Shift every hue along the colour circle; a shift of 1 changes nothing."""
    hue, saturation, value = image.convert("HSV").split()
    steps = round(turn * 256)
    turned = hue.point([(level + steps) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")
