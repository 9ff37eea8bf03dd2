"""CoCa's decoder: it continues from the text tower's tokens and attends to the image.

Yu et al. 2022 (arXiv 2205.01917), section 3.2, as in open_clip's models.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from seesay.models.layers import Block, BlockConfig, CrossAttention, Mlp, require_range


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig:
    """The defaults are those of CoCa's ViT-B/32. Its width is that of the text tower."""

    depth: int = 12
    """Number of layers; each attends to the text so far, then to the image."""
    heads: int = 8
    """Attention heads; they share the text tower's width equally."""
    hidden: int = 2048
    """Width inside the MLPs."""
    activation: str = "gelu"
    """Non-linearity of the MLPs."""
    norm_eps: float = 1e-5
    """Added to the variance in LayerNorm."""

    def __post_init__(self) -> None:
        require_range(1, depth=self.depth, heads=self.heads, hidden=self.hidden)
        _ = self.block(self.heads)  # checks the rest

    def block(self, dim: int) -> BlockConfig:
        """Returns the config of one layer, for a text tower of width `dim`."""
        return BlockConfig(
            dim=dim,
            heads=self.heads,
            hidden=self.hidden,
            activation=self.activation,
            norm_eps=self.norm_eps,
            causal=True,
        )


class ImageAttention(nn.Module):
    """Attention from a text to its image, then an MLP, both residual."""

    def __init__(self, config: BlockConfig, image_dim: int) -> None:
        super().__init__()
        c = config
        self.norm1 = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.norm_image = nn.LayerNorm(image_dim, eps=c.norm_eps)
        self.attention = CrossAttention(c.dim, c.heads, image_dim)
        self.norm2 = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.mlp = Mlp(c)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        image: Float[Tensor, "batch seen image_dim"],
    ) -> Float[Tensor, "batch tokens dim"]:
        x = x + self.attention(self.norm1(x), self.norm_image(image))
        return x + self.mlp(self.norm2(x))


class CaptionerBlock(nn.Module):
    """Attention to the text so far, then to the image."""

    def __init__(self, config: BlockConfig, image_dim: int) -> None:
        super().__init__()
        self.read = Block(config)
        self.look = ImageAttention(config, image_dim)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        image: Float[Tensor, "batch seen image_dim"],
    ) -> Float[Tensor, "batch tokens dim"]:
        return self.look(self.read(x), image)


class Captioner(nn.Module):
    """Tokens of a text and its image -> logits of the next token at each position."""

    def __init__(
        self, config: CaptionerConfig, *, dim: int, image_dim: int, vocab_size: int
    ) -> None:
        super().__init__()
        block = config.block(dim)
        self.blocks = nn.ModuleList(CaptionerBlock(block, image_dim) for _ in range(config.depth))
        self.norm_out = nn.LayerNorm(dim, eps=config.norm_eps)
        self.vocab = nn.Linear(dim, vocab_size, bias=False)

    def forward(
        self,
        texts: Float[Tensor, "batch tokens dim"],
        images: Float[Tensor, "batch seen image_dim"],
    ) -> Float[Tensor, "batch tokens vocab"]:
        for block in self.blocks:
            texts = block(texts, images)
        return self.vocab(self.norm_out(texts))
