"""An objective for what word order and single words say: it pulls each image towards its caption
and away from the same caption with one thing changed.

NegCLIP (Yuksekgonul et al. 2023, arXiv 2210.01936) compares each image with the foils of its whole
batch in CLIP's loss; here, each is compared with its own, beside whatever other objectives there
are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seesay.data.questions.asking import Draw
from seesay.data.questions.caption_foils import CaptionFoils
from seesay.data.questions.lexicon import read_lexicon
from seesay.data.tokenizer import Tokenizer
from seesay.objectives.exchange import mean_over_processes
from seesay.objectives.objective import (
    TOWERS,
    Batch,
    Objective,
    ObjectiveConfig,
    ObjectiveContext,
    View,
)
from seesay.objectives.tiled import at_least_float32
from seesay.training.class_names import first_tokens


@dataclass(frozen=True, kw_only=True)
class FoilsConfig(ObjectiveConfig):
    """Tell each caption from a foil: the same words with two colours swapped, or another colour,
    number, thing or preposition, drawn among the rules that apply. Captions to which none applies
    count in other objectives alone."""

    @property
    def trains(self) -> tuple[str, ...]:
        return (*TOWERS, "log_scale")

    def make(self, context: ObjectiveContext) -> Objective:
        return Foils(self, context)


class Foils:
    """The objective of FoilsConfig."""

    def __init__(self, config: FoilsConfig, context: ObjectiveContext) -> None:
        self._source, self._seed = config.source, context.seed
        self._tokenizer: Tokenizer = context.bundle.tokenizer
        self._images, self._texts = View("images", config.source), View("texts", config.source)
        self._view = View("texts", f"objective {context.name}")
        self._foils = CaptionFoils(read_lexicon())
        self.drawn: dict[int, str] = {}
        """The foil of each text of the last step that has one, by its number in the batch."""

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        own = batch.sources[self._source]
        draw = Draw(self._seed + batch.step)
        self.drawn = {}
        for at, (text, language) in enumerate(zip(own.texts, own.languages, strict=True)):
            foils = dict(self._foils.all(text, language, draw))  # type: ignore[arg-type]
            if foils:
                self.drawn[at] = foils[draw.choose(list(foils), text, "rule")]
        rows = {self._images: own.images, self._texts: own.ids}
        # A tower reads at least one row.
        foils_or_one = list(self.drawn.values()) or ["-"]
        return {**rows, self._view: first_tokens(self._tokenizer, foils_or_one)}

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        at = torch.tensor(list(self.drawn), dtype=torch.long)
        owners = batch.sources[self._source].owners[at]
        images = outputs[self._images][owners.to(outputs[self._images].device)]
        texts = outputs[self._texts][at.to(outputs[self._texts].device)]
        return foils_loss(images, texts, outputs[self._view][: len(at)], log_scale)


def foils_loss(
    images: Float[Tensor, "texts embed"],
    texts: Float[Tensor, "texts embed"],
    foils: Float[Tensor, "texts embed"],
    log_scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Returns the mean over all processes of -log p(caption), where a softmax chooses between each
    image's caption and its foil."""
    with torch.autocast(images.device.type, enabled=False):
        images, texts, foils = (at_least_float32(one) for one in (images, texts, foils))
        behind = log_scale.exp() * (images * (foils - texts)).sum(1)
    return mean_over_processes(F.softplus(behind).sum(), len(behind))
