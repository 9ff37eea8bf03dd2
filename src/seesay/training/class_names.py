"""Objectives that show the text tower the names of classes. Here is what they share, and naming the
class of each image; those that learn from a classifier are in `seesay.training.distillation`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seesay.data.sources import check_templates, read_classes, texts_of_classes
from seesay.data.tokenizer import Tokenizer
from seesay.errors import ConfigError
from seesay.models.layers import require_range
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

CERTAIN = 100.0  # a logit among zeros: practically certain


@dataclass(frozen=True, kw_only=True)
class ClassNamesConfig(ObjectiveConfig):
    """How the text tower is given the classes."""

    templates: Mapping[Literal["en", "zh"], tuple[str, ...]] = field(
        default_factory=lambda: {"en": ("{}",), "zh": ("{}",)}
    )
    """By language, sentences with {} for the class name; one is drawn at random each time."""
    names: int = 256
    """Number of classes in a step: those of its images, and others drawn at random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(2, names=self.names)
        check_templates(self.templates)

    @property
    def trains(self) -> tuple[str, ...]:
        return (*TOWERS, "log_scale")

    def class_texts(
        self,
        classes: Sequence[Mapping[str, str]],
        chosen: Sequence[int],
        rng: np.random.Generator,
    ) -> list[str]:
        """A text for each chosen class, language by language."""
        return [
            str(rng.choice(templates)).replace("{}", classes[number][language])
            for language, templates in self.templates.items()
            for number in chosen
        ]


def first_tokens(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """The first window of each text, as ids."""
    return torch.from_numpy(tokenizer.encode(texts).first)


class ClassNames:
    """The names of a file's classes as an objective's texts. All processes draw the same names in
    a step."""

    def __init__(self, config: ClassNamesConfig, file: str, context: ObjectiveContext) -> None:
        self.view = View("texts", f"objective {context.name}")
        self._config, self._classes = config, read_classes(file)
        self._tokenizer: Tokenizer = context.bundle.tokenizer

    def __len__(self) -> int:
        return len(self._classes)

    def choose(self, wanted: Iterable[int], rng: np.random.Generator) -> list[int]:
        """The classes of a step: the wanted ones of all processes, and others up to `names`."""
        chosen = sorted({one for each in gather_objects(set(wanted)) for one in each})
        others = np.setdiff1d(np.arange(len(self)), chosen)
        more = max(self._config.names - len(chosen), 0)
        return chosen + sorted(rng.permutation(others)[:more].tolist())

    def tokens(self, chosen: Sequence[int], rng: np.random.Generator) -> Tensor:
        """The ids of a text for each class, language by language."""
        return first_tokens(self._tokenizer, self._config.class_texts(self._classes, chosen, rng))

    def loss(self, images: Tensor, names: Tensor, log_scale: Tensor, target: Tensor) -> Tensor:
        """The mean over the languages of the divergence from the logits (images classes) in
        `target` to the similarities of images (images dim) and names (languages*classes dim)."""
        losses = [
            soft_label_distillation(images, each, log_scale, target)
            for each in names.split(target.shape[1])
        ]
        return torch.stack(losses).mean()


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(ClassNamesConfig):
    """Name the class of each image among the names of others."""

    classes: str
    """JSON list of {"en": name, "zh": name} of the source's classes in their order."""

    def make(self, context: ObjectiveContext) -> Objective:
        return Classification(self, context)

    def texts(self) -> Iterable[str]:
        return texts_of_classes(self.classes, self.templates)


class Classification:
    """The objective of ClassificationConfig."""

    def __init__(self, config: ClassificationConfig, context: ObjectiveContext) -> None:
        self._config, self._seed = config, context.seed
        self._names = ClassNames(config, config.classes, context)
        self._images = View("images", config.source)
        self._chosen: list[int] = []

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        own, names = batch.sources[self._config.source], self._names
        self._check(labels := own.labels.tolist())
        rng = np.random.default_rng([self._seed, batch.step, 3])
        self._chosen = names.choose(labels, rng)
        return {self._images: own.images, names.view: names.tokens(self._chosen, rng)}

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        images, labels = outputs[self._images], batch.sources[self._config.source].labels
        places = torch.tensor([self._chosen.index(label) for label in labels.tolist()])
        certain = CERTAIN * F.one_hot(places, len(self._chosen)).to(images)
        return self._names.loss(images, outputs[self._names.view], log_scale, certain)

    def _check(self, labels: Sequence[int]) -> None:
        if any(not 0 <= label < len(self._names) for label in labels):
            given, last = sorted(set(labels)), len(self._names) - 1
            raise ConfigError(
                Text(
                    f"images of {self._config.source!r} are of the classes {given}, expected 0 to "
                    f"{last}, those of {self._config.classes}: give a source with classes, and its "
                    "own list",
                    f"{self._config.source!r} 的图片类别号为 {given}；应在 0 到 {last} 之间，"
                    f"即 {self._config.classes} 里的类别；请使用带类别的数据来源和它的类别表",
                )
            )
