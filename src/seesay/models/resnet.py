"""CLIP's ResNet: three stem convolutions, average pooling before every stride, attention pooling.

Radford et al. 2021 (arXiv 2103.00020), section 2.4. RN50 is `layers=(3, 4, 6, 3), width=64`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.layers import Attention, BlockConfig, require_range
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """The defaults are OpenAI's RN50."""

    image_size: int = 224
    """Side of the square image, in pixels; a multiple of 32."""
    layers: tuple[int, ...] = (3, 4, 6, 3)
    """Residual blocks in each of the four stages."""
    width: int = 64
    """Channels after the stem; the last stage has 32 times as many."""
    heads: int = 32
    """Heads of the attention that pools the last stage."""
    output_dim: int = 1024
    """Width of the image's vector."""

    def __post_init__(self) -> None:
        require_range(1, heads=self.heads, output_dim=self.output_dim)
        if self.width < 2 or self.width % 2:
            raise ConfigError(
                Text(
                    f"width={self.width} cannot be halved for the stem, expected an even number "
                    "from 2: set one",
                    f"width={self.width} 不能减半给 stem；应为从 2 起的偶数：请修改",
                )
            )
        if len(self.layers) != 4 or min(self.layers) < 1:
            raise ConfigError(
                Text(
                    f"layers={self.layers} cannot be built, expected the number of blocks, from 1, "
                    "in each of four stages: give four numbers",
                    f"layers={self.layers} 无法建立；应为四级各自的块数，至少为 1：请给出四个数",
                )
            )
        if self.image_size < 32 or self.image_size % 32:
            raise ConfigError(
                Text(
                    f"image_size={self.image_size} does not halve five times, expected a multiple "
                    "of 32: set one",
                    f"image_size={self.image_size} 不能减半五次；应为 32 的倍数：请修改",
                )
            )
        _ = self.attention  # checks the rest

    @property
    def attention(self) -> BlockConfig:
        return BlockConfig(dim=self.dim, heads=self.heads, hidden=self.dim)

    @property
    def dim(self) -> int:
        """Channels of the last stage."""
        return self.width * 32

    @property
    def grid(self) -> int:
        """Positions along one side of the last stage."""
        return self.image_size // 32


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
        )


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1. Strides are average pools, so that no pixel is skipped."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, width, 1)
        self.conv2 = ConvNorm(width, width, 3)
        self.conv3 = ConvNorm(width, 4 * width, 1)
        self.shrink = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        same = stride == 1 and inputs == 4 * width
        self.shortcut = nn.Identity() if same else ConvNorm(inputs, 4 * width, 1)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch more new_height new_width"]:
        y = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(self.conv3(self.shrink(y)) + self.shortcut(self.shrink(x)))


class ResNet(nn.Module):
    """Image -> one vector, already of the width of the shared space."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.stem = nn.ModuleList(
            [
                ConvNorm(3, c.width // 2, 3, stride=2),
                ConvNorm(c.width // 2, c.width // 2, 3),
                ConvNorm(c.width // 2, c.width, 3),
            ]
        )
        self.stages = nn.ModuleList()
        inputs = c.width
        for i, blocks in enumerate(c.layers):
            width = c.width * 2**i
            stage = [Bottleneck(inputs, width, stride=1 if i == 0 else 2)]
            stage += [Bottleneck(4 * width, width, stride=1) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(*stage))
            inputs = 4 * width
        self.pool = MeanAttentionPool(c)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch output_dim"]:
        x = images
        for convolution in self.stem:
            x = F.relu(convolution(x))
        x = F.avg_pool2d(x, 2)
        for stage in self.stages:
            x = stage(x)
        return self.pool(x)


class MeanAttentionPool(nn.Module):
    """The mean of all positions attends to every position; then a map to the output width."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        c = config
        self.positions = nn.Parameter(c.dim**-0.5 * torch.randn(c.grid**2 + 1, c.dim))
        self.attention = Attention(c.attention)
        self.attention.out = nn.Linear(c.dim, c.output_dim)

    def forward(
        self, x: Float[Tensor, "batch dim height width"]
    ) -> Float[Tensor, "batch output_dim"]:
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positions
        a = self.attention
        query = a.split(a.query(x[:, :1]))
        y = F.scaled_dot_product_attention(query, a.split(a.key(x)), a.split(a.value(x)))
        return a.out(y.transpose(1, 2).flatten(1))
