"""Three ways to combine an image and a text, as classifiers over the same towers.

    early             one sequence of both from the first layer on (VisualBERT, ViLT)
    late              one vector each, combined by their product (CLIP)
    cross-attention   text tokens attend to the patches in every layer (ViLBERT, Flamingo)

Late fusion is cheap, since vectors can be stored and compared, but a vector must hold everything
that any text might ask about. `FUSIONS` maps a name to its class. `FusionClassifier` puts one of
them on the towers of a dual encoder, to answer questions by one of a list of answers.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.bert import BertConfig
from seesay.models.dual_encoder import IMAGE_TOWERS, TEXT_TOWERS
from seesay.models.layers import Block, BlockConfig, CrossAttention, conflict, require_range
from seesay.models.mean_text import MeanTextConfig
from seesay.models.mobilenet import MobileNetConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.models.vlm import patches_of
from seesay.text import Text


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
        self.image_proj, self.text_proj = _projections(c)
        self.cls_token = nn.Parameter(0.02 * torch.randn(c.dim))
        self.blocks = nn.ModuleList(Block(c.block) for _ in range(c.depth))
        self.head = nn.Sequential(nn.LayerNorm(c.dim), nn.Linear(c.dim, c.classes))

    def forward(
        self,
        patches: Float[Tensor, "images patches image_dim"],
        tokens: Float[Tensor, "batch tokens text_dim"],
        real: Bool[Tensor, "batch tokens"] | None = None,
        owners: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """`real` is true for tokens that are not padding; None means no padding. `owners` are the
        rows of the texts' images; None means one text for each image."""
        seen = _of_texts(self.image_proj(patches), owners)
        x = _with_class_token(self.cls_token, torch.cat([seen, self.text_proj(tokens)], dim=1))
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
        self.image_proj, self.text_proj = _projections(c)
        self.image_cls = nn.Parameter(0.02 * torch.randn(c.dim))
        self.text_cls = nn.Parameter(0.02 * torch.randn(c.dim))
        self.image_blocks = nn.ModuleList(Block(c.block) for _ in range(c.depth))
        self.text_blocks = nn.ModuleList(Block(c.block) for _ in range(c.depth))
        self.head = nn.Linear(c.dim, c.classes)

    def embed_images(
        self, patches: Float[Tensor, "images patches image_dim"]
    ) -> Float[Tensor, "images dim"]:
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
        patches: Float[Tensor, "images patches image_dim"],
        tokens: Float[Tensor, "batch tokens text_dim"],
        real: Bool[Tensor, "batch tokens"] | None = None,
        owners: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """As of EarlyFusion; an image that several texts are about is seen once."""
        images = _of_texts(self.embed_images(patches), owners)
        return self.head(images * self.embed_texts(tokens, real))


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
        patches: Float[Tensor, "images patches image_dim"],
        tokens: Float[Tensor, "batch tokens text_dim"],
        real: Bool[Tensor, "batch tokens"] | None = None,
        owners: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """As of EarlyFusion."""
        x, mask = _with_class_token(self.cls_token, self.text_proj(tokens)), _mask(real, 1)
        layers = zip(self.norms, self.crosses, self.gates, self.blocks, strict=True)
        for norm, cross, gate, block in layers:
            x = block(x + gate.tanh() * cross(norm(x), patches, owners=owners), mask=mask)
        return self.head(x[:, 0])


FUSIONS: dict[str, type[EarlyFusion | LateFusion | CrossFusion]] = {
    "early": EarlyFusion,
    "late": LateFusion,
    "cross-attention": CrossFusion,
}


def _projections(c: FusionConfig) -> tuple[nn.Linear, nn.Linear]:
    """To the common width, from that of the patches and from that of the tokens."""
    return nn.Linear(c.image_dim, c.dim), nn.Linear(c.text_dim, c.dim)


def _of_texts(
    images: Float[Tensor, "images *rest"], owners: Int[Tensor, " batch"] | None
) -> Float[Tensor, "batch *rest"]:
    return images if owners is None else images[owners]


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


# Over the towers of a dual encoder


@dataclass(frozen=True, kw_only=True)
class FusionClassifierConfig:
    """A fusion over two towers, whose classes are answers."""

    image: VitConfig | MobileNetConfig
    """The image tower."""
    text: TextConfig | BertConfig | MeanTextConfig
    """The text tower."""
    strategy: Literal["early", "late", "cross-attention"]
    """The fusion's name in `FUSIONS`."""
    fusion: FusionConfig
    """The sizes of the fusion."""
    answers: tuple[str, ...]
    """The answers that it can give."""

    def __post_init__(self) -> None:
        c = self.fusion
        found = (c.image_dim, c.text_dim, c.classes)
        expected = (self.image.dim, self.text.dim, len(self.answers))
        if found != expected:
            raise ConfigError(
                Text(
                    f"fusion has image_dim, text_dim and classes of {found}, its towers and "
                    f"answers {expected}: make them equal",
                    f"fusion 的 image_dim、text_dim 和 classes 为 {found}，两塔和答案则为 "
                    f"{expected}；请改成相同",
                )
            )
        text = self.text
        if isinstance(text, TextConfig):
            ends = text.pool == "eos" or text.pad_id is not None
            if not (ends and (text.causal or text.pad_mask)):
                raise conflict(
                    f"a fusion and a text tower with causal={text.causal}, "
                    f"pad_mask={text.pad_mask} and pad_id={text.pad_id}",
                    "one whose tokens do not attend to padding, as a causal one or a BERT: choose "
                    "another tower",
                    "词元不会注意到填充的文本塔，如因果的或 BERT：请换一个",
                )


class FusionClassifier(nn.Module):
    """An image and a question about it -> a logit for each answer."""

    def __init__(self, config: FusionClassifierConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.image: Any = IMAGE_TOWERS[type(c.image)](c.image)
        self.text: Any = TEXT_TOWERS[type(c.text)](c.text)
        self.fusion = FUSIONS[c.strategy](c.fusion)

    def patches(
        self, images: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images patches image_dim"]:
        """Returns the image tower's features."""
        return patches_of(self.image, images)

    def lengths(self, ids: Int[Tensor, "batch tokens"]) -> Int[Tensor, " batch"]:
        """Returns how many tokens of each text come before its padding."""
        text = self.config.text
        if isinstance(text, TextConfig) and text.pool == "eos":
            return (ids == text.eos_id).int().argmax(dim=1) + 1  # CLIP pads by the same token
        return ids.ne(text.pad_id or 0).sum(dim=1)

    def forward(
        self,
        patches: Float[Tensor, "images patches image_dim"],
        ids: Int[Tensor, "batch tokens"],
        owners: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """`owners` are the rows of the questions' images; None means one question for each."""
        lengths = self.lengths(ids)
        ids = ids[:, : int(lengths.max())] if len(ids) else ids[:, :1]
        real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        return self.fusion(patches, self.text.features(ids), real, owners)
