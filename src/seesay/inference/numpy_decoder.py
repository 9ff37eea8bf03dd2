"""A Llama-style decoder in numpy, to write an answer without loading torch.

    decoder = NumpyDecoder(weights, config)
    cache = decoder.cache(tokens)
    logits = decoder(decoder.embed(ids), cache)      # of the token after the prompt
    logits = decoder(decoder.embed([next_id]), cache)

It is `seesay.models.decoder.Decoder` for one text at a time, with rotary positions, RMSNorm, gated
MLPs and an output that shares the token embeddings.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from seesay.inference.numpy_layers import ACTIVATIONS, StoredWeights, softmax

SUPPORTED: dict[str, Any] = {
    "gated": True,
    "norm": "rms",
    "norm_bias": True,
    "input_bias": False,
    "output_bias": False,
    "mlp_bias": False,
    "query_key_norm": False,
    "joint_query_key_norm": False,
    "positions": "rope",
    "parallel": False,
    "tied": True,
    "cross": None,
}
"""Settings that have to be so (norm_bias is for LayerNorms)."""
SIZES = ("vocab_size", "context", "dim", "depth", "heads", "key_heads", "head_dim", "hidden")
PLAIN_ROPE = {"fraction": 1.0, "scaling": "none", "factor": 1.0, "sections": None}


def runs(config: Mapping[str, Any]) -> bool:
    """Whether this is a decoder that numpy runs; `config` is its part of seesay.json."""
    known = {*SUPPORTED, *SIZES, "activation", "norm_eps", "rope"}
    return (
        config.keys() == known
        and all(config[name] == value for name, value in SUPPORTED.items())
        and all(config["rope"][name] == value for name, value in PLAIN_ROPE.items())
        and min(config[name] for name in SIZES) >= 1
        and config["heads"] % config["key_heads"] == config["head_dim"] % 2 == 0
        and config["activation"] in ACTIVATIONS
    )


def decoder_shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the tensors of a decoder: name and shape."""
    dim, hidden, head = config["dim"], config["hidden"], config["head_dim"]
    queries, keys = config["heads"] * head, config["key_heads"] * head
    yield "decoder.token_embed.weight", (config["vocab_size"], dim)
    yield "decoder.norm_out.weight", (dim,)
    shapes = {
        "norm1": (dim,),
        "norm2": (dim,),
        "attention.query": (queries, dim),
        "attention.key": (keys, dim),
        "attention.value": (keys, dim),
        "attention.out": (dim, queries),
        "mlp.gate": (hidden, dim),
        "mlp.up": (hidden, dim),
        "mlp.down": (dim, hidden),
    }
    for layer in range(config["depth"]):
        for name, shape in shapes.items():
            yield f"decoder.blocks.{layer}.{name}.weight", shape


class _Layer(NamedTuple):
    """Matrices that read the same input are one."""

    norm1: Float[np.ndarray, " dim"]
    attention: Float[np.ndarray, "queries_keys_values dim"]
    out: Float[np.ndarray, "dim queries"]
    norm2: Float[np.ndarray, " dim"]
    gate_and_up: Float[np.ndarray, "twice dim"]
    down: Float[np.ndarray, "dim hidden"]


class NumpyCache:
    """The keys and values of the tokens so far, with room for as many as it was made for."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape`: layers, keys and values, heads, tokens, head_dim."""
        self.values = np.empty(shape, np.float32)
        self.length = 0

    def copy(self) -> "NumpyCache":
        """Returns the same, to continue in another way."""
        other = NumpyCache(self.values.shape)
        other.values[..., : self.length, :] = self.values[..., : self.length, :]
        other.length = self.length
        return other


