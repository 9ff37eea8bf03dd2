"""Low-rank adapters in linear layers: LoRA (Hu et al. 2021, arXiv 2106.09685), with rsLoRA
(Kalajdzievski 2023, arXiv 2312.03732) and DoRA (Liu et al. 2024, arXiv 2402.09353) as options.

add_lora(model, LoraConfig(rank=16))     # computes the same as before
...                                      # train what `is_adapter` names
with adapter_off(model): ...             # the model as it was
use_adapter(model, "other")              # one of several adapters
merge_lora(model)                        # plain linear layers again
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import sqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seesay.models.layers import conflict, require_finite, require_range

LAYERS = ("query", "key", "value", "out", "gate", "up", "down")
DEFAULT = "default"
"""Name of an adapter that is given none."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters. They are trained, and the own weights of the parts that have them stay as
    they are; the exported model has the adapters merged into them."""

    rank: int = 16
    """Width between the two matrices of an adapter."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Parts of the model that get adapters, each with its rank: decoder = 16, tower = 4; the
    longest name wins. None: the decoder, or both towers of a dual encoder, with `rank`."""
    alpha: float = 32.0
    """What an adapter adds is scaled by alpha / rank."""
    targets: tuple[str, ...] = LAYERS
    """Linear layers of each block that get an adapter: query, key, value and out of the attention,
    gate, up and down of the MLP; of all seven, those that there are."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead, so that large ranks learn as fast as small ones (rsLoRA,
    arXiv 2312.03732)."""
    dora: bool = False
    """Learn the length of each row of weights beside its direction (DoRA, arXiv 2402.09353): a
    little better at small ranks, and slower."""

    def __post_init__(self) -> None:
        ranks = {f"ranks.{part}": rank for part, rank in self.ranks.items()}
        require_range(1, rank=self.rank, **ranks)
        require_finite(above=0.0, alpha=self.alpha)
        if not self.targets or set(self.targets) - set(LAYERS):
            known = ", ".join(LAYERS)
            raise conflict(
                f"targets={self.targets}", f"some of {known}: correct them", f"{known} 中的若干个"
            )

    def scale(self, rank: int) -> float:
        """The factor of what an adapter of this rank adds."""
        return self.alpha / (sqrt(rank) if self.rslora else rank)


class Adapter(nn.Module):
    """The matrices of an adapter: scale * B A beside a weight W. B starts at zero, and the
    magnitude at the lengths of the rows of W."""

    def __init__(
        self, weight: Float[Tensor, "out_dim in_dim"], rank: int, scale: float, dora: bool
    ) -> None:
        super().__init__()
        self.scale = scale
        self.a = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.b = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        self.magnitude = nn.Parameter(weight.detach().norm(dim=1)) if dora else None
        nn.init.kaiming_uniform_(self.a, a=sqrt(5))  # as nn.Linear

    def whole(self, weight: Float[Tensor, "out_dim in_dim"]) -> Float[Tensor, "out_dim in_dim"]:
        """The weight with the adapter in it, without the magnitude."""
        return weight + self.scale * self.b @ self.a


class LoraLinear(nn.Linear):
    """A linear layer W with adapters by name, of which one is active or none: W x + scale * B A x,
    with DoRA each row stretched to its magnitude."""

    def __init__(self, linear: nn.Linear) -> None:
        """Takes over the parameters of `linear`."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.adapters = nn.ModuleDict()
        self.active: str | None = None

    def add(self, name: str, rank: int, scale: float, dora: bool) -> Adapter:
        """Adds an adapter, or replaces that of the same name, and makes it the active one."""
        self.adapters[name] = adapter = Adapter(self.weight, rank, scale, dora)
        self.active = name
        return adapter

    @property
    def adapter(self) -> Adapter | None:
        """The active adapter."""
        if self.active is None or self.active not in self.adapters:
            return None
        adapter = self.adapters[self.active]
        assert isinstance(adapter, Adapter)
        return adapter

    def forward(self, x: Float[Tensor, "*axes in_dim"]) -> Float[Tensor, "*axes out_dim"]:
        if (adapter := self.adapter) is None:
            return super().forward(x)
        added = adapter.scale * F.linear(F.linear(x, adapter.a), adapter.b)
        if adapter.magnitude is None:
            return super().forward(x) + added
        # The length is a constant for the gradient (DoRA, section 4.3).
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            length = adapter.whole(self.weight).norm(dim=1)
        y = (F.linear(x, self.weight) + added) * (adapter.magnitude / length)
        return y if self.bias is None else y + self.bias

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Returns a plain layer that computes the same."""
        linear = nn.Linear(
            self.in_features, self.out_features, bias=self.bias is not None, device="meta"
        )
        weight = self.weight
        if (adapter := self.adapter) is not None:
            weight = adapter.whole(weight)
            if adapter.magnitude is not None:
                weight = weight * (adapter.magnitude / weight.norm(dim=1))[:, None]
        linear.weight, linear.bias = nn.Parameter(weight), self.bias
        return linear


class Place(NamedTuple):
    """A linear layer of a model."""

    name: str
    parent: nn.Module
    linear: nn.Linear

    def adapted(self) -> LoraLinear:
        """The layer, made ready for adapters if it was not."""
        if isinstance(self.linear, LoraLinear):
            return self.linear
        layer = LoraLinear(self.linear)
        setattr(self.parent, self.name.rpartition(".")[2], layer)
        return layer


def linear_places(model: nn.Module) -> dict[str, Place]:
    """The layers of a model's blocks that can have adapters, by name. Gated cross-attention and
    what is between the parts get none: they are trained themselves."""
    found = {}
    for name, module in model.named_modules():
        path = name.split(".")
        inside = "blocks" in path and "cross" not in path
        if isinstance(module, nn.Linear) and path[-1] in LAYERS and inside:
            found[name] = Place(name, model.get_submodule(".".join(path[:-1])), module)
    return found


def adapted_parts(model: nn.Module) -> tuple[str, ...]:
    """The parts that get adapters where a config names none: the language model, or both towers of
    a model without one, or all of a model that is a part itself."""
    there = [name for name, child in model.named_children() if linear_places(child)]
    for parts in (("decoder",), ("language",), ("image", "text")):
        if found := tuple(part for part in parts if part in there):
            return found
    return ("",)


def add_lora(model: nn.Module, config: LoraConfig, name: str = DEFAULT) -> None:
    """Gives adapters to a model, in place, and makes them the active ones. Raises ConfigError if
    it lacks a part or layer that the config names."""
    ranks = config.ranks or dict.fromkeys(adapted_parts(model), config.rank)
    places = linear_places(model)
    chosen: dict[str, int] = {}
    for of_layer in places:
        parts = [part for part in ranks if not part or f"{of_layer}.".startswith(f"{part}.")]
        if parts and of_layer.rpartition(".")[2] in config.targets:
            chosen[of_layer] = ranks[max(parts, key=len)]
    for part in ranks:
        if part and not any(f"{of_layer}.".startswith(f"{part}.") for of_layer in chosen):
            names = ", ".join(dict.fromkeys(of_layer.split(".")[0] for of_layer in places))
            raise conflict(
                f"ranks.{part} and a model without such layers there",
                f"a part with blocks, as {names or 'this model has none'}: correct it",
                f"有 Transformer 层的部分（{names or '这个模型没有'}）：请改正",
            )
    have = {of_layer.rpartition(".")[2] for of_layer in chosen}
    missing = [one for one in config.targets if one not in have]
    if not chosen or (missing and config.targets != LAYERS):
        there = [one for one in LAYERS if any(n.endswith(f".{one}") for n in places)]
        raise conflict(
            f"targets={config.targets} and a model without {', '.join(missing)}",
            f"some of {', '.join(there)}: leave the others out",
            f"{'、'.join(there)} 中的若干个：请去掉其余的",
        )
    for of_layer, rank in chosen.items():
        places[of_layer].adapted().add(name, rank, config.scale(rank), config.dora)


def use_adapter(model: nn.Module, name: str | None) -> None:
    """Makes one of a model's adapters the active one; None: none of them. Raises ConfigError for an
    unknown name."""
    layers = [one for one in model.modules() if isinstance(one, LoraLinear)]
    known = list(dict.fromkeys(key for one in layers for key in one.adapters))
    if name is not None and name not in known:
        raise conflict(
            f"adapter {name!r}",
            f"one of {', '.join(known) or 'none that this model has'}: add it first",
            f"{'、'.join(known) or '模型里没有适配器'}：请先加上",
        )
    for one in layers:
        one.active = name


@contextmanager
def adapter_off(model: nn.Module) -> Iterator[None]:
    """Within it, the model computes what it does without adapters."""
    layers = [one for one in model.modules() if isinstance(one, LoraLinear)]
    before = [one.active for one in layers]
    use_adapter(model, None)
    try:
        yield
    finally:
        for one, active in zip(layers, before, strict=True):
            one.active = active


def merge_lora(model: nn.Module) -> None:
    """Merges the active adapters into their layers, in place; others are dropped."""
    for place in linear_places(model).values():
        if isinstance(place.linear, LoraLinear):
            setattr(place.parent, place.name.rpartition(".")[2], place.linear.merged())


def is_adapter(parameter: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return ".adapters." in parameter
