"""BLIP-2's Q-Former: learned queries that read an image, with or without a text.

Li et al. 2023 (arXiv 2301.12597), section 3, as in LAVIS; InstructBLIP (arXiv 2305.06500) feeds it
the instruction as well. It is a BERT over [queries | text]: both share self-attention, every second
layer lets the queries attend to the image, and each has an MLP of its own.

    queries = qformer(patches)                                # BLIP-2
    queries = qformer(patches, instruction, real)[:, :32]     # InstructBLIP
    both = qformer(patches, caption, real, "captioning")      # in training
    text = qformer.write(qformer.look(patches), caption)      # its text, for several captions
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.layers import Attention, BlockConfig, CrossAttention, Mlp, require_range
from seesay.text import Text

Objective = Literal["contrastive", "matching", "captioning"]
"""What queries and text may see of each other: nothing; everything; or the text sees the queries
and its earlier tokens."""


@dataclass(frozen=True, kw_only=True)
class QFormerConfig:
    """The defaults are BLIP-2's, without its text branch."""

    queries: int = 32
    """Number of queries."""
    dim: int = 768
    """Width of the token vectors."""
    depth: int = 12
    """Number of layers."""
    heads: int = 12
    """Attention heads; they share `dim` equally."""
    hidden: int = 3072
    """Width inside the MLPs."""
    image_dim: int = 1408
    """Width of the patches."""
    cross_every: int = 2
    """The queries attend to the image in every how-many-th layer, starting with the first."""
    vocab_size: int | None = None
    """Number of word pieces; none: no text branch (BLIP-2 with a language model)."""
    context: int = 512
    """Longest text, in tokens."""
    activation: str = "gelu"
    """Non-linearity of the MLPs."""
    norm_eps: float = 1e-12
    """Added to the variance in LayerNorm."""

    def __post_init__(self) -> None:
        sizes = {"queries": self.queries, "depth": self.depth, "image_dim": self.image_dim}
        require_range(1, **sizes, cross_every=self.cross_every, context=self.context)
        if self.vocab_size is not None:
            require_range(1, vocab_size=self.vocab_size)
        _ = self.block  # checks the rest

    @property
    def block(self) -> BlockConfig:
        return BlockConfig(
            dim=self.dim,
            heads=self.heads,
            hidden=self.hidden,
            activation=self.activation,
            norm_eps=self.norm_eps,
        )

    def image_dim_of(self, layer: int) -> int | None:
        """Returns the width of the patches that a layer attends to, or None if it does not."""
        return None if layer % self.cross_every else self.image_dim


def query_text_mask(
    objective: Objective, queries: int, real: Bool[Tensor, "batch tokens"]
) -> Bool[Tensor, "batch 1 rows keys"]:
    """Returns which of [queries | text] (last axis) each of them may attend to.

    `real` is true for text tokens that are not padding; nothing attends to padding.
    """
    place = torch.arange(queries + real.shape[1], device=real.device)
    row, key = place[:, None], place[None, :]
    if objective == "contrastive":
        allowed = (row < queries) == (key < queries)
    elif objective == "matching":
        allowed = (row >= 0) & (key >= 0)
    else:
        allowed = (key < queries) | ((row >= queries) & (key <= row))
    seen = torch.cat([real.new_ones(len(real), queries), real], dim=1)
    return (allowed & seen[:, None, :])[:, None]


class GroundedBlock(nn.Module):
    """Self-attention, attention to an image, then an MLP, each followed by a LayerNorm.

    Only the queries, which come first, attend to the image; the text after them may have its own
    MLP. In BLIP's text model, every row attends to the image.
    """

    def __init__(self, config: BlockConfig, image_dim: int | None, *, text: bool = False) -> None:
        """`image_dim` is the width of the patches; none: the layer does not attend to the
        image."""
        super().__init__()
        c, grounded = config, image_dim is not None
        self.attention = Attention(c)
        self.norm1 = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.cross = CrossAttention(c.dim, c.heads, image_dim) if grounded else None
        self.norm_cross = nn.LayerNorm(c.dim, eps=c.norm_eps) if grounded else nn.Identity()
        self.mlp = Mlp(c)
        self.norm2 = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.mlp_text = Mlp(c) if text else None
        self.norm_text = nn.LayerNorm(c.dim, eps=c.norm_eps) if text else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "batch rows dim"],
        queries: int,
        patches: Float[Tensor, "batch patches image_dim"] | None,
        mask: Bool[Tensor, "batch 1 rows keys"] | None,
        behind: Float[Tensor, "batch others dim"] | None = None,
    ) -> Float[Tensor, "batch rows dim"]:
        """`behind` are rows that others attend to after their own, and that are not returned."""
        rows = x if behind is None else torch.cat([x, behind], dim=1)
        x = self.norm1(x + self.attention(rows, mask=mask, first=x.shape[1]))
        query, text = x[:, :queries], x[:, queries:]
        if self.cross is not None and patches is not None:
            query = self.norm_cross(query + self.cross(query, patches))
        query = self.norm2(query + self.mlp(query))
        if self.mlp_text is not None:
            text = self.norm_text(text + self.mlp_text(text))
        return torch.cat([query, text], dim=1)


