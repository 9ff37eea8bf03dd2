"""Match images and texts by a Q-Former: the contrastive and the matching loss of BLIP-2's first
stage (Li et al. 2023, arXiv 2301.12597, section 3.2), as in LAVIS. The third is in captioning.py.

Both are exact over any number of processes: the value is the loss of the whole batch, and the
gradient, averaged over the processes, is that of the whole batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seesay.errors import ConfigError
from seesay.objectives.contrastive import rows_by_language
from seesay.objectives.exchange import Exchange, connect, gather_objects, mean_over_processes
from seesay.objectives.objective import (
    Batch,
    Objective,
    ObjectiveConfig,
    ObjectiveContext,
    SourceBatch,
    View,
    qformer_parts,
)
from seesay.objectives.positives import PairIds, checked_ids, ids_of_batch
from seesay.objectives.tiled import at_least_float32
from seesay.text import Text

TEMPERATURE = 0.07  # to begin with (LAVIS, blip2_qformer.py)


class _QFormerConfig(ObjectiveConfig):
    """What both objectives need."""

    def check(self, name: str, architecture: Any) -> None:
        if getattr(architecture, "embed_dim", None) and hasattr(architecture, "qformer"):
            return
        raise ConfigError(
            Text(
                f"objective.{name} teaches a Q-Former, expected a model that has one: add "
                "[model.qformer], or start from a model that was trained with it",
                f"objective.{name} 训练的是 Q-Former；应有带 Q-Former 的模型；请加上 "
                "[model.qformer]，或从用它训练过的模型开始",
            )
        )

    def initial(self, batch: int) -> Mapping[str, float]:
        return {"scale_init": 1 / TEMPERATURE}


# Contrastive


@dataclass(frozen=True, kw_only=True)
class QueryContrastiveConfig(_QFormerConfig):
    """Pull each text and the nearest of its image's queries together, and all others apart
    (BLIP-2's image-text contrastive loss)."""

    smoothing: float = 0.1
    """Share of each target that is spread over all candidates."""
    languages: Literal["apart", "together"] = "apart"
    """Whether images are compared with texts of one language at a time, or of all languages."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.smoothing < 1:
            raise ConfigError(
                Text(
                    f"smoothing={self.smoothing} is no share that leaves a target, expected at "
                    "least 0 and below 1: set one",
                    f"smoothing={self.smoothing} 不是合适的比例；应至少为 0 且小于 1；请改正",
                )
            )

    @property
    def trains(self) -> tuple[str, ...]:
        return ("qformer", "image_proj", "text_proj", "log_scale")

    def make(self, context: ObjectiveContext) -> Objective:
        return QueryContrastive(self)


class QueryContrastive:
    """The objective of QueryContrastiveConfig."""

    def __init__(self, config: QueryContrastiveConfig) -> None:
        self._config = config
        self._images, self._texts = View("images", config.source), View("texts", config.source)

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        own = batch.sources[self._config.source]
        return {self._images: own.images, self._texts: own.ids}

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        images, texts = outputs[self._images], outputs[self._texts]
        own = batch.sources[self._config.source]
        ids = ids_of_batch(own.groups, own.owners, own.text_numbers)
        rows = [list(range(len(own.languages)))]
        if self._config.languages == "apart":
            rows = list(rows_by_language(own.languages).values())
        losses = [
            query_contrastive_loss(
                images,
                texts[some],
                log_scale,
                PairIds(ids.images.to(images.device), ids.texts[some].to(images.device)),
                self._config.smoothing,
            )
            for some in rows
        ]
        return torch.stack(losses).mean()


def query_contrastive_loss(
    image_embeds: Float[Tensor, "images queries embed"],
    text_embeds: Float[Tensor, "texts embed"],
    log_scale: Float[Tensor, ""],
    ids: PairIds | None = None,
    smoothing: float = 0.1,
) -> Float[Tensor, ""]:
    """Returns the mean of two softmax losses: each image picks its text among those of all
    processes, and each text its image, by the cosine of the text with the image's nearest query.

    Embeddings are unit vectors. Without `ids`, row i of both sides belongs together; a row that
    belongs to several shares its target among them, and one that belongs to nothing only serves as
    a negative. `smoothing` is the share of a target that is spread over all candidates.
    """
    exchange = connect("gather", image_embeds, text_embeds)
    ids = checked_ids(ids, image_embeds, text_embeds, exchange)
    everyones = _everyones(image_embeds, text_embeds, exchange)
    every_id = everyones.ids(ids)
    with torch.autocast(image_embeds.device.type, enabled=False):
        images, texts = map(at_least_float32, (image_embeds, text_embeds))
        losses = [
            _smoothed_loss(log_scale.exp() * logits, positive, smoothing)
            for logits, positive in (
                (similarities(images, everyones.texts), ids.images[:, None] == every_id.texts),
                (similarities(everyones.images, texts).T, ids.texts[:, None] == every_id.images),
            )
        ]
    return torch.stack(losses).mean()


class _Everyones(NamedTuple):
    """The embeddings of all processes."""

    images: Float[Tensor, "all_images queries embed"]
    texts: Float[Tensor, "all_texts embed"]
    exchange: Exchange

    def ids(self, own: PairIds) -> PairIds:
        """Gathers the ids of the pairs of all processes."""
        exchange = self.exchange
        return PairIds(exchange.gather_images(own.images), exchange.gather_texts(own.texts))


def _everyones(images: Tensor, texts: Tensor, exchange: Exchange) -> _Everyones:
    flat = exchange.every_image(at_least_float32(images).flatten(1))
    every_text = exchange.every_text(at_least_float32(texts))
    return _Everyones(flat.unflatten(1, images.shape[1:]), every_text, exchange)


def similarities(
    images: Float[Tensor, "images queries embed"], texts: Float[Tensor, "texts embed"]
) -> Float[Tensor, "images texts"]:
    """Returns the cosine of each text with the nearest query of each image."""
    return (images @ texts.T).amax(dim=1)


def _smoothed_loss(
    logits: Float[Tensor, "rows candidates"],
    positive: Bool[Tensor, "rows candidates"],
    smoothing: float,
) -> Float[Tensor, ""]:
    counts = positive.sum(1)
    targets = (1 - smoothing) * positive / counts.clamp(min=1)[:, None]
    targets = targets + smoothing / max(logits.shape[1], 1)
    losses = -(targets * logits.log_softmax(1)).sum(1) * (counts > 0)
    return mean_over_processes(losses.sum(), counts.count_nonzero())


# Matching


@dataclass(frozen=True, kw_only=True)
class MatchingConfig(_QFormerConfig):
    """Tell whether a text matches an image, with each attending to the other (BLIP-2's image-text
    matching loss). Each text is shown with its own image and with another one, and its image with
    another text of its language. The others are drawn from all processes, similar ones more often,
    and never belong together. Where a batch has no other, as a batch of one image, there is only
    the match."""

    @property
    def trains(self) -> tuple[str, ...]:
        return ("qformer", "match")

    def parts(self, architecture: Any) -> tuple[str, ...]:
        """Of its last layer, only queries are judged."""
        last = "attention", "norm1", "cross", "norm_cross", "mlp", "norm2"
        if not hasattr(architecture, "qformer"):
            return self.trains
        return (*qformer_parts(architecture.qformer.depth, *last), "match")

    def make(self, context: ObjectiveContext) -> Objective:
        return Matching(self, context.seed)


class Negatives(NamedTuple):
    """What each text of this process was drawn as a mismatch: the number, among those of all
    processes, of another image and of another text for its image; -1 if there is none."""

    images: Int[Tensor, " texts"]
    texts: Int[Tensor, " texts"]


class Matching:
    """The objective of MatchingConfig. One process draws the same negatives as several."""

    def __init__(self, config: MatchingConfig, seed: int) -> None:
        source = config.source
        self._source, self._seed = source, seed
        self._images, self._texts = View("images", source), View("texts", source)
        self._pairs, self._pictures = View("pairs", source), View("pictures", source)
        nothing = torch.empty(0, dtype=torch.long)
        self.negatives = Negatives(nothing, nothing)
        """Those of the last step."""

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        return {}

    def compared(self, batch: Batch) -> Mapping[View, Tensor]:
        own = batch.sources[self._source]
        return {self._images: own.images, self._texts: own.ids}

    def draw(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Mapping[View, Tensor]:
        own = batch.sources[self._source]
        images, texts = outputs[self._images], outputs[self._texts]
        exchange = connect("gather", images, texts)
        everyones, scale = _everyones(images, texts, exchange), at_least_float32(log_scale).exp()
        of_texts = scale * similarities(everyones.images, at_least_float32(texts)).T
        of_images = scale * similarities(at_least_float32(images), everyones.texts)
        of_images = of_images[own.owners.to(images.device)]
        rng = np.random.default_rng([self._seed, batch.step, 5])
        draws = torch.from_numpy(rng.random((2, sum(exchange.text_counts))))
        draws = draws[:, exchange.texts_of(exchange.rank)]
        allowed = self._allowed(own, everyones)
        logits = of_texts.cpu(), of_images.cpu()
        self.negatives = Negatives(*map(draw_negatives, logits, allowed, draws))
        return self._rows(own, exchange, images.device)

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        return matching_loss(outputs[self._pairs], self.negatives)

    def _allowed(
        self, own: SourceBatch, everyones: _Everyones
    ) -> tuple[Bool[Tensor, "texts all_images"], Bool[Tensor, "texts all_texts"]]:
        """Returns which images and which texts may be drawn for each text."""
        ids = ids_of_batch(own.groups, own.owners, own.text_numbers)
        device = everyones.texts.device
        every_id = everyones.ids(PairIds(ids.images.to(device), ids.texts.to(device)))
        images, texts = (one.cpu() != ids.texts[:, None] for one in every_id)
        languages = [one for each in gather_objects(list(own.languages)) for one in each]
        same = np.array(own.languages)[:, None] == np.array(languages)
        return images, texts & torch.from_numpy(same)

    def _rows(
        self, own: SourceBatch, exchange: Exchange, device: torch.device
    ) -> Mapping[View, Tensor]:
        images, ids = own.images.to(device), own.ids.to(device)
        picture, text = (numbers.clamp(min=0).to(device) for numbers in self.negatives)
        others = exchange.gather_images(images)[picture], exchange.gather_texts(ids)[text]
        pictures = torch.stack([images[own.owners.to(device)], others[0]], dim=1)
        return {self._pairs: torch.stack([ids, others[1]], dim=1), self._pictures: pictures}


def draw_negatives(
    logits: Float[Tensor, "rows candidates"],
    allowed: Bool[Tensor, "rows candidates"],
    draws: Float[Tensor, " rows"],
) -> Int[Tensor, " rows"]:
    """Returns a candidate for each row, by the softmax of those that are allowed; -1 if none is.
    `draws` are uniform random numbers from 0 up to 1."""
    weights = logits.double().masked_fill(~allowed, -torch.inf).softmax(1).nan_to_num()
    sums = weights.cumsum(1)
    chosen = torch.searchsorted(sums, draws[:, None] * sums[:, -1:], right=True)[:, 0]
    last = allowed.shape[1] - 1 - allowed.flip(1).int().argmax(1)  # a sum may be rounded up
    return torch.where(allowed.any(1), torch.minimum(chosen, last), -1)


def matching_loss(logits: Float[Tensor, "texts 3 2"], negatives: Negatives) -> Float[Tensor, ""]:
    """Returns the mean over the pairs of all processes of -log(probability) of what is true. The
    first pair of each text matches, the other two do not; those without a negative do not
    count."""
    there = torch.stack([torch.ones_like(negatives.images), *negatives], dim=1) >= 0
    there = there.to(logits.device)
    matches = torch.tensor([1, 0, 0], device=logits.device).expand(len(logits), -1)
    losses = F.cross_entropy(
        at_least_float32(logits).flatten(0, 1), matches.flatten(), reduction="none"
    )
    return mean_over_processes((losses.view_as(there) * there).sum(), there.sum())
