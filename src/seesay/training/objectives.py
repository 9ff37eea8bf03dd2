"""What a recipe may minimise. Each objective says which images and texts it wants embedded, and
turns the embeddings into a loss; several can share the embeddings of one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from seesay.errors import ConfigError
from seesay.objectives.contrastive import sigmoid_loss, softmax_loss
from seesay.objectives.positives import PairIds
from seesay.training.distributed import gather_objects

# How the names of inputs end: the images, texts and captions of one source belong together.
IMAGES, TEXTS, CAPTIONS = ".images", ".texts", ".captions"
LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}
Batch = dict[str, Any]


@runtime_checkable
class Objective(Protocol):
    def inputs(self, batch: Batch) -> Mapping[str, Tensor]:
        """Images (bytes) and token ids (other whole numbers) to embed, by name, and ids (images
        most tokens) of captions, of each of which the loss is wanted. Equal names are equal
        tensors: what two objectives ask for is embedded once."""

    def loss(
        self,
        embeds: Mapping[str, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """The loss of this process's share; its gradient, averaged over the processes, is that of
        the whole batch."""


def check_weight(weight: float) -> None:
    """Raises ConfigError for an objective that would count for nothing."""
    if not weight > 0:
        raise ConfigError(
            f"weight={weight} lets nothing be learned, expected a number above 0: raise it, or "
            "remove the objective"
        )


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig:
    """Images and their own texts are drawn together, all others apart."""

    source: str
    """Which section of [data] it learns from."""
    loss: Literal["softmax", "sigmoid"] = "softmax"
    """CLIP's choice among all texts, or SigLIP's yes or no for each pair."""
    languages: Literal["apart", "together"] = "apart"
    """Whether an image tells its text from those of its own language, or of all."""
    route: Literal["ring", "gather"] = "ring"
    """How processes see each other's texts: "ring" needs less memory, "gather" fewer messages."""
    weight: float = 1.0
    """Factor in the sum of all objectives."""

    def __post_init__(self) -> None:
        check_weight(self.weight)


class Contrastive:
    def __init__(self, config: ContrastiveConfig) -> None:
        self._config = config

    def inputs(self, batch: Batch) -> Mapping[str, Tensor]:
        name = self._config.source
        own = batch["sources"][name]
        return {name + IMAGES: own["images"], name + TEXTS: own["ids"]}

    def loss(
        self,
        embeds: Mapping[str, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        name = self._config.source
        images, texts = embeds[name + IMAGES], embeds[name + TEXTS]
        own = batch["sources"][name]
        ids = pair_ids(own["groups"], own["owners"], own["text_numbers"])
        losses = []
        for rows in self._rows(own["languages"]):
            of_rows = PairIds(ids.images.to(images.device), ids.texts[rows].to(images.device))
            loss = LOSSES[self._config.loss]
            losses.append(loss(images, texts[rows], log_scale, bias, of_rows, self._config.route))
        return torch.stack(losses).mean()

    def _rows(self, languages: Sequence[str]) -> list[list[int]]:
        """The texts that are told from each other. Every process has the same languages in the
        same order, or none of a language that another process has: then its list is empty."""
        if self._config.languages == "together":
            return [list(range(len(languages)))]
        everywhere = sorted({one for each in gather_objects(set(languages)) for one in each})
        return [[i for i, one in enumerate(languages) if one == which] for which in everywhere]


def pair_ids(groups: Tensor, owners: Tensor, text_numbers: Tensor) -> PairIds:
    """Which images and texts belong together: those of one group, and of all groups that share a
    text, because a repeated caption is true of both its images. Agrees over all processes.

    groups (images): equal where images share their texts; owners (texts): each text's image;
    text_numbers (texts): equal for equal texts.
    """
    own = groups[owners]
    everyone = gather_objects((own.numpy(), text_numbers.numpy()))
    all_groups, all_texts = (np.concatenate(parts) for parts in zip(*everyone, strict=True))
    pairs = np.unique(np.stack([all_texts, all_groups]), axis=1)
    repeated = np.flatnonzero(pairs[0, 1:] == pairs[0, :-1])
    if not len(repeated):
        return PairIds(groups, own)
    root: dict[int, int] = {}

    def find(group: int) -> int:
        while root.get(group, group) != group:
            group = root[group]
        return group

    for at in repeated:
        first, second = sorted((find(int(pairs[1, at])), find(int(pairs[1, at + 1]))))
        root[second] = first
    merged = torch.tensor([find(int(group)) for group in groups])
    return PairIds(merged, merged[owners])