class QFormer(nn.Module):
    """Image patches, and optionally a text -> queries that summarise the image."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.queries = nn.Parameter(0.02 * torch.randn(c.queries, c.dim))
        self.token_embed: nn.Embedding | None = None
        self.positions: nn.Parameter | None = None
        if c.vocab_size is not None:
            self.token_embed = nn.Embedding(c.vocab_size, c.dim)
            self.positions = nn.Parameter(0.02 * torch.randn(c.context, c.dim))
        self.norm_in = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.blocks = nn.ModuleList(
            GroundedBlock(c.block, c.image_dim_of(layer), text=c.vocab_size is not None)
            for layer in range(c.depth)
        )

    def forward(
        self,
        patches: Float[Tensor, "batch patches image_dim"],
        ids: Int[Tensor, "batch tokens"] | None = None,
        real: Bool[Tensor, "batch tokens"] | None = None,
        objective: Objective = "matching",
    ) -> Float[Tensor, "batch rows dim"]:
        """Returns the queries of each image, followed by the tokens of its text, if given.

        `real` is true for tokens that are not padding; None means no padding. Raises ConfigError
        for a text if there is no text branch, or if it is longer than `context`.
        """
        x, mask = self.queries.expand(len(patches), -1, -1), None
        if ids is not None:
            x = torch.cat([x, self._embed(ids)], dim=1)
            real = ids.new_ones(ids.shape, dtype=torch.bool) if real is None else real
            mask = query_text_mask(objective, self.config.queries, real)
        return self._run(x, self.config.queries, patches, mask)

    def read(
        self, ids: Int[Tensor, "batch tokens"], real: Bool[Tensor, "batch tokens"] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """Encodes texts alone, without queries or images."""
        mask = None if real is None else real[:, None, None, :].expand(-1, -1, ids.shape[1], -1)
        return self._run(self._embed(ids), 0, None, mask)

    def look(
        self, patches: Float[Tensor, "batch patches image_dim"]
    ) -> tuple[Float[Tensor, "batch queries dim"], ...]:
        """Returns the queries of each image before every layer, and last what `forward` returns."""
        states = [self.norm_in(self.queries.expand(len(patches), -1, -1))]
        for block in self.blocks:
            states.append(block(states[-1], self.config.queries, patches, None))
        return tuple(states)

    def write(
        self,
        states: tuple[Float[Tensor, "batch queries dim"], ...],
        ids: Int[Tensor, "batch tokens"],
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Returns the tokens of a text about each image as `forward` does for "captioning", from
        what `look` returned: queries do not see the text, so all texts of an image share them."""
        place = torch.arange(ids.shape[1], device=ids.device)
        seen = (place <= place[:, None]).expand(len(ids), 1, -1, -1)
        if real is not None:
            seen = seen & real[:, None, None, :]
        mask = F.pad(seen, (0, self.config.queries), value=True)
        x = self.norm_in(self._embed(ids))
        for block, queries in zip(self.blocks, states[:-1], strict=True):
            x = block(x, 0, None, mask, queries)
        return x

    def _embed(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dim"]:
        if self.token_embed is None or self.positions is None:
            raise ConfigError(
                Text(
                    "a text was given to a Q-Former with vocab_size=None, expected only an image: "
                    "leave the text out, or load a model whose Q-Former reads texts",
                    "给 vocab_size=None 的 Q-Former 输入了文本；应只有图片："
                    "请去掉文本，或加载 Q-Former 能读文本的模型",
                )
            )
        if ids.shape[1] > len(self.positions):
            raise ConfigError(
                Text(
                    f"a text has {ids.shape[1]} tokens, expected at most "
                    f"context={len(self.positions)}: shorten it",
                    f"文本有 {ids.shape[1]} 个词元；最多应为 context={len(self.positions)}：请缩短",
                )
            )
        return self.token_embed(ids) + self.positions[: ids.shape[1]]

    def _run(
        self,
        x: Float[Tensor, "batch rows dim"],
        queries: int,
        patches: Float[Tensor, "batch patches image_dim"] | None,
        mask: Bool[Tensor, "batch 1 rows keys"] | None,
    ) -> Float[Tensor, "batch rows dim"]:
        x = self.norm_in(x)
        for block in self.blocks:
            x = block(x, queries, patches, mask)
        return x
