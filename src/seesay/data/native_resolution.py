"""A picture or a video -> the patches of Qwen2-VL, Qwen2.5-VL and Qwen3-VL, which keep its shape.

    size = smart_resize(image.size, QWEN2_VL)
    patches, grid = image_patches(image, QWEN2_VL)      # [1 * rows * columns, 3 * 2 * 14 * 14]
    grid.tokens(QWEN2_VL)                               # a quarter of the patches

Nothing is tiled or padded: both sides are rounded to a whole number of merged patches, between two
bounds on the number of pixels. Patches of several pictures are put behind one another, and their
grids say which belong together. Sizes are (width, height). Works without torch.

Source: qwen-vl-utils 0.0.14 (vision_process.py), with which the models were trained and measured.
The processors of transformers 5 differ: a side that is shorter than half a merged patch is rounded
to 0 first, which makes an extremely long picture smaller; and the frames of a video have no common
bound unless `cap_pixels_per_frame` is set. Pillow resizes video frames here, torchvision there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from seesay.data.squares import OPENAI_MEAN, OPENAI_STD
from seesay.errors import ConfigError, ImageError
from seesay.text import Text

Size = tuple[int, int]
"""Width and height."""
_CLIP_TOKENS = 115_200  # 0.9 of a context of 128,000


@dataclass(frozen=True, kw_only=True)
class NativeResolutionConfig:
    """The defaults are Qwen2-VL. Bounds are counted in tokens of one picture or frame."""

    patch: int = 14
    """Side of a patch in pixels."""
    merge: int = 2
    """Patches along a side of the square that becomes one token."""
    frames: int = 2
    """Frames in a patch; a still picture is repeated."""
    least_tokens: int = 4
    """Fewest tokens of a picture: a smaller one is enlarged."""
    most_tokens: int = 16_384
    """Most tokens of a picture: a larger one is reduced."""
    frame_least_tokens: int = 128
    """Fewest tokens' worth of pixels in a frame of a video."""
    frame_most_tokens: int = 768
    """Most tokens' worth of pixels in a frame of a video."""
    clip_tokens: int = _CLIP_TOKENS
    """Most tokens of a video. A long one has smaller frames, down to 1.05 of the least."""
    longest: float = 200.0
    """Long side over short side, beyond which a picture is refused."""
    mean: tuple[float, float, float] = OPENAI_MEAN
    """Subtracted from red, green and blue after they are scaled from 0..255 to 0..1."""
    std: tuple[float, float, float] = OPENAI_STD
    """Each colour is divided by it after that."""

    def __post_init__(self) -> None:
        if min(self.patch, self.merge, self.frames) < 1 or min(self.std) <= 0:
            raise ConfigError(
                Text(
                    f"patch={self.patch}, merge={self.merge}, frames={self.frames} and "
                    f"std={self.std} describe no patch, expected positive numbers; copy them from "
                    "the checkpoint's preprocessor_config.json.",
                    f"patch={self.patch}、merge={self.merge}、frames={self.frames}、std={self.std} "
                    "不能描述一个 patch；应全为正数；请照检查点的 preprocessor_config.json 填写",
                )
            )
        picture = self.least_tokens, self.most_tokens
        frame = self.frame_least_tokens, self.frame_most_tokens
        if not (1 <= picture[0] <= picture[1] and 1 <= frame[0] <= frame[1]):
            raise ConfigError(
                Text(
                    f"the bounds {picture} of a picture and {frame} of a frame leave no size, "
                    "expected 1 <= fewest <= most tokens; swap or correct them.",
                    f"图片的上下限 {picture} 和帧的上下限 {frame} 不留任何大小；应满足 1 <= 最少 "
                    "<= 最多；请改正",
                )
            )

    @property
    def factor(self) -> int:
        """Side of a merged patch in pixels: what both sides of a picture are multiples of."""
        return self.patch * self.merge

    @property
    def patch_dim(self) -> int:
        """Numbers in a patch."""
        return 3 * self.frames * self.patch**2


