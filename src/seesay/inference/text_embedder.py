"""The text half of a model in numpy: a query is embedded in a process that never loads torch.

    embedder = load_texts("seesay-mini")
    embedder.embed_texts(["一只猫"]).vectors

It is for single queries, where importing torch takes far longer than the work itself, and for
models whose text tower is `mean_text` (the built-in one). Vectors equal those of torch in float32
to 1e-5.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError, safe_open

from seesay.data.model_files import read_json
from seesay.data.spelling import visible
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import Tokenizer, TokenizerConfig, load_tokenizer
from seesay.errors import ConfigError, WeightsError
from seesay.inference.embedder import (
    FINGERPRINTED,
    Embeddings,
    Progress,
    fingerprint,
    load,
    mean_of_windows,
)
from seesay.weights.hub import Located, locate

if TYPE_CHECKING:
    from seesay.inference.embedder import Embedder

LAYOUT = "seesay.json"

ROWS = 64  # windows at once
_NOT_WHOLE = (
    ConfigError,
    WeightsError,
    SafetensorError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
)

Weights = dict[str, Float[np.ndarray, "..."]]


def load_texts(name: str, whole: "Callable[[], Embedder] | None" = None) -> "TextEmbedder | None":
    """The text half of a model by its name or folder; None where it cannot be run in numpy, or
    where its files are damaged, which `load` reports. `whole` loads the complete model if a picture
    has to be embedded after all.

    Raises UnknownModelError or DownloadError.
    """
    found = locate(name)
    file = found.folder / LAYOUT
    if not file.is_file():
        return None
    try:
        described = read_json(file)
        if described["format"] != 1 or described["model"]["text"]["tower"] != "mean_text":
            return None
        return TextEmbedder(found, described, name, whole or (lambda: load(name)))
    except _NOT_WHOLE:
        return None


class TextEmbedder:
    """Texts -> unit vectors. Safe to use from several threads."""

    reduce_large = True  # as in an Embedder with its defaults

    def __init__(
        self,
        located: Located,
        described: dict[str, Any],
        name: str,
        whole: "Callable[[], Embedder]",
    ) -> None:
        """`described` is the content of the folder's seesay.json."""
        self.name, self.revision = name, located.revision
        self._whole, self._file = whole, located.folder / "model.safetensors"
        self.dim: int = described["model"]["embed_dim"]
        transform: dict[str, Any] = described["transform"]
        colours: dict[str, Any] = {name: tuple(transform[name]) for name in ("mean", "std")}
        self.transform_config = ImageTransformConfig(**{**transform, **colours})
        self.tokenizer: Tokenizer = load_tokenizer(
            located.folder, TokenizerConfig(**described["tokenizer"])
        )
        text: dict[str, Any] = described["model"]["text"]
        names = ("heads", "norm_eps", "pad_id", "depth", "activation")
        self._tower = MeanTextTower(
            weights=_read_weights(self._file), **{name: text[name] for name in names}
        )

    def __repr__(self) -> str:
        return f"TextEmbedder({self.name!r}, dim={self.dim})"

    def embed_texts(
        self, texts: str | Iterable[str], *, on_progress: Progress | None = None
    ) -> Embeddings:
        """As `Embedder.embed_texts`."""
        texts = [texts] if isinstance(texts, str) else texts
        given = [visible(text) for text in texts]
        tokens = self.tokenizer.encode(given)
        vectors = np.empty((len(tokens.ids), self.dim), np.float32)
        for rows in _of_equal_length(tokens.ids, self.tokenizer.config.pad_id):
            vectors[rows] = self._tower(tokens.ids[rows])
        if on_progress is not None:
            on_progress(len(given), len(given), 0)
        return Embeddings(
            vectors=mean_of_windows(vectors, tokens.owners, len(given)),
            rows=tuple(range(len(given))),
            windows=tuple(np.bincount(tokens.owners, minlength=len(given)).tolist()),
        )

    def embed_images(self, images: object) -> Embeddings:
        """Loads the whole model, and torch with it."""
        return self._whole().embed_images(images)

    def fingerprint(self) -> str:
        """The same as `Embedder.fingerprint`."""
        with safe_open(self._file, framework="numpy") as tensors:
            weights = ((name, tensors.get_slice(name)) for name in sorted(tensors.keys()))
            return fingerprint((n, tuple(w.get_shape()), _first(w)) for n, w in weights)


