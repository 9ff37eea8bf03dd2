"""The GGUF file format: settings by name, then tensors in the number types of llama.cpp.

Written from its description (ggml, docs/gguf.md, versions 2 and 3). The `gguf` package reads the
same: a vocabulary of 49,000 tokens takes it seconds, and this a fraction of one. Only its
conversions of numbers are used.
"""

import mmap
import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from seesay.errors import MissingExtraError

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
NUMBERS[12] = "d"
TEXT, ARRAY = 8, 9
ALIGNMENT = 32  # bytes, unless the file sets another


def read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the settings of a file and its tensors in float32.

    Raises MissingExtraError without the package `gguf`; whatever struct, numpy or the disk raise
    for a file that is no such file or was cut short.
    """
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
    except ImportError:
        raise MissingExtraError("gguf", "gguf") from None
    with path.open("rb") as file:
        # It is closed with the last array that looks into it.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = _Reader(data)
        magic, version = reader.number("I"), reader.number("I")
        if (magic, version) not in ((0x46554747, 2), (0x46554747, 3)):
            raise ValueError(f"begins with {magic:#x}, version {version}")
        tensors, settings = reader.number("Q"), reader.number("Q")
        values = {reader.text(): reader.value(reader.number("I")) for _ in range(settings)}
        described = [reader.tensor() for _ in range(tensors)]
        align = values.get("general.alignment", ALIGNMENT)
        start = -(-reader.at // align) * align

        def numbers(shape: list[int], number_type: int, offset: int) -> np.ndarray:
            form = GGMLQuantizationType(number_type)
            block, size = GGML_QUANT_SIZES[form]
            width = shape[-1] // block * size
            raw = np.frombuffer(
                data, np.uint8, count=prod(shape[:-1]) * width, offset=start + offset
            )
            # A copy: what needs no conversion would otherwise keep the file open.
            return np.array(quants.dequantize(raw.reshape(*shape[:-1], width), form))

        return values, {name: numbers(*layout) for name, layout in described}


class _Reader:
    """Reads one value after another."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 0

    def number(self, form: str) -> Any:
        """A number in one of struct's formats."""
        (value,) = struct.unpack_from(f"<{form}", self._data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str:
        length = self.number("Q")
        piece = self._data[self.at : self.at + length]
        if len(piece) < length:
            raise ValueError("a text goes beyond the end")
        self.at += length
        return piece.decode("utf-8")

    def value(self, value_type: int) -> Any:
        """A value of this type; arrays are lists."""
        if value_type == TEXT:
            return self.text()
        if value_type == ARRAY:
            inner, count = self.number("I"), self.number("Q")
            return [self.value(inner) for _ in range(count)]
        return self.number(NUMBERS[value_type])

    def tensor(self) -> tuple[str, tuple[list[int], int, int]]:
        """A tensor's name; its shape, its type and where it begins."""
        name, axes = self.text(), self.number("I")
        shape = [self.number("Q") for _ in range(axes)][::-1]
        return name, (shape, self.number("I"), self.number("Q"))
