"""Flan-T5: an encoder that reads the whole text and a decoder that attends to it.

    encoded = t5.encode(t5.embed(ids), mask)
    hidden = t5(t5.embed(begin), encoded, mask)     # `begin` starts with token 0
    logits = t5.logits(hidden[:, -1:])

Raffel et al. 2020 (arXiv 1910.10683), with the changes of T5 1.1 that Flan-T5 uses. There are no
position embeddings: attention has a learned bias per head and distance, with distances grouped into
buckets that widen as they grow.
"""

from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.models.cache import KeyValueCache, LayerCache
from seesay.models.layers import (
    FeedForward,
    conflict,
    require_activation,
    require_finite,
    require_range,
)


@dataclass(frozen=True, kw_only=True)
class T5Config:
    """The defaults are those of Flan-T5 XL."""

    vocab_size: int = 32128
    """Number of different tokens."""
    dim: int = 2048
    """Width of the token vectors."""
    depth: int = 24
    """Number of encoder layers."""
    decoder_depth: int = 24
    """Number of decoder layers."""
    heads: int = 32
    """Attention heads."""
    head_dim: int = 64
    """Width of a head; heads * head_dim may differ from `dim`."""
    hidden: int = 5120
    """Width inside the MLPs."""
    activation: str = "gelu_tanh"
    """Non-linearity of the MLPs; a key of ACTIVATIONS."""
    gated: bool = True
    """Whether the MLPs are gated: one projection scales another."""
    norm_eps: float = 1e-6
    """Added to the variance in RMSNorm."""
    buckets: int = 32
    """Distance buckets, each with its own bias; the encoder uses half for each direction."""
    farthest: int = 128
    """Distance from which everything falls into the last bucket."""
    tied: bool = False
    """Whether the output head shares its weights with the token embeddings."""
    scale_outputs: bool = False
    """Whether the input of the head is divided by the square root of `dim` (T5 1.0)."""

    def __post_init__(self) -> None:
        require_range(1, vocab_size=self.vocab_size, dim=self.dim, depth=self.depth)
        require_range(1, decoder_depth=self.decoder_depth, heads=self.heads, hidden=self.hidden)
        require_range(1, head_dim=self.head_dim)
        require_range(4, buckets=self.buckets)
        require_finite(above=0.0, norm_eps=self.norm_eps)
        require_activation(self.activation)
        if self.farthest <= self.buckets // 2:
            raise conflict(
                f"farthest={self.farthest} and buckets={self.buckets}",
                "a farthest distance above half of the buckets: raise it",
                "大于 buckets 一半的 farthest：请调大",
            )