QWEN2_VL = NativeResolutionConfig()
QWEN2_5_VL = QWEN2_VL
QWEN3_VL = NativeResolutionConfig(patch=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@dataclass(frozen=True)
class PatchGrid:
    """How many patches of a picture or a video lie along each axis."""

    time: int
    """Steps of `frames` frames; 1 for a picture."""
    height: int
    width: int

    @property
    def patches(self) -> int:
        """Rows of the image tower's input."""
        return self.time * self.height * self.width

    def tokens(self, config: NativeResolutionConfig) -> int:
        """Embeddings that the language model reads."""
        return self.patches // config.merge**2


def smart_resize(size: Size, config: NativeResolutionConfig) -> Size:
    """Width and height that a picture is resized to.

    Raises ImageError for a picture that is too narrow.
    """
    pixels = config.factor**2
    return _resized(size, config, config.least_tokens * pixels, config.most_tokens * pixels)


def smart_resize_video(size: Size, frames: int, config: NativeResolutionConfig) -> Size:
    """Width and height that each of a video's sampled frames is resized to.

    Raises ImageError for frames that are too narrow.
    """
    pixels = config.factor**2
    least = config.frame_least_tokens * pixels
    share = config.clip_tokens * pixels / max(frames, 1) * config.frames
    most = max(min(config.frame_most_tokens * pixels, share), int(least * 1.05))
    return _resized(size, config, least, most)


def _resized(size: Size, config: NativeResolutionConfig, least: int, most: int | float) -> Size:
    width, height = size
    _check_shape(size, config)
    f = config.factor
    columns, rows = (max(1, round(side / f)) for side in size)  # halves go to the even number
    if columns * rows * f * f > most:
        shrink = math.sqrt(width * height / most)
        # At least one, which the reference forgets: the short side of a long picture becomes 0.
        columns, rows = (max(1, math.floor(side / shrink / f)) for side in size)
    elif columns * rows * f * f < least:
        grow = math.sqrt(least / (width * height))
        columns, rows = (math.ceil(side * grow / f) for side in size)
    return columns * f, rows * f


def _check_shape(size: Size, config: NativeResolutionConfig) -> None:
    width, height = size
    if min(size) < 1 or max(size) / min(size) > config.longest:
        raise ImageError(
            Text(
                f"a picture of {width} x {height} pixels is too narrow, expected a long side of at "
                f"most {config.longest:g} times the short one; crop it.",
                f"{width} x {height} 像素的图片过于狭长；长边应不超过短边的 {config.longest:g} 倍；"
                "请先裁剪",
            )
        )


def patch_grid(size: Size, config: NativeResolutionConfig, *, frames: int = 1) -> PatchGrid:
    """The grid of a resized picture, or of that many resized frames."""
    width, height = size
    return PatchGrid(
        math.ceil(frames / config.frames), height // config.patch, width // config.patch
    )


def image_patches(
    image: Image.Image, config: NativeResolutionConfig
) -> tuple[UInt8[np.ndarray, "patches dim"], PatchGrid]:
    """The patches of an RGB picture, resized; see `pack_patches`."""
    resized = image.resize(smart_resize(image.size, config), Image.Resampling.BICUBIC)
    return pack_patches(np.asarray(resized)[None], config)


def video_patches(
    frames: Sequence[Image.Image], config: NativeResolutionConfig
) -> tuple[UInt8[np.ndarray, "patches dim"], PatchGrid]:
    """The patches of a video's sampled RGB frames, all of one size, resized."""
    size = smart_resize_video(frames[0].size, len(frames), config)
    resized = [np.asarray(frame.resize(size, Image.Resampling.BICUBIC)) for frame in frames]
    return pack_patches(np.stack(resized), config)


def pack_patches(
    frames: UInt8[np.ndarray, "frames height width 3"], config: NativeResolutionConfig
) -> tuple[UInt8[np.ndarray, "patches dim"], PatchGrid]:
    """Cuts resized frames into patches; the last frame is repeated until time is whole.

    A row holds colour, frame, height and width of a patch, in this order. The patches that become
    one token follow one another, tokens go row by row, and steps of time come last.
    """
    missing = -len(frames) % config.frames
    frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    count, height, width, _ = frames.shape
    grid = patch_grid((width, height), config, frames=count)
    m, p = config.merge, config.patch
    blocks = frames.reshape(
        (grid.time, config.frames, grid.height // m, m, p, grid.width // m, m, p, 3)
    )
    # time, row and column of the token, row and column in it, colour, frame, pixel
    ordered = blocks.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
    return np.ascontiguousarray(ordered.reshape(grid.patches, config.patch_dim)), grid


def normalise_patches(
    patches: UInt8[np.ndarray, "patches dim"], config: NativeResolutionConfig
) -> Float[np.ndarray, "patches dim"]:
    """(patches / 255 - mean) / std in float32."""
    colours = patches.reshape(len(patches), 3, -1).astype(np.float32)
    mean, std = (np.array(v, np.float32)[:, None] for v in (config.mean, config.std))
    return ((colours / np.float32(255) - mean) / std).reshape(patches.shape)
