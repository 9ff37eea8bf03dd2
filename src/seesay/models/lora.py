"""Low-rank adapters in linear layers: LoRA (Hu et al. 2021, arXiv 2106.09685), with rsLoRA
(Kalajdzievski 2023, arXiv 2312.03732), DoRA (Liu et al. 2024, arXiv 2402.09353) and QLoRA (Dettmers
et al. 2023, arXiv 2305.14314) as options.

add_lora(model, LoraConfig(rank=16))     # computes the same as before
...                                      # train what `is_adapter` names
with adapter_off(model): ...             # the model as it was
use_adapter(model, "other")              # one of several adapters
merge_lora(model)                        # plain linear layers again
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from math import sqrt
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seesay.errors import MissingExtraError
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
    base: Literal["nf4"] | None = None
    """"nf4": the own weights of the layers that get adapters are stored in 4 bits (QLoRA, arXiv
    2305.14314) through bitsandbytes, from the extra `qlora`. None: as they are."""

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


class Nf4Weight(nn.Module):
    """A weight quantized to 4 bits by bitsandbytes: blocks of 64 numbers share an 8-bit scale, and
    blocks of 256 scales share another (double quantization), 4.13 bits per number in all. The
    four tensors are frozen parameters, so checkpointing and sharding need no special case. Raises
    MissingExtraError without bitsandbytes."""

    def __init__(self, weight: Float[Tensor, "out_dim in_dim"]) -> None:
        super().__init__()
        library = _library().functional
        self.shape = weight.shape
        packed, state = library.quantize_4bit(weight.detach().float(), quant_type="nf4")
        offset = state.absmax.mean()
        scales, outer = library.quantize_blockwise(
            state.absmax - offset, code=_scale_code(weight.device), blocksize=256
        )
        self.packed = nn.Parameter(packed, requires_grad=False)
        self.scales = nn.Parameter(scales, requires_grad=False)
        self.outer_scales = nn.Parameter(outer.absmax.to(weight), requires_grad=False)
        self.outer_offset = nn.Parameter(offset[None].to(weight), requires_grad=False)

    def _state(self) -> Any:
        """How bitsandbytes describes it, in float32 whatever the precision of the training."""
        outer = _library().functional.QuantState(
            absmax=self.outer_scales.float(),
            code=_scale_code(self.packed.device),
            blocksize=256,
            dtype=torch.float32,
        )
        return _library().functional.QuantState(
            absmax=self.scales,
            shape=self.shape,
            blocksize=64,
            quant_type="nf4",
            dtype=torch.float32,
            offset=self.outer_offset[0].float(),
            state2=outer,
        )

    def whole(self) -> Float[Tensor, "out_dim in_dim"]:
        """The weight that the layer computes with."""
        weight = _library().functional.dequantize_4bit(self.packed, self._state())
        return weight.to(self.outer_scales.dtype)

    def forward(self, x: Float[Tensor, "*axes in_dim"]) -> Float[Tensor, "*axes out_dim"]:
        """Computes W x. The backward pass also keeps only the 4-bit weight."""
        device = x.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else x.dtype
        if dtype is torch.float64:  # in which the kernels return numbers that they never computed
            return F.linear(x, self.whole())
        return _library().matmul_4bit(x.to(dtype), self.packed, self._state())


@cache
def _library() -> Any:
    """The library of 4-bit weights. Raises MissingExtraError without it."""
    # On a CPU with AVX512-BF16 it loads compiled code from a hub when imported, if the package
    # "kernels" is installed, and else advises to install it. Nothing here would call that code.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    kernels = sys.modules.get("kernels")
    sys.modules["kernels"] = None  # type: ignore[assignment]  # which refuses the import
    try:
        import bitsandbytes
    except ImportError:
        raise MissingExtraError("bitsandbytes", "qlora") from None
    finally:
        del sys.modules["kernels"]
        if kernels is not None:
            sys.modules["kernels"] = kernels
    return bitsandbytes


@cache
def _scale_code(device: torch.device) -> Tensor:
    """The 256 numbers that scales in 8 bits stand for. The library would keep its own on the device
    of the first weight, which may be "meta"."""
    with torch.device("cpu"):
        return _library().functional.create_dynamic_map().to(device)


class LoraLinear(nn.Linear):
    """A linear layer W with adapters by name, of which one is active or none: W x + scale * B A x,
    with DoRA each row stretched to its magnitude. W may be stored in 4 bits."""

    def __init__(self, linear: nn.Linear) -> None:
        """Takes over the parameters of `linear`."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.nf4: Nf4Weight | None = None
        """The weight in place of `weight`, if it is stored in 4 bits."""
        self.adapters = nn.ModuleDict()
        self.active: str | None = None

    def add(self, name: str, rank: int, scale: float, dora: bool) -> Adapter:
        """Adds an adapter, or replaces that of the same name, and makes it the active one."""
        self.adapters[name] = adapter = Adapter(self.whole_weight(), rank, scale, dora)
        self.active = name
        return adapter

    def store_in_nf4(self) -> None:
        """Quantizes the weight to 4 bits. Raises MissingExtraError if bitsandbytes is missing."""
        if self.nf4 is None:
            self.nf4 = Nf4Weight(self.weight)
            del self.weight

    def whole_weight(self) -> Float[Tensor, "out_dim in_dim"]:
        """W as the layer computes with it."""
        return self.weight if self.nf4 is None else self.nf4.whole()

    def _own(
        self, x: Float[Tensor, "*axes in_dim"], bias: Tensor | None
    ) -> Float[Tensor, "*axes out_dim"]:
        if self.nf4 is None:
            return F.linear(x, self.weight, bias)
        y = self.nf4(x)
        return y if bias is None else y + bias.to(y.dtype)

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
            return self._own(x, self.bias)
        added = adapter.scale * F.linear(F.linear(x, adapter.a), adapter.b)
        if adapter.magnitude is None:
            return self._own(x, self.bias) + added
        # The length is a constant for the gradient (DoRA, section 4.3).
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            length = adapter.whole(self.whole_weight()).norm(dim=1)
        y = (self._own(x, None) + added) * (adapter.magnitude / length)
        return y if self.bias is None else y + self.bias

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Returns a plain layer that computes the same: of a weight in 4 bits, the numbers that
        training computed with, not those that the layer had before."""
        linear = nn.Linear(
            self.in_features, self.out_features, bias=self.bias is not None, device="meta"
        )
        weight = self.whole_weight()
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
    it lacks a part or layer that the config names, MissingExtraError if its weights are to be in 4
    bits and bitsandbytes is not installed."""
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
        layer = places[of_layer].adapted()
        if config.base == "nf4":
            layer.store_in_nf4()
        layer.add(name, rank, config.scale(rank), config.dora)


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
