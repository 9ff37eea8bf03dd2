"""Distillation from a finished model that sees the same images: a dual encoder, which sees the same
texts too, or an image classifier, whose classes are tied to their names in both languages.

The objectives live here because they load their teachers; the losses are in `seesay.objectives`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf, log
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seesay.data.sources import read_classes, texts_of_classes
from seesay.data.tokenizer import Tokenizer
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError
from seesay.inference.embedder import load
from seesay.models.layers import require_finite, require_range
from seesay.objectives.distillation import (
    embedding_distillation,
    relation_distillation,
    soft_label_distillation,
)
from seesay.objectives.exchange import mean_over_processes
from seesay.objectives.objective import (
    TOWERS,
    Batch,
    Objective,
    ObjectiveContext,
    View,
)
from seesay.text import Text
from seesay.training.class_names import CERTAIN, ClassNames, ClassNamesConfig, first_tokens
from seesay.weights.mobilenet import load_classifier
from seesay.weights.step import Reused, channels_last

LEAST = 1e-9  # probability whose logarithm is taken


# From a dual encoder


@dataclass(frozen=True, kw_only=True)
class DistillationConfig(ClassNamesConfig):
    """Match a finished model's similarities, embeddings or class probabilities (CLIP-KD, Yang et
    al. 2024)."""

    teacher: str
    """Catalogue name or folder of the model to learn from; it keeps its own tokenizer."""
    relation: float = 1.0
    """Factor of the divergence between both models' probabilities over the batch; 0: none."""
    embedding: float = 0.0
    """Factor of 1 - cosine to the teacher's embeddings, mapped to the student's width; 0: none."""
    soft_labels: float = 0.0
    """Factor of the divergence between both models' zero-shot class probabilities; 0: none."""
    classes: str | None = None
    """JSON list of {"en": name, "zh": name} for soft_labels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        terms = (self.relation, self.embedding, self.soft_labels)
        if min(terms) < 0 or not sum(terms) > 0:
            given = f"relation={self.relation}, embedding={self.embedding}"
            raise ConfigError(
                Text(
                    f"{given} and soft_labels={self.soft_labels} let nothing be learned, expected "
                    "numbers from 0, one of them above: raise them",
                    f"{given}, soft_labels={self.soft_labels} 学不到任何东西；都不能小于 0，"
                    "且至少一项大于 0；请调大",
                )
            )
        if (self.soft_labels > 0) is not (self.classes is not None):
            given = f"soft_labels={self.soft_labels}"
            raise ConfigError(
                Text(
                    f"{given} and classes={self.classes!r} contradict each other, expected both or "
                    "neither: set the other one too, or remove this one",
                    f"{given} 与 classes={self.classes!r} 矛盾；两者应都写或都不写；"
                    "请补上另一项，或去掉这一项",
                )
            )

    @property
    def trains(self) -> tuple[str, ...]:
        # Embeddings alone do not depend on the scale of the logits.
        scaled = self.relation > 0 or self.soft_labels > 0
        return (*TOWERS, *(("log_scale",) if scaled else ()))

    def make(self, context: ObjectiveContext) -> Objective:
        return Distillation(self, context)

    def texts(self) -> Iterable[str]:
        return () if self.classes is None else texts_of_classes(self.classes, self.templates)


class Distillation:
    """The objective of DistillationConfig. The teacher sees the student's own crops, resized to its
    input size, and the original texts."""

    def __init__(self, config: DistillationConfig, context: ObjectiveContext) -> None:
        self._config, self._seed, self._device = config, context.seed, context.device
        self._teacher = load(config.teacher, device=self._device)
        self._teacher_scale = torch.tensor(log(self._teacher.scale), device=self._device)
        width = context.bundle.model.config.embed_dim
        self._turn = fixed_rotation(self._teacher.dim, width).to(self._device)
        self._tokenizer: Tokenizer = context.bundle.tokenizer
        self._sees_texts = config.relation > 0 or config.embedding > 0
        self._classes = [] if config.classes is None else read_classes(config.classes)
        own = f"objective {context.name}"
        self._images, self._texts = View("images", config.source), View("texts", config.source)
        self._names = View("texts", own)
        self._taught = {
            name: View("given", f"{own}: {name}") for name in ("images", "texts", "names")
        }

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        own = batch.sources[self._config.source]
        wanted = {self._images: own.images}
        wanted[self._taught["images"]] = self._teacher_images(own.images)
        if self._sees_texts:
            wanted[self._texts] = own.ids
            wanted[self._taught["texts"]] = self._teacher_texts(list(own.texts))
        if self._classes:
            texts = self._class_texts(batch.step)
            wanted[self._names] = first_tokens(self._tokenizer, texts)
            wanted[self._taught["names"]] = self._teacher_texts(texts)
        return wanted

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        c, images = self._config, outputs[self._images]
        taught = {name: outputs[view] for name, view in self._taught.items() if view in outputs}
        terms = []
        if self._sees_texts:
            texts, teacher = outputs[self._texts], (taught["images"], taught["texts"])
            if c.relation > 0:
                sides = (images, texts, log_scale, *teacher, self._teacher_scale)
                terms.append(c.relation * relation_distillation(*sides))
            if c.embedding > 0:
                pairs = zip((images, texts), (side @ self._turn for side in teacher), strict=True)
                parts = [embedding_distillation(*pair) for pair in pairs]
                terms.append(c.embedding * torch.stack(parts).mean())
        if self._classes:
            ours = outputs[self._names].split(self._count)
            theirs = taught["names"].split(self._count)
            parts = [
                soft_label_distillation(
                    images, mine, log_scale, self._teacher.scale * taught["images"] @ other.T
                )
                for mine, other in zip(ours, theirs, strict=True)
            ]
            terms.append(c.soft_labels * torch.stack(parts).mean())
        return torch.stack(terms).sum()

    @property
    def _count(self) -> int:
        """Number of classes in a step."""
        return min(self._config.names, len(self._classes))

    def _teacher_images(self, images: Tensor) -> Tensor:
        """Returns the teacher's embeddings of byte images of any square size."""
        size, pixels = self._teacher.transform_config.size, images.permute(0, 3, 1, 2).float()
        if pixels.shape[-1] != size:
            pixels = F.interpolate(pixels, (size, size), mode="bicubic", antialias=True)
        bytes_ = pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return torch.from_numpy(self._teacher.encoder.images(bytes_.cpu().numpy())).to(self._device)

    def _teacher_texts(self, texts: list[str]) -> Tensor:
        return torch.from_numpy(self._teacher.embed_texts(texts).vectors).to(self._device)

    def _class_texts(self, step: int) -> list[str]:
        """A text for each class of a step, language by language; the same in every process."""
        rng = np.random.default_rng([self._seed, step, 2])
        chosen = sorted(rng.permutation(len(self._classes))[: self._count].tolist())
        return self._config.class_texts(self._classes, chosen, rng)


