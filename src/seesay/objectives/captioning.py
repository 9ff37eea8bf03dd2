"""Learn to write captions: CoCa (Yu et al. 2022, arXiv 2205.01917), section 3.2."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seesay.errors import ConfigError
from seesay.objectives.exchange import mean_over_processes
from seesay.objectives.objective import (
    Batch,
    Objective,
    ObjectiveConfig,
    ObjectiveContext,
    View,
    qformer_parts,
)
from seesay.objectives.tiled import at_least_float32
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class CaptioningConfig(ObjectiveConfig):
    """Predict each token of a text from the image and the tokens before it (CoCa, Yu et al. 2022;
    BLIP-2's first stage, Li et al. 2023). The model needs [model.architecture.captioner] or
    [model.qformer]. CoCa has a weight of 2 beside a contrastive objective of 1, BLIP-2 of 1."""

    @property
    def trains(self) -> tuple[str, ...]:
        """All but the text tower's class token and last norm, which only its embedding needs."""
        return ("image", "text.token_embed", "text.positions", "text.blocks", "captioner")

    def parts(self, architecture: Any) -> tuple[str, ...]:
        """Of a Q-Former's last layer, captions need no queries."""
        if (qformer := getattr(architecture, "qformer", None)) is None:
            return self.trains
        last = "attention", "norm1", "mlp_text", "norm_text"
        return (*qformer_parts(qformer.depth, *last), "head")

    def make(self, context: ObjectiveContext) -> Objective:
        return Captioning(self, context.bundle.tokenizer)

    def check(self, name: str, architecture: Any) -> None:
        writes = ("captioner", "begin_id")
        if all(getattr(architecture, one, None) is None for one in writes):
            raise ConfigError(
                Text(
                    f"objective.{name} learns to write captions, expected a model that has a "
                    'captioner: add [model.architecture.captioner], with pool = "queries" in the '
                    "image tower, or [model.qformer], or start from a CoCa",
                    f"objective.{name} 要学写图片描述；应有带 captioner 的模型；"
                    "请加上 [model.architecture.captioner]，并在图像编码器里设 "
                    'pool = "queries"，或加上 [model.qformer]，或从 CoCa 开始训练',
                )
            )


class Captioning:
    """The objective of CaptioningConfig. All texts of an image share its row, so that a batch can
    be split anywhere."""

    def __init__(self, config: CaptioningConfig, tokenizer: Any) -> None:
        """Raises ConfigError if no token in the vocabulary could end a caption."""
        self._source, self._pad_id = config.source, tokenizer.config.pad_id
        self._captions = View("captions", config.source)
        end = tokenizer.suffix
        if not end or end[0] == self._pad_id:
            raise ConfigError(
                Text(
                    f"the vocabulary ends a text by the tokens {end} and pads it by "
                    f"{self._pad_id}, expected a token at the end that is not the padding, or no "
                    "caption would learn to end: set model.vocabulary.written = true, or another "
                    "model.tokenizer.pad_id",
                    f"词表用词元 {end} 结束文字，用 {self._pad_id} 填充；结尾应有不同于填充的词元，"
                    "否则学不会在哪里结束；请设 model.vocabulary.written = true，"
                    "或换一个 model.tokenizer.pad_id",
                )
            )

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        own = batch.sources[self._source]
        rows = texts_by_image(own.ids, own.owners, len(own.images), self._pad_id)
        return {View("images", self._source): own.images, self._captions: rows}

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        # Every token of a text but the first has to be predicted.
        ids = batch.sources[self._source].ids
        return caption_loss(outputs[self._captions], int((ids[:, 1:] != self._pad_id).sum()))


def texts_by_image(ids: Tensor, owners: Tensor, images: int, pad_id: int) -> Tensor:
    """Ids (texts tokens) of which each belongs to an image -> (images most tokens): an image with
    fewer texts than another has rows of padding, and no token is kept that is padding in all."""
    used = (ids != pad_id).any(0).nonzero()
    return rows_by_image(ids[:, : int(used.max()) + 1 if len(used) else 1], owners, images, pad_id)


def rows_by_image(rows: Tensor, owners: Tensor, images: int, fill: int) -> Tensor:
    """Groups rows, of which each belongs to an image and those of one image are neighbours: returns
    (images most ...), with rows of `fill` where an image has fewer than another."""
    counts = torch.bincount(owners, minlength=images)
    first = counts.cumsum(0) - counts
    grouped = rows.new_full((images, int(counts.max()), *rows.shape[1:]), fill)
    grouped[owners, torch.arange(len(rows)) - first[owners]] = rows
    return grouped


def caption_losses(
    logits: Float[Tensor, "texts tokens vocab"], following: Int[Tensor, "texts tokens"], pad_id: int
) -> Float[Tensor, " texts"]:
    """For each text, the sum over its tokens of -log(probability), each given the image and those
    before: `logits` at one place are about the token that is `following` it.

    Padding is not predicted, so `pad_id` must not be the token that ends a caption, which has to be
    learned.
    """
    losses = F.cross_entropy(
        at_least_float32(logits.flatten(0, 1)),
        following.flatten(),
        ignore_index=pad_id,
        reduction="none",
    )
    return losses.view_as(following).sum(1)


def caption_loss(
    losses: Float[Tensor, " texts"], tokens: Int[Tensor, ""] | int
) -> Float[Tensor, ""]:
    """The mean over all tokens of all processes, of which this one's are `tokens`.

    A mean of the processes' means would give tokens of a process with few tokens more weight. The
    gradient averaged over processes is exact.
    """
    return mean_over_processes(losses.sum(), tokens)
