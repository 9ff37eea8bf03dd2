"""Flamingo's gated cross-attention: the decoder sees pictures without having them among its tokens.

A block before some of the layers lets each text token attend to the latest picture before it. Its
two gates, each the tanh of a learned number, start closed, so training starts from the unchanged
language model (Alayrac et al. 2022, arXiv 2204.14198; open_flamingo, helpers.py).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.models.cache import KeysValues, LayerCache
from seesay.models.layers import FeedForward, require_activation, require_finite, require_range


class Media(NamedTuple):
    """The new pictures of a decoder call, and which token attends to which picture."""

    features: Float[Tensor, "batch images latents media_dim"] | None
    """None if there are no new ones; rows with fewer pictures are padded at the end. Every picture
    has the same number of latents, in all calls."""
    latest: Int[Tensor, "batch tokens"]
    """For each token of the call, the number of the picture it attends to: its index over all
    calls, from 1, padding included; 0 for none."""


def latest_images(
    is_image: Bool[Tensor, "batch tokens"],
    before: Int[Tensor, " batch"] | None = None,
    images: int = 0,
) -> Int[Tensor, "batch tokens"]:
    """Returns the number of the latest picture at each token, given where the image tokens are.
    After earlier calls, `before` is each row's number so far, and `images` how many pictures the
    longest row has."""
    latest = is_image.cumsum(1)
    if before is None:
        return latest
    return torch.where(latest > 0, latest + images, before[:, None])


@dataclass(frozen=True, kw_only=True)
class GatedCrossConfig:
    """Gated blocks of a decoder. The defaults are OpenFlamingo 9B's."""

    every: int = 4
    """There is a block before every layer whose number, from 1, is a multiple of this."""
    media_dim: int = 1024
    """Width of the image tokens."""
    heads: int = 8
    """Attention heads."""
    head_dim: int = 64
    """Width of a head; heads * head_dim may be less than the text's width."""
    hidden: int = 16384
    """Width inside the MLP."""
    activation: str = "gelu"
    """Non-linearity of the MLP; a key of ACTIVATIONS."""
    gated_mlp: bool = False
    """Whether the MLP is gated: one projection scales another (Idefics, Llama 3.2)."""
    norm: Literal["layer", "rms"] = "layer"
    """LayerNorm (OpenFlamingo) or RMSNorm (Idefics, Llama 3.2)."""
    norm_eps: float = 1e-5
    """Added to the variance in norms."""
    query_key_norm: bool = False
    """RMSNorm on each head's queries and keys (Llama 3.2, some sizes of Idefics)."""
    gate_dim: int = 1
    """1, or the text's width for one gate per channel (some sizes of Idefics)."""

    def __post_init__(self) -> None:
        require_range(1, every=self.every, media_dim=self.media_dim, heads=self.heads)
        require_range(1, head_dim=self.head_dim, hidden=self.hidden, gate_dim=self.gate_dim)
        require_finite(above=0.0, norm_eps=self.norm_eps)
        require_activation(self.activation)

    def before(self, layer: int) -> bool:
        """Whether there is a block before this layer, counted from 0."""
        return (layer + 1) % self.every == 0


class MediaAttention(nn.Module):
    """Multi-head attention from each text token to the latest picture before it, without biases."""

    def __init__(self, config: GatedCrossConfig, dim: int) -> None:
        super().__init__()
        c = config
        width = c.heads * c.head_dim
        self.heads = c.heads
        self.query = nn.Linear(dim, width, bias=False)
        self.key = nn.Linear(c.media_dim, width, bias=False)
        self.value = nn.Linear(c.media_dim, width, bias=False)
        self.out = nn.Linear(width, dim, bias=False)
        norm = nn.RMSNorm if c.query_key_norm else nn.Identity
        self.query_norm = norm(c.head_dim, eps=c.norm_eps)
        self.key_norm = norm(c.head_dim, eps=c.norm_eps)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        latest: Int[Tensor, "batch tokens"],
        keys_values: KeysValues,
        images: int,
    ) -> Float[Tensor, "batch tokens dim"]:
        """The keys of all `images` pictures are concatenated."""
        keys, values = keys_values
        number = torch.arange(keys.shape[2], device=x.device) // (keys.shape[2] // images) + 1
        seen = latest[:, :, None] == number
        blind = latest == 0  # softmax rows must not be empty: attend to all, then zero the result
        q = self.query_norm(self._split(self.query(x)))
        mask = (seen | blind[..., None])[:, None]
        y = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        y = self.out(y.transpose(1, 2).flatten(2))
        return y.masked_fill(blind[..., None], 0.0)

    def keys_values(
        self, features: Float[Tensor, "batch images latents media_dim"] | None
    ) -> KeysValues | None:
        if features is None:
            return None
        flat = features.flatten(1, 2)
        return self.key_norm(self._split(self.key(flat))), self._split(self.value(flat))

    def _split(
        self, x: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class GatedCrossBlock(nn.Module):
    """Attention to a picture, then an MLP, both gated and residual."""

    def __init__(self, config: GatedCrossConfig, dim: int) -> None:
        super().__init__()
        c = config
        norm = nn.LayerNorm if c.norm == "layer" else nn.RMSNorm
        self.norm1 = norm(dim, eps=c.norm_eps)
        self.attention = MediaAttention(c, dim)
        self.gate1 = nn.Parameter(torch.zeros(c.gate_dim))
        self.norm2 = norm(dim, eps=c.norm_eps)
        self.mlp = FeedForward(dim, c.hidden, c.activation, gated=c.gated_mlp)
        self.gate2 = nn.Parameter(torch.zeros(c.gate_dim))

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        media: Media,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Tokens before the first picture skip the attention but not the MLP."""
        keys_values = self.attention.keys_values(media.features)
        images = 0 if media.features is None else media.features.shape[1]
        if cache is not None:
            cache.append_media(keys_values, images)
            keys_values, images = cache.media, cache.images
        if keys_values is not None and images:
            y = self.attention(self.norm1(x), media.latest, keys_values, images)
            x = x + self.gate1.tanh() * y
        return x + self.gate2.tanh() * self.mlp(self.norm2(x))
