"""Small ONNX files in YOLOX's form, written field by field: what they find can be told beforehand.

Each grid is a convolution without overlap, as large as its stride, so that a cell sees its own
pixels alone. The numbers of fields are those of onnx.proto.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seesay.inference.detector import LABELS, STRIDES

SIDE = 64
COLUMNS = 5 + len(LABELS)
BLUE, GREEN, RED = 0, 1, 2  # the order of channels
NAMES = [label.en for label in LABELS]
FLOAT, INT64 = 1, 7


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name: str, values: np.ndarray, more: bytes = b"") -> bytes:
    of = FLOAT if values.dtype == np.float32 else INT64
    dims = b"".join(field(1, size) for size in values.shape)
    return dims + field(2, of) + field(8, name) + field(9, values.tobytes()) + more


def shaped(name: str, shape: Sequence[int], of: int = FLOAT) -> bytes:
    dims = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, of) + field(2, dims)))


def node(operator: str, inputs: Sequence[str], output: str, *attributes: bytes) -> bytes:
    names = b"".join(field(1, name) for name in inputs) + field(2, output)
    return names + field(4, operator) + b"".join(field(5, one) for one in attributes)


def ints(name: str, values: Sequence[int]) -> bytes:
    return field(1, name) + b"".join(field(8, value) for value in values) + field(20, 7)


def integer(name: str, value: int) -> bytes:
    return field(1, name) + field(3, value) + field(20, 2)


@dataclass(frozen=True, kw_only=True)
class Slips:
    """What may be wrong with a file."""

    columns: int = COLUMNS
    opset: bytes = field(2, 11)
    of_tensors: bytes = b""
    nodes: Sequence[bytes] = ()
    of_graph: bytes = b""
    of_model: bytes = b""


def write_detector(
    file: Path, weights: Sequence[np.ndarray] | None = None, slips: Slips | None = None
) -> Path:
    """A file in YOLOX's form. `weights` are of one convolution for each stride, random where they
    are left out."""
    slips = slips or Slips()
    columns = slips.columns
    if weights is None:
        random = np.random.default_rng(0)
        shapes = [(columns, 3, stride, stride) for stride in STRIDES]
        weights = [random.normal(0, 0.01, shape).astype(np.float32) for shape in shapes]
    graph = field(2, "yolox")
    for stride, weight in zip(STRIDES, weights, strict=True):
        name = f"grid{stride}"
        sides = ints("strides", [stride, stride]), ints("kernel_shape", [stride, stride])
        graph += field(5, tensor(f"{name}.weight", weight, slips.of_tensors))
        graph += field(5, tensor(f"{name}.bias", bias_of(columns)))
        graph += field(5, tensor(f"{name}.shape", np.array([1, columns, -1], np.int64)))
        inputs = ["images", f"{name}.weight", f"{name}.bias"]
        graph += field(1, node("Conv", inputs, name, *sides))
        graph += field(1, node("Reshape", [name, f"{name}.shape"], f"{name}.flat"))
    flat = [f"grid{stride}.flat" for stride in STRIDES]
    graph += field(1, node("Concat", flat, "joined", integer("axis", 2)))
    graph += field(1, node("Transpose", ["joined"], "output", ints("perm", [0, 2, 1])))
    graph += b"".join(field(1, one) for one in slips.nodes)
    cells = sum((SIDE // stride) ** 2 for stride in STRIDES)
    graph += field(11, shaped("images", [1, 3, SIDE, SIDE]))
    graph += field(12, shaped("output", [1, cells, columns])) + slips.of_graph
    file.write_bytes(field(1, 6) + field(7, graph) + field(8, slips.opset) + slips.of_model)
    return file


def bias_of(columns: int) -> np.ndarray:
    """The centre of each box is that of its cell, its sides are the cell's, and it holds an object
    for certain."""
    bias = np.zeros(columns, np.float32)
    bias[:5] = 0.5, 0.5, 0, 0, 1
    return bias


def colour_weights() -> list[np.ndarray]:
    """Each cell of 32 pixels is a dog as far as it is red, and a cat as far as it is blue."""
    weights = [np.zeros((COLUMNS, 3, stride, stride), np.float32) for stride in STRIDES]
    share = 1 / (255 * 32**2)
    weights[-1][5 + NAMES.index("dog"), RED] = share
    weights[-1][5 + NAMES.index("cat"), BLUE] = share
    return weights


def write_colour_detector(file: Path) -> Path:
    return write_detector(file, colour_weights())
