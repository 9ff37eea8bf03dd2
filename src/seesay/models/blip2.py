"""BLIP-2 and InstructBLIP: an image tower, a Q-Former and a language model; and BLIP-2's matcher.

Li et al. 2023 (arXiv 2301.12597); Dai et al. 2023 (arXiv 2305.06500), whose Q-Former also reads the
instruction.

    seen = model.image_tokens(images, instruction)    # the instruction for InstructBLIP
    logits = model(seen, ids)                         # of each next token (OPT, Vicuna)
    logits = model(seen, ids, written=written)        # of each next written token (Flan-T5)
"""

from dataclasses import dataclass, field
from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.blip import WordHead
from seesay.models.cache import KeyValueCache
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.layers import conflict, require_finite, require_range
from seesay.models.mobilenet import MobileNet, MobileNetConfig
from seesay.models.qformer import QFormer, QFormerConfig
from seesay.models.t5 import T5, T5Config
from seesay.models.vit import Vit, VitConfig
from seesay.models.vlm import embed_with_rows, patches_of
from seesay.text import Text


def _eva_g() -> VitConfig:
    """EVA-CLIP's ViT-g/14 without its last layer."""
    return VitConfig(
        patch_size=14,
        pool="none",
        dim=1408,
        depth=39,
        heads=16,
        hidden=6144,
        activation="gelu",
        norm_eps=1e-6,
        patch_bias=True,
        pre_norm=False,
        feature_norm=True,
    )


@dataclass(frozen=True, kw_only=True)
class Blip2Config:
    """The defaults are those of BLIP-2's image side."""

    image: VitConfig = field(default_factory=_eva_g)
    """The image tower; the queries attend to its patches and its class token."""
    qformer: QFormerConfig = field(default_factory=QFormerConfig)
    """The Q-Former; InstructBLIP's reads texts (`vocab_size`)."""
    language: DecoderConfig | T5Config
    """The language model that reads the queries."""
    image_ids: tuple[int, ...] = ()
    """Placeholder tokens for the queries, in prompts that have them."""

    def __post_init__(self) -> None:
        _require_same_width(self.image, self.qformer)


@dataclass(frozen=True, kw_only=True)
class Blip2MatcherConfig:
    """BLIP-2 after its first stage: a Q-Former that compares images with texts. The defaults are
    those of the published ones."""

    image: VitConfig | MobileNetConfig = field(default_factory=_eva_g)
    """The image tower; the queries attend to its patches and its class token."""
    qformer: QFormerConfig = field(default_factory=lambda: QFormerConfig(vocab_size=30523))
    """The Q-Former, which reads texts."""
    embed_dim: int = 256
    """Width of the space in which images and texts are compared."""
    begin_id: int | None = None
    """The token that a caption is written after ([DEC]); none: it writes no captions."""
    scale_init: float | None = None
    """Initial factor of cosines in the contrastive loss; none: there is no such parameter, as in
    published files."""

    def __post_init__(self) -> None:
        require_range(1, embed_dim=self.embed_dim)
        _require_same_width(self.image, self.qformer)
        words = self.qformer.vocab_size
        if words is None:
            raise conflict(
                f"embed_dim={self.embed_dim} and qformer.vocab_size=None",
                "a Q-Former that reads texts: set qformer.vocab_size",
                "能读文本的 Q-Former：请设置 qformer.vocab_size",
            )
        if self.begin_id is not None:
            require_range(0, words - 1, begin_id=self.begin_id)
        if self.scale_init is not None:
            require_finite(above=0.0, scale_init=self.scale_init)


def _require_same_width(image: VitConfig | MobileNetConfig, qformer: QFormerConfig) -> None:
    if image.dim != qformer.image_dim:
        raise conflict(
            f"image.dim={image.dim} and qformer.image_dim={qformer.image_dim}",
            "the same width: change one of them",
            "相同的宽度：请修改其中之一",
        )


