"""A MobileNet image tower in numpy, to see a picture without loading torch.

    tower = NumpyMobileNet(weights, config)
    tower(pixels)       # a row for every 32 x 32 pixels

It is `seesay.models.mobilenet.MobileNet` for one picture at a time. A pointwise convolution is a
matrix product. A depthwise one is a sum over the places of its filter, each of which weights a
shifted copy of the picture: where rows are padded to one width, a shifted copy of all of them is
one piece of memory. The channels of a block are computed some at a time, so that what goes from one
convolution to the next stays in the processor's cache. EfficientNet-Lite2 takes 0.2 s for 256
pixels a side on one core (benchmarks/start.py).
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from seesay.inference.numpy_layers import StoredWeights

AT_ONCE = 1 << 16  # numbers of a block's widest map, 256 KB: from 32K to 256K equally fast
LEAST = 16  # channels at once: products of fewer rows are slow
SIX = np.float32(6)


class BlockShape(NamedTuple):
    channels_in: int
    hidden: int
    channels: int
    stride: int
    kernel: int
    """Side of the depthwise filters."""


def block_shapes(config: Mapping[str, Any]) -> Iterator[BlockShape]:
    """Yields the blocks of a tower from its part of seesay.json."""
    width = config["stem"]
    kernels = config["kernels"] or [3] * len(config["stages"])
    for (expansion, channels, repeats, stride), kernel in zip(
        config["stages"], kernels, strict=True
    ):
        for number in range(repeats):
            step = stride if number == 0 else 1
            yield BlockShape(width, width * expansion, channels, step, kernel)
            width = channels


def tower_shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the tensors of a tower without classes: name and shape."""

    def convolution(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"tower.{name}.weight", shape
        yield f"tower.{name}.bias", shape[:1]

    yield from convolution("stem", config["stem"], 3, 3, 3)
    channels = config["stem"]
    for number, one in enumerate(block_shapes(config)):
        block, channels = f"blocks.{number}", one.channels
        if one.hidden > one.channels_in:
            yield from convolution(f"{block}.expand", one.hidden, one.channels_in, 1, 1)
        yield from convolution(f"{block}.depthwise", one.hidden, 1, one.kernel, one.kernel)
        yield from convolution(f"{block}.project", one.channels, one.hidden, 1, 1)
    yield from convolution("head", config["dim"], channels, 1, 1)


def map_side(config: Mapping[str, Any], size: int) -> int:
    """Returns the side of a tower's last map of a picture of `size` pixels a side."""
    side = -(-size // 2)
    for _, _, _, stride in config["stages"]:
        side = -(-side // stride)
    return side


class NumpyMobileNet:
    """Pixels -> the last map of the tower, line by line."""

    def __init__(self, weights: StoredWeights, config: Mapping[str, Any]) -> None:
        """`config` is the tower's part of seesay.json."""
        self._weights = weights
        self._blocks = tuple(block_shapes(config))

    def __call__(
        self, pixels: Float[np.ndarray, "3 height width"]
    ) -> Float[np.ndarray, "patches dim"]:
        x = self._stem(pixels)
        for number, shape in enumerate(self._blocks):
            x = self._block(f"tower.blocks.{number}", x, shape)
        weight, bias = self._convolution("tower.head")
        return _relu6(weight @ x.reshape(len(x), -1), bias).T

    def _stem(
        self, pixels: Float[np.ndarray, "3 height width"]
    ) -> Float[np.ndarray, "channels rows columns"]:
        weight, bias = self._convolution("tower.stem")
        planes = _Planes(3, pixels.shape[1:], 3, 2)
        planes.fill(pixels)
        rows, columns, wide = planes.rows, planes.columns, planes.wide
        window = np.stack([*planes.copies(3)], axis=1)
        x = _relu6(weight @ window.reshape(27, -1), bias)
        return np.ascontiguousarray(x.reshape(-1, rows, wide)[:, :, :columns])

    def _block(
        self, name: str, x: Float[np.ndarray, "channels height width"], shape: BlockShape
    ) -> Float[np.ndarray, "channels_out rows columns"]:
        filters, bias = self._convolution(f"{name}.depthwise")
        narrow, after = self._convolution(f"{name}.project")
        widens = shape.hidden > shape.channels_in
        expand = self._convolution(f"{name}.expand") if widens else None
        flat, size = x.reshape(len(x), -1), x.shape[1:]
        most = min(shape.hidden, max(LEAST, AT_ONCE // flat.shape[1]))
        planes = _Planes(most, size, shape.kernel, shape.stride)
        y: Float[np.ndarray, "..."] = after
        for first in range(0, shape.hidden, most):
            some = slice(first, min(first + most, shape.hidden))
            if expand is None:
                hidden = flat[some]
            else:
                hidden = _relu6(expand[0][some] @ flat, expand[1][some])
            planes.fill(hidden.reshape(-1, *size))
            filtered = _relu6(planes.filtered(filters[some]), bias[some, :, None])
            y = y + narrow[:, some] @ filtered.reshape(len(filtered), -1)
        y = y.reshape(-1, planes.rows, planes.columns)
        return x + y if shape.stride == 1 and x.shape == y.shape else y

    def _convolution(
        self, name: str
    ) -> tuple[Float[np.ndarray, "channels_out rest"], Float[np.ndarray, "channels_out 1"]]:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return weight.reshape(len(weight), -1), bias[:, None]


class _Planes:
    """A padded picture for depthwise filters. At stride 2 it is stored as four pictures: its even
    and odd rows of even and odd columns."""

    def __init__(self, channels: int, size: tuple[int, ...], kernel: int, stride: int) -> None:
        height, width = size
        self._kernel, self._stride = kernel, stride
        # TensorFlow's "SAME": at stride 2 an even side has its odd pixel of padding at the end.
        self._before = [kernel // 2 - (stride == 2 and side % 2 == 0) for side in size]
        self.rows, self.columns = -(-height // stride), -(-width // stride)
        reach = (kernel - 1) // stride  # of a filter, in the rows of one of the pictures
        self.wide = self.columns + reach
        tall = self.rows + reach + 1  # the last shifted copy begins within a row, and ends in one
        self._values = np.zeros((stride, stride, channels, tall, self.wide), np.float32)
        self._count = channels

    def fill(self, x: Float[np.ndarray, "channels height width"]) -> None:
        """Puts a picture of at most as many channels into the padding."""
        self._count, stride, (top, left) = len(x), self._stride, self._before
        for row in range(stride):
            for column in range(stride):
                part = x[:, (row - top) % stride :: stride, (column - left) % stride :: stride]
                down, right = -(-(top - row) // stride), -(-(left - column) // stride)
                into = self._values[row, column, : len(x), down:, right:]
                into[:, : part.shape[1], : part.shape[2]] = part

    def copies(self, kernel: int) -> Iterator[Float[np.ndarray, "channels length"]]:
        """Yields the picture as each place of the filter sees it, row by row of the filter, in rows
        of `wide`, whose last numbers mean nothing."""
        flat = self._values.reshape(*self._values.shape[:3], -1)
        for row in range(kernel):
            for column in range(kernel):
                start = row // self._stride * self.wide + column // self._stride
                plane = flat[row % self._stride, column % self._stride, : self._count]
                yield plane[:, start : start + self.rows * self.wide]

    def filtered(
        self, filters: Float[np.ndarray, "channels places"]
    ) -> Float[np.ndarray, "channels rows columns"]:
        y = np.zeros((self._count, self.rows * self.wide), np.float32)
        weighted = np.empty_like(y)
        for place, copied in enumerate(self.copies(self._kernel)):
            np.multiply(copied, filters[:, place, None], out=weighted)
            y += weighted
        filtered = y.reshape(self._count, self.rows, self.wide)
        return np.ascontiguousarray(filtered[:, :, : self.columns])


def _relu6(
    x: Float[np.ndarray, "*shape"], bias: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "*shape"]:
    """Adds the bias, in place."""
    x += bias
    return np.clip(x, 0, SIX, out=x)
