"""Vision transformer of Qwen2-VL, Qwen2.5-VL and Qwen3-VL: the patches of images of any size are
concatenated without padding and attend within their own image.

    Qwen2-VL      rotary positions in two dimensions, attention within each frame
    Qwen2.5-VL    RMSNorm, gated MLPs, attention within windows in most layers
    Qwen3-VL      learned positions as well, patches of three more layers (DeepStack)

The patches of a frame are ordered in squares of `merge` by `merge`, as the patch merger needs them
(connectors.py); two pictures of a video make one frame. Papers: arXiv 2409.12191, 2502.13923,
2511.21631.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.layers import BlockConfig, FeedForward, conflict, require_range
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class PackedVitConfig:
    """The defaults are Qwen2-VL's."""

    patch_size: int = 14
    """Side of a patch, in pixels."""
    patch_frames: int = 2
    """Pictures of a video that one patch covers; a still image is repeated that many times."""
    merge: int = 2
    """Side of the square of patches that becomes one token of the language model."""
    dim: int = 1280
    """Width of the patches' vectors."""
    depth: int = 32
    """Number of transformer layers."""
    heads: int = 16
    """Attention heads; they share `dim` equally."""
    hidden: int = 5120
    """Width inside the MLPs."""
    activation: str = "quick_gelu"
    """Non-linearity of the MLPs."""
    gated: bool = False
    """Whether one projection, passed through the non-linearity, scales another (Qwen2.5-VL)."""
    norm: Literal["layer", "rms"] = "layer"
    """LayerNorm or RMSNorm (Qwen2.5-VL)."""
    norm_eps: float = 1e-6
    """Added to the variance in the norms."""
    patch_bias: bool = False
    """Whether the patch projection has a bias (Qwen3-VL)."""
    rope_base: float = 10000.0
    """Longest wavelength of the rotary positions, divided by 2 pi."""
    position_grid: int | None = None
    """Side of the square of learned positions, which is resized to each image (Qwen3-VL: 48); none:
    rotary positions only."""
    window: int | None = None
    """Side of the windows in which patches attend to each other, in patches (Qwen2.5-VL: 8); none:
    they attend to their whole frame."""
    full_layers: tuple[int, ...] = ()
    """Layers, counted from 0, that attend to the whole frame despite `window`."""
    deepstack: tuple[int, ...] = ()
    """Layers, counted from 0, whose patches are also features (Qwen3-VL)."""

    def __post_init__(self) -> None:
        sizes = {"patch_size": self.patch_size, "patch_frames": self.patch_frames}
        require_range(1, **sizes, merge=self.merge, depth=self.depth)
        block = self.block  # checks the rest
        if (block.dim // block.heads) % 4:
            raise conflict(
                f"dim={self.dim} and heads={self.heads}",
                f"a multiple of 4 in each head, not {self.dim // self.heads}, for rotary "
                "positions, which turn rows and columns in pairs: change dim or heads",
                f"每个头 4 的倍数，而不是 {self.dim // self.heads}，"
                "因为旋转位置编码对行和列成对旋转：请修改 dim 或 heads",
            )
        if self.window is not None and (self.window < 1 or self.window % self.merge):
            raise conflict(
                f"window={self.window} and merge={self.merge}",
                "windows of whole squares: make window a multiple of merge",
                "由完整方块组成的窗口：请把 window 设为 merge 的倍数",
            )
        if self.position_grid is not None:
            require_range(1, position_grid=self.position_grid)
        for name, layers in {"full_layers": self.full_layers, "deepstack": self.deepstack}.items():
            for layer in layers:
                require_range(0, self.depth - 1, **{name: layer})

    @property
    def block(self) -> BlockConfig:
        return BlockConfig(
            dim=self.dim,
            heads=self.heads,
            hidden=self.hidden,
            activation=self.activation,
            norm=self.norm,
            norm_eps=self.norm_eps,
        )

    @property
    def patch_dim(self) -> int:
        """Numbers per patch: channels x pictures x rows x columns."""
        return 3 * self.patch_frames * self.patch_size**2


class PackedFeatures(NamedTuple):
    """What a vision-language model takes from its tower, in the order of the input patches."""

    patches: Float[Tensor, "patches dim"]
    """Of the last layer, without a final norm."""
    deepstack: tuple[Float[Tensor, "patches dim"], ...]
    """Of the layers in `deepstack`, first to last."""


class PackedVit(nn.Module):
    """Encodes the patches of many images, one vector per patch; images do not affect each other."""

    def __init__(self, config: PackedVitConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.patch_embed = nn.Linear(c.patch_dim, c.dim, bias=c.patch_bias)
        self.positions: nn.Parameter | None = None
        if c.position_grid is not None:
            self.positions = nn.Parameter(0.02 * torch.randn(c.position_grid**2, c.dim))
        self.blocks = nn.ModuleList(PackedBlock(c) for _ in range(c.depth))

    def forward(
        self, patches: Float[Tensor, "patches patch_dim"], grids: Int[Tensor, "images 3"]
    ) -> Float[Tensor, "patches dim"]:
        """The last layer's patches; see `features`."""
        return self.features(patches, grids).patches

    def features(
        self, patches: Float[Tensor, "patches patch_dim"], grids: Int[Tensor, "images 3"]
    ) -> PackedFeatures:
        """`patches` are those of all images; `grids` are the frames, rows and columns of each
        image, in patches, preferably on the CPU.

        Raises ConfigError if the two disagree, or a grid does not divide into squares.
        """
        c = self.config
        self._check(patches, grids)
        places = places_of(grids, c.merge)
        x = self.patch_embed(patches)
        if self.positions is not None:
            x = x + learned(self.positions, places)
        layout = layout_of(places, c.window).to(x.device)
        rope = _angles(places, c, x.device)
        if layout.order is not None:
            x, rope = x[layout.order], Angles(rope.cos[layout.order], rope.sin[layout.order])
        kept = []
        for number, block in enumerate(self.blocks):
            x = block(x, rope, layout.frames if number in c.full_layers else layout.windows)
            if number in c.deepstack:
                kept.append(layout.restored(x))
        return PackedFeatures(layout.restored(x), tuple(kept))

    def _check(self, patches: Tensor, grids: Tensor) -> None:
        merge, count = self.config.merge, int(grids.prod(dim=1).sum())
        if count != len(patches):
            raise ConfigError(
                Text(
                    f"the grids cover {count} patches, but {len(patches)} patches were given; "
                    "expected equal numbers: give the grid of each image once, in image order",
                    f"网格共有 {count} 个图块，收到的却是 {len(patches)} 个；两者应相等："
                    "请按图片顺序为每张图片给出一个网格",
                )
            )
        if bool((grids[:, 1:] % merge).any()) or bool((grids < 1).any()):
            raise ConfigError(
                Text(
                    f"the grids {grids.tolist()!s:.100} do not divide into squares, expected "
                    f"at least one frame, and rows and columns in multiples of {merge}: resize "
                    "the images",
                    f"网格 {grids.tolist()!s:.100} 不能划分成完整的方块；应至少有一帧，"
                    f"行数和列数是 {merge} 的倍数：请缩放图片",
                )
            )


# Where each patch lies


class Places(NamedTuple):
    """The place of each patch: its frame, counted over all images, and its row and column in a
    frame of that many rows and columns."""

    frame: Int[Tensor, "patches"]
    row: Int[Tensor, "patches"]
    column: Int[Tensor, "patches"]
    rows: Int[Tensor, "patches"]
    columns: Int[Tensor, "patches"]


def places_of(grids: Int[Tensor, "images 3"], merge: int) -> Places:
    """Returns the places of patches ordered in squares of `merge` rows and columns."""
    counts = grids.prod(dim=1)
    rows, columns = (grids[:, axis].repeat_interleave(counts) for axis in (1, 2))
    first = (grids[:, 0].cumsum(0) - grids[:, 0]).repeat_interleave(counts)  # frame of an image
    place = torch.arange(len(rows), device=grids.device)
    place = place - (counts.cumsum(0) - counts).repeat_interleave(counts)
    frame, place = first + place // (rows * columns), place % (rows * columns)
    square, inside = place // merge**2, place % merge**2
    row = square // (columns // merge) * merge + inside // merge
    column = square % (columns // merge) * merge + inside % merge
    return Places(frame, row, column, rows, columns)


class Angles(NamedTuple):
    """Cosine and sine of the rotation angles of every head."""

    cos: Float[Tensor, "patches 1 half"]
    sin: Float[Tensor, "patches 1 half"]


def _angles(places: Places, c: PackedVitConfig, device: torch.device) -> Angles:
    """A quarter of each head turns with the row and a quarter with the column; each number pairs
    with the one half a head further on."""
    quarter = c.dim // c.heads // 4
    steps = torch.arange(quarter, dtype=torch.float32, device=device) / quarter
    frequency = 1.0 / (c.rope_base**steps)
    angles = [at.to(device)[:, None] * frequency for at in (places.row, places.column)]
    angle = torch.cat(angles, dim=-1)[:, None]
    return Angles(angle.cos(), angle.sin())


def learned(table: Float[Tensor, "positions dim"], places: Places) -> Float[Tensor, "patches dim"]:
    """Resizes the square of learned positions to each patch's frame: bilinear, corners aligned."""
    side = round(len(table) ** 0.5)
    along = []
    for at, size in ((places.row, places.rows), (places.column, places.columns)):
        source = at * (side - 1) / (size - 1).clamp(min=1)
        low = source.floor().long()
        along.append((low, (low + 1).clamp(max=side - 1), source - low))
    (top, bottom, down), (left, right, across) = along
    x: Tensor | float = 0.0
    for row, share in ((top, 1 - down), (bottom, down)):
        for column, part in ((left, 1 - across), (right, across)):
            weight = (share * part).to(table.device, table.dtype)
            x = x + weight[:, None] * table[(row * side + column).to(table.device)]
    assert isinstance(x, Tensor)
    return x


# Who attends to whom


class Segments(NamedTuple):
    """An order that puts patches that attend to each other side by side: `groups` are (segments,
    patches per segment)."""

    groups: tuple[tuple[int, int], ...]
    order: Int[Tensor, "patches"] | None
    back: Int[Tensor, "patches"] | None

    def to(self, device: torch.device) -> "Segments":
        if self.order is None or self.back is None:
            return self
        return Segments(self.groups, self.order.to(device), self.back.to(device))


def segments_of(labels: Int[Tensor, "patches"]) -> Segments:
    """Patches with the same label form a segment. Segments of equal length are grouped, so
    attention takes them in one call without padding or a mask."""
    _, segment, lengths = labels.unique(return_inverse=True, return_counts=True)
    order = (lengths[segment] * len(lengths) + segment).argsort(stable=True)
    sizes, counts = lengths.unique(return_counts=True)
    groups = tuple(zip(counts.tolist(), sizes.tolist(), strict=True))
    if bool((order[1:] > order[:-1]).all()):
        return Segments(groups, None, None)
    return Segments(groups, order, order.argsort())


class Layout(NamedTuple):
    """The order in which the layers keep the patches, and its segments: windows or whole frames."""

    order: Int[Tensor, "patches"] | None
    back: Int[Tensor, "patches"] | None
    windows: Segments
    frames: Segments

    def to(self, device: torch.device) -> "Layout":
        own = Segments((), self.order, self.back).to(device)
        return Layout(own.order, own.back, self.windows.to(device), self.frames.to(device))

    def restored(self, x: Float[Tensor, "patches dim"]) -> Float[Tensor, "patches dim"]:
        """Returns the patches in their input order."""
        return x if self.back is None else x[self.back]


def layout_of(places: Places, window: int | None) -> Layout:
    """The windows of a frame start at its first patch; the last ones may be smaller. Without
    `window`, a whole frame is one. Patches are ordered by window."""
    labels = places.frame
    if window is not None:
        high, wide = (-(-int(size.max()) // window) for size in (places.rows, places.columns))
        row, column = places.row // window, places.column // window
        labels = (places.frame * high + row) * wide + column
    windows = segments_of(labels)
    kept = Segments(windows.groups, None, None)
    if window is None:
        return Layout(windows.order, windows.back, kept, kept)
    frame = places.frame if windows.order is None else places.frame[windows.order]
    return Layout(windows.order, windows.back, kept, segments_of(frame))


# Layers


class PackedAttention(nn.Module):
    """Multi-head self-attention within segments."""

    def __init__(self, config: PackedVitConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.dim, config.dim)
        self.key = nn.Linear(config.dim, config.dim)
        self.value = nn.Linear(config.dim, config.dim)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(
        self, x: Float[Tensor, "patches dim"], rope: Angles, segments: Segments
    ) -> Float[Tensor, "patches dim"]:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1))
            for project in (self.query, self.key, self.value)
        )
        q, k = _rotated(q, rope), _rotated(k, rope)
        if segments.order is not None:
            q, k, v = (part[segments.order] for part in (q, k, v))
        start, results = 0, []
        for count, length in segments.groups:
            q_, k_, v_ = (
                part[start : start + count * length].unflatten(0, (count, length)).transpose(1, 2)
                for part in (q, k, v)
            )
            y = F.scaled_dot_product_attention(q_, k_, v_)
            results.append(y.transpose(1, 2).flatten(0, 1))
            start += count * length
        y = torch.cat(results).flatten(1)
        return self.out(y if segments.back is None else y[segments.back])


def _rotated(
    x: Float[Tensor, "patches heads head_dim"], rope: Angles
) -> Float[Tensor, "patches heads head_dim"]:
    """In float32, as in training: half precision is too coarse for the angles."""
    first, second = x.float().chunk(2, dim=-1)
    halves = [first * rope.cos - second * rope.sin, second * rope.cos + first * rope.sin]
    return torch.cat(halves, dim=-1).to(x.dtype)


class PackedBlock(nn.Module):
    """One transformer layer: attention, then an MLP, both residual."""

    def __init__(self, config: PackedVitConfig) -> None:
        super().__init__()
        c = config
        self.norm1 = c.block.build_norm()
        self.attention = PackedAttention(c)
        self.norm2 = c.block.build_norm()
        self.mlp = FeedForward(c.dim, c.hidden, c.activation, gated=c.gated, bias=True)

    def forward(
        self, x: Float[Tensor, "patches dim"], rope: Angles, segments: Segments
    ) -> Float[Tensor, "patches dim"]:
        x = x + self.attention(self.norm1(x), rope, segments)
        return x + self.mlp(self.norm2(x))
