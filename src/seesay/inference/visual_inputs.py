"""Pictures and videos -> the input of a vision-language model's image tower, the placeholders in
the prompt, and the resulting rows.

    inputs = PackedInputs(model, preprocessor_settings(folder), packed_rule(config))
    one = inputs.picture(image, alone=True)
    one.media                       # its placeholders, for the chat template
    inputs.see([one])               # one row per placeholder

There is one class for each way to cut a picture; settings come from the checkpoint's
preprocessor_config.json.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

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
from seesay.data.squares import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    OPENAI_MEAN,
    OPENAI_STD,
    ImageTransformConfig,
    square,
)
from seesay.data.tiling import (
    AnyResConfig,
    DynamicTilesConfig,
    anyres_layout,
    anyres_tiles,
    dynamic_tiles,
    pad_to_square,
)
from seesay.data.transform import ImageTransform
from seesay.data.video import (
    INTERNVL_SAMPLING,
    LLAVA_SAMPLING,
    QWEN_SAMPLING,
    FrameSampling,
    Video,
    VideoFrame,
    duration,
    patch_times,
    sample_frames,
)
from seesay.errors import WeightsError
from seesay.inference.decoding import DIFFUSION_STEPS
from seesay.inference.request import VisualInput, no_video
from seesay.models.connectors import PixelShuffleConfig
from seesay.models.layers import conflict
from seesay.models.positions import VisionGrid
from seesay.models.token_reduction import PruMergeConfig
from seesay.models.vlm import PackedVlm, Seen, Tiling, Vlm
from seesay.text import Text
from seesay.weights.preprocessing import HALF, RESAMPLE

PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
FRAMES_AT_ONCE = 16
MEANS = 256  # of pictures, kept by PictureInputs
"""Squares that a tower sees in one call: the activations of more do not fit into a CPU's cache."""


def with_noise(
    one: VisualInput, values: Float[Tensor, "*axes"], draws: Sequence[int]
) -> Float[Tensor, "*axes"]:
    """Returns the normalised pixels of a picture with noise of shape `draws`, broadcast where that
    is 1; a picture always gets the same noise."""
    if not one.noise_step:
        return values
    noise = torch.randn(*draws, generator=torch.Generator().manual_seed(0))
    kept = signal_share(one.noise_step)
    return values * kept**0.5 + (1 - kept) ** 0.5 * noise.to(values.device)


def signal_share(step: int) -> float:
    """Returns how much of a picture's variance is left after this many diffusion steps of visual
    contrastive decoding (arXiv 2311.16922, vcd_add_noise.py)."""
    rise = torch.linspace(-6, 6, DIFFUSION_STEPS, dtype=torch.float64).sigmoid()
    betas = rise * (0.5e-2 - 1e-5) + 1e-5
    return float((1 - betas)[:step].prod())


class _WithoutPrompt:
    """Pictures whose rows do not depend on the prompt."""

    def about(self, one: VisualInput, text: str) -> VisualInput:
        return one


