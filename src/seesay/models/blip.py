"""BLIP: a text model that attends to an image, as the encoder of a matcher or as a captioner.

Li et al. 2022 (arXiv 2201.12086), section 3.1. All its parts are one BERT with attention to the
image in every layer: with bidirectional attention it judges whether a text fits an image, with
causal attention it continues the text.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.layers import ACTIVATIONS, BlockConfig, conflict, require_range
from seesay.models.qformer import GroundedBlock, QFormerConfig
from seesay.models.vit import Vit, VitConfig
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class GroundedTextConfig:
    """The defaults are those of BLIP's base models."""

    vocab_size: int = 30524
    """Number of word pieces: BERT's, one token that starts a caption and one that starts a text to
    match."""
    context: int = 512
    """Longest text, in tokens."""
    dim: int = 768
    """Width of the token vectors."""
    depth: int = 12
    """Number of layers; each attends to the text, then to the image."""
    heads: int = 12
    """Attention heads; they share `dim` equally."""
    hidden: int = 3072
    """Width inside the MLPs."""
    activation: str = "gelu"
    """Non-linearity of the MLPs."""
    norm_eps: float = 1e-12
    """Added to the variance in LayerNorm."""

    def __post_init__(self) -> None:
        require_range(1, vocab_size=self.vocab_size, context=self.context, depth=self.depth)
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


class GroundedText(nn.Module):
    """Token ids and image patches -> a vector for each token that depends on both."""

    def __init__(self, config: GroundedTextConfig, image_dim: int) -> None:
        super().__init__()
        c = config
        self.config = config
        self.token_embed = nn.Embedding(c.vocab_size, c.dim)
        self.positions = nn.Parameter(0.02 * torch.randn(c.context, c.dim))
        self.norm_in = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.blocks = nn.ModuleList(GroundedBlock(c.block, image_dim) for _ in range(c.depth))

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        patches: Float[Tensor, "batch patches image_dim"] | None,
        real: Bool[Tensor, "batch tokens"] | None = None,
        *,
        causal: bool = False,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Without patches, the text is read alone. `real` is true for tokens that are not padding;
        with `causal`, a token attends to itself and earlier ones.

        Raises ConfigError for texts longer than `context`.
        """
        tokens = ids.shape[1]
        if tokens > self.config.context:
            raise ConfigError(
                Text(
                    f"a text has {tokens} tokens, expected at most context={self.config.context}: "
                    "shorten it",
                    f"文本有 {tokens} 个词元；最多应为 context={self.config.context}：请缩短",
                )
            )
        mask = _mask(ids, real, causal)
        x = self.norm_in(self.token_embed(ids) + self.positions[:tokens])
        for block in self.blocks:
            x = block(x, tokens, patches, mask)
        return x


def _mask(
    ids: Int[Tensor, "batch tokens"], real: Bool[Tensor, "batch tokens"] | None, causal: bool
) -> Bool[Tensor, "batch 1 tokens tokens"] | None:
    if real is None and not causal:
        return None
    batch, tokens = ids.shape
    mask = ids.new_ones(batch, 1, tokens, tokens, dtype=torch.bool)
    mask = mask.tril() if causal else mask
    return mask if real is None else mask & real[:, None, None, :]


class WordHead(nn.Module):
    """BERT's head: token vectors -> logits over the vocabulary, by its embeddings."""

    def __init__(self, config: GroundedTextConfig | QFormerConfig) -> None:
        super().__init__()
        c = config
        assert c.vocab_size is not None  # a Q-Former without a text branch writes nothing
        self.map = nn.Linear(c.dim, c.dim)
        self.activation = ACTIVATIONS[c.activation]
        self.norm = nn.LayerNorm(c.dim, eps=c.norm_eps)
        self.bias = nn.Parameter(torch.zeros(c.vocab_size))

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], words: Float[Tensor, "vocab dim"]
    ) -> Float[Tensor, "batch tokens vocab"]:
        return F.linear(self.norm(self.activation(self.map(x))), words, self.bias)


def _blip_tower() -> VitConfig:
    """ViT-B/16 with all tokens passed through the last norm."""
    return VitConfig(
        image_size=384,
        pool="none",
        activation="gelu",
        patch_bias=True,
        pre_norm=False,
        feature_norm=True,
    )


@dataclass(frozen=True, kw_only=True)
class BlipConfig:
    """The defaults are those of BLIP's base models."""

    image: VitConfig = field(default_factory=_blip_tower)
    """The image tower; the text attends to its patches and its class token."""
    text: GroundedTextConfig = field(default_factory=GroundedTextConfig)
    """The text model."""
    embed_dim: int | None = None
    """Width of the space in which a matcher compares images and texts; none: a captioner."""

    def __post_init__(self) -> None:
        if self.embed_dim is not None:
            require_range(1, embed_dim=self.embed_dim)
        if not self.image.has_class_token:
            raise conflict(
                f"image.pool={self.image.pool!r} and image.class_token={self.image.class_token}",
                "a class token, which stands for the image: change them",
                "代表整张图片的类别词元：请修改",
            )


class BlipCaptioner(nn.Module):
    """Images and their captions so far -> logits of the next token."""

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        self.config = config
        self.image = Vit(config.image)
        self.text = GroundedText(config.text, config.image.dim)
        self.head = WordHead(config.text)

    def patches(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Returns what captions attend to: the class token and the patches of each image."""
        return self.image.features(images)

    def forward(
        self,
        patches: Float[Tensor, "batch patches image_dim"],
        ids: Int[Tensor, "batch tokens"],
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens vocab"]:
        """Returns the logits of the next token at each position of each caption, which starts with
        the caption token."""
        x = self.text(ids, patches, real, causal=True)
        return self.head(x, self.text.token_embed.weight)


class BlipMatcher(nn.Module):
    """Images and texts -> unit vectors in one space, and whether a text fits an image."""

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        self.config = config
        if config.embed_dim is None:
            raise ConfigError(
                Text(
                    "a matcher was built with embed_dim=None, expected the width of the space in "
                    "which it compares images and texts: set it, to 256 as published",
                    "建立匹配模型时 embed_dim=None；应为比较图片和文本的空间维度："
                    "请设置，公开模型用 256",
                )
            )
        self.image = Vit(config.image)
        self.text = GroundedText(config.text, config.image.dim)
        self.image_proj = nn.Linear(config.image.dim, config.embed_dim)
        self.text_proj = nn.Linear(config.text.dim, config.embed_dim)
        self.match = nn.Linear(config.text.dim, 2)

    def patches(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Returns what texts attend to: the class token and the patches of each image."""
        return self.image.features(images)

    def embed_images(
        self, patches: Float[Tensor, "batch patches image_dim"]
    ) -> Float[Tensor, "batch embed"]:
        return F.normalize(self.image_proj(patches[:, 0]), dim=-1)

    def embed_texts(
        self, ids: Int[Tensor, "batch tokens"], real: Bool[Tensor, "batch tokens"] | None = None
    ) -> Float[Tensor, "batch embed"]:
        """Embeds texts without an image; each starts with [CLS]."""
        return F.normalize(self.text_proj(self.text(ids, None, real)[:, 0]), dim=-1)

    def forward(
        self,
        patches: Float[Tensor, "batch patches image_dim"],
        ids: Int[Tensor, "batch tokens"],
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch 2"]:
        """Returns the logits of "does not match" and "matches" for each image and its text, which
        starts with [ENC]."""
        return self.match(self.text(ids, patches, real)[:, 0])
