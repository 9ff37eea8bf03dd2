"""The objective that teaches a vision-language model to answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seesay.data.chat import Media, Message, encode, render
from seesay.data.chat_templates import chat_template
from seesay.errors import ConfigError, DataError
from seesay.models.vlm import Vlm, VlmConfig
from seesay.objectives.captioning import rows_by_image
from seesay.objectives.exchange import mean_over_processes
from seesay.objectives.objective import (
    Batch,
    Objective,
    ObjectiveConfig,
    ObjectiveContext,
    View,
)
from seesay.text import Text
from seesay.weights.bundle import Bundle
from seesay.weights.vlm_step import rows_per_picture


@dataclass(frozen=True, kw_only=True)
class AnsweringConfig(ObjectiveConfig):
    """Write answers and captions, token by token, given the image and what is asked; only what the
    assistant writes is learned (LLaVA, Liu et al. 2023). Freeze the tower and the decoder to train
    the connector alone, as LLaVA's first stage does."""

    averaging: Literal["token", "square", "sample"] = "token"
    """How much an answer of n tokens counts: n ("token", so that captions outweigh short answers),
    1 ("sample"), or sqrt(n) ("square"; InternVL2.5, Chen et al. 2024, section 3.2)."""

    @property
    def trains(self) -> tuple[str, ...]:
        return ("tower", "connector", "decoder")

    def make(self, context: ObjectiveContext) -> Objective:
        return Answering(self, context)

    def check(self, name: str, architecture: Any) -> None:
        if not isinstance(architecture, VlmConfig):
            raise ConfigError(
                Text(
                    f"objective.{name} learns to answer, expected a vision-language model: add "
                    "[model.assistant], or start from a model that was trained with it",
                    f"objective.{name} 要学回答；应有视觉语言模型；请加上 [model.assistant]，"
                    "或从用它训练过的模型开始",
                )
            )


class Answering:
    """The objective of AnsweringConfig. All conversations about an image share its row, so that a
    batch can be split anywhere."""

    def __init__(self, config: AnsweringConfig, context: ObjectiveContext) -> None:
        bundle: Bundle[Vlm] = context.bundle
        self._source = config.source
        self._images, self._answers = View("images", config.source), View("answers", config.source)
        self._conversations = Conversations(bundle, config.source)
        self._pad_id = bundle.tokenizer.config.pad_id
        self._power = {"token": 0.0, "square": 0.5, "sample": 1.0}[config.averaging]
        self._weights = self._learned = torch.zeros(())

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        own = batch.sources[self._source]
        texts = self._conversations.encode(own.requests, own.texts)
        rows = conversations_by_image(texts, own.owners, len(own.images), self._pad_id)
        tokens = rows[:, :, 1, 1:].sum(-1).double()
        self._weights = tokens.clamp(min=1) ** -self._power
        self._learned = (self._weights * tokens).sum()
        return {self._images: own.images, self._answers: rows}

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        losses = outputs[self._answers]
        return mean_over_processes((losses * self._weights.to(losses)).sum(), self._learned)


class Conversations:
    """Questions about an image and their answers, as a model reads them."""

    def __init__(self, bundle: Bundle[Vlm], source: str) -> None:
        """`source` is the section of [data] that errors name."""
        self._source = source
        self._template = chat_template(bundle.template)
        self._tokenizer = bundle.tokenizer.for_prompts()
        self._limit = bundle.tokenizer.config.context
        self._media = Media("image", (rows_per_picture(bundle),))

    def encode(self, requests: Sequence[str], answers: Sequence[str]) -> list[Tensor]:
        """Returns (2 tokens) for each answer: the ids of its conversation, and which are
        learned. Raises DataError for one that is too long."""
        texts = []
        for request, answer in zip(requests, answers, strict=True):
            asked = Message("user", (self._media, request) if request else (self._media,))
            prompt = render(self._template, [asked, Message("assistant", answer)], opening=False)
            try:
                encoded = encode(prompt, self._tokenizer, self._limit)
            except DataError as error:
                where = Text.of(f"data.{self._source}, {request!r:.60} {answer!r:.60}")
                raise DataError(
                    Text(f"{where.en}: {error.text.en}", f"{where.zh}：{error.text.zh}")
                ) from None
            texts.append(torch.tensor([encoded.ids, encoded.answer], dtype=torch.long))
        return texts


def conversations_by_image(texts: list[Tensor], owners: Tensor, images: int, pad_id: int) -> Tensor:
    """Groups conversations, (2 tokens) each, by image: returns (images most 2 tokens). Images with
    fewer conversations get padding, of which nothing is learned."""
    ids = pad_sequence([text[0] for text in texts], batch_first=True, padding_value=pad_id)
    learned = pad_sequence([text[1] for text in texts], batch_first=True)
    parts = rows_by_image(ids, owners, images, pad_id), rows_by_image(learned, owners, images, 0)
    return torch.stack(parts, dim=2)
