"""Learn to answer questions about images by choosing from a list of answers, as models for VQA do
(Anderson et al. 2018, arXiv 1707.07998, section 3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seesay.errors import ConfigError
from seesay.objectives.captioning import rows_by_image, texts_by_image
from seesay.objectives.exchange import mean_over_processes
from seesay.objectives.objective import Batch, Objective, ObjectiveConfig, ObjectiveContext, View
from seesay.objectives.tiled import at_least_float32
from seesay.text import Text

IGNORED = -1  # the target of a question whose answer is not listed


@dataclass(frozen=True, kw_only=True)
class AnswerClassificationConfig(ObjectiveConfig):
    """Choose the answer of each question about an image among the frequent answers of the data. The
    model needs [model.fusion]; its towers stay as they are."""

    @property
    def trains(self) -> tuple[str, ...]:
        return ("fusion",)

    def make(self, context: ObjectiveContext) -> Objective:
        return AnswerClassification(self, context.bundle)

    def check(self, name: str, architecture: Any) -> None:
        if not hasattr(architecture, "answers"):
            raise ConfigError(
                Text(
                    f"objective.{name} learns to choose among answers, expected a model that has "
                    "a list of them: add [model.fusion], or start from a model that was trained "
                    "with it",
                    f"objective.{name} 学习从答案中选择；应有带答案表的模型；请加上 "
                    "[model.fusion]，或从用它训练过的模型开始",
                )
            )


class AnswerClassification:
    """The objective of AnswerClassificationConfig. All questions about an image share its row, so
    that a batch can be split anywhere."""

    def __init__(self, config: AnswerClassificationConfig, bundle: Any) -> None:
        self._source, self._tokenizer = config.source, bundle.tokenizer
        self._numbers = {answer: n for n, answer in enumerate(bundle.config.answers)}
        self._images = View("images", config.source)
        self._questions = View("questions", config.source)
        self._targets = torch.empty(0, 0, dtype=torch.long)

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        own, pad_id = batch.sources[self._source], self._tokenizer.config.pad_id
        asks = [number for number, request in enumerate(own.requests) if request]
        owners = own.owners[asks]
        ids = torch.from_numpy(self._tokenizer.encode([own.requests[n] for n in asks]).first)
        numbers = [self._numbers.get(own.texts[n], IGNORED) for n in asks]
        targets = torch.tensor(numbers, dtype=torch.long)
        count = len(own.images)
        self._targets = rows_by_image(targets, owners, count, IGNORED)
        return {
            self._images: own.images,
            self._questions: texts_by_image(ids, owners, count, pad_id),
        }

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        return answer_loss(outputs[self._questions], self._targets)


def answer_loss(
    logits: Float[Tensor, "images most classes"], targets: Int[Tensor, "images most"]
) -> Float[Tensor, ""]:
    """Returns the mean over the questions of all processes of -log(probability) of the answer.
    Those with a target of -1 do not count."""
    targets = targets.to(logits.device).flatten()
    losses = F.cross_entropy(
        at_least_float32(logits).flatten(0, 1), targets, ignore_index=IGNORED, reduction="sum"
    )
    return mean_over_processes(losses, (targets != IGNORED).sum())
