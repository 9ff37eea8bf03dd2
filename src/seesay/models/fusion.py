"""Three ways to combine an image and a text, as classifiers over the same towers.

    early   one sequence of both from the first layer on (VisualBERT, ViLT)
    late    one vector each, combined by their product (CLIP)
    cross   text tokens attend to the patches in every layer (ViLBERT, Flamingo)

Late fusion is cheap, since vectors can be stored and compared, but a vector must hold everything
that any text might ask about. `FUSIONS` maps a name to its class.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seesay.models.layers import Block, BlockConfig, CrossAttention, require_range


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """A classifier of pairs of an image and a text."""

    image_dim: int
    """Width of the image tower's patches."""
    text_dim: int
    """Width of the text tower's tokens."""
    classes: int = 2
    """Number of classes."""
    dim: int = 64
    """Width of the token vectors, and of late fusion's image and text vectors."""
    depth: int = 2
    """Number of layers; late fusion has this many for each tower."""
    heads: int = 4
    """Attention heads; they share `dim` equally."""
    hidden: int = 128
    """Width inside the MLPs."""

    def __post_init__(self) -> None:
        sizes = {"image_dim": self.image_dim, "text_dim": self.text_dim}
        require_range(1, **sizes, classes=self.classes, depth=self.depth)
        _ = self.block  # checks the rest

    @property
    def block(self) -> BlockConfig:
        return BlockConfig(dim=self.dim, heads=self.heads, hidden=self.hidden)


class EarlyFusion(nn.Module):
    """Self-attention over [class token | patches | tokens]."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.image_proj, self.text_proj = (
            nn.Linear(c.image_dim, c.dim),
            nn.Linear(c.text_dim, c.dim),
        )
        self.cls_token = nn.Parameter(0.02 * torch.randn(c.dim))
        self.blocks = nn.ModuleList(Block(c.block) for _ in range(c.depth))
        self.head = nn.Sequential(nn.LayerNorm(c.dim), nn.Linear(c.dim, c.classes))

    def forward(
        self,
        patches: Float[Tensor, "batch patches image_dim"],
        tokens: Float[Tensor, "batch tokens text_dim"],
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """`real` is true for tokens that are not padding; None means no padding."""
        x = _with_class_token(
            self.cls_token, torch.cat([self.image_proj(patches), self.text_proj(tokens)], dim=1)
        )
        mask = _mask(real, 1 + patches.shape[1])
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.head(x[:, 0])


class LateFusion(nn.Module):
    """An independent vector for each of the two, and their product."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.image_proj, self.text_proj = (
            nn.Linear(c.image_dim, c.dim),
            nn.Linear(c.text_dim, c.dim),
        )
        self.image_cls = nn.Parameter(0.02 * torch.randn(c.dim))
        self.text_cls = nn.Parameter(0.02 * torch.randn(c.dim))
        self.image_blocks = nn.ModuleList(Block(c.block) for _ in range(c.depth))
        self.text_blocks = nn.ModuleList(Block(c.block) for _ in range(c.depth))
        self.head = nn.Linear(c.dim, c.classes)

    def embed_images(
        self, patches: Float[Tensor, "batch patches image_dim"]
    ) -> Float[Tensor, "batch dim"]:
        x = _with_class_token(self.image_cls, self.image_proj(patches))
        for block in self.image_blocks:
            x = block(x)
        return x[:, 0]

    def embed_texts(
        self,
        tokens: Float[Tensor, "batch tokens text_dim"],
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        x, mask = _with_class_token(self.text_cls, self.text_proj(tokens)), _mask(real, 1)
        for block in self.text_blocks:
            x = block(x, mask=mask)
        return x[:, 0]

    def forward(
        self,
        patches: Float[Tensor, "batch patches image_dim"],
        tokens: Float[Tensor, "batch tokens text_dim"],
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """`real` is true for tokens that are not padding; None means no padding."""
        return self.head(self.embed_images(patches) * self.embed_texts(tokens, real))


class CrossFusion(nn.Module):
    """Self-attention over [class token | tokens]; before each layer they attend to the patches
    through a gate that opens in training."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.text_proj = nn.Linear(c.text_dim, c.dim)
        self.cls_token = nn.Parameter(0.02 * torch.randn(c.dim))
        self.norms = nn.ModuleList(nn.LayerNorm(c.dim) for _ in range(c.depth))
        self.crosses = nn.ModuleList(
            CrossAttention(c.dim, c.heads, c.image_dim) for _ in range(c.depth)
        )
        self.gates = nn.Parameter(torch.zeros(c.depth))
        self.blocks = nn.ModuleList(Block(c.block) for _ in range(c.depth))
        self.head = nn.Sequential(nn.LayerNorm(c.dim), nn.Linear(c.dim, c.classes))

    def forward(
        self,
        patches: Float[Tensor, "batch patches image_dim"],
        tokens: Float[Tensor, "batch tokens text_dim"],
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """`real` is true for tokens that are not padding; None means no padding."""
        x, mask = _with_class_token(self.cls_token, self.text_proj(tokens)), _mask(real, 1)
        layers = zip(self.norms, self.crosses, self.gates, self.blocks, strict=True)
        for norm, cross, gate, block in layers:
            x = block(x + gate.tanh() * cross(norm(x), patches), mask=mask)
        return self.head(x[:, 0])


FUSIONS: dict[str, type[EarlyFusion | LateFusion | CrossFusion]] = {
    "early": EarlyFusion,
    "late": LateFusion,
    "cross": CrossFusion,
}


def _with_class_token(
    token: Float[Tensor, " dim"], x: Float[Tensor, "batch rows dim"]
) -> Float[Tensor, "batch more dim"]:
    return torch.cat([token.expand(len(x), 1, -1), x], dim=1)


def _mask(
    real: Bool[Tensor, "batch tokens"] | None, before: int
) -> Bool[Tensor, "batch 1 1 keys"] | None:
    """Returns what may be attended to if `before` others precede the text."""
    if real is None:
        return None
    return torch.cat([real.new_ones(len(real), before), real], dim=1)[:, None, None]
