"""What a checkpoint folder's config files tell about it, before any tensor is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizers import TokenizerConfig
from seesay.errors import WeightsError
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.weights.mapping import Rules


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """How to build a model, name its tensors, and prepare what goes into it."""

    model: DualEncoderConfig
    rules: Rules
    transform: ImageTransformConfig
    tokenizer: TokenizerConfig


# transformers' name for an activation -> ours
ACTIVATIONS = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "quick_gelu": "quick_gelu"}


def activation(published: str) -> str:
    if published not in ACTIVATIONS:
        raise WeightsError(
            f"the config names the activation {published!r}; known are {sorted(ACTIVATIONS)}. "
            "This checkpoint is of a family that seesay does not have"
        )
    return ACTIVATIONS[published]


def section(config: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """One half of a Hugging Face config, completed by the family's defaults.

    Published configs leave out what equals the default. Old ones hold the half twice, and then
    `{name}_dict` wins (transformers, CLIPConfig).
    """
    return {**defaults, **(config.get(name) or {}), **(config.get(f"{name}_dict") or {})}
