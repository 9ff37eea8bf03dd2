"""Work on all image-text logits a tile at a time, so that no matrix of all pairs ever exists.

After Inf-CL (Cheng et al. 2024, arXiv 2410.17243), in plain PyTorch: the forward pass keeps two
numbers per row and column, the backward pass computes each tile again.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

# Rows and columns of a tile. On a CPU a tile stays in the cache from one step on it to the next; a
# GPU needs tiles large enough to keep it busy.
CPU_TILE = (1024, 1024)
GPU_TILE = (4096, 8192)


class Tile(NamedTuple):
    """The logits of some images (rows) and some texts (columns); the next tile overwrites them.

    `spare` is working memory of the same size: allocating new memory costs as much as the work.
    """

    rows: slice
    columns: slice
    logits: Float[Tensor, "rows columns"]
    spare: Float[Tensor, "rows columns"]


Weigh = Callable[[Tile], Tensor]  # -> the loss's gradient by the tile's logits


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32 or wider: bfloat16 would round a logit of 30 to the nearest 0.1."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def tiles(
    images: Float[Tensor, "images embed"],
    texts: Float[Tensor, "texts embed"],
    scale: Float[Tensor, ""],
) -> Iterator[Tile]:
    """All logits, tile by tile."""
    height, width = CPU_TILE if images.device.type == "cpu" else GPU_TILE
    memory = images.new_empty(2, min(height, len(images)) * min(width, len(texts)))
    for top in range(0, len(images), height):
        scaled = images[top : top + height] * scale
        rows = slice(top, top + len(scaled))
        for left in range(0, len(texts), width):
            part = texts[left : left + width]
            shape = len(scaled), len(part)
            logits, spare = memory[:, : shape[0] * shape[1]].view(2, *shape)
            torch.mm(scaled, part.T, out=logits)
            yield Tile(rows, slice(left, left + len(part)), logits, spare)


class ExpSums(NamedTuple):
    """Sums of exponentials, as exp(largest) * sums so that nothing overflows.

    The two stay apart because one logarithm of both, rounded to float32, would shift every
    probability of a row by one part in a million when logits are near 30.
    """

    largest: Float[Tensor, " rows"]
    sums: Float[Tensor, " rows"]

    @staticmethod
    def empty(count: int, like: Tensor) -> "ExpSums":
        return ExpSums(like.new_full((count,), -torch.inf), like.new_zeros(count))

    def part(self, rows: slice) -> "ExpSums":
        """A view of some of the sums: additions to it show up here."""
        return ExpSums(self.largest[rows], self.sums[rows])

    def add(self, tile: Tile, dim: int) -> None:
        """Add one tile: its rows' logits (dim 1) or its columns' (dim 0)."""
        largest = torch.maximum(self.largest, tile.logits.amax(dim))
        exponentials = torch.sub(tile.logits, largest.unsqueeze(dim), out=tile.spare).exp_()
        self.sums.mul_((self.largest - largest).exp_()).add_(exponentials.sum(dim))
        self.largest.copy_(largest)

    def log(self, dtype: torch.dtype) -> Float[Tensor, " rows"]:
        """0 where nothing was added, as with an empty batch: its weight is 0, which an infinite
        logarithm would turn into NaN."""
        logarithms = self.largest.to(dtype) + self.sums.to(dtype).log()
        return logarithms.masked_fill(self.largest == -torch.inf, 0)


def add_gradient(
    images: Float[Tensor, "images embed"],
    texts: Float[Tensor, "texts embed"],
    scale: Float[Tensor, ""],
    weigh: Weigh,
    image_gradient: Float[Tensor, "images embed"],
) -> Float[Tensor, "texts embed"]:
    """Add to the images' gradient and return the texts', both still to be multiplied by the scale.

    `weigh` turns a tile of logits into the loss's gradient by them.
    """
    text_gradient = torch.zeros_like(texts)
    for tile in tiles(images, texts, scale):
        weights = weigh(tile)
        image_gradient[tile.rows].addmm_(weights, texts[tile.columns])
        text_gradient[tile.columns].addmm_(weights.T, images[tile.rows])
    return text_gradient
