"""A picture -> the squares that a fixed-size image tower sees: LLaVA's padded square, the AnyRes
tiles of LLaVA-NeXT and OneVision, and the dynamic tiles of InternVL.

    layout = anyres_layout(image.size, LLAVA_NEXT)
    layout.tokens                           # known before a pixel is touched
    tiles = anyres_tiles(image, LLAVA_NEXT)     # [1 + columns * rows, 336, 336, 3]

The rules are pure functions on sizes; only `..._tiles` and `pad_to_square` touch pixels. Sizes are
(width, height) and grids (columns, rows), as in Pillow. Works without torch. Sources: LLaVA-NeXT
(llava/mm_utils.py, llava/model/llava_arch.py), InternVL (internvl_chat, dynamic_preprocess) and
transformers 5, which differs from LLaVA: see `AnyResConfig`.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from seesay.errors import ConfigError
from seesay.text import Text

Size = tuple[int, int]
"""Width and height, or columns and rows."""

_BICUBIC = Image.Resampling.BICUBIC
_TOO_LARGE = 1.1  # ratio to its limit from which the side of a feature map shrinks


@dataclass(frozen=True, kw_only=True)
class AnyResConfig:
    """How LLaVA-NeXT and OneVision cut a picture; `layout.tokens` is the cost.

    The original code and transformers preprocess the same checkpoint differently. Both read the
    published list of resolutions, but the first number is the width in the original and the height
    in transformers. The first of equal candidates wins, and all are equal for a picture smaller
    than a tile, so one picks a tall canvas and the other a wide one, with different tiles and token
    counts. The second difference, `rounding`, is rare.
    """

    tile: int = 336
    """Side of a tile in pixels: the input of the image tower."""
    patch: int = 14
    """Side of a patch in pixels."""
    resolutions: tuple[Size, ...]
    """Allowed canvases (width, height) in pixels, multiples of a tile, preferred first."""
    most_tiles: int | None = None
    """Shrink the feature map of the tiles when it holds more than this many tiles' worth of tokens
    ("anyres_max_9" is 9); None never shrinks."""
    rounding: Literal["original", "hf"] = "original"
    """How to round a side of the unpadded feature map down: directly, or after rounding to 7
    decimals (transformers), which gives one more row or column where a float falls just short."""

    def __post_init__(self) -> None:
        whole = all(
            side > 0 and side % self.tile == 0 for size in self.resolutions for side in size
        )
        if not self.resolutions or not whole:
            raise ConfigError(
                Text(
                    f"resolutions={self.resolutions} do not divide into tiles of {self.tile} "
                    "pixels, expected at least one canvas whose sides are multiples of a tile; "
                    "copy both from the checkpoint's image_grid_pinpoints and crop_size.",
                    f"resolutions={self.resolutions} 不能由边长 {self.tile} 像素的图块拼成；应至少"
                    "有一个画布，两边都是图块边长的整数倍；请照检查点的 image_grid_pinpoints 和 "
                    "crop_size 填写",
                )
            )
        if not 1 <= self.patch <= self.tile or (
            self.most_tiles is not None and self.most_tiles < 1
        ):
            raise ConfigError(
                Text(
                    f"patch={self.patch} and most_tiles={self.most_tiles} do not suit "
                    f"tile={self.tile}, expected a patch that fits into a tile and at least one "
                    "tile; copy them from the checkpoint.",
                    f"patch={self.patch}、most_tiles={self.most_tiles} 与 tile={self.tile} 不相配；"
                    "图块应能容纳一个 patch，且至少有一个图块；请照检查点填写",
                )
            )

    @property
    def side(self) -> int:
        """Patches along a side of a tile."""
        return self.tile // self.patch


def _grids(tile: int, sides: list[Size]) -> tuple[Size, ...]:
    return tuple((tile * columns, tile * rows) for columns, rows in sides)


_NEXT = [(1, 2), (2, 1), (2, 2), (3, 1), (1, 3)]
_ONEVISION = [(columns, rows) for columns in range(1, 7) for rows in range(1, 7)]

LLAVA_NEXT = AnyResConfig(resolutions=_grids(336, _NEXT))
LLAVA_NEXT_HF = AnyResConfig(resolutions=_grids(336, [(b, a) for a, b in _NEXT]), rounding="hf")
ONEVISION = AnyResConfig(tile=384, resolutions=_grids(384, _ONEVISION), most_tiles=9)
ONEVISION_HF = replace(
    ONEVISION, rounding="hf"
)  # with 1 x 1 in the list, its order does not matter


@dataclass(frozen=True)
class AnyResLayout:
    """Where the pixels of a picture go, and which of the tower's features a model keeps.

    A model joins the features of the tiles into one map of `rows * side` by `columns * side`, crops
    it to `kept` (the rest is padding), resizes that to `features` if it differs, ends each row with
    the newline embedding, and appends it to the features of the whole picture.
    """

    canvas: Size
    """Width and height that the tiles cover, in pixels."""
    grid: Size
    """Columns and rows of tiles."""
    resized: Size
    """Width and height of the picture on the canvas, in pixels; black fills the rest."""
    offset: Size
    """Left and top edge of the picture on the canvas."""
    kept: tuple[int, int, int, int]
    """Left, top, right and bottom edge of the kept features, in patches."""
    features: Size
    """Columns and rows of features after shrinking."""
    base: int
    """Number of features of the whole picture, squashed to one tile; they come first."""

    @property
    def tiles(self) -> int:
        """Squares that the image tower sees: the whole picture and the tiles."""
        return 1 + self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        """Embeddings that the language model reads, including one newline per row."""
        columns, rows = self.features
        return self.base + rows * (columns + 1)


def anyres_resolution(size: Size, config: AnyResConfig) -> Size:
    """Returns the canvas that keeps the most pixels of a picture; on a tie, the one that wastes
    least."""
    width, height = _checked(size)
    best, most, least = config.resolutions[0], -1, 0
    for canvas in config.resolutions:
        scale = min(canvas[0] / width, canvas[1] / height)
        useful = min(int(width * scale) * int(height * scale), width * height)
        waste = canvas[0] * canvas[1] - useful
        if useful > most or (useful == most and waste < least):
            best, most, least = canvas, useful, waste
    return best


def anyres_layout(size: Size, config: AnyResConfig) -> AnyResLayout:
    """Returns the tile and token layout of a picture of this size (width, height)."""
    width, height = _checked(size)
    canvas = anyres_resolution(size, config)
    across, down = canvas[0] / width, canvas[1] / height
    if across < down:
        resized = canvas[0], min(math.ceil(height * across), canvas[1])
    else:
        resized = min(math.ceil(width * down), canvas[0]), canvas[1]
    grid = canvas[0] // config.tile, canvas[1] // config.tile
    kept = _unpadded(size, (grid[0] * config.side, grid[1] * config.side), config)
    return AnyResLayout(
        canvas=canvas,
        grid=grid,
        resized=resized,
        offset=((canvas[0] - resized[0]) // 2, (canvas[1] - resized[1]) // 2),
        kept=kept,
        features=_shrunk((kept[2] - kept[0], kept[3] - kept[1]), config),
        base=config.side**2,
    )


def _unpadded(size: Size, features: Size, config: AnyResConfig) -> tuple[int, int, int, int]:
    """Returns the part of a feature map that the picture covers, computed from the picture's shape
    rather than its pixels on the canvas, as in the originals."""
    width, height = size
    columns, rows = features

    def margin(whole: int, covered: float) -> int:
        exact = round(covered, 7) if config.rounding == "hf" else covered
        return (whole - int(exact)) // 2

    if width / height > columns / rows:
        top = margin(rows, height * (columns / width))
        return 0, top, columns, rows - top
    left = margin(columns, width * (rows / height))
    return left, 0, columns - left, rows


def _shrunk(features: Size, config: AnyResConfig) -> Size:
    if config.most_tiles is None:
        return features
    columns, rows = features
    times = math.sqrt(rows * columns / (config.most_tiles * config.side**2))
    return (int(columns // times), int(rows // times)) if times > _TOO_LARGE else features


def anyres_tiles(
    image: Image.Image, config: AnyResConfig
) -> UInt8[np.ndarray, "tiles tile tile 3"]:
    """Returns an RGB picture squashed to one tile, then its tiles row by row."""
    layout = anyres_layout(image.size, config)
    canvas = Image.new("RGB", layout.canvas)
    canvas.paste(image.resize(layout.resized, _BICUBIC), layout.offset)
    whole = image.resize((config.tile, config.tile), _BICUBIC)
    return np.concatenate([np.asarray(whole)[None], _cut(canvas, layout.grid)])


@dataclass(frozen=True, kw_only=True)
class DynamicTilesConfig:
    """How InternVL 1.5 and later cut a picture. The defaults are for inference."""

    tile: int = 448
    """Side of a tile in pixels: the input of the image tower."""
    patch: int = 14
    """Side of a patch in pixels."""
    least: int = 1
    """Fewest tiles in a grid."""
    most: int = 12
    """Most tiles in a grid; the thumbnail is extra."""
    thumbnail: bool = True
    """Append the whole picture, squashed to one tile, if the grid has more than one tile."""
    tile_tokens: int = 256
    """Embeddings that the language model reads per tile."""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most or self.tile < 1 or self.tile_tokens < 1:
            raise ConfigError(
                Text(
                    f"least={self.least}, most={self.most}, tile={self.tile} and "
                    f"tile_tokens={self.tile_tokens} allow no grid, expected 1 <= least <= most "
                    "and positive sizes; copy min_dynamic_patch, max_dynamic_patch and "
                    "force_image_size from the checkpoint.",
                    f"least={self.least}、most={self.most}、tile={self.tile}、"
                    f"tile_tokens={self.tile_tokens} 排不出任何网格；应满足 1 <= least <= most，且"
                    "大小为正；请照检查点的 min_dynamic_patch、max_dynamic_patch 和 "
                    "force_image_size 填写",
                )
            )


INTERNVL = DynamicTilesConfig()


@lru_cache(maxsize=64)
def _candidates(least: int, most: int) -> tuple[Size, ...]:
    """Returns the allowed grids, small ones first. With least=1, the order among grids of equal
    size does not matter: halfway between the shapes of two of them, a third grid is closer."""
    sides = range(1, most + 1)
    grids = [(columns, rows) for columns in sides for rows in sides]
    return tuple(sorted((g for g in grids if least <= g[0] * g[1] <= most), key=math.prod))


def dynamic_grid(size: Size, config: DynamicTilesConfig) -> Size:
    """Returns the columns and rows of the grid whose shape is closest to the picture's. Among grids
    of equal shape (1 x 1, 2 x 2, 3 x 3), a larger one wins if the picture has more than half of
    that grid's pixels."""
    width, height = _checked(size)
    ratio, best, closest = width / height, (1, 1), math.inf
    for columns, rows in _candidates(config.least, config.most):
        distance = abs(ratio - columns / rows)
        large = width * height > 0.5 * config.tile**2 * columns * rows
        if distance < closest or (distance == closest and large):
            best, closest = (columns, rows), distance
    return best