class SquareInputs(_WithoutPrompt):
    """LLaVA: one square per picture (1.5), or tiles plus a square of the whole (NeXT and
    OneVision); OneVision also reads video frames, as squares."""

    def __init__(
        self,
        model: Vlm,
        family: str,
        settings: Mapping[str, Any],
        source: Source,
        pad: bool | None = None,
    ) -> None:
        """`pad` says whether to pad pictures to squares, if the files specify it; None leaves it to
        `source`."""
        self.model = model
        self.most_images = None if family == "llava_onevision" else 1
        self.has_video = family == "llava_onevision"
        tower = model.config.vit
        clip = family != "llava_onevision"
        self._square = ImageTransformConfig(
            size=tower.image_size,
            resize="shortest" if family == "llava" else "squash",
            crop=family == "llava",
            interpolation=RESAMPLE[settings.get("resample", 3)],
            mean=_triple(settings.get("image_mean", OPENAI_MEAN if clip else HALF)),
            std=_triple(settings.get("image_std", OPENAI_STD if clip else HALF)),
        )
        # For LLaVA 1.5, the authors' code pads pictures; the transformers checkpoint crops them.
        pads = source == "original" or settings.get("do_pad", False) if pad is None else pad
        self._pad = family == "llava" and pads
        self._transform = ImageTransform(self._square)
        self._tiles = self._anyres(settings, source) if model.config.newline else None

    def _anyres(self, settings: Mapping[str, Any], source: Source) -> AnyResConfig | None:
        pinpoints = settings.get("image_grid_pinpoints")
        if not pinpoints:
            return None
        tower = self.model.config.vit
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
            rounding=source,
        )

    def picture(self, image: Image.Image, *, alone: bool) -> VisualInput:
        c = self.model.config
        if self._tiles is not None and (alone or self.most_images == 1):
            layout = anyres_layout(image.size, self._tiles)
            columns, rows = layout.grid
            tiling = Tiling(rows, columns, layout.kept, layout.features[::-1])
            tiles = anyres_tiles(image, self._tiles)
            return VisualInput(Media("image", (layout.tokens,)), tiles, tiling)
        padded = pad_to_square(image, self._square.mean) if self._pad else image
        pixels = np.asarray(square(padded, self._square))[None]
        count = c.vit.grid**2 + c.class_token + c.newline
        return VisualInput(Media("image", (count,)), pixels, Tiling(0, 0))

    def video(self, file: str | Path) -> VisualInput:
        frames = _squares_of_video(file, LLAVA_SAMPLING, self._square)
        count = len(frames) * ceil(self.model.config.vit.grid / 2) ** 2
        return VisualInput(Media("video", (count + self.model.config.newline,)), frames, None)

    def see(self, inputs: Sequence[VisualInput]) -> Tensor:
        seen = see_squares(self.model, self.model.see, self._transform, inputs)
        rows = seen.split([len(one.pixels) for one in inputs])
        return torch.cat([self._joined(*one) for one in zip(inputs, rows, strict=True)])

    def see_merged(self, inputs: Sequence[VisualInput], config: PruMergeConfig) -> list[Tensor]:
        """Returns the rows of each picture, fewer than its placeholders. Raises ConfigError for
        models that join tiles or frames."""
        if self.model.config.newline:
            raise conflict(
                "PruMerge and pictures made of tiles",
                "a model that sees one square, such as LLaVA 1.5: use FastV instead",
                "只看一个方图的模型（如 LLaVA 1.5）：请改用 FastV",
            )
        parts = square_parts(self.model, self._transform, inputs)
        return [rows for part in parts for rows in self.model.see_merged(part, config)]

    def _joined(self, one: VisualInput, rows: Tensor) -> Tensor:
        if isinstance(one.shape, Tiling):
            return self.model.join_tiles(rows, one.shape)
        return self.model.join_frames(rows)


