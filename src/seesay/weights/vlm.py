"""Loading that all families of vision-language models share: from a config and tensor names to a
loaded model."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from torch import nn

from seesay.data.model_files import read_json
from seesay.weights.bundle import checked
from seesay.weights.settings import Known, Settings, every_setting
from seesay.weights.tensors import (
    MOST_PARTS,
    Rules,
    Tensors,
    blank_model,
    load_weights,
    read_tensors,
)

Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class ModelBlueprint(Generic[Config]):
    """The model a config describes, before any tensor is read."""

    model: Config
    rules: Rules


Read = Callable[[Settings, Collection[str]], ModelBlueprint[Config]]
"""From a config.json and the tensor names beside it to a blueprint."""


def load_model(
    folder: Path,
    parts: tuple[type[Model], type[Config]],
    read: Read[Config],
    known: Known,
    tensors: Tensors | None = None,
) -> Model:
    """Loads a published model in float32 and evaluation mode. `parts` are its class and its
    config's class; `known` are settings that do not affect results; `tensors` default to the
    folder's. Raises WeightsError unless config and tensors match the model exactly."""
    published = read_json(folder / "config.json")
    given = read_tensors(folder) if tensors is None else tensors

    def described() -> ModelBlueprint[Config]:
        with every_setting(published, "config.json", known) as config:
            return read(config, given)

    return build_model(folder, parts, described, given)


def build_model(
    folder: Path,
    parts: tuple[type[Model], type[Config]],
    described: Callable[[], ModelBlueprint[Config]],
    tensors: Tensors,
) -> Model:
    """Does the same for a config in several files, which `described` reads."""
    build, config_class = parts
    blueprint = checked(described, folder, {"model": config_class})
    model = blank_model(build, blueprint.model, MOST_PARTS * len(tensors))
    load_weights(model, tensors, blueprint.rules)
    return model.eval()
