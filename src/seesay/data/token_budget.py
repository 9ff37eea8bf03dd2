"""How many tokens a picture, document or video costs under each published scheme.

    cost = picture_cost((1920, 1080), "internvl-2.5")
    cost.tokens, cost.squares       # 2304 embeddings to read, 9 squares of 448 for the image tower
    cost.fits(8192, text=500)

Only sizes are needed. The numbers come from the rules that `seesay.data.tiling` and
`seesay.data.native_resolution` cut pixels by.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from seesay.data.native_resolution import (
    QWEN2_5_VL,
    QWEN2_VL,
    QWEN3_VL,
    NativeResolutionConfig,
    patch_grid,
    smart_resize,
    smart_resize_video,
)
from seesay.data.tiling import (
    INTERNVL,
    LLAVA_NEXT,
    LLAVA_NEXT_HF,
    ONEVISION,
    ONEVISION_HF,
    AnyResConfig,
    DynamicTilesConfig,
    anyres_layout,
    dynamic_tile_count,
)
from seesay.data.video import (
    INTERNVL_SAMPLING,
    LLAVA_SAMPLING,
    QWEN_SAMPLING,
    FrameSampling,
    sample_count,
)
from seesay.errors import ConfigError
from seesay.text import Text

Size = tuple[int, int]
"""Width and height in pixels."""
A4_AT_150_DPI: Size = (1240, 1754)


@dataclass(frozen=True)
class TokenCost:
    """What the language model and the image tower have to read."""

    scheme: str
    tokens: int
    """Embeddings that replace placeholders."""
    marks: int
    """Special tokens around them: start and end of each picture."""
    squares: int
    """Tiles, pages or frames that the image tower sees, each of size `input_size`."""
    input_size: Size
    """Width and height that the image tower reads."""
    patches: int
    """Patches that the image tower reads, over all squares."""
    frames: int = 0
    """Sampled frames of a video."""

    @property
    def total(self) -> int:
        """Tokens of the prompt without its text."""
        return self.tokens + self.marks

    def fits(self, context: int, *, text: int = 0) -> bool:
        """Whether a context has room for this plus `text` tokens of text and answer."""
        return self.total + text <= context


@dataclass(frozen=True, kw_only=True)
class FixedSquare:
    """One square and a fixed number of tokens for any picture."""

    side: int
    patch: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How a family prepares pictures and videos, as published."""

    picture: FixedSquare | AnyResConfig | DynamicTilesConfig | NativeResolutionConfig
    picture_tokens_among: int | None = None
    """Tokens of a picture that is one of several, if the family does not cut it into tiles then."""
    marks: int = 0
    """Tokens around a picture or a part of a video."""
    sampling: FrameSampling | None = None
    """Which frames of a video are read; None for families without video."""
    frame_tokens: int = 0
    """Tokens per frame, for families that treat a frame as a square."""
    steps_apart: bool = False
    """Whether each time step of a video has its own marks."""
    video_end: int = 0
    """Tokens after a whole video."""
    context: int = 0
    """Tokens that the published language model was trained for."""


_CLIP_336 = FixedSquare(side=336, patch=14, tokens=576)
_QUERIES = FixedSquare(side=224, patch=14, tokens=32)