def dynamic_tile_count(size: Size, config: DynamicTilesConfig) -> int:
    """Returns the number of squares that the image tower sees, including the thumbnail."""
    columns, rows = dynamic_grid(size, config)
    return columns * rows + (config.thumbnail and columns * rows > 1)


def dynamic_tiles(
    image: Image.Image, config: DynamicTilesConfig
) -> UInt8[np.ndarray, "tiles tile tile 3"]:
    """Returns the tiles of an RGB picture row by row, then the thumbnail. The picture is stretched
    to the grid, so small ones are enlarged."""
    columns, rows = dynamic_grid(image.size, config)
    canvas = image.resize((config.tile * columns, config.tile * rows), _BICUBIC)
    tiles = _cut(canvas, (columns, rows))
    if not config.thumbnail or columns * rows == 1:
        return tiles
    thumbnail = image.resize((config.tile, config.tile), _BICUBIC)
    return np.concatenate([tiles, np.asarray(thumbnail)[None]])


def pad_to_square(image: Image.Image, mean: tuple[float, float, float]) -> Image.Image:
    """Returns the picture centred on a square of the mean colour (0 to 1), which LLaVA-1.5 then
    resizes for its image tower."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    red, green, blue = (int(value * 255) for value in mean)
    result = Image.new("RGB", (side, side), (red, green, blue))
    result.paste(image, ((side - width) // 2, (side - height) // 2))
    return result


def _cut(canvas: Image.Image, grid: Size) -> UInt8[np.ndarray, "tiles tile tile 3"]:
    columns, rows = grid
    width, height = canvas.width // columns, canvas.height // rows
    pixels = np.asarray(canvas).reshape(rows, height, columns, width, 3)
    return pixels.transpose(0, 2, 1, 3, 4).reshape(-1, height, width, 3)


def _checked(size: Size) -> Size:
    width, height = size
    if width < 1 or height < 1:
        raise ConfigError(
            Text(
                f"a picture of {width} x {height} pixels has nothing to cut, expected at least "
                "1 x 1; give its width and height.",
                f"{width} x {height} 像素的图片没有内容可切；应至少为 1 x 1；请给出图片的宽和高",
            )
        )
    return width, height
