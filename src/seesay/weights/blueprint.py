"""What a checkpoint folder's config files tell about it, before any tensor is read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizers import TokenizerConfig
from seesay.errors import ConfigError, WeightsError
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.models.fastvit import FastVitConfig
from seesay.models.mobilenet import MobileNetConfig
from seesay.models.resnet import ResNetConfig
from seesay.weights.mapping import Rules


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """How to build a model, name its tensors, and prepare what goes into it."""

    model: DualEncoderConfig
    rules: Rules | None
    """How its tensors are called; none: as ours."""
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


MOST = 1 << 24
"""No size, number of layers or id of a published model comes near; what is larger is a slip or a
trap, which costs time before any tensor can be compared."""
MOST_PIXELS = 4096
"""Side of the square that a tower for images of any size is given."""


def described(read: Callable[[], Blueprint], folder: Path) -> Blueprint:
    """`read()`, checked. Raises WeightsError for configs that lack or twist a value, and for values
    that do not fit each other."""
    try:
        blueprint = read()
        wrong = [
            *_wrong(blueprint.model, "model"),
            *_wrong(blueprint.transform, "transform"),
            *_wrong(blueprint.tokenizer, "tokenizer"),
        ] or _misfits(blueprint)
    except ConfigError as error:
        wrong = [str(error)]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        wrong = [repr(error)[:200]]
    if wrong:
        raise WeightsError(
            f"the config files in {folder} do not describe a model that seesay can build "
            f"({'; '.join(wrong[:3])}); they were changed or cut short: download the folder again"
        )
    return blueprint


def block_count(config: DualEncoderConfig) -> int:
    """Layers of all towers; each has a tensor at least."""
    towers = (config.image, config.text, config.captioner)
    return sum(_depth(tower) for tower in towers if tower is not None)


def _depth(tower: Any) -> int:
    match tower:
        case ResNetConfig() | FastVitConfig():
            return sum(tower.layers)
        case MobileNetConfig():
            return sum(stage[2] for stage in tower.stages)
    return tower.depth


def _misfits(blueprint: Blueprint) -> list[str]:
    model, size, tokens = blueprint.model, blueprint.transform.size, blueprint.tokenizer
    image, text = model.image, model.text
    wrong = []
    if isinstance(image, MobileNetConfig):
        if size > MOST_PIXELS:
            wrong.append(f"pictures of {size} pixels a side, expected at most {MOST_PIXELS}")
    elif size != image.image_size:
        wrong.append(f"pictures of {size} pixels a side for a tower that sees {image.image_size}")
    if tokens.context > text.context:
        wrong.append(f"rows of {tokens.context} tokens for a tower that reads {text.context}")
    if tokens.pad_id >= text.vocab_size:
        wrong.append(f"padding {tokens.pad_id} among {text.vocab_size} tokens")
    return wrong


def _wrong(config: Any, place: str) -> Iterator[str]:
    """Settings of another type than their dataclass says, or beyond all sense."""
    hints = get_type_hints(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _wrong(value, f"{place}.{field.name}")
        elif not _fits(value, hints[field.name]):
            yield f"{place}.{field.name}={value!r:.60}"


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if not isinstance(value, tuple):
            return False
        if inner[-1] is Ellipsis:
            return len(value) < 1000 and all(_fits(one, inner[0]) for one in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and abs(value) < 1e38 and isfinite(value)
    if hint is int:
        return type(value) is int and abs(value) <= MOST
    return isinstance(value, hint)
