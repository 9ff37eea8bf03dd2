"""What the families of vision-language models have in common: from a config and the names of the
tensors to a model that has all of them."""

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
    """The model that a config describes, before any tensor is read."""

    model: Config
    rules: Rules


Read = Callable[[Settings, Collection[str]], ModelBlueprint[Config]]
"""From a config.json and the names of the tensors beside it to the model."""


def load_model(
    folder: Path,
    parts: tuple[type[Model], type[Config]],
    read: Read[Config],
    known: Known,
    tensors: Tensors | None = None,
) -> Model:
    """Load a published model, in float32 and in evaluation mode. `parts` are its class and that of
    its config; `known` the settings that change no number; `tensors` are the folder's unless given.
    Raises WeightsError, with the reason, unless every tensor has its place."""
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
    """The same where the config is in several files, which `described` reads."""
    build, config_class = parts
    blueprint = checked(described, folder, {"model": config_class})
    model = blank_model(build, blueprint.model, MOST_PARTS * len(tensors))
    load_weights(model, tensors, blueprint.rules)
    return model.eval()
