"""Flamingo: a language model that attends to pictures between its layers, without image tokens in
its input (Alayrac et al. 2022, arXiv 2204.14198; as OpenFlamingo publishes it, arXiv 2308.01390).

    latents = model.see(pixels)                    # once for each picture
    hidden = model(ids, latents, cache=cache)      # a token <image> for each picture
    logits = model.logits(hidden[:, -1:])
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.models.cache import KeyValueCache
from seesay.models.connectors import Perceiver, PerceiverConfig
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.layers import conflict
from seesay.models.vit import Vit, VitConfig


@dataclass(frozen=True, kw_only=True)
class FlamingoConfig:
    """An image tower, a resampler and a language model with gated blocks."""

    tower: VitConfig
    """The image tower; the resampler reads its patches without the class token."""
    resampler: PerceiverConfig
    """Reduces the patches to a few latents."""
    decoder: DecoderConfig
    """The language model; its `cross` configures the gated blocks."""
    image_ids: tuple[int, ...]
    """The token that stands for a picture."""

    def __post_init__(self) -> None:
        if self.decoder.cross is None:
            raise conflict(
                "decoder.cross=None and a tower",
                "gated blocks: set decoder.cross",
                "门控注意力块：请设置 decoder.cross",
            )
        widths = self.tower.dim, self.resampler.dim, self.decoder.cross.media_dim
        if len(set(widths)) > 1:
            raise conflict(
                "tower.dim={}, resampler.dim={} and decoder.cross.media_dim={}".format(*widths),
                "the same width: change them",
                "相同的宽度：请修改",
            )


class Flamingo(nn.Module):
    """Pictures and text -> the language model's hidden states."""

    def __init__(self, config: FlamingoConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.tower = Vit(c.tower)
        self.resampler = Perceiver(c.resampler)
        self.decoder = Decoder(c.decoder)

    def see(
        self, pixels: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images latents media_dim"]:
        """Returns the latents of each picture, which the gated blocks read."""
        patches = self.tower.features(pixels)
        return self.resampler(patches[:, 1:] if self.config.tower.has_class_token else patches)

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        latents: Float[Tensor, "images latents media_dim"] | None = None,
        positions: Int[Tensor, "batch tokens"] | None = None,
        cache: KeyValueCache | None = None,
        mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Returns the hidden states. `latents` are those of all pictures of these tokens, row by
        row; the rest is as in Decoder.forward. Raises ConfigError if the numbers of pictures and
        image tokens differ."""
        is_image = torch.isin(ids, torch.tensor(self.config.image_ids, device=ids.device))
        media = self.decoder.media(is_image, latents, cache)
        return self.decoder(self.decoder.embed(ids), positions, cache, mask, media)

    def logits(
        self, hidden: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch tokens vocab"]:
        """Returns the logits of the next token at each position."""
        return self.decoder.logits(hidden)
