"""A picture or video -> patches for Qwen2-VL, Qwen2.5-VL and Qwen3-VL, which keep its shape.

    size = smart_resize(image.size, QWEN2_VL)
    patches, grid = image_patches(image, QWEN2_VL)      # [1 * rows * columns, 3 * 2 * 14 * 14]
    grid.tokens(QWEN2_VL)                               # a quarter of the patches

Nothing is tiled or padded: both sides are rounded to whole merged patches, within two bounds on the
number of pixels. Patches of several pictures are concatenated, and their grids tell them apart.
Sizes are (width, height). Works without torch.

Source: qwen-vl-utils 0.0.14 (vision_process.py), used to train and evaluate the models. The
processors of transformers 5 differ: a side shorter than half a merged patch is first rounded to 0,
which makes an extremely long picture smaller; and the frames of a video have no common bound unless
`cap_pixels_per_frame` is set. Pillow resizes video frames here, torchvision there.
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
    """The defaults are Qwen2-VL's. Bounds are in tokens per picture or frame."""

    patch: int = 14
    """Side of a patch in pixels."""
    merge: int = 2
    """Patches along a side of the square that becomes one token."""
    frames: int = 2
    """Frames in a patch; a still picture is repeated."""
    least_tokens: int = 4
    """Fewest tokens in a picture: smaller ones are enlarged."""
    most_tokens: int = 16_384
    """Most tokens in a picture: larger ones are shrunk."""
    frame_least_tokens: int = 128
    """Fewest tokens' worth of pixels in a frame of a video."""
    frame_most_tokens: int = 768
    """Most tokens' worth of pixels in a frame of a video."""
    clip_tokens: int = _CLIP_TOKENS
    """Most tokens in a video. Long ones have smaller frames, down to 1.05 times
    `frame_least_tokens`."""
    longest: float = 200.0
    """Largest ratio of long to short side that is accepted."""
    mean: tuple[float, float, float] = OPENAI_MEAN
    """Subtracted from red, green and blue after scaling from 0..255 to 0..1."""
    std: tuple[float, float, float] = OPENAI_STD
    """Each colour is then divided by this."""

    def __post_init__(self) -> None:
        if min(self.patch, self.merge, self.frames) < 1 or min(self.std) <= 0:
            raise ConfigError(
                Text(
                    f"patch={self.patch}, merge={self.merge}, frames={self.frames} and "
                    f"std={self.std} are impossible, expected positive numbers; copy them from "
                    "the checkpoint's preprocessor_config.json.",
                    f"patch={self.patch}、merge={self.merge}、frames={self.frames}、std={self.std} "
                    "无效；应全为正数；请照检查点的 preprocessor_config.json 填写",
                )
            )
        picture = self.least_tokens, self.most_tokens
        frame = self.frame_least_tokens, self.frame_most_tokens
        if not (1 <= picture[0] <= picture[1] and 1 <= frame[0] <= frame[1]):
            raise ConfigError(
                Text(
                    f"the bounds {picture} of a picture and {frame} of a frame allow no size, "
                    "expected 1 <= fewest <= most tokens; swap or correct them.",
                    f"图片的上下限 {picture} 和帧的上下限 {frame} 不容许任何大小；应满足 1 <= 最少 "
                    "<= 最多；请改正",
                )
            )

    @property
    def factor(self) -> int:
        """Side of a merged patch in pixels; both sides of a resized picture are multiples of it."""
        return self.patch * self.merge

    @property
    def patch_dim(self) -> int:
        """Numbers per patch."""
        return 3 * self.frames * self.patch**2


QWEN2_VL = NativeResolutionConfig()
QWEN2_5_VL = QWEN2_VL
QWEN3_VL = NativeResolutionConfig(patch=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@dataclass(frozen=True)
class PatchGrid:
    """How many patches a picture or video has along each axis."""

    time: int
    """Time steps of `frames` frames each; 1 for a picture."""
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
    """Returns the width and height that a picture is resized to.

    Raises ImageError for a picture that is too narrow.
    """
    pixels = config.factor**2
    return _resized(size, config, config.least_tokens * pixels, config.most_tokens * pixels)


def smart_resize_video(size: Size, frames: int, config: NativeResolutionConfig) -> Size:
    """Returns the width and height that a video's sampled frames are resized to.

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
    columns, rows = (max(1, round(side / f)) for side in size)  # halves round to even
    if columns * rows * f * f > most:
        shrink = math.sqrt(width * height / most)
        # At least one. The reference lacks this: the short side of a long picture becomes 0.
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
    """Returns the grid of a resized picture, or of this many resized frames."""
    width, height = size
    return PatchGrid(
        math.ceil(frames / config.frames), height // config.patch, width // config.patch
    )


def image_patches(
    image: Image.Image, config: NativeResolutionConfig
) -> tuple[UInt8[np.ndarray, "patches dim"], PatchGrid]:
    """Resizes an RGB picture and returns its patches; see `pack_patches`."""
    resized = image.resize(smart_resize(image.size, config), Image.Resampling.BICUBIC)
    return pack_patches(np.asarray(resized)[None], config)


def video_patches(
    frames: Sequence[Image.Image], config: NativeResolutionConfig
) -> tuple[UInt8[np.ndarray, "patches dim"], PatchGrid]:
    """Resizes a video's sampled RGB frames, all of one size, and returns their patches."""
    size = smart_resize_video(frames[0].size, len(frames), config)
    resized = [np.asarray(frame.resize(size, Image.Resampling.BICUBIC)) for frame in frames]
    return pack_patches(np.stack(resized), config)


def pack_patches(
    frames: UInt8[np.ndarray, "frames height width 3"], config: NativeResolutionConfig
) -> tuple[UInt8[np.ndarray, "patches dim"], PatchGrid]:
    """Cuts resized frames into patches; the last frame is repeated to fill the last time step.

    The axes within a row are colour, frame, height and width of a patch. Patches of one token are
    consecutive; tokens run row by row, then time step by time step.
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
    """Returns (patches / 255 - mean) / std in float32."""
    colours = patches.reshape(len(patches), 3, -1).astype(np.float32)
    mean, std = (np.array(v, np.float32)[:, None] for v in (config.mean, config.std))
    return ((colours / np.float32(255) - mean) / std).reshape(patches.shape)
