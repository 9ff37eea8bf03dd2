"""MobileNetV2 (Sandler et al., 2018, Table 2) and EfficientNet-Lite (Tan and Le, 2019, without
squeeze-and-excitation and with ReLU6), with batch norm folded into the convolutions.

It is folded because the published weights are, and because a tower without running statistics gives
each image the same vector whatever else is in the batch, in training and in use. Padding is
TensorFlow's "SAME", which at stride 2 puts the odd pixel at the bottom and the right.

Axis names: batch, channels, height, width, dim (channels of the last layer).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.layers import require_range
from seesay.text import Text

KERNEL = 3


@dataclass(frozen=True, kw_only=True)
class MobileNetConfig:
    stages: tuple[tuple[int, int, int, int], ...] = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    """Per stage: expansion factor, channels, number of blocks, stride of the first block."""
    kernels: tuple[int, ...] = ()
    """Per stage: side of the depthwise filters, an odd number; 3 in every stage where left out."""
    stem: int = 32
    """Channels after the first convolution, which halves the image."""
    dim: int = 1280
    """Channels of the last convolution."""
    classes: int = 0
    """Number of classes whose probabilities follow the channels in an image's vector; 0: none. A
    linear map after it can give each class its own place."""

    def __post_init__(self) -> None:
        require_range(1, stem=self.stem, dim=self.dim)
        require_range(0, classes=self.classes)
        wrong = [stage for stage in self.stages if min(stage) < 1 or stage[3] > 2]
        if wrong or not self.stages:
            raise ConfigError(
                Text(
                    f"stages={self.stages} cannot be built: each must be (expansion, channels, "
                    "blocks, stride), whole numbers from 1, with a stride of 1 or 2; correct "
                    f"{wrong}",
                    f"stages={self.stages} 无法建立：每级应为（扩张倍数、通道数、块数、步长），"
                    f"都是从 1 起的整数，步长为 1 或 2；请改正 {wrong}",
                )
            )
        if self.kernels and (
            len(self.kernels) != len(self.stages) or any(k < 1 or k % 2 == 0 for k in self.kernels)
        ):
            raise ConfigError(
                Text(
                    f"kernels={self.kernels} do not fit {len(self.stages)} stages: expected one "
                    "odd number per stage, or none at all; correct them",
                    f"kernels={self.kernels} 与 {len(self.stages)} 级不符；应每级一个奇数，"
                    "或一个也不写：请改正",
                )
            )

    @property
    def output_dim(self) -> int:
        """Width of the image's vector."""
        return self.dim + self.classes


# Width 1.1 and depth 1.2 of EfficientNet-B0; the first and the last stage keep their depth. Images
# have 260 pixels.
EFFICIENTNET_LITE2 = MobileNetConfig(
    stages=(
        (1, 16, 1, 1),
        (6, 24, 3, 2),
        (6, 48, 3, 2),
        (6, 88, 4, 2),
        (6, 120, 4, 1),
        (6, 208, 5, 2),
        (6, 352, 1, 1),
    ),
    kernels=(3, 3, 5, 3, 5, 5, 3),
)


class Convolution(nn.Conv2d):
    """A convolution that pads as TensorFlow does and keeps ceil(size / stride) rows and columns."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        padding = kernel // 2
        super().__init__(
            channels_in, channels_out, kernel, stride=stride, padding=padding, groups=groups
        )

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels_out height_out width_out"]:
        if self.stride[0] == 1:
            return super().forward(x)
        # Where the size is even, TensorFlow pads only after the last pixel. A row and a column of
        # zeros before the weights shift the windows in the same way, without copying the image.
        rows, columns = (1 - size % 2 for size in x.shape[-2:])
        return self._conv_forward(x, F.pad(self.weight, (columns, 0, rows, 0)), self.bias)


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow; a residual connection where shapes allow."""

    def __init__(
        self, channels_in: int, channels_out: int, *, expansion: int, stride: int, kernel: int
    ) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand = Convolution(channels_in, hidden) if expansion > 1 else None
        self.depthwise = Convolution(hidden, hidden, kernel=kernel, stride=stride, groups=hidden)
        self.project = Convolution(hidden, channels_out)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels_out height_out width_out"]:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return x + y if self.residual else y


class MobileNet(nn.Module):
    def __init__(self, config: MobileNetConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.stem = Convolution(3, c.stem, kernel=KERNEL, stride=2)
        blocks, width = [], c.stem
        kernels = c.kernels or (KERNEL,) * len(c.stages)
        for (expansion, channels, repeats, stride), kernel in zip(c.stages, kernels, strict=True):
            for number in range(repeats):
                step = stride if number == 0 else 1
                blocks.append(
                    InvertedResidual(
                        width, channels, expansion=expansion, stride=step, kernel=kernel
                    )
                )
                width = channels
        self.blocks = nn.ModuleList(blocks)
        self.head = Convolution(width, c.dim)
        self.classifier = nn.Linear(c.dim, c.classes) if c.classes else None

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch output_dim"]:
        return self.upper(self.lower(images, 0), 0)

    def lower(
        self, images: Float[Tensor, "batch 3 height width"], count: int
    ) -> Float[Tensor, "batch channels rows columns"]:
        """What the stem and the first `count` blocks return."""
        x = F.relu6(self.stem(images), inplace=True)
        for block in self.blocks[:count]:
            x = block(x)
        return x

    def upper(
        self, x: Float[Tensor, "batch channels height width"], count: int
    ) -> Float[Tensor, "batch output_dim"]:
        """The vectors of images from what `lower` returned."""
        return self.with_classes(self._map(x, count).mean(dim=(2, 3)))

    def features(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch dim rows columns"]:
        """Returns the map of vectors before pooling, one for every 32 x 32 pixels."""
        return self._map(self.lower(images, 0), 0)

    def _map(
        self, x: Float[Tensor, "batch channels height width"], count: int
    ) -> Float[Tensor, "batch dim rows columns"]:
        for block in self.blocks[count:]:
            x = block(x)
        return F.relu6(self.head(x), inplace=True)

    def with_classes(self, pooled: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch output_dim"]:
        """Returns the vector of an image from its channels."""
        if self.classifier is None:
            return pooled
        return torch.cat([pooled, self.classifier(pooled).softmax(dim=1)], dim=1)


class MobileNetClassifier(nn.Module):
    """The tower with its classifier."""

    def __init__(self, config: MobileNetConfig, classes: int) -> None:
        super().__init__()
        self.tower = MobileNet(config)
        self.classifier = nn.Linear(config.dim, classes)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch vocab"]:
        return self.classifier(self.tower(images))
