"""FastViT, the image tower of MobileCLIP's S models: depthwise convolutions mix pixels in the early
stages, attention in the last.

Vasu et al. 2023 (arXiv 2303.14189) and 2024 (arXiv 2311.17049), in the training form, with parallel
branches; timm, fastvit.py.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.layers import Attention, BlockConfig, require_range
from seesay.text import Text

Map = Float[Tensor, "batch _ _ _"]  # channels, height, width
HEAD_DIM = 32


@dataclass(frozen=True, kw_only=True)
class FastVitConfig:
    """The defaults are MobileCLIP-S1's."""

    image_size: int = 256
    """Side of the square image, in pixels."""
    layers: tuple[int, ...] = (4, 12, 20, 4)
    """Blocks in each stage; each stage but the first halves the sides."""
    dims: tuple[int, ...] = (64, 128, 256, 512)
    """Channels in each stage."""
    mlp_ratio: int = 3
    """Width inside the MLPs, as a multiple of the channels."""
    attention_stages: int = 1
    """Number of last stages whose blocks use attention."""
    large: bool = False
    """The variant of MobileCLIP2's S3 and S4: LayerNorm before attention, no gates between stages,
    no 1x1 branch in the stem."""

    def __post_init__(self) -> None:
        if len(self.layers) != len(self.dims) or not self.layers:
            raise ConfigError(
                Text(
                    f"layers={self.layers} and dims={self.dims} describe different numbers of "
                    "stages, expected one number for each stage in both: make them equally long",
                    f"layers={self.layers} 和 dims={self.dims} 的级数不同；两者都应每级一个数："
                    "请改为同样长",
                )
            )
        require_range(1, image_size=self.image_size, mlp_ratio=self.mlp_ratio)
        for layers, dim in zip(self.layers, self.dims, strict=True):
            require_range(1, layers=layers, dims=dim)
        attending = self.dims[len(self.dims) - self.attention_stages :]
        if not 0 <= self.attention_stages <= len(self.dims) or any(d % HEAD_DIM for d in attending):
            raise ConfigError(
                Text(
                    f"attention_stages={self.attention_stages} stands beside dims={self.dims}, "
                    f"expected at most as many and multiples of {HEAD_DIM} there: change them",
                    f"attention_stages={self.attention_stages} 与 dims={self.dims} 不符；"
                    f"级数不应超过 dims，这些级的 dims 应为 {HEAD_DIM} 的倍数：请修改",
                )
            )

    @property
    def output_dim(self) -> int:
        """Width of the image's vector."""
        return 2 * self.dims[-1]