@dataclass(frozen=True, kw_only=True)
class MeanTextTower:
    """`seesay.models.mean_text.MeanTextEncoder` and its projection, in evaluation mode."""

    weights: Weights
    heads: int
    norm_eps: float
    pad_id: int
    depth: int
    activation: str

    def __call__(self, ids: Int[np.ndarray, "batch tokens"]) -> Float[np.ndarray, "batch embed"]:
        """Unit vectors."""
        kept = ids != self.pad_id
        length = int(np.flatnonzero(kept.any(axis=0))[-1]) + 1 if kept.any() else 1
        ids, kept = ids[:, :length], kept[:, :length]
        kept[:, 0] |= ~kept.any(axis=1)
        tokens = self.weights["text.token_embed.weight"][ids]
        x = self._norm("text.norm_in", tokens + self.weights["text.positions"][:length])
        for layer in range(self.depth):
            x = self._block(f"text.blocks.{layer}", x, kept)
        x = self._norm("text.norm_out", x)
        importance = np.where(kept, (x @ self.weights["text.importance.weight"].T)[..., 0], -np.inf)
        mean = (x * _softmax(importance)[..., None]).sum(axis=1)
        return _unit(self._linear("text_proj", mean))

    def _block(
        self,
        name: str,
        x: Float[np.ndarray, "batch tokens dim"],
        kept: Bool[np.ndarray, "batch tokens"],
    ) -> Float[np.ndarray, "batch tokens dim"]:
        y = self._norm(f"{name}.norm1", x)
        parts = (self._split(self._linear(f"{name}.attention.{p}", y)) for p in _ATTENTION)
        query, key, value = parts
        scores = query @ key.swapaxes(-1, -2) / np.sqrt(np.float32(query.shape[-1]))
        scores = np.where(kept[:, None, None, :], scores, -np.inf)
        seen = (_softmax(scores) @ value).swapaxes(1, 2).reshape(x.shape)
        x = x + self._linear(f"{name}.attention.out", seen)
        y = self._linear(f"{name}.mlp.up", self._norm(f"{name}.norm2", x))
        return x + self._linear(f"{name}.mlp.down", ACTIVATIONS[self.activation](y))

    def _split(
        self, x: Float[np.ndarray, "batch tokens dim"]
    ) -> Float[np.ndarray, "batch heads tokens head_dim"]:
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)

    def _linear(self, name: str, x: Float[np.ndarray, "... dim"]) -> Float[np.ndarray, "... out"]:
        y = x @ self.weights[f"{name}.weight"].T
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else y + bias

    def _norm(self, name: str, x: Float[np.ndarray, "... dim"]) -> Float[np.ndarray, "... dim"]:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(self.norm_eps))
        return centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


_ATTENTION = ("query", "key", "value")


def gelu(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Exact GELU; erf after Abramowitz and Stegun 7.1.26, right to 1.5e-7."""
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


ACTIVATIONS = {"gelu": gelu, "gelu_tanh": gelu_tanh, "quick_gelu": quick_gelu, "relu": relu}


def _read_weights(file: Path) -> Weights:
    """The weights of the text half, in float32."""
    with safe_open(file, framework="numpy") as tensors:
        names = [n for n in tensors.keys() if n.startswith(("text.", "text_proj."))]  # noqa: SIM118
        return {name: tensors.get_tensor(name).astype(np.float32) for name in names}


def _first(tensor: Any) -> Float[np.ndarray, " some"]:
    """The first numbers of a tensor in a file, rounded to bfloat16 (to nearest, ties to even)."""
    shape = tensor.get_shape()
    values = tensor[: min(FINGERPRINTED, shape[0])] if shape else tensor[...]
    bits = values.ravel()[:FINGERPRINTED].astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def _of_equal_length(
    ids: Int[np.ndarray, "windows tokens"], pad_id: int
) -> Iterator[Int[np.ndarray, " some"]]:
    lengths = (ids != pad_id).sum(axis=1)
    for length in sorted(set(lengths.tolist())):  # np.unique imports numpy.ma: 20 ms
        same = np.flatnonzero(lengths == length)
        yield from np.array_split(same, -(-len(same) // ROWS))


def _softmax(x: Float[np.ndarray, "... n"]) -> Float[np.ndarray, "... n"]:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _unit(x: Float[np.ndarray, "batch embed"]) -> Float[np.ndarray, "batch embed"]:
    return (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)).astype(np.float32)