class T5Attention(nn.Module):
    """Attention without biases in its projections and without scaling the scores."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        c = config
        width = c.heads * c.head_dim
        self.heads = c.heads
        self.query = nn.Linear(c.dim, width, bias=False)
        self.key = nn.Linear(c.dim, width, bias=False)
        self.value = nn.Linear(c.dim, width, bias=False)
        self.out = nn.Linear(width, c.dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        bias: Tensor | None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Attention among the tokens, and to those in the cache. `bias` is added to the scores."""
        keys_values = self.keys_values(x)
        if cache is not None:
            keys_values = cache.append(*keys_values)
        return self.attend(x, keys_values, bias)

    def attend(
        self,
        x: Float[Tensor, "batch tokens dim"],
        keys_values: tuple[Tensor, Tensor],
        mask: Tensor | None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Attention to these keys and values; `mask` is a bias, or true where attention is
        allowed."""
        q = self._split(self.query(x))
        y = F.scaled_dot_product_attention(q, *keys_values, attn_mask=mask, scale=1.0)
        return self.out(y.transpose(1, 2).flatten(2))

    def keys_values(self, x: Float[Tensor, "batch tokens dim"]) -> tuple[Tensor, Tensor]:
        return self._split(self.key(x)), self._split(self.value(x))

    def _split(
        self, x: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class T5Block(nn.Module):
    """Self-attention, cross-attention to the encoded text in the decoder, and an MLP, all
    residual."""

    def __init__(self, config: T5Config, *, decoder: bool) -> None:
        super().__init__()
        c = config
        self.norm1 = nn.RMSNorm(c.dim, eps=c.norm_eps)
        self.attention = T5Attention(c)
        if decoder:
            self.norm_cross = nn.RMSNorm(c.dim, eps=c.norm_eps)
            self.cross = T5Attention(c)
        self.norm2 = nn.RMSNorm(c.dim, eps=c.norm_eps)
        self.mlp = FeedForward(c.dim, c.hidden, c.activation, gated=c.gated)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        bias: Tensor | None,
        encoded: Float[Tensor, "batch read dim"] | None = None,
        encoded_mask: Bool[Tensor, "batch 1 1 read"] | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        x = x + self.attention(self.norm1(x), bias, cache)
        if encoded is not None:
            known = None if cache is None else cache.media
            keys_values = self.cross.keys_values(encoded) if known is None else known
            if cache is not None:
                cache.media = keys_values
            x = x + self.cross.attend(self.norm_cross(x), keys_values, encoded_mask)
        return x + self.mlp(self.norm2(x))


class T5Stack(nn.Module):
    """The layers of an encoder or a decoder, which share one table of distance biases."""

    def __init__(self, config: T5Config, depth: int, *, decoder: bool) -> None:
        super().__init__()
        self.config = config
        self.decoder = decoder
        self.distance_bias = nn.Embedding(config.buckets, config.heads)
        self.blocks = nn.ModuleList(T5Block(config, decoder=decoder) for _ in range(depth))
        self.norm_out = nn.RMSNorm(config.dim, eps=config.norm_eps)

    def bias(self, tokens: int, before: int) -> Float[Tensor, "1 heads tokens keys"]:
        """Returns the bias on the scores of tokens that follow `before` others."""
        c = self.config
        places = torch.arange(before + tokens, device=self.distance_bias.weight.device)
        distance = places[None] - places[before:, None]  # positive for later tokens
        buckets = distance_buckets(distance, c.buckets, c.farthest, both_ways=not self.decoder)
        bias = self.distance_bias(buckets).permute(2, 0, 1)[None]
        if self.decoder:
            bias = bias.masked_fill(distance > 0, -torch.inf)
        return bias


class T5(nn.Module):
    """An encoder for the text that is read, and a decoder for the text that is written."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        c = config
        self.config = c
        self.token_embed = nn.Embedding(c.vocab_size, c.dim)
        self.encoder = T5Stack(c, c.depth, decoder=False)
        self.decoder = T5Stack(c, c.decoder_depth, decoder=True)
        self.head = None if c.tied else nn.Linear(c.dim, c.vocab_size, bias=False)

    def embed(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dim"]:
        """Returns the token embeddings, which encoder and decoder share."""
        return self.token_embed(ids)

    def encode(
        self,
        embeds: Float[Tensor, "batch read dim"],
        mask: Bool[Tensor, "batch read"] | None = None,
    ) -> Float[Tensor, "batch read dim"]:
        """Returns the encoded text; `mask` is true for tokens that are not padding."""
        bias = self.encoder.bias(embeds.shape[1], 0)
        if mask is not None:
            bias = bias.masked_fill(~mask[:, None, None], -torch.inf)
        x = embeds
        for block in self.encoder.blocks:
            x = block(x, bias)
        return self.encoder.norm_out(x)

    def forward(
        self,
        embeds: Float[Tensor, "batch tokens dim"],
        encoded: Float[Tensor, "batch read dim"],
        mask: Bool[Tensor, "batch read"] | None = None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Returns the decoder's hidden states after its last norm.

        `mask` is that of the encoded text. `cache` holds the tokens of earlier calls for the same
        encoded text; those of this call are added to it.
        """
        bias = self.decoder.bias(embeds.shape[1], 0 if cache is None else cache.length)
        x, read = embeds, None if mask is None else mask[:, None, None]
        for index, block in enumerate(self.decoder.blocks):
            x = block(x, bias, encoded, read, None if cache is None else cache.layer(index))
        return self.decoder.norm_out(x)

    def logits(
        self, hidden: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch tokens vocab"]:
        """Returns the logits of the next token at each position."""
        if self.config.scale_outputs:
            hidden = hidden * self.config.dim**-0.5
        if self.head is None:
            return F.linear(hidden, self.token_embed.weight)
        return self.head(hidden)


def distance_buckets(
    distance: Int[Tensor, "tokens keys"], buckets: int, farthest: int, *, both_ways: bool
) -> Int[Tensor, "tokens keys"]:
    """Returns the bucket of each distance.

    Half of the buckets hold one distance each; the others cover the rest up to `farthest` on a
    logarithmic scale. With `both_ways`, later tokens get their own buckets; without, they fall into
    the first, since nothing attends to them.
    """
    first = torch.zeros_like(distance)
    if both_ways:
        buckets //= 2
        first, distance = (distance > 0) * buckets, distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    # In float32 and in this order, as the published models compute it: rounding matters.
    far = torch.log(distance.float() / exact) / log(farthest / exact) * (buckets - exact)
    far = (exact + far.clamp(min=0).to(torch.long)).clamp(max=buckets - 1)
    return first + torch.where(distance < exact, distance, far)
