"""BERT, the text tower of Chinese-CLIP and Taiyi-CLIP (RoBERTa-wwm weights, BERT's shape)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seesay.models.layers import Block, BlockConfig
from seesay.models.ranges import require_at_least, require_token


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The defaults are RoBERTa-wwm-ext-base, the text half of Chinese-CLIP ViT-B/16."""

    vocab_size: int = 21128
    """Number of word pieces."""
    context: int = 512
    """Most tokens in one text, the marks at its ends included."""
    dim: int = 768
    """Width of the token vectors."""
    depth: int = 12
    """Number of transformer layers."""
    heads: int = 12
    """Attention heads; they share `dim` equally."""
    hidden: int = 3072
    """Width inside the MLPs."""
    activation: str = "gelu"
    """Non-linearity of the MLPs."""
    norm_eps: float = 1e-12
    """What LayerNorm adds to the variance."""
    token_types: int = 2
    """Rows of the table of sentence kinds; every token here is of kind 0."""
    pool: Literal["first", "pooler"] = "first"
    """The text's vector: its first token (Chinese-CLIP), or that through dense + tanh (Taiyi)."""
    pad_id: int = 0
    """The token that fills the place after a text's end; nothing looks at it."""

    def __post_init__(self) -> None:
        sizes = {"vocab_size": self.vocab_size, "context": self.context, "depth": self.depth}
        require_at_least(1, **sizes, token_types=self.token_types)
        require_token("pad_id", self.pad_id, self.vocab_size)
        _ = self.block  # which checks the rest

    @property
    def output_dim(self) -> int:
        """Width of the vector that stands for the text."""
        return self.dim

    @property
    def block(self) -> BlockConfig:
        return BlockConfig(
            dim=self.dim,
            heads=self.heads,
            hidden=self.hidden,
            activation=self.activation,
            norm_eps=self.norm_eps,
            post_norm=True,
        )


class Bert(nn.Module):
    """Token ids -> one vector for the text."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.token_embed = nn.Embedding(c.vocab_size, c.dim)
        self.positions = nn.Parameter(0.02 * torch.randn(c.context, c.dim))
        self.types = nn.Parameter(0.02 * torch.randn(c.token_types, c.dim))
        self.norm_in = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.blocks = nn.ModuleList(Block(c.block) for _ in range(c.depth))
        self.pooler = nn.Linear(c.dim, c.dim) if c.pool == "pooler" else None

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch dim"]:
        x = self.token_embed(ids) + self.types[0] + self.positions[: ids.shape[1]]
        x = self.norm_in(x)
        mask = (ids != self.config.pad_id)[:, None, None, :]
        for block in self.blocks[:-1]:
            x = block(x, mask=mask)
        first = self.blocks[-1](x, mask=mask, first=1)[:, 0]
        return first if self.pooler is None else self.pooler(first).tanh()

    def trim(self, ids: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch fewer"]:
        """The ids without the columns that are padding in every row; no result depends on them."""
        used = (ids != self.config.pad_id).any(dim=0).nonzero()
        return ids[:, : int(used.max()) + 1] if len(used) else ids[:, :1]
