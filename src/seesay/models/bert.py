"""BERT and RoBERTa: the text towers of Chinese-CLIP, Taiyi-CLIP, M-CLIP, AltCLIP, BiomedCLIP and
open_clip's XLM-R models."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.models.layers import Block, BlockConfig, require_range


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The defaults are RoBERTa-wwm-ext-base, the text half of Chinese-CLIP ViT-B/16."""

    vocab_size: int = 21128
    """Number of word pieces."""
    context: int = 512
    """Most tokens in one text, including its start and end tokens."""
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
    """Added to the variance in LayerNorm."""
    token_types: int = 2
    """Rows of the table of token types; every token here is of type 0."""
    pool: Literal["first", "pooler", "mean"] = "first"
    """The text's vector: its first token (Chinese-CLIP), the same after dense + tanh (Taiyi), or
    the mean of its tokens (open_clip's XLM-R, M-CLIP)."""
    first_position: int = 0
    """Row of the position table for the first token. RoBERTa's rows begin after `pad_id`; `context`
    does not count the rows before them."""
    mapped_dim: int | None = None
    """Width of a LayerNorm and linear map after the text's vector (AltCLIP); none: no such map."""
    pad_id: int = 0
    """The token that pads a text after its end; nothing attends to it."""

    def __post_init__(self) -> None:
        sizes = {"vocab_size": self.vocab_size, "context": self.context, "depth": self.depth}
        require_range(1, **sizes, token_types=self.token_types)
        require_range(0, first_position=self.first_position)
        require_range(1, mapped_dim=self.output_dim)
        require_range(0, self.vocab_size - 1, pad_id=self.pad_id)
        _ = self.block  # checks the rest

    @property
    def output_dim(self) -> int:
        """Width of the text's vector."""
        return self.dim if self.mapped_dim is None else self.mapped_dim

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
        self.positions = nn.Parameter(0.02 * torch.randn(c.first_position + c.context, c.dim))
        self.types = nn.Parameter(0.02 * torch.randn(c.token_types, c.dim))
        self.norm_in = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.blocks = nn.ModuleList(Block(c.block) for _ in range(c.depth))
        self.pooler = nn.Linear(c.dim, c.dim) if c.pool == "pooler" else None
        self.map: nn.Module | None = None
        if c.mapped_dim is not None:
            norm = nn.LayerNorm(c.dim, eps=c.norm_eps)
            self.map = nn.Sequential(norm, nn.Linear(c.dim, c.mapped_dim))

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch output_dim"]:
        return self.upper(self.lower(ids, 0), ids, 0)

    def lower(
        self, ids: Int[Tensor, "batch tokens"], count: int
    ) -> Float[Tensor, "batch tokens dim"]:
        """What the first `count` layers return, of all but the last."""
        positions = self.positions[self.config.first_position :][: ids.shape[1]]
        x = self.norm_in(self.token_embed(ids) + self.types[0] + positions)
        for block in self.blocks[:-1][:count]:
            x = block(x, mask=self._mask(ids))
        return x

    def upper(
        self, x: Float[Tensor, "batch tokens dim"], ids: Int[Tensor, "batch tokens"], count: int
    ) -> Float[Tensor, "batch output_dim"]:
        """The vectors of texts from what `lower` returned."""
        for block in self.blocks[:-1][count:]:
            x = block(x, mask=self._mask(ids))
        pooled = self._pooled(x, ids)
        return pooled if self.map is None else self.map(pooled)

    def features(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dim"]:
        """Returns the vector of each token, which a fusion takes."""
        return self.blocks[-1](self.lower(ids, self.config.depth), mask=self._mask(ids))

    def _mask(self, ids: Int[Tensor, "batch tokens"]) -> Bool[Tensor, "batch 1 1 tokens"]:
        return (ids != self.config.pad_id)[:, None, None, :]

    def _pooled(
        self, x: Float[Tensor, "batch tokens dim"], ids: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch dim"]:
        c, real, mask = self.config, ids != self.config.pad_id, self._mask(ids)
        if c.pool == "mean":
            x = self.blocks[-1](x, mask=mask) * real[..., None]
            return x.sum(dim=1) / real.sum(dim=1, keepdim=True)
        first = self.blocks[-1](x, mask=mask, first=1)[:, 0]
        return first if self.pooler is None else self.pooler(first).tanh()

    def trim(self, ids: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch fewer"]:
        """The ids without the columns that are padding in every row; no result depends on them."""
        used = (ids != self.config.pad_id).any(dim=0).nonzero()
        return ids[:, : int(used.max()) + 1] if len(used) else ids[:, :1]


class BertClassifier(nn.Module):
    """Token ids of two texts -> one logit for each label: how well the second answers the first
    (bge-reranker, one label), or whether it follows from it (entailment, three). The head is that
    of RoBERTa for classification."""

    def __init__(self, config: BertConfig, labels: int = 1) -> None:
        super().__init__()
        self.config = config
        self.text = Bert(config)
        self.dense = nn.Linear(config.dim, config.dim)
        self.out = nn.Linear(config.dim, labels)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch labels"]:
        return self.out(self.dense(self.text(ids)).tanh())
