"""Decoder-only language models, told apart by their config: Llama and Vicuna, Qwen2 and 2.5, Qwen3,
InternLM2, Mistral, OPT, MPT and GPT-NeoX.

    decoder = Decoder(DecoderConfig(vocab_size=32000, dim=2048, depth=22))
    hidden = decoder(decoder.embed(ids))        # hidden states
    logits = decoder.logits(hidden[:, -1:])     # of the next token

A row's result does not depend on the other rows, on padding on either side, or on how its tokens
are split into calls.
"""

from dataclasses import dataclass, field
from math import ceil, log2
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.cache import KeyValueCache, LayerCache
from seesay.models.cross_attention import (
    GatedCrossBlock,
    GatedCrossConfig,
    Media,
    latest_images,
)
from seesay.models.layers import (
    FeedForward,
    conflict,
    require_activation,
    require_finite,
    require_range,
)
from seesay.models.rope import Angles, RopeConfig, rope_angles, rotate_halves
from seesay.text import Text

LEARNED_OFFSET = 2
"""OPT's position table starts with two unused rows (fairseq counted from its padding token)."""


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The defaults are those of Llama 2 7B and Vicuna 1.5 7B."""

    vocab_size: int = 32000
    """Number of different tokens."""
    context: int = 4096
    """Longest text the model was trained for, in tokens, pictures included."""
    dim: int = 4096
    """Width of the token vectors."""
    depth: int = 32
    """Number of transformer layers."""
    heads: int = 32
    """Attention heads."""
    key_heads: int = 32
    """Key and value heads; each serves heads / key_heads query heads."""
    head_dim: int = 128
    """Width of a head."""
    hidden: int = 11008
    """Width inside the MLPs."""
    activation: str = "silu"
    """Non-linearity of the MLPs; a key of ACTIVATIONS."""
    gated: bool = True
    """Whether the MLPs are gated: one projection scales another."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm or LayerNorm."""
    norm_eps: float = 1e-5
    """Added to the variance in norms."""
    norm_bias: bool = True
    """Whether LayerNorms have biases (MPT: no)."""
    input_bias: bool = False
    """Whether queries, keys and values have biases."""
    output_bias: bool = False
    """Whether the output projection of attention has a bias."""
    mlp_bias: bool = False
    """Whether the projections of the MLPs have biases."""
    query_key_norm: bool = False
    """RMSNorm on each head's queries and keys before rotation (Qwen3)."""
    joint_query_key_norm: bool = False
    """LayerNorm over the queries of all heads together, and over the keys (MPT-1B)."""
    positions: Literal["rope", "learned", "alibi"] = "rope"
    """Rotary embeddings, a learned table (OPT), or a distance penalty (MPT)."""
    rope: RopeConfig = field(default_factory=RopeConfig)
    """Rotary positions."""
    parallel: bool = False
    """Whether attention and MLP read the same input (GPT-NeoX)."""
    tied: bool = False
    """Whether the output head shares its weights with the token embeddings."""
    cross: GatedCrossConfig | None = None
    """Gated cross-attention to pictures (Flamingo)."""

    def __post_init__(self) -> None:
        require_range(1, vocab_size=self.vocab_size, context=self.context, dim=self.dim)
        require_range(1, depth=self.depth, heads=self.heads, key_heads=self.key_heads)
        require_range(1, head_dim=self.head_dim, hidden=self.hidden)
        require_finite(above=0.0, norm_eps=self.norm_eps)
        require_activation(self.activation)
        if self.heads % self.key_heads:
            raise conflict(
                f"heads={self.heads} and key_heads={self.key_heads}",
                "a number of key_heads that divides heads: choose one",
                "能整除 heads 的 key_heads：请选一个",
            )
        if self.query_key_norm and self.joint_query_key_norm:
            raise conflict(
                "query_key_norm=True and joint_query_key_norm=True",
                "one of the two: leave the other out",
                "两者之一：请去掉另一项",
            )
        if self.positions == "rope":
            self.rope.check(self.head_dim)


class LayerMask(NamedTuple):
    """What the tokens of a call may attend to in a layer: a mask or a bias on the scores, or
    everything before them if `causal`."""

    scores: Tensor | None
    causal: bool


