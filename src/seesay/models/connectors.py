"""Connectors: they turn an image tower's patches into tokens of a language model.

    linear map                  LLaVA 1
    two-layer MLP               LLaVA 1.5, LLaVA-NeXT, LLaVA-OneVision
    pixel shuffle + MLP         InternVL 1.5 to 3.5
    patch merger                Qwen2-VL, Qwen2.5-VL, Qwen3-VL and its DeepStack
    Perceiver resampler         Flamingo, OpenFlamingo, Idefics
    resampler with 2-D positions   Qwen-VL
    Q-Former + linear map       BLIP-2

They keep every patch, merge squares of neighbours, or pool all patches into a fixed number of
queries. `CONNECTORS` maps a config to its class. The Q-Former itself is in qformer.py.
"""

from dataclasses import dataclass, field
from functools import partial
from math import isqrt
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.layers import (
    ACTIVATIONS,
    BlockConfig,
    CrossAttention,
    conflict,
    require_activation,
    require_finite,
    require_range,
)
from seesay.models.qformer import QFormer, QFormerConfig
from seesay.text import Text


class _Activation(nn.Module):
    """One of ACTIVATIONS as a module, for use in nn.Sequential."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.function = ACTIVATIONS[name]

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        return self.function(x)


# Every patch stays a token


@dataclass(frozen=True, kw_only=True)
class LinearConnectorConfig:
    """The defaults are LLaVA 1 7B's."""

    image_dim: int = 1024
    """Width of the patches."""
    text_dim: int = 4096
    """Width of the language model's tokens."""
    bias: bool = True
    """Whether the map has a bias."""

    def __post_init__(self) -> None:
        require_range(1, image_dim=self.image_dim, text_dim=self.text_dim)


class LinearConnector(nn.Module):
    """One linear map (Liu et al. 2023, arXiv 2304.08485)."""

    def __init__(self, config: LinearConnectorConfig) -> None:
        super().__init__()
        self.config = config
        self.map = nn.Linear(config.image_dim, config.text_dim, bias=config.bias)

    def forward(
        self, patches: Float[Tensor, "images patches image_dim"]
    ) -> Float[Tensor, "images patches text_dim"]:
        return self.map(patches)


@dataclass(frozen=True, kw_only=True)
class MlpConnectorConfig:
    """The defaults are LLaVA 1.5 7B's."""

    image_dim: int = 1024
    """Width of the patches; concatenated tower layers count together."""
    text_dim: int = 4096
    """Width of the language model's tokens, and inside the MLP."""
    activation: str = "gelu"
    """Non-linearity; a key of ACTIVATIONS."""
    bias: bool = True
    """Whether the two maps have biases."""

    def __post_init__(self) -> None:
        require_range(1, image_dim=self.image_dim, text_dim=self.text_dim)
        require_activation(self.activation)