class TileInputs(_WithoutPrompt):
    """InternVL: tiles of a picture plus a square of the whole; video frames as squares."""

    most_images: int | None = None
    has_video = True

    def __init__(self, model: Vlm, settings: Mapping[str, Any], tiles: "TileRule"):
        self.model = model
        tower, connector = model.config.vit, model.config.connector
        assert isinstance(connector, PixelShuffleConfig)
        self._tiles = DynamicTilesConfig(
            tile=tower.image_size,
            patch=tower.patch_size,
            least=tiles.least,
            most=tiles.most,
            thumbnail=tiles.thumbnail,
            tile_tokens=(tower.grid // connector.side) ** 2,
        )
        self._square = ImageTransformConfig(
            size=tower.image_size,
            resize="squash",
            mean=_triple(settings.get("image_mean", IMAGENET_MEAN)),
            std=_triple(settings.get("image_std", IMAGENET_STD)),
        )
        self._transform = ImageTransform(self._square)

    def picture(self, image: Image.Image, *, alone: bool) -> VisualInput:
        tiles = dynamic_tiles(image, self._tiles)
        return VisualInput(Media("image", (len(tiles) * self._tiles.tile_tokens,)), tiles, None)

    def video(self, file: str | Path) -> VisualInput:
        frames = _squares_of_video(file, INTERNVL_SAMPLING, self._square)
        counts = (self._tiles.tile_tokens,) * len(frames)
        return VisualInput(Media("video", counts), frames, None)

    def see(self, inputs: Sequence[VisualInput]) -> Tensor:
        return see_squares(self.model, self.model.see, self._transform, inputs).flatten(0, 1)


class TileRule(NamedTuple):
    """The published tile limits of an InternVL checkpoint."""

    least: int = 1
    most: int = 12
    thumbnail: bool = True


def tile_rule(published: Mapping[str, Any], settings: Mapping[str, Any]) -> TileRule:
    """Returns the rule of a checkpoint, from its config.json or, in transformers' layout, from its
    image settings."""
    if published.get("model_type") == "internvl_chat":
        if not published.get("dynamic_image_size", True):
            return TileRule(most=1)
        least = published.get("min_dynamic_patch", 1)
        most, thumbnail = published.get("max_dynamic_patch", 12), published.get("use_thumbnail")
        return TileRule(least, most, bool(thumbnail))
    return TileRule(settings.get("min_patches", 1), settings.get("max_patches", 12))


class PictureInputs(_WithoutPrompt):
    """One square and a fixed number of rows per picture: Qwen-VL, Flamingo and BLIP."""

    has_video = False

    def __init__(
        self,
        model: nn.Module,
        square: ImageTransformConfig,
        rows: int,
        look: Callable[[Tensor], Tensor] | None = None,
        most_images: int | None = 1,
        keep_means: bool = False,
    ) -> None:
        """`rows` is the number of placeholders per picture; `look` maps squares to rows, of whose
        means the latest are kept on request."""
        self.model, self.most_images = model, most_images
        self._square, self._transform = square, ImageTransform(square)
        self._rows, self._look = rows, look
        self._keep_means = keep_means
        self._means: OrderedDict[bytes, Float[np.ndarray, " dim"]] = OrderedDict()

    def picture(self, image: Image.Image, *, alone: bool) -> VisualInput:
        pixels = np.asarray(square(image, self._square))[None]
        return VisualInput(Media("image", (self._rows,)), pixels, None)

    def video(self, file: str | Path) -> VisualInput:
        raise no_video(type(self.model).__name__)

    def see(self, inputs: Sequence[VisualInput]) -> Tensor:
        assert self._look is not None
        seen = see_squares(self.model, self._look, self._transform, inputs)
        if self._keep_means:
            rows = seen.detach().float().reshape(len(inputs), -1, seen.shape[-1])
            means = rows.mean(1).cpu().numpy()
            self._means |= zip([one.digest for one in inputs], means, strict=True)
            while len(self._means) > MEANS:
                self._means.popitem(last=False)
        return seen

    def means_of(self, digests: Sequence[bytes]) -> Float[np.ndarray, "pictures dim"]:
        """Returns the mean of each picture's rows, of those that were seen last."""
        known = [self._means[one] for one in digests if one in self._means]
        return np.stack(known) if known else np.empty((0, 0), np.float32)


def whole_square(
    size: int, settings: Mapping[str, Any], *, crop: bool = False
) -> ImageTransformConfig:
    """Returns how a picture becomes one square: squashed or centre-cropped."""
    return ImageTransformConfig(
        size=size,
        resize="shortest" if crop else "squash",
        crop=crop,
        interpolation=RESAMPLE[settings.get("resample", 3)],
        mean=_triple(settings.get("image_mean", OPENAI_MEAN)),
        std=_triple(settings.get("image_std", OPENAI_STD)),
    )


def see_squares(
    model: nn.Module,
    look: Callable[[Tensor], Tensor],
    transform: ImageTransform,
    inputs: Sequence[VisualInput],
) -> Tensor:
    """Returns the model's output for the squares of all inputs, a few squares at a time."""
    return torch.cat([look(part) for part in square_parts(model, transform, inputs)])


def square_parts(
    model: nn.Module, transform: ImageTransform, inputs: Sequence[VisualInput]
) -> tuple[Tensor, ...]:
    """Returns the normalised squares of all inputs with their noise, a few at a time."""
    parameter = next(model.parameters())
    squares = torch.from_numpy(np.concatenate([one.pixels for one in inputs]))
    values = transform.normalise(squares.to(parameter.device))
    parts = zip(inputs, values.split([len(one.pixels) for one in inputs]), strict=True)
    every = torch.cat([with_noise(one, part, part.shape) for one, part in parts])
    return every.to(parameter.dtype).tensor_split(ceil(len(every) / FRAMES_AT_ONCE))


def _squares_of_video(
    file: str | Path, sampling: FrameSampling, config: ImageTransformConfig
) -> UInt8[np.ndarray, "frames side side 3"]:
    with Video(file) as video:
        numbers = sample_frames(video.times, sampling)
        return np.stack([np.asarray(square(one.image, config)) for one in video.frames(numbers)])


class PackedInputs(_WithoutPrompt):
    """Qwen2-VL, 2.5-VL and 3-VL: patches of pictures and videos at native aspect ratio."""

    most_images: int | None = None
    has_video = True

    def __init__(self, model: PackedVlm, settings: Mapping[str, Any], rule: "PackedRule"):
        self.model = model
        self._rule = rule
        self.config = _native_resolution(settings, rule.config)
        _check_patches(self.config, model)

    def picture(self, image: Image.Image, *, alone: bool) -> VisualInput:
        patches, grid = image_patches(image, self.config)
        media = Media("image", (grid.tokens(self.config),))
        return VisualInput(media, patches, grid, (self._grid(grid),))

    def video(self, file: str | Path) -> VisualInput:
        with Video(file) as video:
            numbers = sample_frames(video.times, QWEN_SAMPLING)
            seconds = duration(video.times)
            frames = [self._resized(frame, len(numbers)) for frame in video.frames(numbers)]
        stacked = np.stack([np.asarray(frame.image) for frame in frames])
        patches, grid = pack_patches(stacked, self.config)
        if self._rule.steps_apart:
            times = tuple(patch_times(frames, self.config.frames))
            step = replace(grid, time=1)
            counts = (step.tokens(self.config),) * grid.time
            media = Media("video", counts, times)
            return VisualInput(media, patches, grid, (self._grid(step),) * grid.time)
        interval = 1.0
        if self._rule.positions_per_second is not None:
            between = self.config.frames * seconds / len(frames)
            interval = between * self._rule.positions_per_second
        media = Media("video", (grid.tokens(self.config),))
        return VisualInput(media, patches, grid, (self._grid(grid, interval),))

    def _resized(self, frame: VideoFrame, count: int) -> VideoFrame:
        size = smart_resize_video(frame.image.size, count, self.config)
        return replace(frame, image=frame.image.resize(size, Image.Resampling.BICUBIC))

    def _grid(self, grid: PatchGrid, interval: float = 1.0) -> VisionGrid:
        merge = self.config.merge
        return VisionGrid(
            start=0,
            time=grid.time,
            rows=grid.height // merge,
            columns=grid.width // merge,
            interval=interval,
        )

    def see(self, inputs: Sequence[VisualInput]) -> Seen:
        parameter = next(self.model.parameters())
        patches = torch.cat([self._patches(one) for one in inputs])
        grids = [
            (g.time, g.height, g.width) for one in inputs if isinstance(g := one.shape, PatchGrid)
        ]
        return self.model.see(
            patches.to(parameter.device, parameter.dtype),
            torch.tensor(grids, device=parameter.device),
        )

    def _patches(self, one: VisualInput) -> Float[Tensor, "patches dim"]:
        values = torch.from_numpy(normalise_patches(one.pixels, self.config))
        apart = values.unflatten(1, (3, self.config.frames, -1))
        draws = list(apart.shape)
        if one.media.modality == "image":
            draws[2] = 1  # a still picture is repeated as its next frame
        return with_noise(one, apart, draws).flatten(1)


class PackedRule(NamedTuple):
    """How a family handles the time steps of a video."""

    config: NativeResolutionConfig
    steps_apart: bool = False
    """Whether each time step has its own marks and timestamp in the prompt."""
    positions_per_second: float | None = None
    """None: positions count steps."""


def packed_rule(published: Mapping[str, Any]) -> PackedRule:
    """Returns the rule of a family, from its config.json."""
    family = published.get("model_type")
    if family == "qwen3_vl":
        return PackedRule(QWEN3_VL, steps_apart=True)
    if family == "qwen2_5_vl":
        # The transformers class defaults to 4; every published file has 2.
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


def _check_patches(config: NativeResolutionConfig, model: PackedVlm) -> None:
    """Raises WeightsError where pictures would be cut into patches that the tower cannot read."""
    cut, read = 3 * config.frames * config.patch**2, model.tower.config.patch_dim
    if cut != read:
        raise WeightsError(
            Text(
                f"pictures would be cut into patches of {cut} values, and the image tower reads "
                f"{read}; expected a {PREPROCESSOR} that belongs to the weights. Download the "
                "checkpoint again, with this file",
                f"图片会切成每块 {cut} 个数值，而图像塔读取 {read} 个；应有与权重相配的 "
                f"{PREPROCESSOR}；请连同这个文件重新下载检查点",
            )
        )


def preprocessor_settings(folder: Path) -> Mapping[str, Any]:
    """Returns the settings of a folder's image processor; empty if it has no such file."""
    for name in (PREPROCESSOR, PROCESSOR):
        if (folder / name).is_file():
            settings = read_json(folder / name)
            inside = settings.get("image_processor", settings)
            return {key: value for key, value in inside.items() if value is not None}
    return {}


def grids_at(spans: Sequence[Span], inputs: Sequence[VisualInput]) -> list[VisionGrid]:
    """Returns the grids of a prompt's pictures, at their placeholders."""
    grids = [grid for one in inputs for grid in one.grids]
    return [replace(grid, start=span.start) for span, grid in zip(spans, grids, strict=bool(grids))]


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
