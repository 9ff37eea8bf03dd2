"""The objective of CoCa's second half: to write each image's texts, token by token."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from seesay.data.tokenizers import Tokenizer
from seesay.errors import ConfigError
from seesay.objectives.captioning import caption_loss
from seesay.training.objectives import CAPTIONS, IMAGES, Batch, check_weight


@dataclass(frozen=True, kw_only=True)
class CaptioningConfig:
    """Each token of a text is told from the image and the tokens before it (CoCa, Yu et al. 2022).
    The model needs [model.architecture.captioner]."""

    source: str
    """Which section of [data] it learns from."""
    weight: float = 1.0
    """Factor in the sum of all objectives; CoCa has 2 beside a contrastive one of 1."""

    def __post_init__(self) -> None:
        check_weight(self.weight)


class Captioning:
    """All texts of an image stand in one row with it, so that a batch can be cut anywhere."""

    def __init__(self, config: CaptioningConfig, tokenizer: Tokenizer) -> None:
        """Raises ConfigError where nothing in the vocabulary could end a caption."""
        self._source, self._pad_id = config.source, tokenizer.config.pad_id
        if not tokenizer.suffix or tokenizer.suffix[0] == self._pad_id:
            raise ConfigError(
                f"the vocabulary ends a text by the tokens {tokenizer.suffix} and pads it by "
                f"{self._pad_id}, expected a token at the end that is not the padding, or no "
                "caption would learn to end: set model.vocabulary.written = true, or another "
                "model.tokenizer.pad_id"
            )

    def inputs(self, batch: Batch) -> Mapping[str, Tensor]:
        own = batch["sources"][self._source]
        return {
            self._source + IMAGES: own["images"],
            self._source + CAPTIONS: texts_by_image(
                own["ids"], own["owners"], len(own["images"]), self._pad_id
            ),
        }

    def loss(
        self,
        embeds: Mapping[str, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        # Of each text, every token but the first is asked for.
        ids = batch["sources"][self._source]["ids"]
        return caption_loss(
            embeds[self._source + CAPTIONS], int((ids[:, 1:] != self._pad_id).sum())
        )


def texts_by_image(ids: Tensor, owners: Tensor, images: int, pad_id: int) -> Tensor:
    """Ids (texts tokens) of which each belongs to an image -> (images most tokens): an image with
    fewer texts than another has rows of padding, and no token is kept that is padding in all."""
    counts = torch.bincount(owners, minlength=images)
    length = int((ids != pad_id).any(0).nonzero().max()) + 1
    rows = ids.new_full((images, int(counts.max()), length), pad_id)
    first = counts.cumsum(0) - counts
    rows[owners, torch.arange(len(ids)) - first[owners]] = ids[:, :length]
    return rows
