"""What the models in numpy share: weights read from a file, and elementary functions.

They are for processes that end after a single answer, where importing torch takes far longer than
the work itself.
"""

import json
import os
import weakref
from collections.abc import Iterator
from io import FileIO
from math import prod
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open

from seesay.errors import ConfigError, WeightsError
from seesay.text import Text
from seesay.weights.quantization import SCALE, blocks_in_row, dequantize, is_stored_in_8_bits

LAYOUT = "seesay.json"
NOT_WHOLE = (
    ConfigError,
    WeightsError,
    SafetensorError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
)
"""What reading a damaged model raises; the torch model then says what is wrong."""
_DTYPES = {"F32": "<f4", "F16": "<f2", "I8": "i1"}


class StoredWeights:
    """The tensors of a file in float32. Tensors stored in 8 bits are read each time they are
    needed: a large model answers a query with only one matrix in memory. The file is not
    memory-mapped, because its pages would count as the process's memory. It stays open, so that a
    model saved anew in its place cannot mix with this one. Safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        number = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, number)
        self._stream, self._mutex = FileIO(number, closefd=False), Lock()
        with safe_open(file, framework="numpy"):  # checks the header
            size = int.from_bytes(self._stream.read(8), "little")
            header = json.loads(self._stream.read(size))
        header.pop("__metadata__", None)
        self._places = {
            name: (np.dtype(_DTYPES[one["dtype"]]), one["shape"], 8 + size + one["data_offsets"][0])
            for name, one in header.items()
        }
        self._kept: dict[str, Float[np.ndarray, "..."]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._places

    @property
    def count(self) -> int:
        """How many tensors there are, without the scales of others."""
        return sum(
            not (name.endswith(SCALE) and name.removesuffix(SCALE) in self) for name in self._places
        )

    def fits(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether there is such a tensor of this shape, in float32 or with the scales of 8 bits."""
        if name not in self:
            return False
        dtype, stored, _ = self._places[name]
        if dtype != np.int8 or tuple(stored) != shape:
            return tuple(stored) == shape
        if name + SCALE not in self or not is_stored_in_8_bits(name, shape):
            return False
        scales, form, _ = self._places[name + SCALE]
        return scales == np.float16 and tuple(form) == (shape[0], blocks_in_row(shape))

    def __getitem__(self, name: str) -> Float[np.ndarray, "..."]:
        if name + SCALE in self:
            return dequantize(self._read(name), self._read(name + SCALE))
        if name not in self._kept:
            self._kept[name] = self._read(name).astype(np.float32, copy=False)
        return self._kept[name]

    def rows(self, name: str, wanted: Int[np.ndarray, "..."]) -> Float[np.ndarray, "... dim"]:
        """Returns these rows of a table, without reading the others."""
        numbers, places = sorted(set(wanted.ravel().tolist())), wanted.ravel()
        found = np.concatenate([self._read(name, row, 1) for row in numbers])
        if name + SCALE in self:
            found = dequantize(
                found, np.concatenate([self._read(name + SCALE, row, 1) for row in numbers])
            )
        chosen = found.astype(np.float32, copy=False)[np.searchsorted(numbers, places)]
        return chosen.reshape(*wanted.shape, *chosen.shape[1:])

    def _read(self, name: str, first: int = 0, count: int | None = None) -> np.ndarray:
        """Reads a whole tensor, or `count` rows of it from row `first`."""
        dtype, shape, start = self._places[name]
        if count is not None:
            start += first * prod(shape[1:]) * dtype.itemsize
            shape = [count, *shape[1:]]
        values = np.empty(shape, dtype)
        rest = values.reshape(-1).view(np.uint8).data
        with self._mutex:
            self._stream.seek(start)
            while count := len(rest) and self._stream.readinto(rest):
                rest = rest[count:]
        if len(rest):
            raise WeightsError(
                Text(
                    f"{name} ends before its {len(values)} rows, expected the whole tensor: the "
                    "file was cut while it was in use. Get the model again",
                    f"{name} 不完整，应有 {len(values)} 行：文件在使用中被截断。请重新获取模型",
                )
            )
        return values

    def beginnings(
        self, count: int
    ) -> Iterator[tuple[str, tuple[int, ...], Float[np.ndarray, " some"]]]:
        """Yields the name and shape of every tensor, and its first `count` numbers rounded to
        bfloat16 (to nearest, ties to even)."""
        for name, (_, stored, _) in sorted(self._places.items()):
            if name.endswith(SCALE) and name.removesuffix(SCALE) in self:
                continue
            shape = tuple(stored)
            enough = -(-count // max(prod(shape[1:]), 1))
            rows = min(enough, shape[0]) if shape else None
            values = self._read(name, 0, rows)
            if name + SCALE in self:
                values = dequantize(values, self._read(name + SCALE, 0, rows))
            bits = values.astype(np.float32, copy=False).ravel()[:count].view(np.uint32)
            rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
            yield name, shape, rounded.view(np.float32)


class BorrowedWeights:
    """The tensors of a file, and those of another file that this one lacks."""

    def __init__(self, own: StoredWeights, base: StoredWeights) -> None:
        self._own, self._base = own, base

    def __contains__(self, name: str) -> bool:
        return name in self._own or name in self._base

    def __getitem__(self, name: str) -> Float[np.ndarray, "..."]:
        return self._holding(name)[name]

    def rows(self, name: str, wanted: Int[np.ndarray, "..."]) -> Float[np.ndarray, "... dim"]:
        """As `StoredWeights.rows`."""
        return self._holding(name).rows(name, wanted)

    def _holding(self, name: str) -> StoredWeights:
        return self._own if name in self._own else self._base


def gelu(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Exact GELU; erf after Abramowitz and Stegun 7.1.26, accurate to 1.5e-7."""
    z = np.abs(x) / np.float32(np.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = np.zeros_like(t)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(factor)) * t
    erf = np.sign(x) * (1 - series * np.exp(-z * z))
    return (0.5 * x * (1 + erf)).astype(np.float32)


def quick_gelu(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return x / (1 + np.exp(-1.702 * x))


def relu(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.maximum(x, 0)


def gelu_tanh(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def silu(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return x / (1 + np.exp(-x))


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": relu,
    "silu": silu,
}
"""Non-linearities by their name in seesay.json."""


def softmax(x: Float[np.ndarray, "... n"]) -> Float[np.ndarray, "... n"]:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
