"""Weights stored in 8 bits: whole numbers, and a scale for every 32 of them.

    numbers, scales = quantize(weights)      # int8 and float16
    weights = dequantize(numbers, scales)    # float32, off by at most 1/254 of the block's largest

In a file, the scales of tensor `name` are stored as `name.scale`. Weights from a coarser grid of
the same blocks (4-bit formats such as GGML's Q4_0) keep their exact values. Works without torch, so
that a process can embed a query without loading it.
"""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float16, Float32, Int8

from seesay.errors import DataError, WeightsError
from seesay.text import Text

BLOCK = 32
SCALE = ".scale"
MOST = 127
_GRIDS = (MOST, *range(1, 9))
"""Steps from 0 to the largest weight of a block that are tried; 4-bit grids have at most 8."""
_ROWS = 4096  # at once: the trials take several times the memory of their rows

Arrays = dict[str, np.ndarray]


def is_stored_in_8_bits(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is quantized. The matrices of layers and tables are, which make up 99% of a
    model; norms, biases and positions are not."""
    return name.endswith(".weight") and len(shape) >= 2


def blocks_in_row(shape: tuple[int, ...]) -> int:
    """How many scales each row of a tensor of this shape has."""
    width = prod(shape[1:])
    return width // BLOCK if width and width % BLOCK == 0 else 1


def quantize(
    weights: Float[np.ndarray, "rows *rest"],
) -> tuple[Int8[np.ndarray, "rows *rest"], Float16[np.ndarray, "rows blocks"]]:
    """Raises DataError for weights that are not finite or beyond float16."""
    blocks = _blocks(weights)
    numbers = np.empty(blocks.shape, np.int8)
    scales = np.empty(blocks.shape[:2], np.float16)
    for start in range(0, len(blocks), _ROWS):
        part = slice(start, start + _ROWS)
        numbers[part], scales[part] = _quantized(blocks[part].astype(np.float32))
    return numbers.reshape(weights.shape), scales


def dequantize(
    numbers: Int8[np.ndarray, "rows *rest"], scales: Float16[np.ndarray, "rows blocks"]
) -> Float32[np.ndarray, "rows *rest"]:
    """Returns the weights from numbers and scales."""
    wide = np.multiply(_blocks(numbers), scales.astype(np.float32)[..., None], dtype=np.float32)
    return wide.reshape(numbers.shape)


def dequantize_all(tensors: Mapping[str, np.ndarray], path: Path) -> Arrays:
    """The tensors of a file, with those that are stored in 8 bits in float32.

    Raises WeightsError if numbers and scales do not match.
    """
    whole: Arrays = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in tensors:
            continue
        if tensor.dtype == np.int8 and is_stored_in_8_bits(name, tensor.shape):
            tensor = dequantize(tensor, checked_scales(name, tensor, tensors, path))
        whole[name] = tensor
    return whole


def checked_scales(
    name: str, numbers: np.ndarray, tensors: Mapping[str, np.ndarray], path: Path
) -> Float16[np.ndarray, "rows blocks"]:
    """The scales of a tensor. Raises WeightsError if they are missing or do not fit it."""
    scales = tensors.get(name + SCALE)
    expected = len(numbers), _blocks(numbers).shape[1]
    if scales is None or scales.shape != expected or scales.dtype != np.float16:
        there = "none" if scales is None else f"{scales.dtype} {scales.shape}"
        there_zh = "没有" if scales is None else f"是 {scales.dtype} {scales.shape}"
        raise WeightsError(
            Text(
                f"{path} has 8-bit numbers {name} of shape {numbers.shape}, and as their scales "
                f"{there}; expected {name + SCALE} in float16 of shape {expected}. The file was "
                "changed: get it again",
                f"{path} 里的 8 位权重 {name} 形状为 {numbers.shape}，缩放系数却{there_zh}；"
                f"应有 float16 的 {name + SCALE}，形状为 {expected}；文件被改动过：请重新获取",
            )
        )
    return scales


def _blocks(weights: np.ndarray) -> np.ndarray:
    """Reshapes to rows, blocks, numbers of a block. A row whose length is not a multiple of 32 is
    one block."""
    blocks = blocks_in_row(weights.shape)
    return weights.reshape(len(weights), blocks, prod(weights.shape[1:]) // blocks)


def _quantized(
    blocks: Float32[np.ndarray, "rows blocks size"],
) -> tuple[Int8[np.ndarray, "rows blocks size"], Float16[np.ndarray, "rows blocks"]]:
    largest = np.abs(blocks).max(axis=2)
    if not largest.max(initial=0) < np.finfo(np.float16).max:
        raise DataError(
            Text(
                f"weights as large as {largest.max()} cannot be stored in 8 bits; expected finite "
                "numbers below 65,504. Train again, or store them in float32",
                f"大到 {largest.max()} 的权重不能以 8 位保存；应为小于 65,504 的有限数；"
                "请重新训练，或以 float32 保存",
            )
        )
    numbers = np.zeros(blocks.shape, np.int8)
    scales = np.zeros(largest.shape, np.float16)
    least = np.full(largest.shape, np.inf, np.float32)
    for steps in _GRIDS:
        scale = (largest / steps).astype(np.float16)
        wide = scale.astype(np.float32)[..., None]
        tried = np.rint(blocks / np.where(wide, wide, 1)).clip(-MOST, MOST)
        error = np.abs(tried * wide - blocks).max(axis=2)
        better = error < least
        numbers[better], scales[better], least[better] = tried[better], scale[better], error[better]
    return numbers, scales