def fixed_rotation(rows: int, columns: int) -> Tensor:
    """A fixed matrix that maps vectors to another width. A larger width preserves all cosines, a
    smaller one as well as a random projection can; equal widths give the identity."""
    if rows == columns:
        return torch.eye(rows)
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(max(rows, columns), min(rows, columns), generator=generator)
    basis = torch.linalg.qr(draw.double())[0].float()
    return basis if rows > columns else basis.T.contiguous()


# From an image classifier


@dataclass(frozen=True, kw_only=True)
class PredictionsConfig(ClassNamesConfig):
    """Match a finished classifier's probabilities with an image's similarities to the class names
    (Hinton et al. 2015)."""

    classifier: str
    """A file of MobileNetV2 (safetensors) or EfficientNet-Lite2 (.pth)."""
    classes: str
    """JSON list of {"en": name, "zh": name} of the 1,000 classes in their order."""
    temperature: float = 1.0
    """Divides the classifier's logits: above 1, unlikely classes count more."""
    likely: int = 3
    """How many of the likeliest classes of each image join the names of a step."""
    prototypes: float = 0.0
    """Factor of the loss for naming a class from the classifier's weights, used in place of a
    photograph: the model also learns names that no photograph shows. 0: none."""
    noise: float = 0.2
    """Standard deviation of the noise added to those weights."""
    hold: float = 0.0
    """Factor of the divergence between the classifier's probabilities and those that the image
    tower itself gives its classes: a tower that learns captions does not forget them (Learning
    without Forgetting, Li and Hoiem 2016). 0: none."""
    anchors: float = 0.0
    """Keeps the classes of an image tower at their names: the probability of a class moves an
    image's vector by this length towards the mean of its names. 0: the projection learns where
    to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(above=0.0, temperature=self.temperature)
        require_range(1, likely=self.likely)
        numbers = {name: getattr(self, name) for name in ("prototypes", "noise", "hold", "anchors")}
        if not all(0 <= value < inf for value in numbers.values()):
            given = [f"{name}={value}" for name, value in numbers.items()]
            raise ConfigError(
                Text(
                    f"{', '.join(given)} cannot be computed with, expected finite numbers of at "
                    "least 0: correct them",
                    f"{'、'.join(given)} 无法用于计算；应为不小于 0 的有限数；请改正",
                )
            )

    def check(self, name: str, architecture: Any) -> None:
        for setting in ("prototypes", "hold", "anchors"):
            value = getattr(self, setting)
            if value and not getattr(architecture.image, "classes", 0):
                raise ConfigError(
                    Text(
                        f"objective.{name}.{setting}={value} is for an image tower that knows the "
                        "classes, expected model.architecture.image.classes above 0: set it to the "
                        f"number of classes, or {setting} to 0",
                        f"objective.{name}.{setting}={value} 只用于认识这些类别的图像编码器；"
                        "model.architecture.image.classes 应大于 0；请设为类别数，"
                        f"或把 {setting} 设为 0",
                    )
                )

    def make(self, context: ObjectiveContext) -> Objective:
        return Predictions(self, context)

    def texts(self) -> Iterable[str]:
        return texts_of_classes(self.classes, self.templates)


class Predictions:
    """The objective of PredictionsConfig."""

    def __init__(self, config: PredictionsConfig, context: ObjectiveContext) -> None:
        bundle, own = context.bundle, f"objective {context.name}"
        self._config, self._seed, self._device = config, context.seed, context.device
        self._names = ClassNames(config, config.classes, context)
        self._images = View("images", config.source)
        self._classes, self._probabilities = (
            View("classes", config.source),
            View("given", f"{own}: all"),
        )
        self._judged, self._prototypes = View("given", own), View("pooled", own)
        loaded = load_classifier(Path(config.classifier).expanduser())
        colours = replace(bundle.transform, mean=loaded.mean, std=loaded.std)
        self._transform = ImageTransform(colours)
        self._classifier = loaded.model.eval().requires_grad_(False)
        channels_last(self._classifier.to(self._device))
        tower = self._classifier.tower
        self._pooled = Reused(tower) if context.reuse else tower
        self._anchors = Anchors(bundle.model, config.anchors) if config.anchors else None
        outputs = self._classifier.classifier.out_features
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
        judgement, length = self._judge(images)
        chosen = self._choose(judgement, batch.step)
        if self._anchors is not None:
            self._anchors.follow(chosen)
        wanted = {
            self._images: images,
            self._names.view: self._tokens(chosen, batch.step),
            self._judged: judgement[:, chosen],
        }
        if self._config.hold:
            wanted[self._classes], wanted[self._probabilities] = images, judgement.softmax(1)
        if self._config.prototypes:
            wanted[self._prototypes] = self._draw_prototypes(chosen, length, batch.step)
        return wanted

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        names, judged = outputs[self._names.view], outputs[self._judged]
        if self._anchors is not None:
            self._anchors.names = names.detach()
        loss = self._names.loss(outputs[self._images], names, log_scale, judged)
        if self._config.prototypes:
            certain = CERTAIN * torch.eye(judged.shape[1], device=log_scale.device)
            named = self._names.loss(outputs[self._prototypes], names, log_scale, certain)
            loss = loss + self._config.prototypes * named
        if self._config.hold:
            held, taught = outputs[self._classes], outputs[self._probabilities]
            apart = F.kl_div(held.clamp_min(LEAST).log(), taught, reduction="sum")
            loss = loss + self._config.hold * mean_over_processes(apart, len(held))
        return loss

    @torch.no_grad()
    def _judge(self, images: Tensor) -> tuple[Tensor, float]:
        """Returns the classifier's logits, (batch, classes), divided by the temperature, and the
        length of the vectors that it computes them from."""
        images = self._transform.normalise(images.to(self._device, non_blocking=True))
        images = images.contiguous(memory_format=torch.channels_last)
        pooled = self._pooled(images)
        judgement = self._classifier.classifier(pooled).float().cpu()
        return judgement / self._config.temperature, float(pooled.norm(dim=1).mean())

    @torch.no_grad()
    def _draw_prototypes(self, chosen: list[int], length: float, step: int) -> Tensor:
        """Returns the weights of each class with noise, scaled to the length of the photographs'
        vectors."""
        weights = self._classifier.classifier.weight[chosen]
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        noise = torch.randn(weights.shape, generator=generator).to(weights)
        return length * F.normalize(weights, dim=1) + self._config.noise * noise

    def _choose(self, judgement: Tensor, step: int) -> list[int]:
        """The likely classes of all images in all processes, and random others."""
        likely = judgement.topk(self._config.likely).indices.flatten().tolist()
        rng = np.random.default_rng([self._seed, step])
        return self._names.choose(likely, rng)

    def _tokens(self, chosen: list[int], step: int) -> Tensor:
        return self._names.tokens(chosen, np.random.default_rng([self._seed, step, 1]))


class Anchors:
    """The columns of an image projection that belong to classes. Each has a fixed length and the
    direction of the mean of its class's names, as the text tower last returned them."""

    def __init__(self, model: Any, length: float) -> None:
        self._columns, self._length = model.image_proj.weight, length
        self._first = model.config.image.dim
        self._classes: list[int] = []
        self.names: Tensor | None = None
        """The embeddings of the names of the last step, language by language."""
        if self._columns.requires_grad:
            self._columns.register_hook(self._without_classes)

    @torch.no_grad()
    def follow(self, classes: list[int]) -> None:
        """Moves the columns of the last step's classes to their names, and expects the names of
        these."""
        if self.names is not None:
            languages = self.names.view(-1, len(self._classes), self.names.shape[1])
            means = F.normalize(languages.mean(dim=0), dim=1)
            places = torch.tensor(self._classes, device=means.device) + self._first
            self._columns[:, places] = self._length * means.T.to(self._columns.dtype)
        self._classes, self.names = classes, None

    def _without_classes(self, gradient: Tensor) -> Tensor:
        """Returns a gradient that moves only the other columns."""
        channels = torch.arange(gradient.shape[1], device=gradient.device) < self._first
        return gradient * channels
