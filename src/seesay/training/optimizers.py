"""AdamW, its learning rate schedule, and the running average of the weights."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.layers import require_finite
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW with warm-up and cosine decay, and learning rates for parts of the model."""

    lr: float = 5e-4
    """Highest learning rate, reached after the warm-up."""
    warmup: float = 0.05
    """Share of all steps in which the learning rate rises from 0."""
    final: float = 0.0
    """Learning rate at the end of the cosine, as a share of the highest."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of AdamW's averages of the gradient and of its square."""
    eps: float = 1e-6
    """Added to the root of the averaged squares."""
    weight_decay: float = 0.2
    """Decay of matrices and kernels; norms, biases, scales and other vectors are not decayed."""
    multipliers: Mapping[str, float] = field(default_factory=dict)
    """Learning rate of parts of the model, as a factor: image = 0.1. The longest name wins."""
    freeze: tuple[str, ...] = ()
    """Parts of the model that are not trained: "image" freezes the image tower."""
    ema: float | None = None
    """Decay of a running average of the weights, such as 0.999; the average is evaluated and
    exported instead of the weights. None: no average."""

    def __post_init__(self) -> None:
        require_finite(above=0.0, lr=self.lr, eps=self.eps)
        if self.weight_decay < 0:
            raise ConfigError(
                Text(
                    f"weight_decay={self.weight_decay} would let weights grow, expected at least "
                    "0: raise it",
                    f"weight_decay={self.weight_decay} 会使参数越来越大；至少为 0；请调大",
                )
            )
        for name in ("warmup", "final"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ConfigError(
                    Text(
                        f"{name}={share} is no part of a whole, expected a number between 0 and "
                        "1: set one",
                        f"{name}={share} 不是比例；应在 0 到 1 之间；请改正",
                    )
                )
        if not all(0 <= beta < 1 for beta in (*self.betas, self.ema or 0)):
            given = f"betas={self.betas}"
            raise ConfigError(
                Text(
                    f"{given} and ema={self.ema} are no decays, expected numbers of at least 0 "
                    "and below 1: set such",
                    f"{given}, ema={self.ema} 不是衰减率；应至少为 0 且小于 1；请改正",
                )
            )
        factors = {f"multipliers.{name}": factor for name, factor in self.multipliers.items()}
        require_finite(above=0.0, **factors)


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that are not frozen. Raises ConfigError for unknown parts."""
    names = [name for name, _ in model.named_parameters()]
    check_names(names, config)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if any(belongs(name, part) for part in config.freeze):
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            parts = [part for part in config.multipliers if belongs(name, part)]
            factor = config.multipliers[max(parts, key=len)] if parts else 1.0
            groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    if not groups:
        raise ConfigError(
            Text(
                f"freeze={config.freeze} leaves nothing to learn: free a part",
                f"freeze={config.freeze} 锁定了所有要学习的部分；请放开一部分",
            )
        )
    return torch.optim.AdamW(
        [
            {"params": parameters, "factor": factor, "weight_decay": config.weight_decay * decays}
            for (factor, decays), parameters in groups.items()
        ],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
    )


def check_names(names: Sequence[str], config: OptimizerConfig) -> None:
    """Raises ConfigError if `freeze` or `multipliers` matches none of a model's parameters."""
    for setting, parts in (("freeze", config.freeze), ("multipliers", config.multipliers)):
        for part in parts:
            if not any(belongs(name, part) for name in names):
                raise ConfigError(_no_such_part(setting, part, names))


def belongs(name: str, part: str) -> bool:
    """Whether a parameter belongs to, or is, a part of the model."""
    return name == part or name.startswith(part + ".")


def _no_such_part(setting: str, part: str, names: Iterable[str]) -> Text:
    parts = {".".join(n.split(".")[:depth]) for n in names for depth in range(1, n.count(".") + 2)}
    top = sorted({name.split(".")[0] for name in names})
    remedy = Text(
        f"name one of {', '.join(top)}, or a part of these",
        f"应为 {'、'.join(top)} 之一，或其中的一部分",
    )
    if near := difflib.get_close_matches(part, parts, n=1):
        remedy = Text(f"did you mean {near[0]!r}?", f"是不是想用 {near[0]!r}？")
    return Text(
        f"optimizer.{setting}: the model has no part {part!r}: {remedy.en}",
        f"optimizer.{setting}：模型里没有 {part!r} 这一部分；{remedy.zh}",
    )


def lr_factor(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of a step, counted from 1, as a share of the highest."""
    warmup = round(config.warmup * steps)
    if step <= warmup:
        return step / warmup
    done = (step - 1 - warmup) / (steps - warmup)  # just short of 1 in the last step
    return config.final + (1 - config.final) * (1 + cos(pi * done)) / 2


class Ema:
    """A running average of a model's weights, in their own precision and place.

    Its decay starts low, to forget the untrained weights soon (tensorflow's
    ExponentialMovingAverage with num_updates).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Moves the average towards the weights after a step, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            average: Any = self.weights[name]
            if tensor.is_floating_point():
                average.lerp_(tensor, 1 - decay)
            else:
                average.copy_(tensor)
