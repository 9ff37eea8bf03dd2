"""Positions of text and vision tokens in Qwen2-VL, Qwen2.5-VL and Qwen3-VL (multimodal RoPE).

A token has three positions: time, row and column. For text they are equal and count up; those of a
picture or video cover its grid, and the text after it continues from the largest of them (Qwen2-VL,
arXiv 2409.12191, section 2.1). transformers 5 continues from the longer *side* of the grid instead,
so text after a long video of small frames reuses the video's positions: see
`tests/models/test_positions.py` for the figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from seesay.errors import ConfigError
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class VisionGrid:
    """A picture or video among the tokens of a row.

    Qwen3-VL writes a timestamp before each step of a video, so each step is its own grid.
    """

    start: int
    """Index of its first token among the row's real tokens."""
    time: int = 1
    """Time steps."""
    rows: int
    """Rows of tokens, after patches are merged."""
    columns: int
    """Columns of tokens, after patches are merged."""
    interval: float = 1.0
    """Positions between two time steps: 1 (Qwen2-VL), or the seconds between them times
    tokens_per_second (Qwen2.5-VL); rounded down at each step."""

    def __post_init__(self) -> None:
        if min(self.time, self.rows, self.columns) < 1 or self.start < 0 or self.interval < 0:
            raise ConfigError(
                Text(
                    f"a grid of {self.time} x {self.rows} x {self.columns} tokens from token "
                    f"{self.start}, {self.interval} positions apart, is impossible; expected "
                    "positive numbers. Take them from the picture's patch grid, divided by merge.",
                    f"从第 {self.start} 个词元开始、间隔 {self.interval} 的 {self.time} x "
                    f"{self.rows} x {self.columns} 网格不成立；应为正数；请用图片的 patch 网格除以 "
                    "merge 计算",
                )
            )

    @property
    def tokens(self) -> int:
        return self.time * self.rows * self.columns


def multimodal_positions(
    mask: Bool[Tensor, "batch tokens"], grids: Sequence[Sequence[VisionGrid]]
) -> tuple[Int[Tensor, "3 batch tokens"], Int[Tensor, " batch"]]:
    """Returns the positions of every token, and the next position after each row.

    `mask` is true for real tokens, with padding on either side; padding gets 0. `grids` are those
    of each row, in order. Raises ConfigError for grids that overlap or run past the end.
    """
    positions = torch.zeros(3, *mask.shape, dtype=torch.long, device=mask.device)
    following = torch.zeros(len(mask), dtype=torch.long, device=mask.device)
    for row, (real, of_row) in enumerate(zip(mask, grids, strict=True)):
        length = int(real.sum())
        columns, next_position = _row(length, of_row)
        positions[:, row, real] = columns.to(mask.device)
        following[row] = next_position
    return positions, following


def _row(length: int, grids: Sequence[VisionGrid]) -> tuple[Int[Tensor, "3 tokens"], int]:
    parts, at, position = [torch.zeros(3, 0, dtype=torch.long)], 0, 0
    for grid in grids:
        if grid.start < at or grid.start + grid.tokens > length:
            raise ConfigError(
                Text(
                    f"a picture takes tokens {grid.start} to {grid.start + grid.tokens} of a row "
                    f"of {length}, of which {at} are taken; expected pictures in order that do not "
                    "overlap. Compare the grids with the placeholders.",
                    f"图片占一行 {length} 个词元中的第 {grid.start} 到 {grid.start + grid.tokens} "
                    f"个，而前 {at} 个已被占用；图片应按顺序排列、互不重叠；请核对网格与占位词元",
                )
            )
        parts += [_text(grid.start - at, position), _grid(grid, position + grid.start - at)]
        position = int(parts[-1].max()) + 1
        at = grid.start + grid.tokens
    parts.append(_text(length - at, position))
    return torch.cat(parts, dim=1), position + length - at


def _text(length: int, start: int) -> Int[Tensor, "3 tokens"]:
    return torch.arange(start, start + length).expand(3, -1)


def _grid(grid: VisionGrid, start: int) -> Int[Tensor, "3 tokens"]:
    time = (torch.arange(grid.time) * grid.interval).long()
    axes = time, torch.arange(grid.rows), torch.arange(grid.columns)
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1) + start