# Sizes and contexts: the config.json and preprocessor_config.json of the published checkpoints;
# for Qwen, those of qwen-vl-utils (see native_resolution).
SCHEMES: dict[str, Scheme] = {
    "llava-1": Scheme(picture=FixedSquare(side=224, patch=14, tokens=256), marks=2, context=2048),
    "llava-1.5": Scheme(picture=_CLIP_336, context=4096),
    "llava-1.6": Scheme(picture=LLAVA_NEXT, context=4096),
    "llava-1.6-hf": Scheme(picture=LLAVA_NEXT_HF, context=4096),
    "llava-onevision": Scheme(
        picture=ONEVISION,
        picture_tokens_among=730,
        sampling=LLAVA_SAMPLING,
        frame_tokens=196,
        video_end=1,
        context=32_768,
    ),
    "llava-onevision-hf": Scheme(
        picture=ONEVISION_HF,
        picture_tokens_among=730,
        sampling=LLAVA_SAMPLING,
        frame_tokens=196,
        video_end=1,
        context=32_768,
    ),
    "internvl-2": Scheme(
        picture=INTERNVL, marks=2, sampling=INTERNVL_SAMPLING, frame_tokens=256, context=8192
    ),
    "internvl-2.5": Scheme(
        picture=INTERNVL, marks=2, sampling=INTERNVL_SAMPLING, frame_tokens=256, context=16_384
    ),
    "internvl-2.5-max-6": Scheme(
        picture=DynamicTilesConfig(most=6),
        marks=2,
        sampling=INTERNVL_SAMPLING,
        frame_tokens=256,
        context=16_384,
    ),
    "qwen-vl": Scheme(picture=FixedSquare(side=448, patch=14, tokens=256), marks=2, context=8192),
    "qwen2-vl": Scheme(picture=QWEN2_VL, marks=2, sampling=QWEN_SAMPLING, context=32_768),
    "qwen2.5-vl": Scheme(picture=QWEN2_5_VL, marks=2, sampling=QWEN_SAMPLING, context=128_000),
    "qwen3-vl": Scheme(
        picture=QWEN3_VL, marks=2, sampling=QWEN_SAMPLING, steps_apart=True, context=262_144
    ),
    "blip-2": Scheme(picture=_QUERIES, context=2048),
    "blip-2-coco": Scheme(picture=FixedSquare(side=364, patch=14, tokens=32), context=2048),
    "instructblip": Scheme(picture=_QUERIES, context=2048),
    # Cross-attention reads the 64 latents of a picture, so they are not in the prompt.
    "flamingo": Scheme(picture=FixedSquare(side=224, patch=14, tokens=1), context=2048),
}


_CHOOSE = Text("choose one", "请选一个")


def find_scheme(name: str) -> Scheme:
    """Returns the scheme of a family. Raises ConfigError for an unknown name."""
    if name not in SCHEMES:
        near = get_close_matches(name.lower(), SCHEMES, n=1)
        hint = Text(f"did you mean {near[0]}?", f"是不是想用 {near[0]}？") if near else _CHOOSE
        raise ConfigError(
            Text(
                f"no scheme is called {name!r}, expected one of {', '.join(SCHEMES)}; {hint.en}",
                f"没有名为 {name!r} 的方案；应为以下之一：{'、'.join(SCHEMES)}；{hint.zh}",
            )
        )
    return SCHEMES[name]


def picture_cost(size: Size, name: str, *, alone: bool = True) -> TokenCost:
    """Returns the cost of a picture of this width and height; `alone` tells whether it is the only
    picture in its prompt.

    Raises ConfigError for an unknown scheme and ImageError for a picture it refuses.
    """
    scheme = find_scheme(name)
    _check_positive(min(size), f"a picture of {size[0]} x {size[1]} pixels", f"{size} 的图片")
    rule = scheme.picture
    if isinstance(rule, FixedSquare):
        return _squares(name, scheme.marks, rule.tokens, 1, (rule.side, rule.patch))
    if isinstance(rule, AnyResConfig):
        if not alone and scheme.picture_tokens_among is not None:
            tokens = scheme.picture_tokens_among
            return _squares(name, scheme.marks, tokens, 1, (rule.tile, rule.patch))
        layout = anyres_layout(size, rule)
        return _squares(name, scheme.marks, layout.tokens, layout.tiles, (rule.tile, rule.patch))
    if isinstance(rule, DynamicTilesConfig):
        tiles = dynamic_tile_count(size, rule)
        return _squares(
            name, scheme.marks, tiles * rule.tile_tokens, tiles, (rule.tile, rule.patch)
        )
    resized = smart_resize(size, rule)
    grid = patch_grid(resized, rule)
    return TokenCost(name, grid.tokens(rule), scheme.marks, 1, resized, grid.patches)


def document_cost(pages: int, name: str, page: Size = A4_AT_150_DPI) -> TokenCost:
    """Returns the cost of a document with pages given as pictures of this width and height."""
    _check_positive(pages, f"a document of {pages} pages", f"{pages} 页的文档")
    return pages_cost([page] * pages, name)