class MlpConnector(nn.Module):
    """Two linear maps with a non-linearity between them (Liu et al. 2023, arXiv 2310.03744)."""

    def __init__(self, config: MlpConnectorConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.mlp = nn.Sequential(
            nn.Linear(c.image_dim, c.text_dim, bias=c.bias),
            _Activation(c.activation),
            nn.Linear(c.text_dim, c.text_dim, bias=c.bias),
        )

    def forward(
        self, patches: Float[Tensor, "images patches image_dim"]
    ) -> Float[Tensor, "images patches text_dim"]:
        return self.mlp(patches)


# A square of neighbouring patches becomes one token


@dataclass(frozen=True, kw_only=True)
class PixelShuffleConfig:
    """The defaults are InternVL2-8B's."""

    image_dim: int = 1024
    """Width of the patches."""
    text_dim: int = 4096
    """Width of the language model's tokens, and inside the MLP."""
    side: int = 2
    """Side of the square of patches that becomes one token: 1 / "downsample_ratio"."""
    activation: str = "gelu"
    """Non-linearity; a key of ACTIVATIONS."""
    norm_eps: float = 1e-5
    """Added to the variance in LayerNorm."""
    transposed: bool = False
    """Whether tokens run down the columns ("ps_version" v1) or along the rows (v2)."""

    def __post_init__(self) -> None:
        require_range(1, image_dim=self.image_dim, text_dim=self.text_dim, side=self.side)
        require_finite(above=0.0, norm_eps=self.norm_eps)
        require_activation(self.activation)


class PixelShuffle(nn.Module):
    """Concatenates the patches of a square, then LayerNorm and an MLP (InternVL, arXiv
    2404.16821)."""

    def __init__(self, config: PixelShuffleConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        merged = c.side**2 * c.image_dim
        self.mlp = nn.Sequential(
            nn.LayerNorm(merged, eps=c.norm_eps),
            nn.Linear(merged, c.text_dim),
            _Activation(c.activation),
            nn.Linear(c.text_dim, c.text_dim),
        )

    def forward(
        self, patches: Float[Tensor, "images patches image_dim"]
    ) -> Float[Tensor, "images tokens text_dim"]:
        """Takes the patches of a square picture, row by row, without a class token.

        Raises ConfigError if they do not divide into squares.
        """
        return self.mlp(merge_squares(patches, self.config.side, self.config.transposed))


def merge_squares(
    patches: Float[Tensor, "images patches dim"], side: int, transposed: bool = False
) -> Float[Tensor, "images tokens merged"]:
    """Concatenates the patches of each `side` by `side` square into one vector, row by row."""
    grid = isqrt(patches.shape[1])
    if grid**2 != patches.shape[1] or grid % side:
        raise ConfigError(
            Text(
                f"{patches.shape[1]} patches do not divide into squares of {side} by {side}; "
                f"expected a square picture with a multiple of {side} patches along each side: "
                "change its size, or drop the class token",
                f"{patches.shape[1]} 个图块拼不成 {side}×{side} 的方块；"
                f"应为正方形图片，每边图块数是 {side} 的倍数：请修改图片尺寸，或去掉类别词元",
            )
        )
    x = patches.unflatten(1, (grid // side, side, grid // side, side))
    x = x.permute(0, 1, 3, 2, 4, 5).flatten(3)  # images, rows, columns, square
    return (x.transpose(1, 2) if transposed else x).flatten(1, 2)


@dataclass(frozen=True, kw_only=True)
class PatchMergerConfig:
    """The defaults are Qwen2-VL 7B's."""

    image_dim: int = 1280
    """Width of the patches."""
    text_dim: int = 3584
    """Width of the language model's tokens."""
    side: int = 2
    """Side of the square of patches that becomes one token."""
    norm: Literal["layer", "rms"] = "layer"
    """LayerNorm (Qwen2-VL, Qwen3-VL) or RMSNorm (Qwen2.5-VL)."""
    norm_merged: bool = False
    """Whether to normalise whole squares (DeepStack) or single patches."""
    norm_eps: float = 1e-6
    """Added to the variance in the norm."""

    def __post_init__(self) -> None:
        require_range(1, image_dim=self.image_dim, text_dim=self.text_dim, side=self.side)
        require_finite(above=0.0, norm_eps=self.norm_eps)

    @property
    def merged_dim(self) -> int:
        """Width of a concatenated square."""
        return self.side**2 * self.image_dim


NORMS: dict[str, type[nn.LayerNorm | nn.RMSNorm]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}


class PatchMerger(nn.Module):
    """Concatenates the patches of a square, then an MLP, for pictures of any shape (Qwen2-VL, arXiv
    2409.12191)."""

    def __init__(self, config: PatchMergerConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        width = c.merged_dim if c.norm_merged else c.image_dim
        self.norm = NORMS[c.norm](width, eps=c.norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(c.merged_dim, c.merged_dim), nn.GELU(), nn.Linear(c.merged_dim, c.text_dim)
        )

    def forward(
        self, patches: Float[Tensor, "patches image_dim"]
    ) -> Float[Tensor, "tokens text_dim"]:
        """Takes the patches of all pictures, ordered square by square.

        Raises ConfigError if the last square is incomplete.
        """
        square = self.config.side**2
        if len(patches) % square:
            raise ConfigError(
                Text(
                    f"{len(patches)} patches do not divide into squares of {square}, expected a "
                    f"multiple of it: make the sides of each grid multiples of {self.config.side}",
                    f"{len(patches)} 个图块凑不成整数个 {square} 块的方块；应为它的倍数："
                    f"请让每个网格的边长都是 {self.config.side} 的倍数",
                )
            )
        if self.config.norm_merged:
            return self.mlp(self.norm(patches.reshape(-1, self.config.merged_dim)))
        return self.mlp(self.norm(patches).reshape(-1, self.config.merged_dim))


# A fixed number of queries pools all patches


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig:
    """The defaults are OpenFlamingo's."""

    dim: int = 1024
    """Width of the patches and of the queries."""
    text_dim: int | None = None
    """Width of the language model's tokens, which a last linear map gives; none: no such map, the
    result is as wide as the patches."""
    queries: int = 64
    """Number of queries, each of which becomes a token."""
    depth: int = 6
    """Number of layers."""
    heads: int = 8
    """Attention heads."""
    head_dim: int = 64
    """Width of each head."""
    hidden: int = 4096
    """Width inside the MLPs."""
    activation: str = "gelu"
    """Non-linearity of the MLPs; a key of ACTIVATIONS. Idefics: "relu"."""
    norm_heads: bool = False
    """Whether queries and keys are normalised in each head (Idefics)."""
    frames: int | None = None
    """Most frames of a video, each with a learned time embedding; none: no time embeddings."""
    media: int | None = None
    """Most pictures or videos of a dialogue, each with a learned time embedding; none: no time
    embeddings."""

    def __post_init__(self) -> None:
        sizes = {"heads": self.heads, "head_dim": self.head_dim, "hidden": self.hidden}
        require_range(1, dim=self.dim, queries=self.queries, depth=self.depth, **sizes)
        times = {"frames": self.frames, "media": self.media}
        optional = times | {"text_dim": self.text_dim}
        require_range(1, **{name: size for name, size in optional.items() if size is not None})
        require_activation(self.activation)


class PerceiverAttention(nn.Module):
    """Attention from the queries to the patches and to the queries themselves."""

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        c = config
        inner = c.heads * c.head_dim
        self.heads = c.heads
        self.norm_patches = nn.LayerNorm(c.dim)
        self.norm_queries = nn.LayerNorm(c.dim)
        self.query = nn.Linear(c.dim, inner, bias=False)
        self.key = nn.Linear(c.dim, inner, bias=False)
        self.value = nn.Linear(c.dim, inner, bias=False)
        self.norm_query = nn.LayerNorm(c.head_dim) if c.norm_heads else nn.Identity()
        self.norm_key = nn.LayerNorm(c.head_dim) if c.norm_heads else nn.Identity()
        self.out = nn.Linear(inner, c.dim, bias=False)

    def forward(
        self, x: Float[Tensor, "media queries dim"], patches: Float[Tensor, "media patches dim"]
    ) -> Float[Tensor, "media queries dim"]:
        x = self.norm_queries(x)
        seen = torch.cat([self.norm_patches(patches), x], dim=1)
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for y in (self.query(x), self.key(seen), self.value(seen))
        )
        y = F.scaled_dot_product_attention(self.norm_query(q), self.norm_key(k), v)
        return self.out(y.transpose(1, 2).flatten(2))


class PerceiverBlock(nn.Module):
    """Attention, then an MLP without biases, both residual."""

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        c = config
        self.attention = PerceiverAttention(c)
        self.mlp = nn.Sequential(
            nn.LayerNorm(c.dim),
            nn.Linear(c.dim, c.hidden, bias=False),
            _Activation(c.activation),
            nn.Linear(c.hidden, c.dim, bias=False),
        )

    def forward(
        self, x: Float[Tensor, "media queries dim"], patches: Float[Tensor, "media patches dim"]
    ) -> Float[Tensor, "media queries dim"]:
        x = x + self.attention(x, patches)
        return x + self.mlp(x)


class Perceiver(nn.Module):
    """Learned queries that attend to a picture or video in every layer (Alayrac et al. 2022, arXiv
    2204.14198, appendix A.1.1, as in OpenFlamingo and Idefics)."""

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.queries = nn.Parameter(torch.randn(c.queries, c.dim))
        self.frames = None if c.frames is None else nn.Parameter(torch.randn(c.frames, c.dim))
        self.media = None if c.media is None else nn.Parameter(torch.randn(c.media, c.dim))
        self.blocks = nn.ModuleList(PerceiverBlock(c) for _ in range(c.depth))
        self.norm_out = nn.LayerNorm(c.dim)
        self.project = None if c.text_dim is None else nn.Linear(c.dim, c.text_dim)

    def forward(
        self,
        patches: Float[Tensor, "media patches dim"],
        frames: int = 1,
        order: Int[Tensor, "media"] | None = None,
    ) -> Float[Tensor, "media queries width"]:
        """Takes the patches of each picture, or of all frames of each video, frame by frame.

        `order` is the index of each picture or video in its dialogue, from 0; it is ignored if the
        config has no `media`. Raises ConfigError for more frames or media than the config has time
        embeddings for.
        """
        if self.frames is not None:
            _require_times("frames", frames, len(self.frames))
            times = self.frames[:frames].repeat_interleave(patches.shape[1] // frames, dim=0)
            patches = patches + times
        if self.media is not None:
            order = torch.zeros(len(patches)).long() if order is None else order
            _require_times("media", int(order.max()) + 1, len(self.media))
            patches = patches + self.media[order.to(patches.device)][:, None]
        x = self.queries.expand(len(patches), -1, -1)
        for block in self.blocks:
            x = block(x, patches)
        x = self.norm_out(x)
        return x if self.project is None else self.project(x)


def _require_times(name: str, given: int, most: int) -> None:
    if given > most:
        raise ConfigError(
            Text(
                f"{given} {name} were given, expected at most {name}={most}, the number of "
                f"learned time embeddings: give fewer, or build the model with more",
                f"给了 {given} 个 {name}；最多 {name}={most} 个，即可学习的时间嵌入的个数："
                "请减少数量，或用更大的值构建模型",
            )
        )


@dataclass(frozen=True, kw_only=True)
class QueryResamplerConfig:
    """The defaults are Qwen-VL's."""

    image_dim: int = 1664
    """Width of the patches."""
    text_dim: int = 4096
    """Width of the language model's tokens, and of the attention."""
    side: int = 16
    """Side of the square of queries."""
    heads: int = 32
    """Attention heads; they share `text_dim` equally."""
    norm_eps: float = 1e-6
    """Added to the variance in LayerNorm."""

    def __post_init__(self) -> None:
        require_range(1, image_dim=self.image_dim, text_dim=self.text_dim, side=self.side)
        _ = BlockConfig(
            dim=self.text_dim, heads=self.heads, hidden=1, norm_eps=self.norm_eps
        )  # checks the rest
        if self.text_dim % 4:
            raise conflict(
                f"text_dim={self.text_dim} and side={self.side}",
                "a multiple of 4, for a sine and a cosine of the row and of the column: change "
                "text_dim",
                "4 的倍数，因为行和列各有正弦和余弦：请修改 text_dim",
            )


class QueryResampler(nn.Module):
    """A square of learned queries that attend once to all patches; both have 2-D positions
    (Qwen-VL, arXiv 2308.12966)."""

    def __init__(self, config: QueryResamplerConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        norm = partial(nn.LayerNorm, c.text_dim, eps=c.norm_eps)
        self.queries = nn.Parameter(0.02 * torch.randn(c.side**2, c.text_dim))
        # Published with the weights, in their precision: load it, do not recompute it.
        self.positions = nn.Buffer(sincos_square(c.side, c.text_dim))
        self.map = nn.Linear(c.image_dim, c.text_dim, bias=False)
        self.norm_queries, self.norm_patches = norm(), norm()
        self.attention = CrossAttention(c.text_dim, c.heads)
        self.norm_out = norm()
        self.project = nn.Linear(c.text_dim, c.text_dim, bias=False)

    def forward(
        self, patches: Float[Tensor, "images patches image_dim"]
    ) -> Float[Tensor, "images queries text_dim"]:
        """Takes the patches of a square picture, row by row, without a class token.

        Raises ConfigError if they do not form a square.
        """
        seen = self.norm_patches(self.map(patches))
        places = resized_square(self.positions, patches.shape[1]).to(seen.dtype)
        queries = self.norm_queries(self.queries) + self.positions
        queries = queries.expand(len(patches), -1, -1).to(seen.dtype)
        gathered = self.attention(queries, seen + places, values=seen)
        return self.project(self.norm_out(gathered))


def sincos_square(side: int, dim: int) -> Float[Tensor, "places dim"]:
    """Sines and cosines of the column, then the row, of every cell of a square (MAE, arXiv
    2111.06377, get_2d_sincos_pos_embed)."""
    quarter = dim // 4
    frequency = 1.0 / 10000.0 ** (torch.arange(quarter, dtype=torch.float32) / quarter)
    angle = torch.outer(torch.arange(side, dtype=torch.float32), frequency)
    along = torch.cat([angle.sin(), angle.cos()], dim=1)
    columns = along[None].expand(side, side, 2 * quarter)
    rows = along[:, None].expand(side, side, 2 * quarter)
    return torch.cat([columns, rows], dim=2).flatten(0, 1)


def resized_square(
    table: Float[Tensor, "places dim"], patches: int
) -> Float[Tensor, "patches dim"]:
    """Resizes a square position table to another square by bicubic interpolation."""
    side, grid = isqrt(len(table)), isqrt(patches)
    if grid**2 != patches:
        raise ConfigError(
            Text(
                f"{patches} patches do not form a square, expected those of a square picture: "
                "change its size, or drop the class token",
                f"{patches} 个图块排不成正方形；应为正方形图片的图块：请修改图片尺寸，"
                "或去掉类别词元",
            )
        )
    if grid == side:
        return table
    square = table.float().unflatten(0, (1, side, side)).permute(0, 3, 1, 2)
    square = F.interpolate(square, size=(grid, grid), mode="bicubic", align_corners=False)
    return square.permute(0, 2, 3, 1).flatten(0, 2)


@dataclass(frozen=True, kw_only=True)
class QFormerConnectorConfig:
    """The defaults are BLIP-2's with OPT 2.7B."""

    qformer: QFormerConfig = field(default_factory=QFormerConfig)
    """The Q-Former, without its text branch."""
    text_dim: int = 2560
    """Width of the language model's tokens."""

    def __post_init__(self) -> None:
        require_range(1, text_dim=self.text_dim)
        if self.qformer.vocab_size is not None:
            raise conflict(
                f"vocab_size={self.qformer.vocab_size} and a connector, which reads no text",
                "vocab_size=None: leave it out",
                "vocab_size=None：请去掉该项",
            )


class QFormerConnector(nn.Module):
    """A Q-Former whose queries a linear map makes tokens of, as in BLIP-2's second stage (Li et al.
    2023, arXiv 2301.12597, section 3.3)."""

    def __init__(self, config: QFormerConnectorConfig) -> None:
        super().__init__()
        self.config = config
        self.qformer = QFormer(config.qformer)
        self.project = nn.Linear(config.qformer.dim, config.text_dim)

    def forward(
        self, patches: Float[Tensor, "images patches image_dim"]
    ) -> Float[Tensor, "images queries text_dim"]:
        return self.project(self.qformer(patches))


ConnectorConfig = (
    LinearConnectorConfig
    | MlpConnectorConfig
    | PixelShuffleConfig
    | PatchMergerConfig
    | PerceiverConfig
    | QueryResamplerConfig
    | QFormerConnectorConfig
)

CONNECTORS: dict[type, type[nn.Module]] = {
    LinearConnectorConfig: LinearConnector,
    MlpConnectorConfig: MlpConnector,
    PixelShuffleConfig: PixelShuffle,
    PatchMergerConfig: PatchMerger,
    PerceiverConfig: Perceiver,
    QueryResamplerConfig: QueryResampler,
    QFormerConnectorConfig: QFormerConnector,
}
