"""A small text tower: the vector of a text is a weighted mean of its tokens.

With no layers it is a bag of words, which learns fast from little data. The layers add to that;
before training they add nothing.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.layers import Block, BlockConfig, require_range
from seesay.text import Text

GROUP = 64  # texts of about equal length that go through the layers together


@dataclass(frozen=True, kw_only=True)
class MeanTextConfig:
    """The defaults are seesay-mini's."""

    vocab_size: int = 8192
    """Number of different tokens."""
    context: int = 32
    """Most tokens in one text."""
    dim: int = 256
    """Width of the token vectors."""
    depth: int = 2
    """Number of transformer layers; 0 leaves a bag of words."""
    heads: int = 4
    """Attention heads; they share `dim` equally."""
    hidden: int = 1024
    """Width inside the MLPs."""
    activation: str = "gelu"
    """Non-linearity of the MLPs."""
    norm_eps: float = 1e-5
    """Added to the variance in LayerNorm."""
    dropout: float = 0.0
    """Share of the numbers dropped from token vectors and from the text's vector in training."""
    word_dropout: float = 0.0
    """Share of the tokens left out of a text in training, but never all of them."""
    pad_id: int = 0
    """The token that pads a text after its end; nothing attends to it."""

    def __post_init__(self) -> None:
        require_range(1, vocab_size=self.vocab_size, context=self.context)
        require_range(0, depth=self.depth)
        require_range(0, self.vocab_size - 1, pad_id=self.pad_id)
        _ = self.block  # checks the rest
        for name in ("dropout", "word_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    Text(
                        f"{name}={getattr(self, name)} leaves nothing to learn from: set it to at "
                        "least 0 and below 1",
                        f"{name}={getattr(self, name)} 学不到任何东西：请设为不小于 0、小于 1 的数",
                    )
                )

    @property
    def output_dim(self) -> int:
        """Width of the text's vector."""
        return self.dim

    @property
    def block(self) -> BlockConfig:
        return BlockConfig(
            dim=self.dim,
            heads=self.heads,
            hidden=self.hidden,
            activation=self.activation,
            norm_eps=self.norm_eps,
        )


class MeanTextEncoder(nn.Module):
    """Token ids -> one vector for the text."""

    def __init__(self, config: MeanTextConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.token_embed = nn.Embedding(c.vocab_size, c.dim)
        nn.init.normal_(self.token_embed.weight, std=0.02)
        self.positions = nn.Parameter(0.002 * torch.randn(c.context, c.dim))
        # Scales the words to match the layers' output, which would swamp them otherwise.
        self.norm_in = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.blocks = nn.ModuleList(Block(c.block) for _ in range(c.depth))
        self.norm_out = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.importance = nn.Linear(c.dim, 1, bias=False)
        blocks: list[Any] = list(self.blocks)
        ends = [end for block in blocks for end in (block.attention.out, block.mlp.down)]
        for layer in (self.importance, *ends):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch dim"]:
        # Captions differ in length: among texts of similar length little is padded.
        order = (ids != self.config.pad_id).sum(dim=1).argsort(stable=True)
        vectors = [self._embed(self.trim(part)) for part in ids[order].split(GROUP)]
        return torch.cat(vectors)[order.argsort()]

    def trim(self, ids: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch fewer"]:
        """The ids without the columns that are padding in every row; no result depends on them."""
        used = (ids != self.config.pad_id).any(dim=0).nonzero()
        return ids[:, : int(used.max()) + 1] if len(used) else ids[:, :1]

    def features(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dim"]:
        """Returns the vector of each token, which a fusion takes."""
        return self._tokens(ids, self._kept(ids))

    def _tokens(
        self, ids: Int[Tensor, "batch tokens"], kept: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens dim"]:
        x = self.norm_in(self.token_embed(ids) + self.positions[: ids.shape[1]])
        x = F.dropout(x, self.config.dropout, self.training)
        for block in self.blocks:
            x = block(x, mask=kept[:, None, None, :])
        return self.norm_out(x)

    def _embed(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch dim"]:
        kept = self._kept(ids)
        x = self._tokens(ids, kept)
        weights = self.importance(x).masked_fill(~kept[..., None], -torch.inf).softmax(dim=1)
        return F.dropout((x * weights).sum(dim=1), self.config.dropout, self.training)

    def _kept(self, ids: Int[Tensor, "batch tokens"]) -> Tensor:
        """Returns which tokens count. In an empty text the first padding does, so that the length
        of its neighbours does not matter."""
        words = ids != self.config.pad_id
        if self.training and self.config.word_dropout:
            fewer = words & (torch.rand(ids.shape, device=ids.device) >= self.config.word_dropout)
            words = torch.where(fewer.any(dim=1, keepdim=True), fewer, words)
        first = torch.zeros_like(words)
        first[:, 0] = True
        return words | (first & ~words.any(dim=1, keepdim=True))