class NumpyDecoder:
    """Token vectors -> logits of the next token. The weights are read when they are first used, and
    kept."""

    def __init__(self, weights: StoredWeights, config: Mapping[str, Any]) -> None:
        """`config` is the decoder's part of seesay.json."""
        self._weights, self._config = weights, config
        self._eps = np.float32(config["norm_eps"])
        self._activation = ACTIVATIONS[config["activation"]]
        exponents = np.arange(0, config["head_dim"], 2, dtype=np.float32) / config["head_dim"]
        self._frequencies = (1 / np.float32(config["rope"]["theta"]) ** exponents)[None]

    @cached_property
    def _tokens(self) -> Float[np.ndarray, "vocab dim"]:
        return self._weights["decoder.token_embed.weight"]

    @cached_property
    def _layers(self) -> tuple[_Layer, ...]:
        return tuple(self._layer(index) for index in range(self._config["depth"]))

    def _layer(self, index: int) -> _Layer:
        def read(*names: str) -> Float[np.ndarray, "..."]:
            parts = [self._weights[f"decoder.blocks.{index}.{name}.weight"] for name in names]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        return _Layer(
            read("norm1"),
            read("attention.query", "attention.key", "attention.value"),
            read("attention.out"),
            read("norm2"),
            read("mlp.gate", "mlp.up"),
            read("mlp.down"),
        )

    def cache(self, tokens: int) -> NumpyCache:
        """Returns an empty cache for a text of at most this many tokens."""
        c = self._config
        return NumpyCache((c["depth"], 2, c["key_heads"], tokens, c["head_dim"]))

    def embed(self, ids: Sequence[int]) -> Float[np.ndarray, "tokens dim"]:
        """Returns the token embeddings; a caller may overwrite some with rows of a picture."""
        return self._tokens[list(ids)]

    def __call__(
        self, x: Float[np.ndarray, "tokens dim"], cache: NumpyCache
    ) -> Float[np.ndarray, " vocab"]:
        """Returns the logits of the token that follows these, and adds them to the cache."""
        places = np.arange(cache.length, cache.length + len(x), dtype=np.float32)
        angles = places[:, None] * self._frequencies
        cos_sin = np.cos(angles), np.sin(angles)
        for layer, known in zip(self._layers, cache.values, strict=True):
            inside = self._norm(x, layer.norm1) @ layer.attention.T
            x = x + self._attention(inside, cos_sin, known, cache.length) @ layer.out.T
            inside = self._norm(x, layer.norm2) @ layer.gate_and_up.T
            middle = inside.shape[1] // 2
            active = self._activation(inside[:, :middle]) * inside[:, middle:]
            x = x + active @ layer.down.T
        cache.length += len(x)
        last = self._norm(x[-1:], self._weights["decoder.norm_out.weight"])
        return (last @ self._tokens.T)[0]

    def _attention(
        self,
        inside: Float[np.ndarray, "tokens queries_keys_values"],
        cos_sin: tuple[Float[np.ndarray, "tokens angles"], Float[np.ndarray, "tokens angles"]],
        known: Float[np.ndarray, "2 key_heads room head_dim"],
        before: int,
    ) -> Float[np.ndarray, "tokens queries"]:
        """Causal attention to these tokens and to the `before` others whose keys and values are
        `known`."""
        c, tokens = self._config, len(inside)
        heads, groups, end = c["heads"], c["key_heads"], before + tokens
        split = inside.reshape(tokens, heads + 2 * groups, c["head_dim"]).swapaxes(0, 1)
        rotated = _rotated(split[:-groups], *cos_sin)
        known[0, :, before:end] = rotated[heads:]
        known[1, :, before:end] = split[-groups:]
        keys, values = known[:, :, None, :end]
        query = rotated[:heads].reshape(groups, heads // groups, tokens, c["head_dim"])
        scores = query @ keys.swapaxes(-1, -2) / np.sqrt(np.float32(c["head_dim"]))
        if tokens > 1:
            later = np.arange(end) > np.arange(before, end)[:, None]
            scores = np.where(later, -np.inf, scores)
        seen = (softmax(scores) @ values).reshape(heads, tokens, -1)
        return seen.swapaxes(0, 1).reshape(tokens, -1)

    def _norm(
        self, x: Float[np.ndarray, "tokens dim"], weight: Float[np.ndarray, " dim"]
    ) -> Float[np.ndarray, "tokens dim"]:
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self._eps) * weight


def _rotated(
    x: Float[np.ndarray, "heads tokens head_dim"],
    cos: Float[np.ndarray, "tokens angles"],
    sin: Float[np.ndarray, "tokens angles"],
) -> Float[np.ndarray, "heads tokens head_dim"]:
    """Rotates number i of the first half of a head with number i of the second, as
    `seesay.models.rope.rotate_halves` does."""
    middle = x.shape[-1] // 2
    first, second = x[..., :middle], x[..., middle:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
