"""Preference training of a vision-language model: DPO (Rafailov et al. 2023, arXiv 2305.18290),
with mDPO's pairs of pictures (Wang et al. 2024, arXiv 2406.11839) and MPO's mixed objective (Wang
et al. 2024, arXiv 2411.10442) as options.

The reference model is the model without its LoRA adapters, so memory holds no second one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from seesay.errors import ConfigError, DataError
from seesay.models.layers import require_finite
from seesay.models.lora import is_adapter
from seesay.models.vlm import Vlm
from seesay.objectives.exchange import mean_over_processes, sum_over_processes
from seesay.objectives.objective import (
    Batch,
    Objective,
    ObjectiveConfig,
    ObjectiveContext,
    View,
)
from seesay.text import Text
from seesay.training.answering import AnsweringConfig, Conversations, conversations_by_image
from seesay.weights.bundle import Bundle

LARGEST_CROP = 0.2
"""Share of the area that a cropped picture keeps at most (mDPO, section 3.2)."""
TERMS = ("preference", "quality", "generation", "picture", "anchor")


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(ObjectiveConfig):
    """Prefer the answer to a question over its `rejected` answer, relative to the model without its
    adapters (DPO). The model needs [model.lora], and only its adapters can be trained. MPO:
    preference = 0.8, quality = 0.2, generation = 1. mDPO: picture = 1, anchor = 1."""

    beta: float = 0.1
    """How much a change of an answer's log probability counts; larger values keep the model closer
    to the reference."""
    preference: float = 1.0
    """Weight of the DPO loss, which raises the reward of the chosen answer above that of the
    rejected one. The reward is beta times the gain in log probability over the model without
    adapters."""
    quality: float = 0.0
    """Weight of the BCO loss, which raises the reward of the chosen answer above 0 and lowers that
    of the rejected one below 0, as TRL computes it for pairs, without a moving mean."""
    generation: float = 0.0
    """Weight of the language-modelling loss of the chosen answer, per token."""
    picture: float = 0.0
    """Weight of mDPO's picture loss, which raises the reward of the chosen answer above that of the
    same answer about a small crop of the picture."""
    anchor: float = 0.0
    """Weight of mDPO's anchor, which keeps the reward of the chosen answer above 0, so that it does
    not become less likely along with the rejected one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(above=0.0, beta=self.beta)
        given = {name: getattr(self, name) for name in TERMS}
        if min(given.values()) < 0 or not any(given.values()):
            told = ", ".join(f"{name}={value}" for name, value in given.items())
            raise ConfigError(
                Text(
                    f"{told} are not valid weights, expected numbers of at least 0, at least one "
                    "of them above 0: correct them",
                    f"{told} 不能用作权重；都应不小于 0，且至少有一个大于 0；请改正",
                )
            )

    @property
    def trains(self) -> tuple[str, ...]:
        return ("decoder",)

    def make(self, context: ObjectiveContext) -> Objective:
        return Preference(self, context)

    def check(self, name: str, architecture: Any) -> None:
        AnsweringConfig(source=self.source).check(name, architecture)


class Rewards(NamedTuple):
    """How much more likely answers are than by the reference, times beta."""

    chosen: Float[Tensor, " pairs"]
    rejected: Float[Tensor, " pairs"]
    cropped: Float[Tensor, " pairs"]
    """Of the chosen answer about a crop of the picture; the same as `chosen` where no crop is
    shown."""


def preference_losses(
    config: PreferenceConfig, rewards: Rewards, per_token: Float[Tensor, " pairs"]
) -> Float[Tensor, " pairs"]:
    """Returns the loss of each pair; `per_token` is that of writing the chosen answer."""
    above = -F.logsigmoid(rewards.chosen)
    parts = {
        "preference": -F.logsigmoid(rewards.chosen - rewards.rejected),
        "quality": above - F.logsigmoid(-rewards.rejected),
        "generation": per_token,
        "picture": -F.logsigmoid(rewards.chosen - rewards.cropped),
        "anchor": above,
    }
    return torch.stack([getattr(config, name) * parts[name] for name in TERMS]).sum(0)


