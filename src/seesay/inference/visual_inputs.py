"""Pictures and videos -> what the image tower of a vision-language model reads, the places that
they take in a prompt, and the rows that the model sees in them.

    inputs = PackedInputs(model, preprocessor_settings(folder), packed_rule("qwen2_vl", config))
    one = inputs.picture(image, alone=True)
    one.media                       # its places, for the chat template
    inputs.see([one])               # as many rows as places

One class for each way of cutting a picture; the settings are those of the checkpoint's
preprocessor_config.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from seesay.data.chat import Media, Span
from seesay.data.chat_templates import Source
from seesay.data.model_files import read_json
from seesay.data.native_resolution import (
    QWEN2_5_VL,
    QWEN2_VL,
    QWEN3_VL,
    NativeResolutionConfig,
    PatchGrid,
    image_patches,
    normalise_patches,
    pack_patches,
    smart_resize_video,
)
from seesay.data.squares import OPENAI_MEAN, OPENAI_STD, ImageTransformConfig, square
from seesay.data.tiling import AnyResConfig, anyres_layout, anyres_tiles, pad_to_square
from seesay.data.transform import ImageTransform
from seesay.data.video import (
    LLAVA_SAMPLING,
    QWEN_SAMPLING,
    Video,
    VideoFrame,
    duration,
    patch_times,
    sample_frames,
)
from seesay.errors import DataError
from seesay.models.positions import VisionGrid
from seesay.models.vlm import PackedVlm, Seen, Tiling, Vlm
from seesay.text import Text
from seesay.weights.preprocessing import HALF, RESAMPLE

PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
FRAMES_AT_ONCE = 16
"""Squares that a tower sees in one call: activations of more fit no cache of a processor."""


@dataclass(frozen=True, eq=False)
class VisualInput:
    """A picture or a video, prepared for the image tower."""

    media: Media
    """The places that it takes in a prompt."""
    pixels: UInt8[np.ndarray, "..."]
    """Squares [squares, side, side, 3], or patches [patches, dim]."""
    shape: Tiling | PatchGrid | None
    """How the pixels belong together; None: one square, or the frames of a video."""
    grids: tuple[VisionGrid, ...] = ()
    """The positions of its places, one grid for each span of them, for models that have positions
    in rows and columns; the starts are left to the prompt."""

    @property
    def digest(self) -> bytes:
        """Equal for equal pixels, cut in the same way."""
        return blake2b(
            repr((self.media, self.pixels.shape, self.shape)).encode() + self.pixels.tobytes(),
            digest_size=16,
        ).digest()


@runtime_checkable
class VisualInputs(Protocol):
    """How a family prepares and sees pictures and videos."""

    most_images: int | None
    """Pictures that the model was trained to take at once; None: as many as fit its context."""
    has_video: bool

    def picture(self, image: Image.Image, *, alone: bool) -> VisualInput:
        """Prepares an RGB picture; `alone` says whether it is the only one of its prompt."""
        ...

    def video(self, file: str | Path) -> VisualInput:
        """Prepares a video. Raises DataError if it is broken."""
        ...

    def see(self, inputs: Sequence[VisualInput]) -> Tensor | Seen:
        """Returns the rows of all these behind one another."""
        ...


class SquareInputs:
    """LLaVA: one square for a picture (1.5), or tiles of it and a square of the whole (NeXT and
    OneVision); OneVision also reads the frames of a video, as squares."""

    def __init__(self, model: Vlm, family: str, settings: Mapping[str, Any], source: Source):
        self.model = model
        self.most_images = None if family == "llava_onevision" else 1
        self.has_video = family == "llava_onevision"
        tower = model.config.tower
        clip = family != "llava_onevision"
        self._square = ImageTransformConfig(
            size=tower.image_size,
            resize="shortest" if family == "llava" else "squash",
            crop=family == "llava",
            interpolation=RESAMPLE[settings.get("resample", 3)],
            mean=_triple(settings.get("image_mean", OPENAI_MEAN if clip else HALF)),
            std=_triple(settings.get("image_std", OPENAI_STD if clip else HALF)),
        )
        # The authors' code pads LLaVA 1.5's pictures, and its checkpoint for transformers crops.
        self._pad = family == "llava" and (source == "original" or settings.get("do_pad", False))
        self._transform = ImageTransform(self._square)
        self._tiles = self._anyres(settings, source) if model.config.newline else None

    def _anyres(self, settings: Mapping[str, Any], source: Source) -> AnyResConfig | None:
        pinpoints = settings.get("image_grid_pinpoints")
        if not pinpoints:
            return None
        tower = self.model.config.tower
        # The same list is read as (height, width) by transformers and as (width, height) by the
        # authors.
        canvases = tuple((int(a), int(b)) for a, b in pinpoints)
        if source == "hf":
            canvases = tuple((b, a) for a, b in canvases)
        return AnyResConfig(
            tile=tower.image_size,
            patch=tower.patch_size,
            resolutions=canvases,
            most_tiles=self.model.config.most_tiles,
            rounding="hf",  # as Vlm.join_tiles
        )

    def picture(self, image: Image.Image, *, alone: bool) -> VisualInput:
        c = self.model.config
        if self._tiles is not None and (alone or self.most_images == 1):
            layout = anyres_layout(image.size, self._tiles)
            columns, rows = layout.grid
            tiling = Tiling(rows, columns, image.height, image.width)
            tiles = anyres_tiles(image, self._tiles)
            return VisualInput(Media("image", (layout.tokens,)), tiles, tiling)
        padded = pad_to_square(image, self._square.mean) if self._pad else image
        pixels = np.asarray(square(padded, self._square))[None]
        tiling = Tiling(0, 0, image.height, image.width)
        count = c.tower.grid**2 + c.class_token + c.newline
        return VisualInput(Media("image", (count,)), pixels, tiling)

    def video(self, file: str | Path) -> VisualInput:
        with Video(file) as video:
            numbers = sample_frames(video.times, LLAVA_SAMPLING)
            frames = [np.asarray(square(one.image, self._square)) for one in video.frames(numbers)]
        count = len(frames) * ceil(self.model.config.tower.grid / 2) ** 2
        return VisualInput(
            Media("video", (count + self.model.config.newline,)), np.stack(frames), None
        )

    def see(self, inputs: Sequence[VisualInput]) -> Tensor:
        squares = np.concatenate([one.pixels for one in inputs])
        seen = torch.cat([self._seen(part) for part in _parts(squares)])
        rows = seen.split([len(one.pixels) for one in inputs])
        return torch.cat([self._joined(*one) for one in zip(inputs, rows, strict=True)])

    def _seen(self, squares: UInt8[np.ndarray, "..."]) -> Tensor:
        parameter = next(self.model.parameters())
        pixels = torch.from_numpy(squares).to(parameter.device)
        return self.model.see(self._transform.normalise(pixels).to(parameter.dtype))

    def _joined(self, one: VisualInput, rows: Tensor) -> Tensor:
        if isinstance(one.shape, Tiling):
            return self.model.join_tiles(rows, one.shape)
        return self.model.join_frames(rows)


class PackedInputs:
    """Qwen2-VL, 2.5-VL and 3-VL: patches of pictures and videos that keep their shape."""

    most_images: int | None = None
    has_video = True

    def __init__(self, model: PackedVlm, settings: Mapping[str, Any], rule: "PackedRule"):
        self.model = model
        self._rule = rule
        self._config = _native_resolution(settings, rule.config)

    def picture(self, image: Image.Image, *, alone: bool) -> VisualInput:
        patches, grid = image_patches(image, self._config)
        media = Media("image", (grid.tokens(self._config),))
        return VisualInput(media, patches, grid, (self._grid(grid),))

    def video(self, file: str | Path) -> VisualInput:
        with Video(file) as video:
            numbers = sample_frames(video.times, QWEN_SAMPLING)
            seconds = duration(video.times)
            frames = [self._resized(frame, len(numbers)) for frame in video.frames(numbers)]
        stacked = np.stack([np.asarray(frame.image) for frame in frames])
        patches, grid = pack_patches(stacked, self._config)
        if self._rule.steps_apart:
            times = tuple(patch_times(frames, self._config.frames))
            step = replace(grid, time=1)
            counts = (step.tokens(self._config),) * grid.time
            media = Media("video", counts, times)
            return VisualInput(media, patches, grid, (self._grid(step),) * grid.time)
        interval = 1.0
        if self._rule.positions_per_second is not None:
            between = self._config.frames * seconds / len(frames)
            interval = between * self._rule.positions_per_second
        media = Media("video", (grid.tokens(self._config),))
        return VisualInput(media, patches, grid, (self._grid(grid, interval),))

    def _resized(self, frame: VideoFrame, count: int) -> VideoFrame:
        size = smart_resize_video(frame.image.size, count, self._config)
        return replace(frame, image=frame.image.resize(size, Image.Resampling.BICUBIC))

    def _grid(self, grid: PatchGrid, interval: float = 1.0) -> VisionGrid:
        merge = self._config.merge
        return VisionGrid(
            start=0,
            time=grid.time,
            rows=grid.height // merge,
            columns=grid.width // merge,
            interval=interval,
        )

    def see(self, inputs: Sequence[VisualInput]) -> Seen:
        parameter = next(self.model.parameters())
        patches = np.concatenate([normalise_patches(one.pixels, self._config) for one in inputs])
        grids = [
            (g.time, g.height, g.width) for one in inputs if isinstance(g := one.shape, PatchGrid)
        ]
        return self.model.see(
            torch.from_numpy(patches).to(parameter.device, parameter.dtype),
            torch.tensor(grids, device=parameter.device),
        )


class PackedRule(NamedTuple):
    """What a family does with the steps of a video."""

    config: NativeResolutionConfig
    steps_apart: bool = False
    """Whether each step of time has marks and a time of its own in the prompt."""
    positions_per_second: float | None = None
    """None: positions count steps."""


def packed_rule(family: str, published: Mapping[str, Any]) -> PackedRule:
    """The rule of a family, from its config.json."""
    if family == "qwen3_vl":
        return PackedRule(QWEN3_VL, steps_apart=True)
    if family == "qwen2_5_vl":
        # The class in transformers has 4, and every published file 2.
        seconds = published.get("vision_config", {}).get("tokens_per_second", 4)
        return PackedRule(QWEN2_5_VL, positions_per_second=float(seconds))
    return PackedRule(QWEN2_VL)


def _native_resolution(
    settings: Mapping[str, Any], default: NativeResolutionConfig
) -> NativeResolutionConfig:
    patch, merge = (
        settings.get("patch_size", default.patch),
        settings.get("merge_size", default.merge),
    )
    pixels = (patch * merge) ** 2
    size = settings.get("size") or {}
    least = settings.get("min_pixels") or size.get("shortest_edge") or default.least_tokens * pixels
    most = settings.get("max_pixels") or size.get("longest_edge") or default.most_tokens * pixels
    return replace(
        default,
        patch=patch,
        merge=merge,
        frames=settings.get("temporal_patch_size", default.frames),
        least_tokens=max(1, least // pixels),
        most_tokens=max(1, most // pixels),
        mean=_triple(settings.get("image_mean", default.mean)),
        std=_triple(settings.get("image_std", default.std)),
    )


def preprocessor_settings(folder: Path) -> Mapping[str, Any]:
    """The settings of a folder's image processor; none if it has no file of them."""
    for name in (PREPROCESSOR, PROCESSOR):
        if (folder / name).is_file():
            settings = read_json(folder / name)
            inside = settings.get("image_processor", settings)
            return {key: value for key, value in inside.items() if value is not None}
    return {}


def grids_at(spans: Sequence[Span], inputs: Sequence[VisualInput]) -> list[VisionGrid]:
    """The grids of a prompt's pictures, where their places are."""
    grids = [grid for one in inputs for grid in one.grids]
    return [replace(grid, start=span.start) for span, grid in zip(spans, grids, strict=bool(grids))]


def no_video(model: str) -> DataError:
    """The error about a video for a model without."""
    return DataError(
        Text(
            f"{model} reads no videos; expected pictures. Give some frames as pictures, or choose "
            "a model that reads videos, such as Qwen2-VL.",
            f"{model} 不支持视频；应为图片；请把若干帧作为图片给出，或换用支持视频的模型，如 "
            "Qwen2-VL",
        )
    )


def _parts(squares: UInt8[np.ndarray, "..."]) -> list[UInt8[np.ndarray, "..."]]:
    return np.array_split(squares, ceil(len(squares) / FRAMES_AT_ONCE))


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
