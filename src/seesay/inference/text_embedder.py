"""The text half of a model in numpy, to embed a query without loading torch.

    embedder = load_texts("seesay-mini")
    embedder.embed_texts(["一只猫"]).vectors

It is for single queries, where importing torch takes far longer than the work itself, and for
models whose text tower is in TOWERS (those of the built-in models). Vectors match torch's in
float32 to 1e-5.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from seesay.data.model_files import read_json
from seesay.data.query_tokenizer import load_query_tokenizer
from seesay.data.spelling import visible
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import Role, TokenizerConfig
from seesay.inference.embedder import (
    FINGERPRINTED,
    Embeddings,
    Progress,
    fingerprint,
    load,
    mean_of_windows,
    require_images,
)
from seesay.inference.numpy_layers import (
    ACTIVATIONS,
    LAYOUT,
    NOT_WHOLE,
    BorrowedWeights,
    StoredWeights,
    softmax,
)
from seesay.weights.hub import Located, locate, split_adapter

if TYPE_CHECKING:
    from seesay.inference.embedder import Embedder

ROWS = 64  # windows at once


def load_texts(name: str, whole: "Callable[[], Embedder] | None" = None) -> "TextEmbedder | None":
    """Returns the text half of a model by its name or folder; None if numpy cannot run it, or if
    its files are damaged, which `load` reports. `whole` loads the complete model if a picture has
    to be embedded after all.

    Raises UnknownModelError or DownloadError.
    """
    if split_adapter(name)[1] is not None:
        return None
    found = locate(name)
    file = found.folder / LAYOUT
    if not file.is_file():
        return None
    try:
        described = read_json(file)
        if described["format"] != 1 or not _runs_in_numpy(described["model"]):
            return None
        return TextEmbedder(found, described, name, whole or (lambda: load(name)))
    except NOT_WHOLE:
        return None


def _runs_in_numpy(model: Any) -> bool:
    text = model["text"]
    usual = text["tower"] != "bert" or (text["pool"] == "mean" and text["mapped_dim"] is None)
    return usual and text["tower"] in TOWERS and model.get("text_hidden") is None


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
        self._whole = whole
        self.dim: int = described["model"]["embed_dim"]
        self.has_images = described["model"]["image"] is not None
        transform: dict[str, Any] = described["transform"]
        colours: dict[str, Any] = {name: tuple(transform[name]) for name in ("mean", "std")}
        self.transform_config = ImageTransformConfig(**{**transform, **colours})
        self.tokenizer = load_query_tokenizer(
            located.folder, TokenizerConfig(**described["tokenizer"])
        )
        text: dict[str, Any] = described["model"]["text"]
        self._weights = StoredWeights(located.folder / "model.safetensors")
        self._tower = TOWERS[text["tower"]](weights=self._weights, config=text)

    def __repr__(self) -> str:
        return f"TextEmbedder({self.name!r}, dim={self.dim})"

    def embed_texts(
        self,
        texts: str | Iterable[str],
        *,
        role: Role = "query",
        on_progress: Progress | None = None,
    ) -> Embeddings:
        """As `Embedder.embed_texts`."""
        texts = [texts] if isinstance(texts, str) else texts
        given = [visible(text) for text in texts]
        tokens = self.tokenizer.encode(given, role)
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
        """Loads torch and the whole model to embed pictures."""
        require_images(self.name, self.has_images)
        return self._whole().embed_images(images)

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self._weights.beginnings(FINGERPRINTED))

    def fingerprint(self) -> str:
        """The same as `Embedder.fingerprint`."""
        return self._fingerprint


@dataclass(frozen=True, kw_only=True)
class NumpyTower(ABC):
    """A text tower with its projection, in evaluation mode: ids -> unit vectors."""

    weights: StoredWeights | BorrowedWeights
    config: Mapping[str, Any]
    """As in seesay.json."""

    def __post_init__(self) -> None:
        if missing := {"activation", "depth", "heads", "norm_eps", "pad_id"} - self.config.keys():
            raise KeyError(missing)

    @abstractmethod
    def __call__(self, ids: Int[np.ndarray, "batch tokens"]) -> Float[np.ndarray, "batch embed"]:
        """One unit vector for each row."""

    def _kept(
        self, ids: Int[np.ndarray, "batch tokens"]
    ) -> tuple[Int[np.ndarray, "batch fewer"], Bool[np.ndarray, "batch fewer"]]:
        """Returns the columns that are not padding in every row, and which of their ids are not
        padding."""
        kept = ids != self.config["pad_id"]
        length = int(np.flatnonzero(kept.any(axis=0))[-1]) + 1 if kept.any() else 1
        return ids[:, :length], kept[:, :length]

    def _projected(self, x: Float[np.ndarray, "batch dim"]) -> Float[np.ndarray, "batch embed"]:
        return _unit(self._linear("text_proj", x) if "text_proj.weight" in self.weights else x)

    def _attention(
        self,
        name: str,
        x: Float[np.ndarray, "batch tokens dim"],
        kept: Bool[np.ndarray, "batch tokens"],
    ) -> Float[np.ndarray, "batch tokens dim"]:
        parts = (self._split(self._linear(f"{name}.{part}", x)) for part in _ATTENTION)
        query, key, value = parts
        scores = query @ key.swapaxes(-1, -2) / np.sqrt(np.float32(query.shape[-1]))
        scores = np.where(kept[:, None, None, :], scores, -np.inf)
        seen = (softmax(scores) @ value).swapaxes(1, 2).reshape(x.shape)
        return self._linear(f"{name}.out", seen)

    def _mlp(
        self, name: str, x: Float[np.ndarray, "batch tokens dim"]
    ) -> Float[np.ndarray, "batch tokens dim"]:
        active = ACTIVATIONS[self.config["activation"]](self._linear(f"{name}.up", x))
        return self._linear(f"{name}.down", active)

    def _split(
        self, x: Float[np.ndarray, "batch tokens dim"]
    ) -> Float[np.ndarray, "batch heads tokens head_dim"]:
        return x.reshape(*x.shape[:2], self.config["heads"], -1).swapaxes(1, 2)

    def _linear(self, name: str, x: Float[np.ndarray, "... dim"]) -> Float[np.ndarray, "... out"]:
        y = x @ self.weights[f"{name}.weight"].T
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y

    def _norm(self, name: str, x: Float[np.ndarray, "... dim"]) -> Float[np.ndarray, "... dim"]:
        centred = x - x.mean(axis=-1, keepdims=True)
        eps = np.float32(self.config["norm_eps"])
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
        return centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


class MeanTextTower(NumpyTower):
    """`seesay.models.mean_text.MeanTextEncoder`."""

    def __call__(self, ids: Int[np.ndarray, "batch tokens"]) -> Float[np.ndarray, "batch embed"]:
        ids, kept = self._kept(ids)
        kept[:, 0] |= ~kept.any(axis=1)
        tokens = self.weights.rows("text.token_embed.weight", ids)
        x = self._norm("text.norm_in", tokens + self.weights["text.positions"][: ids.shape[1]])
        for layer in range(self.config["depth"]):
            block = f"text.blocks.{layer}"
            x = x + self._attention(f"{block}.attention", self._norm(f"{block}.norm1", x), kept)
            x = x + self._mlp(f"{block}.mlp", self._norm(f"{block}.norm2", x))
        x = self._norm("text.norm_out", x)
        importance = np.where(kept, (x @ self.weights["text.importance.weight"].T)[..., 0], -np.inf)
        return self._projected((x * softmax(importance)[..., None]).sum(axis=1))


class BertTower(NumpyTower):
    """`seesay.models.bert.Bert` whose vector is the mean of its tokens."""

    def __call__(self, ids: Int[np.ndarray, "batch tokens"]) -> Float[np.ndarray, "batch embed"]:
        x, kept = self.features(ids)
        mean = (x * kept[..., None]).sum(axis=1) / kept.sum(axis=1, keepdims=True)
        return self._projected(mean.astype(np.float32))

    def features(
        self, ids: Int[np.ndarray, "batch tokens"]
    ) -> tuple[Float[np.ndarray, "batch fewer dim"], Bool[np.ndarray, "batch fewer"]]:
        """Returns the vector of each token, without columns of padding alone, and which tokens are
        not padding."""
        ids, kept = self._kept(ids)
        first = self.config["first_position"]
        positions = self.weights["text.positions"][first : first + ids.shape[1]]
        tokens = self.weights.rows("text.token_embed.weight", ids)
        x = self._norm("text.norm_in", tokens + self.weights["text.types"][0] + positions)
        for layer in range(self.config["depth"]):
            block = f"text.blocks.{layer}"
            x = self._norm(f"{block}.norm1", x + self._attention(f"{block}.attention", x, kept))
            x = self._norm(f"{block}.norm2", x + self._mlp(f"{block}.mlp", x))
        return x, kept


TOWERS: dict[str, type[NumpyTower]] = {"mean_text": MeanTextTower, "bert": BertTower}
"""Towers by their name in seesay.json."""

_ATTENTION = ("query", "key", "value")


def _of_equal_length(
    ids: Int[np.ndarray, "windows tokens"], pad_id: int
) -> Iterator[Int[np.ndarray, " some"]]:
    lengths = (ids != pad_id).sum(axis=1)
    for length in sorted(set(lengths.tolist())):  # np.unique imports numpy.ma: 20 ms
        same = np.flatnonzero(lengths == length)
        yield from np.array_split(same, -(-len(same) // ROWS))


def _unit(x: Float[np.ndarray, "batch embed"]) -> Float[np.ndarray, "batch embed"]:
    return (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)).astype(np.float32)