def conv_norm(dim: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Module:
    conv = nn.Conv2d(
        dim, out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(conv, nn.BatchNorm2d(out))


class Gate(nn.Module):
    """Squeeze and excitation: the mean of the image scales each channel (arXiv 1709.01507)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(dim, hidden, 1)
        self.up = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Map) -> Map:
        return x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Branches(nn.Module):
    """The sum of a convolution, a 1x1 convolution, and the input itself, each with a batch norm
    (MobileOne, arXiv 2206.04040)."""

    def __init__(
        self,
        dim: int,
        out: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        pixels: bool = True,
    ) -> None:
        super().__init__()
        self.conv = conv_norm(dim, out, kernel, stride=stride, groups=groups)
        self.pixels = self.same = None
        if kernel > 1 and pixels:
            self.pixels = conv_norm(dim, out, 1, stride=stride, groups=groups)
        if dim == out and stride == 1:
            self.same = nn.BatchNorm2d(dim)

    def forward(self, x: Map) -> Map:
        # In timm's order, because rounding depends on it.
        first, *others = [b(x) for b in (self.pixels, self.same, self.conv) if b is not None]
        return sum(others, start=first)


class Downsample(nn.Module):
    """From one stage to the next: half the height and width, other channels."""

    def __init__(self, dim: int, out: int, *, gate: bool) -> None:
        super().__init__()
        self.wide = conv_norm(dim, out, 7, stride=2, groups=dim)
        self.narrow = conv_norm(dim, out, 3, stride=2, groups=dim)
        self.gate = Gate(out, out // 4) if gate else nn.Identity()
        self.mix = Branches(out, out, 1)
        self.activation = nn.GELU()

    def forward(self, x: Map) -> Map:
        x = self.activation(self.gate(self.wide(x) + self.narrow(x)))
        return self.activation(self.mix(x))


class ConvMlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.conv = conv_norm(dim, dim, 7, groups=dim)
        self.up = nn.Conv2d(dim, hidden, 1)
        self.down = nn.Conv2d(hidden, dim, 1)
        self.activation = nn.GELU()

    def forward(self, x: Map) -> Map:
        return self.down(self.activation(self.up(self.conv(x))))


class ConvMixer(nn.Module):
    """A convolution of each channel minus a batch norm of the input, as RepMixer is trained."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mix = Branches(dim, dim, 3, groups=dim)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Map) -> Map:
        return self.mix(x) - self.norm(x)


class AttentionMixer(nn.Module):
    def __init__(self, dim: int, *, layer_norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim) if layer_norm else nn.BatchNorm2d(dim)
        self.attention = Attention(
            BlockConfig(dim=dim, heads=dim // HEAD_DIM, hidden=dim, input_bias=False)
        )

    def forward(self, x: Map) -> Map:
        last = isinstance(self.norm, nn.LayerNorm)  # LayerNorm needs the channels last
        tokens = x.flatten(2).transpose(1, 2) if last else self.norm(x).flatten(2).transpose(1, 2)
        y = self.attention(self.norm(tokens) if last else tokens)
        return y.transpose(1, 2).unflatten(2, x.shape[2:])


class FastVitBlock(nn.Module):
    def __init__(self, mixer: nn.Module, dim: int, hidden: int) -> None:
        super().__init__()
        self.mixer = mixer
        self.mixer_scale = nn.Parameter(1e-5 * torch.ones(dim, 1, 1))
        self.mlp = ConvMlp(dim, hidden)
        self.mlp_scale = nn.Parameter(1e-5 * torch.ones(dim, 1, 1))

    def forward(self, x: Map) -> Map:
        x = x + self.mixer_scale * self.mixer(x)
        return x + self.mlp_scale * self.mlp(x)


class Stage(nn.Module):
    def __init__(self, c: FastVitConfig, number: int) -> None:
        super().__init__()
        dim, last = c.dims[number], len(c.dims) - 1
        attends = number > last - c.attention_stages
        self.smaller: nn.Module = nn.Identity()
        if number:
            gate = not c.large and number > last - 2
            self.smaller = Downsample(c.dims[number - 1], dim, gate=gate)
        self.positions = nn.Conv2d(dim, dim, 7, padding=3, groups=dim) if attends else None
        self.blocks = nn.Sequential(
            *(
                FastVitBlock(
                    AttentionMixer(dim, layer_norm=c.large) if attends else ConvMixer(dim),
                    dim,
                    c.mlp_ratio * dim,
                )
                for _ in range(c.layers[number])
            )
        )

    def forward(self, x: Map) -> Map:
        x = self.smaller(x)
        return self.blocks(x if self.positions is None else x + self.positions(x))


class FastVit(nn.Module):
    """Image -> one vector for the whole image."""

    def __init__(self, config: FastVitConfig) -> None:
        super().__init__()
        c, first = config, config.dims[0]
        self.config = config
        self.stem = nn.ModuleList(
            [
                Branches(3, first, 3, stride=2, pixels=not c.large),
                Branches(first, first, 3, stride=2, groups=first, pixels=not c.large),
                Branches(first, first, 1),
            ]
        )
        self.stages = nn.ModuleList(Stage(c, number) for number in range(len(c.dims)))
        self.wider = Branches(c.dims[-1], c.output_dim, 3, groups=c.dims[-1])
        self.gate = Gate(c.output_dim, c.output_dim // 16)
        self.activation = nn.GELU()

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        x = images
        for part in self.stem:
            x = self.activation(part(x))
        for stage in self.stages:
            x = stage(x)
        return self.activation(self.gate(self.wider(x))).mean((2, 3))
