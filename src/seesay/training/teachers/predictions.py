"""Learn the names of things from a classifier: its predictions for an image, tied to the names of
its classes in both languages (soft labels, Hinton et al. 2015)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from seesay.data.batches_config import read_classes
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError
from seesay.objectives.distillation import soft_label_distillation
from seesay.training.distributed import gather_objects
from seesay.training.dual_encoder import channels_last
from seesay.training.objectives import IMAGES, Batch, check_weight
from seesay.training.texts import check_templates
from seesay.weights.bundle import Bundle
from seesay.weights.mobilenet import MEAN, STD, load_classifier


@dataclass(frozen=True, kw_only=True)
class PredictionsConfig:
    """An image is as near to the name of each class as a finished classifier finds it likely."""

    source: str
    """Which section of [data] gives the images."""
    classifier: str
    """A safetensors file of MobileNetV2 with its 1,001 outputs, of which the first is unused."""
    classes: str
    """JSON list of {"en": name, "zh": name} in the order of the other outputs."""
    templates: Mapping[Literal["en", "zh"], tuple[str, ...]] = field(
        default_factory=lambda: {"en": ("{}",), "zh": ("{}",)}
    )
    """Per language, texts with {} for the name of a class; one is drawn each time."""
    temperature: float = 1.0
    """What the classifier's logits are divided by: above 1, unlikely classes count more."""
    likely: int = 3
    """Most likely classes of each image whose names are in a step."""
    names: int = 256
    """Class names in a step; the rest beside the likely ones is drawn at random."""
    weight: float = 1.0
    """Factor in the sum of all objectives."""

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if not self.temperature > 0:
            raise ConfigError(
                f"temperature={self.temperature} divides by nothing, expected a number above 0: "
                "raise it"
            )
        if self.likely < 1 or self.names < 2:
            raise ConfigError(
                f"likely={self.likely} and names={self.names} are too few to choose among, "
                "expected at least 1 and 2: raise them"
            )
        check_templates(self.templates)


class Predictions:
    """The objective of PredictionsConfig. Every process draws the same names in a step."""

    def __init__(
        self,
        name: str,
        config: PredictionsConfig,
        made: Bundle[Any],
        seed: int,
        device: torch.device,
    ) -> None:
        self._name, self._config = f"objective {name}", config
        self._seed, self._device = seed, device
        self._tokenizer = made.tokenizer
        self._transform = ImageTransform(replace(made.transform, mean=MEAN, std=STD))
        self._classifier = load_classifier(Path(config.classifier).expanduser()).eval()
        self._classifier.requires_grad_(False)
        channels_last(self._classifier.to(device))
        self._names = read_classes(config.classes)
        outputs = self._classifier.classifier.out_features - 1
        if outputs != len(self._names):
            raise ConfigError(
                f"{config.classes} names {len(self._names)} classes, and the classifier knows "
                f"{outputs}: give the list that belongs to it"
            )

    def inputs(self, batch: Batch) -> Mapping[str, Tensor]:
        images = batch["sources"][self._config.source]["images"]
        judgement = self._judge(images)
        chosen = self._choose(judgement, batch["step"])
        batch[self._name] = judgement[:, chosen]  # for `loss`, which sees the same batch
        return {
            self._config.source + IMAGES: images,
            f"{self._name}.names": self._tokens(chosen, batch["step"]),
        }

    def loss(
        self,
        embeds: Mapping[str, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        images = embeds[self._config.source + IMAGES]
        judgement = batch[self._name].to(images.device)
        losses = [
            soft_label_distillation(images, names, log_scale, judgement)
            for names in embeds[f"{self._name}.names"].split(judgement.shape[1])
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def _judge(self, images: Tensor) -> Tensor:
        """The classifier's logits, (batch, classes), divided by the temperature."""
        images = self._transform.normalise(images.to(self._device, non_blocking=True))
        images = images.contiguous(memory_format=torch.channels_last)
        return self._classifier(images)[:, 1:].float().cpu() / self._config.temperature

    def _choose(self, judgement: Tensor, step: int) -> list[int]:
        """The classes of a step: the likely ones of all processes' images, and others."""
        likely = judgement.topk(self._config.likely).indices.flatten().tolist()
        wanted = sorted({one for each in gather_objects(set(likely)) for one in each})
        rng = np.random.default_rng([self._seed, step])
        others = np.setdiff1d(np.arange(len(self._names)), wanted)
        more = max(self._config.names - len(wanted), 0)
        return wanted + sorted(rng.permutation(others)[:more].tolist())

    def _tokens(self, chosen: list[int], step: int) -> Tensor:
        """Ids of a text for each class, one language after the other."""
        rng = np.random.default_rng([self._seed, step, 1])
        texts = [
            str(rng.choice(templates)).replace("{}", self._names[number][language])
            for language, templates in self._config.templates.items()
            for number in chosen
        ]
        tokens = self._tokenizer.encode(texts)
        first = np.unique(tokens.owners, return_index=True)[1]
        return torch.from_numpy(tokens.ids[first])
