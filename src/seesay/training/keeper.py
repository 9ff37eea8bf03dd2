"""What becomes of a model in training: it is measured, kept, and in the end exported."""

import difflib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seesay.errors import ConfigError
from seesay.training.checkpoints.state import TrainingState, whole_weights
from seesay.training.checkpoints.store import Checkpoints
from seesay.training.distributed import Processes, in_all, wait_for_all
from seesay.training.recipes.recipe import Recipe
from seesay.weights.bundle import Bundle
from seesay.weights.saving import save_bundle

Evaluate = Callable[[Bundle[Any]], Mapping[str, float]]


def model_folder(recipe: Recipe) -> Path:
    """Where the finished model is; the folder exists from the end of the run on."""
    return Path(recipe.run.folder) / "model"


def checkpoints_of(recipe: Recipe) -> Checkpoints:
    return Checkpoints(Path(recipe.run.folder) / "checkpoints", recipe.checkpoint)


def describe(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON gives it back."""
    description: dict[str, Any] = _plain(recipe)
    return description


def differences(now: Any, then: Any, name: str, *, only: Collection[str] = ()) -> Iterator[str]:
    """Which settings differ from those of a description, in words. A setting that is newer than
    the description has to have its default. `only` limits it to some of the settings."""
    if is_dataclass(now) and isinstance(then, dict):
        settings = [field for field in fields(now) if field.name in only or not only]
        missing = {f.name: _plain(_default(f)) for f in settings if f.name not in then}
        pairs = {field.name: getattr(now, field.name) for field in settings}
    elif isinstance(now, Mapping) and isinstance(then, dict) and now.keys() == then.keys():
        missing, pairs = {}, dict(now)
    else:
        present = _plain(now)
        if present != then:
            yield f"{name} was {then!r}, now {present!r}"
        return
    for key, value in pairs.items():
        yield from differences(value, (missing | then)[key], f"{name}.{key}")


def _default(field: "Field[Any]") -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value, ensure_ascii=False, default=asdict))


def check_best(best: Sequence[str], measured: Collection[str]) -> None:
    """Raises ConfigError where the recipe judges by a measure that does not exist."""
    if missing := [name for name in best if name not in measured]:
        near = difflib.get_close_matches(missing[0], measured, n=1)
        raise ConfigError(
            f"evaluation.best names {', '.join(missing)}, which is not measured; expected some "
            f"of {', '.join(measured)}" + (f": did you mean {near[0]}?" if near else ": name one")
        )


class Keeper:
    """Every process asks it; the first one measures and writes."""

    def __init__(
        self,
        recipe: Recipe,
        made: Bundle[Any],
        state: TrainingState,
        processes: Processes,
        evaluate: Evaluate | None,
    ) -> None:
        self._recipe, self._made, self._state = recipe, made, state
        self._processes, self._evaluate = processes, evaluate
        self._checkpoints = checkpoints_of(recipe)
        self.before: Mapping[str, float] = {}
        """What was measured before the first step."""

    def measure(self) -> Mapping[str, float]:
        """What `evaluate` finds, of the running average where there is one. Raises what it raises,
        in every process, and ConfigError where the recipe judges by something else."""
        if self._evaluate is None:
            return {}
        weights, evaluate = whole_weights(self._made.model, self._state.ema), self._evaluate

        def measured() -> Mapping[str, float]:
            if not self._processes.first:
                return {}
            found = evaluate(self._with_weights(weights))
            if found:
                check_best(self._recipe.evaluation.best, found)
            return found

        return in_all(measured)[0]

    def save(self, step: int, measured: Mapping[str, float], seconds: float) -> None:
        """Keep the state after a step."""
        notes = {
            "recipe": describe(self._recipe),
            "before": dict(self.before),
            "measured": dict(measured),
            "score": self._score(measured),
            "seconds": seconds,
        }
        snapshot = self._state.snapshot(step, notes)
        if self._processes.first:
            self._checkpoints.save(snapshot)
        wait_for_all()

    def export(self, run_id: str) -> None:
        """Write the chosen checkpoint as a model that loads anywhere, marked with its run."""
        snapshot = self._checkpoints.load(self._checkpoints.chosen())
        model = self._with_weights(snapshot.average or snapshot.model)
        dtype = getattr(torch, self._recipe.run.export)
        save_bundle(model_folder(self._recipe), model, dtype, run=run_id)

    def _score(self, measured: Mapping[str, float]) -> float | None:
        best = self._recipe.evaluation.best
        if not best or not measured:
            return None
        return sum(measured[name] for name in best) / len(best)

    def _with_weights(self, weights: Mapping[str, Tensor]) -> Bundle[Any]:
        """The model apart from its training, so that measuring it cannot disturb that."""
        return self._made.with_weights({name: t.clone() for name, t in weights.items()})