class Blip2(nn.Module):
    """Images, and a text about each -> logits of the next token."""

    def __init__(self, config: Blip2Config) -> None:
        super().__init__()
        c = config
        self.config = config
        self.image = Vit(c.image)
        self.qformer = QFormer(c.qformer)
        self.project = nn.Linear(c.qformer.dim, c.language.dim)
        self.language: Decoder | T5
        self.language = T5(c.language) if isinstance(c.language, T5Config) else Decoder(c.language)

    def patches(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Returns what the queries attend to: the class token and the patches of each image."""
        return self.image.features(images)

    def image_tokens(
        self,
        images: Float[Tensor, "batch 3 height width"],
        instruction: Int[Tensor, "batch tokens"] | None = None,
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch queries text_dim"]:
        """Returns the tokens that the language model reads for each image. InstructBLIP's Q-Former
        also reads the `instruction`, in BERT's word pieces; `real` is true where they are not
        padding."""
        return self.gather(self.patches(images), instruction, real)

    def gather(
        self,
        patches: Float[Tensor, "batch patches dim"],
        instruction: Int[Tensor, "batch tokens"] | None = None,
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch queries text_dim"]:
        """Returns the same, from patches."""
        queries = self.qformer(patches, instruction, real)
        return self.project(queries[:, : self.config.qformer.queries])

    @property
    def decoder(self) -> Decoder:
        """The language model if it is decoder-only (OPT, Vicuna)."""
        assert isinstance(self.language, Decoder)
        return self.language

    def embed(
        self,
        ids: Int[Tensor, "batch tokens"],
        rows: Float[Tensor, "rows text_dim"] | None,
    ) -> Float[Tensor, "batch tokens text_dim"]:
        """Returns the embeddings of prompts, with `rows`, the image's tokens, at their
        placeholders.

        Raises ConfigError if the numbers of placeholders and rows differ.
        """
        return embed_with_rows(self.language, ids, self.config.image_ids, rows)

    def read(
        self,
        ids: Int[Tensor, "batch tokens"],
        rows: Float[Tensor, "rows text_dim"] | None = None,
        positions: Int[Tensor, "batch tokens"] | None = None,
        cache: KeyValueCache | None = None,
        mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens text_dim"]:
        """Returns the hidden states of such prompts in OPT or Vicuna, as Decoder.forward does."""
        return self.decoder(self.embed(ids, rows), positions, cache, mask)

    def logits(
        self, hidden: Float[Tensor, "batch tokens text_dim"]
    ) -> Float[Tensor, "batch tokens vocab"]:
        """Returns the logits of the next token at each position."""
        return self.language.logits(hidden)

    def prompt(
        self,
        seen: Float[Tensor, "batch queries text_dim"],
        ids: Int[Tensor, "batch tokens"],
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> tuple[Float[Tensor, "batch rows text_dim"], Bool[Tensor, "batch rows"]]:
        """Returns the image's tokens followed by those of the text, and which are not padding. For
        OPT and Vicuna, the text starts with their own first token."""
        real = ids.new_ones(ids.shape, dtype=torch.bool) if real is None else real
        embeds = torch.cat([seen, self.language.embed(ids).to(seen.dtype)], dim=1)
        return embeds, torch.cat([real.new_ones(seen.shape[:2]), real], dim=1)

    def forward(
        self,
        seen: Float[Tensor, "batch queries text_dim"],
        ids: Int[Tensor, "batch tokens"],
        real: Bool[Tensor, "batch tokens"] | None = None,
        written: Int[Tensor, "batch answer"] | None = None,
    ) -> Float[Tensor, "batch places vocab"]:
        """Returns the logits of the next token at each position of the text; with T5, at each
        position of the `written` text, which starts with token 0.

        T5 counts distances, so its texts are padded on the right.
        """
        embeds, mask = self.prompt(seen, ids, real)
        if isinstance(self.language, T5):
            written = ids.new_zeros(len(ids), 1) if written is None else written
            encoded = self.language.encode(embeds, mask)
            hidden = self.language(self.language.embed(written), encoded, mask)
        else:
            hidden = self.language(embeds, mask=mask)[:, seen.shape[1] :]
        return self.language.logits(hidden)


class Blip2Matcher(nn.Module):
    """Images and texts -> unit vectors in one space, and whether a text fits an image; with
    `begin_id`, also logits of the next token of a caption."""

    def __init__(self, config: Blip2MatcherConfig) -> None:
        super().__init__()
        c = config
        self.config = config
        self.image: Vit | MobileNet
        self.image = Vit(c.image) if isinstance(c.image, VitConfig) else MobileNet(c.image)
        self.qformer = QFormer(c.qformer)
        self.image_proj = nn.Linear(c.qformer.dim, c.embed_dim)
        self.text_proj = nn.Linear(c.qformer.dim, c.embed_dim)
        self.match = nn.Linear(c.qformer.dim, 2)
        self.head = None if c.begin_id is None else WordHead(c.qformer)
        self.log_scale: nn.Parameter | None = None
        if c.scale_init is not None:
            self.log_scale = nn.Parameter(torch.tensor(log(c.scale_init)))

    def patches(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Returns what the queries attend to: the class token and the patches of each image."""
        return patches_of(self.image, images)

    def embed_images(
        self, patches: Float[Tensor, "batch patches dim"]
    ) -> Float[Tensor, "batch queries embed"]:
        """Returns one vector per query, so several per image."""
        return self.project_queries(self.qformer(patches))

    def project_queries(
        self, queries: Float[Tensor, "batch queries dim"]
    ) -> Float[Tensor, "batch queries embed"]:
        """Returns the same from the queries of each image."""
        return F.normalize(self.image_proj(queries), dim=-1)

    def embed_texts(
        self, ids: Int[Tensor, "batch tokens"], real: Bool[Tensor, "batch tokens"] | None = None
    ) -> Float[Tensor, "batch embed"]:
        """Embeds texts without an image; each starts with [CLS]."""
        return F.normalize(self.text_proj(self.qformer.read(ids, real)[:, 0]), dim=-1)

    def similarity(
        self,
        images: Float[Tensor, "images queries embed"],
        texts: Float[Tensor, "texts embed"],
    ) -> Float[Tensor, "images texts"]:
        """Returns the cosine of each text with the nearest query of each image."""
        return (images @ texts.T).amax(dim=1)

    def forward(
        self,
        patches: Float[Tensor, "batch patches dim"],
        ids: Int[Tensor, "batch tokens"],
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch 2"]:
        """Returns the logits of "does not match" and "matches" for each image and its text,
        averaged over the queries."""
        queries = self.qformer(patches, ids, real, "matching")[:, : self.config.qformer.queries]
        return self.match(queries).mean(dim=1)

    def caption_logits(
        self,
        states: tuple[Float[Tensor, "batch queries dim"], ...],
        ids: Int[Tensor, "batch tokens"],
        real: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens vocab"]:
        """Returns the logits of the token after each one of a caption, whose first is `begin_id`;
        `states` are those of `qformer.look`. Raises ConfigError if the model writes no captions."""
        if self.head is None or self.qformer.token_embed is None:
            raise ConfigError(
                Text(
                    "a caption was asked of a matcher with begin_id=None, expected one that writes "
                    "captions: train one with an objective of kind 'captioning'",
                    "要求 begin_id=None 的匹配模型写描述；应为会写描述的模型："
                    "请用 captioning 目标训练",
                )
            )
        return self.head(self.qformer.write(states, ids, real), self.qformer.token_embed.weight)
