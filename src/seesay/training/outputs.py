"""What a run writes: measurements and checkpoints while it trains, and the exported model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seesay.evaluation.measure import evaluate
from seesay.inference.embedder import Embedder
from seesay.training.checkpoints import Checkpoints, TrainingState, whole_weights
from seesay.training.distributed import Processes, in_every_process, wait_for_all
from seesay.training.recipe import Recipe, describe, model_folder
from seesay.weights.bundle import Bundle
from seesay.weights.saving import save_bundle


def checkpoints_of(recipe: Recipe) -> Checkpoints:
    return Checkpoints(Path(recipe.run.folder) / "checkpoints", recipe.checkpoint)


class Outputs:
    """Every process calls it; the first one measures and writes."""

    def __init__(
        self, recipe: Recipe, bundle: Bundle[Any], state: TrainingState, processes: Processes
    ) -> None:
        self._recipe, self._bundle, self._state = recipe, bundle, state
        self._processes = processes
        self._checkpoints = checkpoints_of(recipe)
        self.before: Mapping[str, float] = {}
        """What was measured before the first step."""

    def measure(self) -> Mapping[str, float]:
        """What the recipe asks for, of the running average where there is one. Raises, in every
        process, what its measures raise."""
        measures = list(self._recipe.evaluation.measures.values())
        if not measures:
            return {}
        weights = whole_weights(self._bundle.model, self._state.ema)

        def measured() -> Mapping[str, float]:
            if not self._processes.first:
                return {}
            return evaluate(Embedder(self._with_weights(weights)), measures)

        return in_every_process(measured)[0]

    def save(self, step: int, measured: Mapping[str, float], seconds: float) -> None:
        """Write a checkpoint of the state after a step."""
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
        bundle = self._with_weights(snapshot.average or snapshot.model)
        dtype = getattr(torch, self._recipe.run.export)
        save_bundle(model_folder(self._recipe), bundle, dtype, run=run_id)

    def _score(self, measured: Mapping[str, float]) -> float | None:
        best = self._recipe.evaluation.best
        if not best or not measured:
            return None
        return sum(measured[name] for name in best) / len(best)

    def _with_weights(self, weights: Mapping[str, Tensor]) -> Bundle[Any]:
        """The model apart from its training, so that measuring it cannot disturb that."""
        return self._bundle.with_weights({name: t.clone() for name, t in weights.items()})