class Preference:
    """The objective of PreferenceConfig. The conversations about an image share its row: each
    answer is followed by its rejected one."""

    def __init__(self, config: PreferenceConfig, context: ObjectiveContext) -> None:
        bundle: Bundle[Vlm] = context.bundle
        _check_trained(context.name, bundle.model)
        self._config, self._seed = config, context.seed
        self._sources = [config.source]
        if config.picture:
            self._sources.append(f"{context.name} cropped")
        self._given = View("given", f"{context.name} references")
        self._conversations = Conversations(bundle, config.source)
        self._pad_id = bundle.tokenizer.config.pad_id
        self._tokens = torch.zeros(0, 0, 2)
        self._figures: dict[str, float] = {}

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        return self._views(batch, "answers")

    def compared(self, batch: Batch) -> Mapping[View, Tensor]:
        """The same conversations, for the model without its adapters."""
        return self._views(batch, "references")

    def draw(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Mapping[View, Tensor]:
        found = [outputs[View("references", source)] for source in self._sources]
        return {self._given: torch.cat(found, dim=1)}

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        losses = torch.cat([outputs[View("answers", source)] for source in self._sources], dim=1)
        tokens = self._tokens.to(losses.device)
        there = tokens[:, :, 0] > 0
        length = 2 * tokens.shape[1]  # the answers, then what is about the crops
        gained = self._config.beta * (outputs[self._given] - losses)
        chosen, rejected = gained[:, :length].unflatten(1, (-1, 2))[there].unbind(1)
        cropped = gained[:, length:][there] if self._config.picture else chosen
        counts = tokens[there].to(losses)
        per_token = losses[:, :length].unflatten(1, (-1, 2))[there][:, 0] / counts[:, 0]
        rewards = Rewards(chosen, rejected, cropped)
        self._note(rewards, counts)
        whole = preference_losses(self._config, rewards, per_token)
        return mean_over_processes(whole.sum(), there.sum())

    def figures(self) -> Mapping[str, float]:
        """The mean reward of answers and rejected ones, the margin between them, the share of pairs
        in which it is above 0, and the lengths in tokens."""
        return self._figures

    def _note(self, rewards: Rewards, counts: Float[Tensor, "pairs 2"]) -> None:
        chosen, rejected = rewards.chosen.detach(), rewards.rejected.detach()
        margin = chosen - rejected
        values = {
            "reward_chosen": chosen,
            "reward_rejected": rejected,
            "margin": margin,
            "accuracy": (margin > 0).to(chosen),
            "tokens_chosen": counts[:, 0],
            "tokens_rejected": counts[:, 1],
        }
        if self._config.picture:
            values["picture_margin"] = chosen - rewards.cropped.detach()
        sums = torch.stack([torch.ones_like(chosen), *values.values()]).sum(1)
        pairs, *totals = sum_over_processes(sums).tolist()
        self._figures = {
            name: total / max(pairs, 1) for name, total in zip(values, totals, strict=True)
        }

    def _views(self, batch: Batch, role: str) -> Mapping[View, Tensor]:
        own = batch.sources[self._config.source]
        pairs = [at for at, rejected in enumerate(own.rejected) if rejected]
        if not pairs:
            raise _no_pairs(self._config.source, len(own.texts))
        requests = [own.requests[at] for at in pairs for _ in range(2)]
        answers = [text for at in pairs for text in (own.texts[at], own.rejected[at])]
        texts = self._conversations.encode(requests, answers)
        owners = own.owners[pairs].repeat_interleave(2)
        rows = conversations_by_image(texts, owners, len(own.images), self._pad_id)
        by_pair = rows.unflatten(1, (-1, 2))
        self._tokens = by_pair[:, :, :, 1, 1:].sum(-1)
        views = {View("images", self._sources[0]): own.images, _view(role, self._sources[0]): rows}
        for source in self._sources[1:]:
            views[View("images", source)] = cropped(own.images, own.groups.tolist(), self._seed)
            views[_view(role, source)] = by_pair[:, :, 0]
        return views


def _view(role: str, source: str) -> View:
    return View("references" if role == "references" else "answers", source)


def cropped(
    images: UInt8[Tensor, "images height width 3"], numbers: list[int], seed: int
) -> UInt8[Tensor, "images height width 3"]:
    """A part of each image with at most a fifth of its area, enlarged to its size. Which part
    follows from the seed and the image's number, so that a tower sees it once (hardware.reuse)."""
    height, width = images.shape[1:3]
    parts = []
    for image, number in zip(images, numbers, strict=True):
        share, down, right = np.random.default_rng([seed, number]).random(3)
        side = (LARGEST_CROP * (1 - share)) ** 0.5  # above 0
        rows, columns = max(1, int(side * height)), max(1, int(side * width))
        top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
        part = image[top : top + rows, left : left + columns].permute(2, 0, 1)[None].float()
        whole = F.interpolate(part, size=(height, width), mode="bilinear")[0]
        parts.append(whole.permute(1, 2, 0).round().to(torch.uint8))
    return torch.stack(parts)


def _check_trained(name: str, model: Vlm) -> None:
    """Without its adapters, the model has to stay what it was."""
    learning = [n for n, p in model.named_parameters() if p.requires_grad]
    others = [n for n in learning if not is_adapter(n)]
    if others or not learning:
        parts = ", ".join(dict.fromkeys(n.split(".")[0] for n in others)) or "nothing"
        raise ConfigError(
            Text(
                f"objective.{name} compares with the model without its adapters, but {parts} "
                "would be trained; expected only adapters: add [model.lora], and list the other "
                "parts in optimizer.freeze",
                f"objective.{name} 以不带适配器的模型为参考，而要训练的却是 {parts}；应只训练"
                "适配器；请加上 [model.lora]，并把其他部分写进 optimizer.freeze",
            )
        )


def _no_pairs(source: str, texts: int) -> DataError:
    return DataError(
        Text(
            f"none of the {texts} texts of data.{source} in this batch has a rejected answer; "
            "expected `rejected` next to `question` and `answer`, as written by `seesay data vqa "
            "--kind preferences`: correct `added`, set captions = 0, or raise questions",
            f"这一批里 data.{source} 的 {texts} 条文字都没有 rejected；应与 question 和 answer "
            "写在一起，像 `seesay data vqa --kind preferences` 写出的那样；请改正 added，设 "
            "captions = 0，或调大 questions",
        )
    )
