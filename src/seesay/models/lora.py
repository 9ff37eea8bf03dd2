"""Low-rank adapters in a decoder's linear layers: LoRA (Hu et al. 2021, arXiv 2106.09685).

add_lora(model, LoraConfig(rank=16))     # computes the same as before
...                                      # train what `is_adapter` names
merge_lora(model)                        # plain linear layers again
"""

from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seesay.models.decoder import Decoder, DecoderBlock
from seesay.models.layers import conflict, require_finite, require_range

LAYERS = ("query", "key", "value", "out", "gate", "up", "down")


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters in the decoder. They and the connector are trained, and the decoder's own
    weights stay as they are; the exported model has the adapters merged into them."""

    rank: int = 16
    """Width between the two matrices of an adapter."""
    alpha: float = 32.0
    """What an adapter adds is scaled by alpha / rank."""
    targets: tuple[str, ...] = LAYERS
    """Linear layers of each block that get an adapter: query, key, value and out of the attention,
    gate, up and down of the MLP."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead, so that large ranks learn as fast as small ones (rsLoRA,
    arXiv 2312.03732)."""

    def __post_init__(self) -> None:
        require_range(1, rank=self.rank)
        require_finite(above=0.0, alpha=self.alpha)
        if not self.targets or set(self.targets) - set(LAYERS):
            known = ", ".join(LAYERS)
            raise conflict(
                f"targets={self.targets}", f"some of {known}: correct them", f"{known} 中的若干个"
            )

    @property
    def scale(self) -> float:
        """The factor of what an adapter adds."""
        return self.alpha / (sqrt(self.rank) if self.rslora else self.rank)


class LoraLinear(nn.Linear):
    """A linear layer W with an adapter: W x + scale * B A x. B starts at zero."""

    def __init__(self, linear: nn.Linear, config: LoraConfig) -> None:
        """Takes over the parameters of `linear`."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.scale = config.scale
        self.lora_a = nn.Parameter(linear.weight.new_empty(config.rank, linear.in_features))
        self.lora_b = nn.Parameter(linear.weight.new_zeros(linear.out_features, config.rank))
        nn.init.kaiming_uniform_(self.lora_a, a=sqrt(5))  # as nn.Linear

    def forward(self, x: Float[Tensor, "*axes in_dim"]) -> Float[Tensor, "*axes out_dim"]:
        added = F.linear(F.linear(x, self.lora_a), self.lora_b)
        return super().forward(x) + self.scale * added

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Returns a plain layer that computes the same."""
        linear = nn.Linear(
            self.in_features, self.out_features, bias=self.bias is not None, device="meta"
        )
        linear.weight = nn.Parameter(self.weight + self.scale * self.lora_b @ self.lora_a)
        linear.bias = self.bias
        return linear


def add_lora(model: nn.Module, config: LoraConfig) -> None:
    """Gives adapters to the linear layers of a model's decoders, in place. Gated cross-attention
    gets none. Raises ConfigError if a decoder has no such layer, as an MLP without a gate."""
    for decoder in [one for one in model.modules() if isinstance(one, Decoder)]:
        for block in decoder.blocks:
            assert isinstance(block, DecoderBlock)
            layers = {**_linear(block.attention), **_linear(block.mlp)}
            if missing := [name for name in config.targets if name not in layers]:
                raise conflict(
                    f"targets={config.targets} and a decoder without {', '.join(missing)}",
                    f"some of {', '.join(layers)}: leave the others out",
                    f"{'、'.join(layers)} 中的若干个：请去掉其余的",
                )
            for name in config.targets:
                parent, linear = layers[name]
                setattr(parent, name, LoraLinear(linear, config))


def _linear(parent: nn.Module) -> dict[str, tuple[nn.Module, nn.Linear]]:
    return {
        name: (parent, child)
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    }


def merge_lora(model: nn.Module) -> None:
    """Merges all adapters into their layers, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLinear):
                setattr(parent, name, child.merged())


def is_adapter(parameter: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return parameter.endswith((".lora_a", ".lora_b"))
