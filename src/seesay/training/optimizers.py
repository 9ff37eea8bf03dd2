"""AdamW with the customary exceptions, its learning rate over time, and the running average."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn

from seesay.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW, warm-up and cosine, and which parts learn how fast."""

    lr: float = 5e-4
    """Highest learning rate, reached after the warm-up."""
    warmup: float = 0.05
    """Part of all steps in which the learning rate rises from 0."""
    final: float = 0.0
    """Part of the highest learning rate that is left at the end of the cosine."""
    betas: tuple[float, float] = (0.9, 0.98)
    """How slowly AdamW's averages of the gradient and its square move."""
    eps: float = 1e-6
    """What AdamW adds to the root of the squares."""
    weight_decay: float = 0.2
    """Decay of matrices and kernels; norms, biases, scales and other vectors have none."""
    multipliers: Mapping[str, float] = field(default_factory=dict)
    """Learning rate of a part of the model, as a multiple: image = 0.1. The longest name counts."""
    freeze: tuple[str, ...] = ()
    """Parts of the model that do not learn: "image" locks the image tower."""
    ema: float | None = None
    """Decay of a running average of the weights, which is then evaluated and exported; 0.999."""

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.eps <= 0 or self.weight_decay < 0:
            raise ConfigError(
                f"lr={self.lr}, eps={self.eps} and weight_decay={self.weight_decay} cannot be "
                "used, expected the first two above 0 and the last at least 0: raise them"
            )
        for name in ("warmup", "final"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name}={getattr(self, name)} is no part of a whole, expected a number "
                    "between 0 and 1: set one"
                )
        if not all(0 <= beta < 1 for beta in (*self.betas, self.ema or 0)):
            raise ConfigError(
                f"betas={self.betas} and ema={self.ema} are no decays, expected numbers of at "
                "least 0 and below 1: set such"
            )
        for name, factor in self.multipliers.items():
            if factor <= 0:
                raise ConfigError(
                    f"multipliers.{name}={factor} is no factor, expected a number above 0: raise "
                    "it, or lock the part by freeze"
                )


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over what is not frozen. Raises ConfigError where a part does not exist."""
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
        raise ConfigError(f"freeze={config.freeze} leaves nothing to learn: free a part")
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
    """Raises ConfigError where `freeze` or `multipliers` names none of a model's parameters."""
    for setting, parts in (("freeze", config.freeze), ("multipliers", config.multipliers)):
        for part in parts:
            if not any(belongs(name, part) for name in names):
                raise ConfigError(f"optimizer.{setting}: {_no_such_part(part, names)}")


def belongs(name: str, part: str) -> bool:
    """Whether a parameter is of a part of the model, which may be itself."""
    return name == part or name.startswith(part + ".")


def _no_such_part(part: str, names: Iterable[str]) -> str:
    parts = {".".join(n.split(".")[:depth]) for n in names for depth in range(1, n.count(".") + 2)}
    near = difflib.get_close_matches(part, parts, n=1)
    top = ", ".join(sorted({name.split(".")[0] for name in names}))
    return f"the model has no part {part!r}: " + (
        f"did you mean {near[0]!r}?" if near else f"name one of {top}, or a part of these"
    )


def lr_factor(config: OptimizerConfig, step: int, steps: int) -> float:
    """Part of the highest learning rate in a step, counted from 1."""
    warmup = round(config.warmup * steps)
    if step <= warmup:
        return step / warmup
    done = (step - 1 - warmup) / (steps - warmup)  # just short of 1 in the last step
    return config.final + (1 - config.final) * (1 + cos(pi * done)) / 2


class Ema:
    """A running average of a model's weights, in their own precision and place.

    Its decay starts low, so that the average does not remember the untrained weights
    (tensorflow's ExponentialMovingAverage with num_updates).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the weights after a step, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            average: Any = self.weights[name]
            if tensor.is_floating_point():
                average.lerp_(tensor, 1 - decay)
            else:
                average.copy_(tensor)
