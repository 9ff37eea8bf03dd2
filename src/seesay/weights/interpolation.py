"""Weights between those of two models: before and after a fine-tuning.

A fine-tuned model is better on data like its training data and often worse on the rest. Models on
the straight line between its initial and final weights keep most of both (WiSE-FT, Wortsman et al.
2022, Robust fine-tuning of zero-shot models).
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seesay.errors import ConfigError
from seesay.text import Text
from seesay.weights.bundle import Bundle, load_bundle
from seesay.weights.hub import locate

BEGINNINGS = ("scale_init", "bias_init")
"""Settings of initial values, which do not change the set of weights. The sigmoid loss may have
added a bias: it is then taken from `after`."""


def interpolate(
    before: Bundle[Any] | str | Path, after: Bundle[Any] | str | Path, alpha: float = 0.5
) -> Bundle[Any]:
    """Returns the model with the weights (1 - alpha) * before + alpha * after: 0 gives `before`, 1
    `after`.

    Each is a bundle, or a name or folder as `seesay.load` takes it; the result has the name, the
    tokenizer and the image preparation of `after`. Raises ConfigError if alpha is not from 0 to 1,
    or if the two models differ in architecture or vocabulary.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(
            Text(
                f"alpha is {alpha}; expected a number from 0 (before) to 1 (after); 0.5 lies "
                "halfway",
                f"alpha 是 {alpha}；应为 0（训练前）到 1（训练后）之间的数；0.5 居中",
            )
        )
    first, second = (
        model if isinstance(model, Bundle) else load_by_name(model) for model in (before, after)
    )
    _check_same_kind(first, second)
    theirs = first.model.state_dict()
    weights = {
        name: _between(theirs.get(name, value), value, alpha)
        for name, value in second.model.state_dict().items()
    }
    return replace(second.with_weights(weights), revision="")


def load_by_name(name: str | Path) -> Bundle[Any]:
    """Loads a catalogued model, a hub repository or a folder, to work on its weights. Raises
    UnknownModelError, DownloadError or WeightsError."""
    found = locate(str(name))
    return load_bundle(
        found.folder, image_folder=found.image_folder, name=str(name), revision=found.revision
    )


def _between(before: Tensor, after: Tensor, alpha: float) -> Tensor:
    if not after.is_floating_point():
        return after.clone()
    return torch.lerp(before, after, alpha)  # exact at both ends


def _check_same_kind(before: Bundle[Any], after: Bundle[Any]) -> None:
    for what, zh, first, second in (
        ("architecture", "结构", before.config, after.config),
        ("image preparation", "图片处理", before.transform, after.transform),
        ("tokenizer", "分词器", before.tokenizer.config, after.tokenizer.config),
    ):
        one, two = dict(_settings(first)), dict(_settings(second))
        if different := sorted(key for key in {*one, *two} if one.get(key) != two.get(key)):
            key = different[0]
            difference = Text(
                f"{what}: {key} is {one.get(key)} and {two.get(key)}",
                f"{zh}不同：{key} 分别是 {one.get(key)} 和 {two.get(key)}",
            )
            raise _refusal(before, after, difference)
    if not before.tokenizer.same_vocabulary(after.tokenizer):
        raise _refusal(before, after, Text("vocabulary", "词表不同"))


def _settings(config: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The settings that determine the set of weights, by their path in the config."""
    yield place.rstrip("."), type(config).__name__
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _settings(value, f"{place}{field.name}.")
        elif field.name not in BEGINNINGS:
            yield place + field.name, value


def _refusal(before: Bundle[Any], after: Bundle[Any], difference: Text) -> ConfigError:
    return ConfigError(
        Text(
            f"{before.name} and {after.name} differ in their {difference.en}; expected a model and "
            "what it became by training further, since weights of two others have nothing between "
            "them; name the model that the second one was trained from (model.start in its recipe)",
            f"{before.name} 和 {after.name} 的{difference.zh}；应为一个模型和它继续训练后的结果，"
            "两个无关模型的权重之间没有意义；请给出后者训练时所用的起点（配方里的 model.start）",
        )
    )
