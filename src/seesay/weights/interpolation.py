"""Weights between those of two models: before and after a fine-tuning.

A model that was trained further is better at what it was shown and often worse at the rest. The
straight line between its weights and those it began with holds models that keep most of both
(WiSE-FT, Wortsman et al. 2022, Robust fine-tuning of zero-shot models).
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seesay.errors import ConfigError
from seesay.weights.blank import blank_dual_encoder
from seesay.weights.checkpoint import Checkpoint, load_dual_encoder
from seesay.weights.hub import locate


def interpolate(
    before: Checkpoint | str | Path, after: Checkpoint | str | Path, alpha: float = 0.5
) -> Checkpoint:
    """The model with the weights (1 - alpha) * before + alpha * after: 0 gives `before`, 1 `after`.

    Each is a checkpoint, or a name or folder as `seesay.load` takes it; the result has the name,
    the tokenizer and the image preparation of `after`. Raises ConfigError where alpha is not from 0
    to 1, or where the two are not of one architecture with one vocabulary.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(
            f"alpha is {alpha}; expected a number from 0 (before) to 1 (after); 0.5 lies halfway"
        )
    first, second = (
        model if isinstance(model, Checkpoint) else load_checkpoint(model)
        for model in (before, after)
    )
    _check_same_kind(first, second)
    theirs = first.model.state_dict()
    weights = {
        name: _between(theirs.get(name, value), value, alpha)
        for name, value in second.model.state_dict().items()
    }
    model = blank_dual_encoder(second.model.config)
    model.load_state_dict(weights, assign=True)
    return replace(second, model=model.eval(), revision="")


def load_checkpoint(name: str | Path) -> Checkpoint:
    """A catalogued model, a hub repository or a folder, to work on its weights.
    Raises UnknownModelError, DownloadError or WeightsError."""
    found = locate(str(name))
    return load_dual_encoder(
        found.folder,
        image_folder=found.image_folder,
        name=str(name),
        revision=found.revision,
    )


def _between(before: Tensor, after: Tensor, alpha: float) -> Tensor:
    if not after.is_floating_point():
        return after.clone()
    return torch.lerp(before, after, alpha)  # exact at both ends


def _check_same_kind(before: Checkpoint, after: Checkpoint) -> None:
    for what, one, two in (
        ("architecture", _architecture(before), _architecture(after)),
        ("image preparation", asdict(before.transform), asdict(after.transform)),
        ("tokenizer", asdict(before.tokenizer.config), asdict(after.tokenizer.config)),
    ):
        if different := sorted(key for key in {*one, *two} if one.get(key) != two.get(key)):
            key = different[0]
            raise _refusal(before, after, f"{what}: {key} is {one.get(key)} and {two.get(key)}")
    if not before.tokenizer.same_vocabulary(after.tokenizer):
        raise _refusal(before, after, "vocabulary")


def _architecture(checkpoint: Checkpoint) -> dict[str, Any]:
    """All that decides which weights there are. How temperature and bias began does not, and a bias
    may have been added by the sigmoid loss: then it is that of the model after."""
    config = checkpoint.model.config
    described = asdict(replace(config, scale_init=1.0, bias_init=None))
    return {
        **{k: v for k, v in described.items() if not isinstance(v, dict)},
        **{
            f"{half}.{key}": value
            for half in ("image", "text", "captioner")
            for key, value in (described[half] or {}).items()
        },
        "image": type(config.image).__name__,
        "text": type(config.text).__name__,
    }


def _refusal(before: Checkpoint, after: Checkpoint, difference: str) -> ConfigError:
    return ConfigError(
        f"{before.name} and {after.name} differ in their {difference}; expected a model and what "
        "it became by training further, since weights of two others have nothing between them; "
        "name the model that the second one was trained from (model.start in its recipe)"
    )
