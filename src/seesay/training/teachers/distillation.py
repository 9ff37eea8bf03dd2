"""Learn from a finished model of both kinds of towers, which sees the same images and texts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import log
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seesay.data.batches_config import RecordsConfig, SourceConfig, read_classes
from seesay.data.batches_samples import number_of
from seesay.data.tokenizers import Tokenizer
from seesay.errors import ConfigError
from seesay.inference.load import load
from seesay.objectives.distillation import (
    embedding_distillation,
    relation_distillation,
    soft_label_distillation,
)
from seesay.training.objectives import IMAGES, TEXTS, Batch, check_weight
from seesay.training.texts import check_templates, texts_of_classes, texts_of_records
from seesay.weights.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Images and texts are told apart as a finished model does (CLIP-KD, Yang et al. 2024)."""

    source: str
    """Which section of [data] gives the images and texts."""
    teacher: str
    """A catalogue name or folder of the model to learn from; it keeps its own tokenizer."""
    relation: float = 1.0
    """Factor of the divergence between both models' probabilities over the batch; 0: none."""
    embedding: float = 0.0
    """Factor of 1 - cosine to the teacher's embeddings, in the student's width; 0: none."""
    soft_labels: float = 0.0
    """Factor of the divergence between both models' zero-shot judgement of classes; 0: none."""
    classes: str | None = None
    """JSON list of {"en": name, "zh": name} for soft_labels."""
    templates: Mapping[Literal["en", "zh"], tuple[str, ...]] = field(
        default_factory=lambda: {"en": ("{}",), "zh": ("{}",)}
    )
    """Per language, texts with {} for the name of a class; one is drawn each time."""
    names: int = 256
    """Classes in a step, drawn at random."""
    weight: float = 1.0
    """Factor in the sum of all objectives."""

    def __post_init__(self) -> None:
        check_weight(self.weight)
        terms = (self.relation, self.embedding, self.soft_labels)
        if min(terms) < 0 or not sum(terms) > 0:
            raise ConfigError(
                f"relation={self.relation}, embedding={self.embedding} and "
                f"soft_labels={self.soft_labels} let nothing be learned, expected numbers from 0, "
                "one of them above: raise them"
            )
        if (self.soft_labels > 0) is not (self.classes is not None):
            raise ConfigError(
                f"soft_labels={self.soft_labels} and classes={self.classes!r} contradict each "
                "other, expected both or neither: set the other one too, or remove this one"
            )
        if self.names < 2:
            raise ConfigError(
                f"names={self.names} leaves nothing to tell apart, expected at least 2: raise it"
            )
        check_templates(self.templates)


class Distillation:
    """The objective of DistillationConfig. The teacher sees the student's own crops, resized to
    what it takes, and the words of each text."""

    def __init__(
        self,
        name: str,
        config: DistillationConfig,
        made: Bundle[Any],
        source: SourceConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self._name, self._config, self._seed = f"objective {name}", config, seed
        self._device = device
        self._teacher = load(config.teacher, device=device)
        self._teacher_scale = torch.tensor(log(self._teacher.scale), device=device)
        self._turn = fixed_rotation(self._teacher.dim, made.model.config.embed_dim).to(device)
        self._tokenizer: Tokenizer = made.tokenizer
        # A batch holds the student's ids and the number of each text, not its words.
        needs_texts = config.relation > 0 or config.embedding > 0
        self._texts = {number_of(t): t for t in _texts(source)} if needs_texts else {}
        self._classes = [] if config.classes is None else read_classes(config.classes)

    def inputs(self, batch: Batch) -> Mapping[str, Tensor]:
        source = self._config.source
        own = batch["sources"][source]
        taught = {"images": self._teacher_images(own["images"])}
        wanted = {source + IMAGES: own["images"]}
        if self._texts:
            wanted[source + TEXTS] = own["ids"]
            words = [self._texts[number] for number in own["text_numbers"].tolist()]
            taught["texts"] = self._teacher_texts(words)
        if self._classes:
            texts = self._class_texts(batch["step"])
            tokens = self._tokenizer.encode(texts)
            first = np.unique(tokens.owners, return_index=True)[1]
            wanted[f"{self._name}.names"] = torch.from_numpy(tokens.ids[first])
            taught["names"] = self._teacher_texts(texts)
        batch[self._name] = taught  # for `loss`, which sees the same batch
        return wanted

    def loss(
        self,
        embeds: Mapping[str, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        c, taught = self._config, batch[self._name]
        images = embeds[c.source + IMAGES]
        total = 0 * log_scale  # of which an embedding alone knows nothing, and DDP must see it
        if self._texts:
            texts = embeds[c.source + TEXTS]
            teacher = taught["images"], taught["texts"]
            if c.relation > 0:
                sides = (images, texts, log_scale, *teacher, self._teacher_scale)
                total = total + c.relation * relation_distillation(*sides)
            if c.embedding > 0:
                pairs = zip((images, texts), (side @ self._turn for side in teacher), strict=True)
                parts = [embedding_distillation(*pair) for pair in pairs]
                total = total + c.embedding * torch.stack(parts).mean()
        if self._classes:
            ours = embeds[f"{self._name}.names"].split(self._count)
            theirs = taught["names"].split(self._count)
            parts = [
                soft_label_distillation(
                    images, mine, log_scale, self._teacher.scale * taught["images"] @ other.T
                )
                for mine, other in zip(ours, theirs, strict=True)
            ]
            total = total + c.soft_labels * torch.stack(parts).mean()
        return total

    @property
    def _count(self) -> int:
        """Classes in a step."""
        return min(self._config.names, len(self._classes))

    def _teacher_images(self, images: Tensor) -> Tensor:
        """The teacher's embeddings of squares of any size, in bytes."""
        size, pixels = self._teacher.transform_config.size, images.permute(0, 3, 1, 2).float()
        if pixels.shape[-1] != size:
            pixels = F.interpolate(pixels, (size, size), mode="bicubic", antialias=True)
        bytes_ = pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return torch.from_numpy(self._teacher.encoder.images(bytes_.cpu().numpy())).to(self._device)

    def _teacher_texts(self, texts: list[str]) -> Tensor:
        return torch.from_numpy(self._teacher.embed_texts(texts).vectors).to(self._device)

    def _class_texts(self, step: int) -> list[str]:
        """A text for each class of a step, one language after the other: every process's alike."""
        rng = np.random.default_rng([self._seed, step, 2])
        chosen = sorted(rng.permutation(len(self._classes))[: self._count].tolist())
        return [
            str(rng.choice(templates)).replace("{}", self._classes[number][language])
            for language, templates in self._config.templates.items()
            for number in chosen
        ]


def _texts(source: SourceConfig) -> Iterator[str]:
    """All that a source may draw."""
    plain: RecordsConfig = replace(source, classes=None, templates={})
    yield from texts_of_records(plain)
    if source.classes is not None:
        yield from texts_of_classes(source.classes, source.templates)


def fixed_rotation(rows: int, columns: int) -> Tensor:
    """A matrix that turns vectors into another width, the same always. A larger width keeps every
    cosine; a smaller one keeps them as well as a random projection can. Equal widths: none."""
    if rows == columns:
        return torch.eye(rows)
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(max(rows, columns), min(rows, columns), generator=generator)
    basis = torch.linalg.qr(draw.double())[0].float()
    return basis if rows > columns else basis.T.contiguous()
