"""Rotary positions of language models, in one dimension or in three for pictures and videos.

    angles = rope_angles(config, positions, head_dim=128)
    queries, keys = rotate_halves(queries, angles), rotate_halves(keys, angles)

Number i of the first half of a head and number i of the second are rotated together, by an angle
that grows with the token's position (RoFormer, arXiv 2104.09864). The image towers' rotary
positions, which pair neighbouring numbers, are in layers.py.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import pi
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seesay.models.layers import conflict, require_finite, require_range

Scaling = Literal["none", "linear", "llama3"]
MAX_DIM = 1 << 16  # no head is that wide, so such sections are wrong


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """The defaults are those of Llama 1 and 2."""

    theta: float = 10_000.0
    """Base of the wavelengths, which run from 2 pi to this many times as much."""
    fraction: float = 1.0
    """Fraction of each head that is rotated, from its start (GPT-NeoX: 0.25)."""
    scaling: Scaling = "none"
    """How wavelengths are stretched for texts longer than in pre-training: all alike (arXiv
    2306.15595), or only the long ones (Llama 3.1)."""
    factor: float = 1.0
    """How much they are stretched."""
    trained: int = 8192
    """Tokens in a pre-training text ("llama3")."""
    low: float = 1.0
    """Wavelengths that fit fewer times than this into such a text are stretched ("llama3")."""
    high: float = 4.0
    """Wavelengths that fit more often than this are not ("llama3")."""
    sections: tuple[int, int, int] | None = None
    """Multimodal positions: how many angles follow time, row and column (arXiv 2409.12191)."""
    interleaved: bool = False
    """Whether time, row and column alternate from angle to angle (Qwen3-VL) or come in three
    sections (Qwen2-VL)."""

    def __post_init__(self) -> None:
        require_finite(above=0.0, theta=self.theta, fraction=self.fraction, factor=self.factor)
        require_finite(above=0.0, low=self.low, high=self.high)
        require_range(1, trained=self.trained)
        if self.fraction > 1.0:
            raise conflict(
                f"fraction={self.fraction} and a whole head",
                "at most 1: lower it",
                "不大于 1 的 fraction：请调小",
            )
        if self.scaling not in get_args(Scaling) or (self.scaling == "none") != (self.factor == 1):
            raise conflict(
                f"scaling={self.scaling!r} and factor={self.factor}",
                f'"none" with factor 1, or one of {get_args(Scaling)[1:]} with another: set both',
                f'"none" 与 factor 1，或 {get_args(Scaling)[1:]} 之一与其他 factor：请同时设置',
            )
        if self.scaling == "llama3" and self.low >= self.high:
            raise conflict(
                f"low={self.low} and high={self.high}",
                "low below high: swap them",
                "low 小于 high：请对调",
            )
        if self.sections is not None:
            time, row, column = self.sections
            require_range(0, MAX_DIM, time=time, row=row, column=column)

    def rotated(self, head_dim: int) -> int:
        """Returns how many numbers of a head are rotated."""
        return int(head_dim * self.fraction)

    def check(self, head_dim: int) -> None:
        """Raises ConfigError if heads of this width cannot be rotated like this."""
        rotated, sections = self.rotated(head_dim), self.sections
        if rotated < 2 or rotated % 2:
            raise conflict(
                f"head_dim={head_dim} and fraction={self.fraction}",
                "an even number of rotated numbers: change one of them",
                "偶数个被旋转的数：请修改其中之一",
            )
        if sections is not None and sum(sections) != rotated // 2:
            raise conflict(
                f"sections={sections} and head_dim={head_dim}",
                f"sections that add up to {rotated // 2}, the number of angles: change them",
                f"总和等于角度个数 {rotated // 2} 的 sections：请修改",
            )


class Angles(NamedTuple):
    """Cosine and sine of each token's angles, the same for every head."""

    cos: Float[Tensor, "batch 1 tokens angles"]
    sin: Float[Tensor, "batch 1 tokens angles"]


def rope_angles(
    config: RopeConfig,
    positions: Int[Tensor, "*axes batch tokens"],
    head_dim: int,
    dtype: torch.dtype = torch.float32,
) -> Angles:
    """Returns the angles of tokens at these positions, counted from 0. Multimodal positions have
    time, row and column as their first axis; in plain text the three are equal and one is
    enough."""
    frequencies, axes = _frequencies(config, head_dim, positions.device)
    if positions.ndim == 3 and config.sections is not None:
        angles = positions.float()[axes].movedim(0, -1) * frequencies
    else:
        if positions.ndim == 3:
            raise conflict(
                "positions in time, row and column and sections=None",
                "plain positions, or a model with sections: give one position for each token",
                "一维位置，或带 sections 的模型：每个词元只给一个位置",
            )
        angles = positions.float()[..., None] * frequencies
    angles = angles[:, None]
    return Angles(angles.cos().to(dtype), angles.sin().to(dtype))


def rotate_halves(
    x: Float[Tensor, "batch heads tokens head_dim"], angles: Angles
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Rotates the pairs of queries or keys by their token's angles; numbers after the rotated part
    stay unchanged."""
    size = angles.cos.shape[-1]
    first, second, still = x[..., :size], x[..., size : 2 * size], x[..., 2 * size :]
    cos, sin = angles
    return torch.cat([first * cos - second * sin, second * cos + first * sin, still], dim=-1)


@lru_cache(maxsize=32)
def _frequencies(
    config: RopeConfig, head_dim: int, device: torch.device
) -> tuple[Float[Tensor, " angles"], Int[Tensor, " angles"]]:
    """Returns how fast each angle grows, and which position axis it follows."""
    # A cached tensor must not be created under torch.inference_mode: training could not use it
    # then.
    with torch.inference_mode(False), torch.no_grad():
        rotated = config.rotated(head_dim)
        # In float32 and in this order, as the published models compute it.
        exponents = torch.arange(0, rotated, 2, dtype=torch.float32) / rotated
        frequencies = _stretched(config, 1.0 / config.theta**exponents)
        axes = torch.zeros(rotated // 2, dtype=torch.long)
        if config.sections is not None and config.interleaved:
            for axis in (1, 2):
                axes[axis : 3 * config.sections[axis] : 3] = axis
        elif config.sections is not None:
            axes = torch.arange(3).repeat_interleave(torch.tensor(config.sections))
        return frequencies.to(device), axes.to(device)


def _stretched(
    config: RopeConfig, frequencies: Float[Tensor, " angles"]
) -> Float[Tensor, " angles"]:
    """Frequencies for long texts. Llama 3.1 blends stretched and unstretched ones between the two
    limits (llama-models, models/llama3/model.py, apply_scaling)."""
    if config.scaling != "llama3":
        return frequencies / config.factor
    waves = config.trained * frequencies / (2 * pi)  # that fit into a pre-training text
    part = ((waves - config.low) / (config.high - config.low)).clamp(0, 1)
    return (1 - part) * frequencies / config.factor + part * frequencies
