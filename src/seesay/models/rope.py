"""Rotary positions: each pair of numbers in a query or key is rotated by an angle that grows with
its position, so that attention depends on distances alone (RoFormer, arXiv 2104.09864)."""

from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class RopeTable(NamedTuple):
    """Cosine and sine of every position's angles; the first `skip` tokens are not rotated."""

    cos: Float[Tensor, "positions head_dim"]
    sin: Float[Tensor, "positions head_dim"]
    skip: int


@lru_cache(maxsize=8)
def grid_rope(
    grid: int, head_dim: int, *, reference: int, skip: int, device: torch.device, pe: bool = False
) -> RopeTable:
    """Angles of a square grid of patches: half of each head rotates with the row, half with the
    column (EVA-02). Positions are stretched to a `reference` grid, the one of pre-training, so
    that a finer grid lies between the places already learnt. The wavelengths run to 10,000.

    With `pe` the columns come first and places count from `skip`, behind the class token
    (Perception Encoder).
    """
    # A cached tensor must not be created under torch.inference_mode: training could not use it
    # then.
    with torch.inference_mode(False), torch.no_grad():
        quarter = head_dim // 4
        # In float32 and in this order, as the published weights were trained: the exact result
        # of the powers matters at 1e-5.
        frequency = 1.0 / (10000.0 ** (torch.arange(quarter, dtype=torch.float32) / quarter))
        place = torch.arange(grid, dtype=torch.float32) + (skip if pe else 0)
        place = place / grid * reference
        angle = place[:, None] * frequency  # grid x quarter
        rows = angle[:, None, :].expand(grid, grid, quarter)
        columns = angle[None, :, :].expand(grid, grid, quarter)
        halves = [columns, rows] if pe else [rows, columns]
        angles = torch.cat(halves, dim=-1).flatten(0, 1).repeat_interleave(2, dim=-1)
        return RopeTable(angles.cos().to(device), angles.sin().to(device), skip)


def rotate(
    x: Float[Tensor, "batch heads tokens head_dim"], rope: RopeTable
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Rotate neighbouring pairs of numbers by the angles of their position, counted from 0."""
    still, x = x[:, :, : rope.skip], x[:, :, rope.skip :]
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
    cos, sin = (table[: x.shape[2]].to(x.dtype) for table in (rope.cos, rope.sin))
    x = x * cos + turned * sin
    return torch.cat([still, x], dim=2)