def pages_cost(pages: Sequence[Size], name: str) -> TokenCost:
    """What a document costs whose pages are given as pictures of these widths and heights."""
    costs = [
        _times(picture_cost(page, name, alone=len(pages) == 1), count)
        for page, count in Counter(pages).items()
    ]
    sums = ("tokens", "marks", "squares", "patches")
    return replace(costs[0], **{field: sum(getattr(c, field) for c in costs) for field in sums})


def video_cost(
    size: Size, seconds: float, name: str, sampling: FrameSampling | None = None, fps: float = 25.0
) -> TokenCost:
    """Returns the cost of a video of this width, height and length.

    `fps` is the file's, which limits the frames to sample. Timestamps (Qwen3-VL) and "Frame1: "
    (InternVL) are text and not counted. Raises ConfigError for a family without video.
    """
    scheme = find_scheme(name)
    sampling = sampling or scheme.sampling
    if scheme.sampling is None or sampling is None:
        known = ", ".join(key for key, one in SCHEMES.items() if one.sampling)
        raise ConfigError(
            Text(
                f"{name} reads no videos, expected one of {known}; choose one of them, or give its "
                "frames as pictures.",
                f"{name} 不支持视频；应为 {known} 之一；请选其中之一，或把帧作为图片给出",
            )
        )
    _check_positive(min(seconds, fps), f"{seconds:g} s at {fps:g} fps", f"{seconds:g} 秒的视频")
    frames = sample_count(max(1, round(seconds * fps)), seconds, sampling)
    rule = scheme.picture
    if isinstance(rule, NativeResolutionConfig):
        resized = smart_resize_video(size, frames, rule)
        grid = patch_grid(resized, rule, frames=frames)
        marks = scheme.marks * (grid.time if scheme.steps_apart else 1)
        return TokenCost(name, grid.tokens(rule), marks, frames, resized, grid.patches, frames)
    square = _square_of(rule)
    tokens = frames * scheme.frame_tokens + scheme.video_end
    cost = _squares(name, scheme.marks * frames, tokens, frames, square)
    return replace(cost, frames=frames)


def most_pages(context: int, name: str, page: Size = A4_AT_150_DPI, *, text: int = 0) -> int:
    """Returns how many pages fit into a context besides `text` tokens of text and answer."""
    room = max(0, context - text)
    several = room // picture_cost(page, name, alone=False).total
    return several if several > 1 else int(document_cost(1, name, page).fits(room))


def longest_video(
    context: int, size: Size, name: str, sampling: FrameSampling | None = None, *, text: int = 0
) -> int:
    """Returns the seconds of video that fit into a context, up to a day. Families that sample a
    fixed number of frames, or shrink them, may fit any length."""

    def fits(seconds: int) -> bool:
        return video_cost(size, float(seconds), name, sampling).fits(context, text=text)

    return _largest(fits, 24 * 3600)


def _largest(fits: Callable[[int], bool], most: int) -> int:
    low, high = 0, most  # costs grow with length, except for rounding
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _squares(name: str, marks: int, tokens: int, count: int, square: tuple[int, int]) -> TokenCost:
    side, patch = square
    return TokenCost(name, tokens, marks, count, (side, side), count * (side // patch) ** 2)


def _square_of(rule: FixedSquare | AnyResConfig | DynamicTilesConfig) -> tuple[int, int]:
    if isinstance(rule, FixedSquare):
        return rule.side, rule.patch
    return rule.tile, rule.patch


def _times(cost: TokenCost, count: int) -> TokenCost:
    return replace(
        cost,
        tokens=cost.tokens * count,
        marks=cost.marks * count,
        squares=cost.squares * count,
        patches=cost.patches * count,
    )


def _check_positive(value: int | float, en: str, zh: str) -> None:
    if value <= 0 or not math.isfinite(value):
        raise ConfigError(
            Text(
                f"{en} cannot exist, expected positive numbers; correct them.",
                f"{zh}不存在；各数应为正；请改正",
            )
        )