class Step(NamedTuple):
    """What every layer needs to know about the tokens of a call."""

    angles: Angles | None
    real: Bool[Tensor, "batch tokens"] | None
    media: Media | None
    groups: Int[Tensor, "batch tokens"] | None = None


class DecoderAttention(nn.Module):
    """Causal self-attention with grouped keys and values (arXiv 2305.13245)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        c = config
        self.head_dim = c.head_dim
        self.grouped = c.heads != c.key_heads
        self.query = nn.Linear(c.dim, c.heads * c.head_dim, bias=c.input_bias)
        self.key = nn.Linear(c.dim, c.key_heads * c.head_dim, bias=c.input_bias)
        self.value = nn.Linear(c.dim, c.key_heads * c.head_dim, bias=c.input_bias)
        self.out = nn.Linear(c.heads * c.head_dim, c.dim, bias=c.output_bias)
        self.joint = c.joint_query_key_norm
        self.query_norm: nn.Module = nn.Identity()
        self.key_norm: nn.Module = nn.Identity()
        if c.joint_query_key_norm:
            self.query_norm = _joint_norm(c, c.heads)
            self.key_norm = _joint_norm(c, c.key_heads)
        if c.query_key_norm:
            self.query_norm = nn.RMSNorm(c.head_dim, eps=c.norm_eps)
            self.key_norm = nn.RMSNorm(c.head_dim, eps=c.norm_eps)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        angles: Angles | None,
        mask: LayerMask,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        q, k, v = self.queries(x, angles), self.keys(x, angles), self._split(self.value(x))
        if cache is not None:
            k, v = cache.append(k, v)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask.scores, is_causal=mask.causal, enable_gqa=self.grouped
        )
        return self.out(y.transpose(1, 2).flatten(2))

    def queries(
        self, x: Float[Tensor, "batch tokens dim"], angles: Angles | None
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        q = self._normed(self.query(x), self.query_norm)
        return q if angles is None else rotate_halves(q, angles)

    def keys(
        self, x: Float[Tensor, "batch tokens dim"], angles: Angles | None
    ) -> Float[Tensor, "batch key_heads tokens head_dim"]:
        k = self._normed(self.key(x), self.key_norm)
        return k if angles is None else rotate_halves(k, angles)

    def _normed(
        self, x: Float[Tensor, "batch tokens dim"], norm: nn.Module
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        return self._split(norm(x)) if self.joint else norm(self._split(x))

    def _split(
        self, x: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class DecoderBlock(nn.Module):
    """One layer: attention and an MLP, both residual, after optional cross-attention to a
    picture."""

    def __init__(self, config: DecoderConfig, index: int) -> None:
        super().__init__()
        c = config
        self.parallel = c.parallel
        self.cross: GatedCrossBlock | None = None
        if c.cross is not None and c.cross.before(index):
            self.cross = GatedCrossBlock(c.cross, c.dim)
        self.norm1 = _norm(c)
        self.attention = DecoderAttention(c)
        self.norm2 = _norm(c)
        self.mlp = FeedForward(c.dim, c.hidden, c.activation, gated=c.gated, bias=c.mlp_bias)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        step: Step,
        mask: LayerMask,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        if self.cross is not None and step.media is not None:
            x = self.cross(x, step.media, cache)
        y = x + self.attention(self.norm1(x), step.angles, mask, cache)
        return y + self.mlp(self.norm2(x if self.parallel else y))


class Decoder(nn.Module):
    """Token vectors -> hidden states."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.token_embed = nn.Embedding(c.vocab_size, c.dim)
        if c.positions == "learned":
            self.positions = nn.Embedding(c.context + LEARNED_OFFSET, c.dim)
        self.blocks = nn.ModuleList(DecoderBlock(c, index) for index in range(c.depth))
        crossed = [at for at, block in enumerate(self.blocks) if block.cross is not None]
        self._first_crossed = crossed[0] if crossed else 0
        self.norm_out = _norm(c)
        self.head: nn.Module | None = None
        if not c.tied:
            self.head = nn.Linear(c.dim, c.vocab_size, bias=False)

    def embed(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dim"]:
        """Returns the token embeddings; a caller may overwrite some with image features."""
        return self.token_embed(ids)

    def media(
        self,
        is_image: Bool[Tensor, "batch tokens"],
        latents: Float[Tensor, "images latents media_dim"] | None,
        cache: KeyValueCache | None = None,
    ) -> Media | None:
        """Returns what gated blocks read of the pictures of these tokens, given row by row; none if
        there are none. Raises ConfigError if the numbers of pictures and image tokens differ."""
        counts = is_image.sum(1).tolist()
        given = 0 if latents is None else len(latents)
        if sum(counts) != given:
            raise ConfigError(
                Text(
                    f"the prompt has {sum(counts)} image tokens, but {given} pictures were "
                    "given; expected equal numbers. Put one image token in the prompt per picture",
                    f"提示里有 {sum(counts)} 个图片词元，却给了 {given} 张图片；两者应相等。"
                    "请为每张图片放一个图片词元",
                )
            )
        if latents is None:
            return None
        features = latents.new_zeros(len(counts), max(1, *counts), *latents.shape[1:])
        places = is_image.nonzero()[:, 0], (is_image.cumsum(1) - 1)[is_image]
        features = features.index_put(places, latents)
        before = None if cache is None else cache.latest_image
        images = 0 if cache is None else cache.layer(self._first_crossed).images
        return Media(features, latest_images(is_image, before, images))

    def forward(
        self,
        embeds: Float[Tensor, "batch tokens dim"],
        positions: Int[Tensor, "*axes batch tokens"] | None = None,
        cache: KeyValueCache | None = None,
        mask: Bool[Tensor, "batch tokens"] | None = None,
        media: Media | None = None,
        groups: Int[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Returns the hidden states after the last norm. They are meaningless at padding.

        `cache` holds the tokens of earlier calls; those of this call are added to it. `mask` is
        true for tokens of this call that are not padding; without it, none are. `positions` default
        to a count of each row's tokens, padding excluded; multimodal ones have time, row and column
        as an extra first axis. `media` are pictures for gated cross-attention; without them, text
        keeps attending to those of earlier calls. `groups` packs several texts with a common
        beginning into a row without a cache: a token attends to its own group and to group 0.
        """
        x, step = self.begin(embeds, positions, cache, mask, media)
        step = step._replace(groups=groups)
        return self.norm_out(self.run(x, step, cache, range(self.config.depth)))

    def begin(
        self,
        embeds: Float[Tensor, "batch tokens dim"],
        positions: Int[Tensor, "*axes batch tokens"] | None,
        cache: KeyValueCache | None,
        mask: Bool[Tensor, "batch tokens"] | None,
        media: Media | None,
    ) -> tuple[Float[Tensor, "batch tokens dim"], Step]:
        """Returns the input of the first layer and what all layers share. For callers that work
        between layers: `forward` is this, `run` over all layers, and the last norm."""
        c = self.config
        real = None if mask is None or bool(mask.all()) else mask
        if positions is None and c.positions != "alibi":
            positions = _count(embeds, real, cache)
        angles = None
        if positions is not None and c.positions == "rope":
            angles = rope_angles(c.rope, positions, c.head_dim, embeds.dtype)
        if positions is not None and c.positions == "learned":
            embeds = embeds + self.positions(positions + LEARNED_OFFSET)
        if c.cross is not None:
            media = _current_media(embeds, media, cache)
        return embeds, Step(angles, real, media)

    def run(
        self,
        x: Float[Tensor, "batch tokens dim"],
        step: Step,
        cache: KeyValueCache | None,
        layers: range,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Runs `x` through these layers and returns the output of the last."""
        mask, known = LayerMask(None, True), None
        for index in layers:
            layer = None if cache is None else cache.layer(index)
            past = (0, None) if layer is None else (layer.length, layer.real)
            if known is None or past[0] != known[0] or past[1] is not known[1]:
                real = _joined(past, step.real, x)
                mask, known = self.mask(x, past[0], real, step.groups), past
            if layer is not None:
                layer.real = real
            x = self.blocks[index](x, step, mask, layer)
        return x

    def mask(
        self,
        x: Float[Tensor, "batch tokens dim"],
        before: int,
        real: Bool[Tensor, "batch keys"] | None,
        groups: Int[Tensor, "batch tokens"] | None = None,
    ) -> LayerMask:
        """Returns what tokens that follow `before` others may attend to. Builds a mask only when
        one is needed: attention is twice as fast without it."""
        tokens = x.shape[1]
        keys = before + tokens
        alibi = self.config.positions == "alibi"
        plain = real is None and groups is None and not alibi
        if plain and (before == 0 or tokens == 1):
            return LayerMask(None, before == 0 and tokens > 1)
        places = torch.arange(keys, device=x.device)
        own = places[before:, None]
        allowed = (places <= own)[None]
        if real is not None:
            # A token always attends to itself, so that no row of scores is empty.
            allowed = allowed & real[:, None] | (places == own)
        if groups is not None:
            allowed = allowed & ((groups == 0)[:, None] | (groups[:, None] == groups[:, :, None]))
        if not alibi:
            return LayerMask(allowed[:, None], False)
        counted = (places + 1)[None] if real is None else real.cumsum(1)
        distance = counted[:, before:, None] - counted[:, None]
        bias = -alibi_slopes(self.config.heads, x.device)[:, None, None] * distance[:, None]
        return LayerMask(bias.masked_fill(~allowed[:, None], -torch.inf).to(x.dtype), False)

    def logits(
        self, hidden: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch tokens vocab"]:
        """Returns the logits of the next token at each position."""
        if self.head is None:
            return F.linear(hidden, self.token_embed.weight)
        return self.head(hidden)


def alibi_slopes(heads: int, device: torch.device) -> Float[Tensor, " heads"]:
    """Returns each head's penalty per token of distance: a geometric series that ends at 2^-8. If
    the number of heads is not a power of two, every second slope of the next power comes first
    (arXiv 2108.12409; llm-foundry, attention.py, gen_slopes)."""
    power = 2 ** ceil(log2(heads))
    slopes = 2.0 ** -(torch.arange(1, power + 1, device=device) * (8 / power))
    if power != heads:
        slopes = torch.cat([slopes[1::2], slopes[::2]])[:heads]
    return slopes


def _norm(c: DecoderConfig) -> nn.Module:
    if c.norm == "rms":
        return nn.RMSNorm(c.dim, eps=c.norm_eps)
    return nn.LayerNorm(c.dim, eps=c.norm_eps, bias=c.norm_bias)


def _joint_norm(c: DecoderConfig, heads: int) -> nn.Module:
    return nn.LayerNorm(heads * c.head_dim, eps=c.norm_eps, bias=c.norm_bias)


def _count(
    embeds: Float[Tensor, "batch tokens dim"],
    real: Bool[Tensor, "batch tokens"] | None,
    cache: KeyValueCache | None,
) -> Int[Tensor, "batch tokens"]:
    """Returns positions that count each row's tokens, padding excluded."""
    batch, tokens, _ = embeds.shape
    if real is None:
        counted = torch.arange(tokens, device=embeds.device).expand(batch, -1)
    else:
        counted = (real.cumsum(1) - 1).clamp(min=0)
    return (
        counted if cache is None else counted + cache.tokens_before(batch, embeds.device)[:, None]
    )


def _current_media(
    embeds: Float[Tensor, "batch tokens dim"], media: Media | None, cache: KeyValueCache | None
) -> Media:
    """Returns the pictures of a call, or those of the last call if none are given."""
    batch, tokens, _ = embeds.shape
    if media is None:
        latest = None if cache is None else cache.latest_image
        if latest is None:
            latest = torch.zeros(batch, dtype=torch.long, device=embeds.device)
        media = Media(None, latest[:, None].expand(-1, tokens))
    if cache is not None:
        cache.latest_image = media.latest[:, -1]
    return media


def _joined(
    past: tuple[int, Tensor | None],
    real: Bool[Tensor, "batch tokens"] | None,
    x: Float[Tensor, "batch tokens dim"],
) -> Bool[Tensor, "batch keys"] | None:
    """Returns which past and new tokens are not padding, or None if none are padding."""
    length, before = past
    if before is None and real is None:
        return None
    batch, tokens, _ = x.shape
    if before is None:
        before = torch.ones(batch, length, dtype=torch.bool, device=x.device)
    if real is None:
        real = torch.ones(batch, tokens, dtype=torch.bool, device=x.device)
    return torch.cat([before, real], dim=1)
