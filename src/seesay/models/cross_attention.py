"""Attention of one sequence to another, and poolings of patches that use it."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seesay.models.layers import BlockConfig, Mlp


class CrossAttention(nn.Module):
    """Multi-head attention of the tokens of one sequence to those of another, of any width."""

    def __init__(self, dim: int, heads: int, other_dim: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(other_dim or dim, dim)
        self.value = nn.Linear(other_dim or dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        others: Float[Tensor, "batch others other_dim"],
        mask: Bool[Tensor, "batch 1 1 others"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """`mask` is true where the other sequence may be attended to."""
        q, k, v = self._split(self.query(x)), self._split(self.key(others)), self.value(others)
        y = F.scaled_dot_product_attention(q, k, self._split(v), attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))

    def _split(
        self, x: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class AttentionPool(nn.Module):
    """SigLIP's head: one learned query attends to every patch (big_vision, vit.py MAPHead)."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(0.02 * torch.randn(1, 1, config.dim))
        self.attention = CrossAttention(config.dim, config.heads)
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = Mlp(config)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        mask: Bool[Tensor, "batch 1 1 tokens"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        y = self.attention(self.probe.expand(len(x), 1, -1), x, mask)
        return (y + self.mlp(self.norm(y)))[:, 0]


class QueryPool(nn.Module):
    """CoCa's attentional pooler: several learned queries, each of which attends to every patch (Yu
    et al. 2022, arXiv 2205.01917, section 3.2)."""

    def __init__(self, config: BlockConfig, queries: int, patch_dim: int) -> None:
        super().__init__()
        c = config
        self.queries = nn.Parameter(torch.randn(queries, c.dim))
        self.norm_queries = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.norm_patches = nn.LayerNorm(patch_dim, eps=c.norm_eps)
        self.attention = CrossAttention(c.dim, c.heads, patch_dim)

    def forward(
        self, x: Float[Tensor, "batch tokens patch_dim"]
    ) -> Float[Tensor, "batch queries dim"]:
        queries = self.norm_queries(self.queries).expand(len(x), -1, -1)
        return self.attention(queries, self.norm_patches(x))
