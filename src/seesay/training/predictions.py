"""Soft labels from an image classifier, tied to the names of its classes in both languages (Hinton
et al. 2015).

The objective lives here because it loads the classifier; its loss is in `seesay.objectives`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from seesay.data.sources import check_templates, read_classes, texts_of_classes
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError
from seesay.models.layers import require_finite, require_range
from seesay.objectives.distillation import soft_label_distillation
from seesay.objectives.exchange import gather_objects
from seesay.objectives.objective import (
    TOWERS,
    Batch,
    Objective,
    ObjectiveConfig,
    ObjectiveContext,
    View,
)
from seesay.text import Text
from seesay.weights.dual_encoder_step import channels_last
from seesay.weights.mobilenet import MEAN, STD, load_classifier


@dataclass(frozen=True, kw_only=True)
class PredictionsConfig(ObjectiveConfig):
    """Match a finished classifier's probabilities by the similarities of an image to the names of
    the classes."""

    classifier: str
    """A safetensors file of MobileNetV2 with its 1,001 outputs, of which the first is unused."""
    classes: str
    """JSON list of {"en": name, "zh": name} in the order of the other outputs."""
    templates: Mapping[Literal["en", "zh"], tuple[str, ...]] = field(
        default_factory=lambda: {"en": ("{}",), "zh": ("{}",)}
    )
    """By language, sentences with {} for the name of a class; one is drawn each time."""
    temperature: float = 1.0
    """Divides the classifier's logits: above 1, unlikely classes count more."""
    likely: int = 3
    """How many of the most likely classes of each image are in a step."""
    names: int = 256
    """Class names in a step; those besides the likely ones are drawn at random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(above=0.0, temperature=self.temperature)
        require_range(1, likely=self.likely)
        require_range(2, names=self.names)
        check_templates(self.templates)

    @property
    def trains(self) -> tuple[str, ...]:
        return (*TOWERS, "log_scale")

    def make(self, context: ObjectiveContext) -> Objective:
        return Predictions(self, context)

    def texts(self) -> Iterable[str]:
        return texts_of_classes(self.classes, self.templates)


class Predictions:
    """The objective of PredictionsConfig. All processes draw the same names in a step."""

    def __init__(self, config: PredictionsConfig, context: ObjectiveContext) -> None:
        bundle, own = context.bundle, f"objective {context.name}"
        self._config, self._seed, self._device = config, context.seed, context.device
        self._tokenizer = bundle.tokenizer
        self._images, self._texts = View("images", config.source), View("texts", own)
        self._judged = View("given", own)
        self._transform = ImageTransform(replace(bundle.transform, mean=MEAN, std=STD))
        self._classifier = load_classifier(Path(config.classifier).expanduser()).eval()
        self._classifier.requires_grad_(False)
        channels_last(self._classifier.to(self._device))
        self._names = read_classes(config.classes)
        outputs = self._classifier.classifier.out_features - 1
        if outputs != len(self._names):
            raise ConfigError(
                Text(
                    f"{config.classes} names {len(self._names)} classes, and the classifier knows "
                    f"{outputs}: give the list that belongs to it",
                    f"{config.classes} 里有 {len(self._names)} 个类别，分类器有 {outputs} 个；"
                    "两者应一致；请给出与它配套的类别表",
                )
            )

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        images = batch.sources[self._config.source].images
        judgement = self._judge(images)
        chosen = self._choose(judgement, batch.step)
        return {
            self._images: images,
            self._texts: self._tokens(chosen, batch.step),
            self._judged: judgement[:, chosen],
        }

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        images, judgement = outputs[self._images], outputs[self._judged]
        losses = [
            soft_label_distillation(images, names, log_scale, judgement)
            for names in outputs[self._texts].split(judgement.shape[1])
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def _judge(self, images: Tensor) -> Tensor:
        """The classifier's logits, (batch, classes), divided by the temperature."""
        images = self._transform.normalise(images.to(self._device, non_blocking=True))
        images = images.contiguous(memory_format=torch.channels_last)
        return self._classifier(images)[:, 1:].float().cpu() / self._config.temperature

    def _choose(self, judgement: Tensor, step: int) -> list[int]:
        """The classes of a step: the likely ones of all images of all processes, and random
        others."""
        likely = judgement.topk(self._config.likely).indices.flatten().tolist()
        wanted = sorted({one for each in gather_objects(set(likely)) for one in each})
        rng = np.random.default_rng([self._seed, step])
        others = np.setdiff1d(np.arange(len(self._names)), wanted)
        more = max(self._config.names - len(wanted), 0)
        return wanted + sorted(rng.permutation(others)[:more].tolist())

    def _tokens(self, chosen: list[int], step: int) -> Tensor:
        """The ids of a text for each class, language by language."""
        rng = np.random.default_rng([self._seed, step, 1])
        texts = [
            str(rng.choice(templates)).replace("{}", self._names[number][language])
            for language, templates in self._config.templates.items()
            for number in chosen
        ]
        tokens = self._tokenizer.encode(texts)
        first = np.unique(tokens.owners, return_index=True)[1]
        return torch.from_numpy(tokens.ids[first])
