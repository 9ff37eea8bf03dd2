"""One training run from a recipe: it begins, goes on after a kill, and ends in a model folder."""

import json
import os
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seesay.data.batches import Batches
from seesay.data.batches_samples import Samples
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError, SeesayError
from seesay.training.build import make_model, make_objectives, make_towers
from seesay.training.checkpoints.state import TrainingState
from seesay.training.checkpoints.store import Checkpoints, Snapshot
from seesay.training.checks import check_gradients, check_settings, check_vectors, first_batch
from seesay.training.distributed import Processes, join_processes, wait_for_all
from seesay.training.dual_encoder import DualEncoderStep, keep_scale_in_range
from seesay.training.keeper import Evaluate, Keeper, checkpoints_of, differences, model_folder
from seesay.training.logs.damage import DamageLog
from seesay.training.logs.meter import Meter, peak_memory_mib
from seesay.training.logs.run_log import RunLog
from seesay.training.loop import Done, Learner, LoopConfig, fit, keys_of
from seesay.training.optimizers import Ema, lr_factor, make_optimizer
from seesay.training.recipes.recipe import Recipe
from seesay.training.run_folder import claim_run_folder
from seesay.training.stopping import StopRequest

# A resumed run must agree with its beginning in these settings, none meaning the whole section;
# the others do not change what is learned from a batch.
SAME: dict[str, tuple[str, ...]] = {
    "model": (),
    "data": (),
    "objective": (),
    "optimizer": (),
    "run": ("seed", "accumulate"),
}


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    folder: Path
    """Where the model is, in seesay's own layout."""
    step: int
    """Which step's weights it has: the best one's, where the recipe says what is best."""
    measured: Mapping[str, float]
    """What was measured at that step."""
    before: Mapping[str, float]
    """What was measured before the first step, so that the gain shows."""
    first: bool
    """Whether this process is the one that speaks for all."""
    already_finished: bool = False
    """Whether the run had all of its steps before, so that nothing was left to train."""


def train(recipe: Recipe, *, resume: bool = False, evaluate: Evaluate | None = None) -> Trained:
    """Train a model and export it.

    `evaluate` measures a model, on the first process only: before the first step, and then as often
    as the recipe says. Raises ConfigError where the run exists and `resume` is not set, or is of
    another recipe, or where its folder holds files that no run wrote, or where the first batch
    shows that nothing could be learned (`seesay.training.checks`); DataError where that batch
    cannot be read; TrainingError where the loss stops being finite.
    """
    # One text at a time, beside workers that fill the cores: threads of its own only cost time.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if recipe.hardware.threads is not None:
        torch.set_num_threads(recipe.hardware.threads)
    with join_processes(recipe.hardware.device) as processes:
        checkpoints = checkpoints_of(recipe)
        snapshot = _last_snapshot(recipe, checkpoints, resume)
        run_id = claim_run_folder(
            Path(recipe.run.folder), model_folder(recipe), checkpoints, processes
        )
        run = _Run(recipe, processes, evaluate)
        try:
            run.train(snapshot)
            if processes.first:
                run.export(run_id)
        finally:
            run.close()
        wait_for_all()
    step = checkpoints.chosen()
    notes = checkpoints.notes(step)
    return Trained(
        folder=model_folder(recipe),
        step=step,
        measured=notes["measured"],
        before=notes.get("before", {}),  # which older versions did not measure
        first=processes.first,
        already_finished=snapshot is not None and snapshot.step >= run.steps,
    )


def _last_snapshot(recipe: Recipe, checkpoints: Checkpoints, resume: bool) -> Snapshot | None:
    steps = checkpoints.steps()
    if not steps:
        return None
    if not resume:
        raise ConfigError(
            f"{recipe.run.folder} already holds a run of {steps[-1]} steps, expected none: "
            "go on with it by --resume, or choose another place by --set run.folder=..."
        )
    snapshot = checkpoints.load(steps[-1])
    then = snapshot.notes["recipe"]
    changed = [
        difference
        for section, keys in SAME.items()
        for difference in differences(getattr(recipe, section), then[section], section, only=keys)
    ]
    if changed:
        raise ConfigError(
            f"{recipe.run.folder} was begun with another recipe: {'; '.join(changed)}. "
            "Set these back, or begin a new run in another folder"
        )
    return snapshot


class _Run:
    def __init__(self, recipe: Recipe, processes: Processes, evaluate: Evaluate | None) -> None:
        self.recipe = recipe
        self._processes, self._evaluate = processes, evaluate
        self._folder = Path(recipe.run.folder)
        self._made = make_model(recipe, self._folder.name)
        transform = ImageTransform(self._made.transform)
        self._samples = samples = {
            name: Samples(config, transform, self._made.tokenizer, recipe.run.seed)
            for name, config in recipe.data.items()
        }
        self._batches = Batches(
            samples,
            recipe.loading,
            seed=recipe.run.seed,
            rank=processes.rank,
            processes=processes.count,
        )
        first = next(iter(samples.values()))
        per_step = first.config.batch * recipe.run.accumulate
        self._images_per_step = (
            sum(s.config.batch for s in samples.values()) * recipe.run.accumulate
        )
        self.steps = recipe.run.steps or max(1, round(recipe.run.epochs * len(first) / per_step))
        self._evaluate_every = recipe.evaluation.every or max(1, round(len(first) / per_step))
        self._log: RunLog | None = None
        self._stop = StopRequest()
        self._unsaved: int | None = None

    def train(self, snapshot: Snapshot | None) -> None:
        recipe, model = self.recipe, self._made.model
        first = snapshot.step + 1 if snapshot else 1
        self._make_state(snapshot)
        self._damage = self._begin_damage_log(snapshot)
        if self._processes.first:
            self._folder.mkdir(parents=True, exist_ok=True)
            after = snapshot.step if snapshot else None
            self._log = RunLog(self._folder, recipe.log, after=after, steps=self.steps)
            self._say(
                f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, "
                f"{self.steps} steps, {self._processes.count} x {self._processes.device}"
            )
        if snapshot is None:
            self._keeper.before = self._keeper.measure()
            self._tell(0, self._keeper.before)
        else:
            self._keeper.before = snapshot.notes.get("before", {})
        self._meter = Meter(snapshot.notes.get("seconds", 0.0) if snapshot else 0.0)
        accumulate = recipe.run.accumulate
        config = LoopConfig(steps=self.steps, accumulate=accumulate, clip_norm=recipe.run.clip_norm)
        learner = Learner(self._step, self._state.optimizer, self._lr_at)
        if first <= self.steps:
            batches = self._batches.from_step((first - 1) * accumulate, self.steps * accumulate)
            try:
                with self._stop:
                    fit(learner, batches, config, on_step=self._after_step, first=first)
            except Exception:
                self._save_unsaved()
                raise

    def _save_unsaved(self) -> None:
        """What was learned until the next batch could not be read or a log not be written is kept,
        if it can be. Within a step, and with other processes that still compute, it cannot."""
        if self._unsaved is not None and self._processes.count == 1:
            with suppress(Exception):  # the first reason is the one to tell
                self._save(self._unsaved, {})

    def _save(self, number: int, measured: Mapping[str, float]) -> None:
        self._keeper.save(number, measured, self._meter.seconds)
        self._unsaved = None

    def export(self, run_id: str) -> None:
        self._keeper.export(run_id)

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def _make_state(self, snapshot: Snapshot | None) -> None:
        recipe, model = self.recipe, self._made.model
        make_optimizer(model, recipe.optimizer)  # refuses wrong parts, and freezes
        if snapshot is None:
            check_settings(recipe, self._made, {n: len(s) for n, s in self._samples.items()})
        objectives = make_objectives(recipe, self._made, self._processes.device)
        if snapshot is None:
            batch = first_batch(self._batches)
            model.to(self._processes.device)
            check_vectors(recipe, self._made, [o for _, o in objectives.values()], batch)
        towers = make_towers(self._made, recipe.hardware, self._processes)
        self._dual_step = DualEncoderStep(towers, model, objectives, recipe.hardware.micro_batch)
        if snapshot is None:
            # Compiling takes minutes, which a single batch is not worth.
            compiling = recipe.hardware.compile
            with torch.compiler.set_stance("force_eager") if compiling else nullcontext():
                check_gradients(self._dual_step, model, batch)
        optimizer = make_optimizer(model, recipe.optimizer)
        keep_scale_in_range(optimizer, model)
        ema = Ema(model, recipe.optimizer.ema) if recipe.optimizer.ema is not None else None
        self._state = TrainingState(model, optimizer, ema)
        self._keeper = Keeper(recipe, self._made, self._state, self._processes, self._evaluate)
        # Each process draws its own dropout masks, after all have drawn the same first weights.
        torch.manual_seed(recipe.run.seed + self._processes.rank)
        if snapshot is not None:
            self._state.load(snapshot, self._processes)

    def _begin_damage_log(self, snapshot: Snapshot | None) -> DamageLog:
        file = self._folder / f"damaged-{self._processes.rank}.jsonl"
        if snapshot is None:
            file.unlink(missing_ok=True)  # of an attempt that came to nothing
        damage = DamageLog(file)
        damage.add(d for s in self._samples.values() for d in s.source.damaged)
        return damage

    def _lr_at(self, number: int) -> float:
        config = self.recipe.optimizer
        return config.lr * lr_factor(config, number, self.steps)

    def _step(self, batch: dict[str, Any]) -> Tensor:
        self._unsaved = None
        loss = self._dual_step(batch)
        if not torch.isfinite(loss.detach()):
            self._note_failure(batch)
        return loss

    def _note_failure(self, batch: dict[str, Any]) -> None:
        """All samples of a batch without a finite loss, of which the error shows the first."""
        about = {
            "parts": self._dual_step.parts,
            "scale": float(self._made.model.log_scale.detach().exp()),
            "samples": keys_of(batch),
        }
        name = f"not-finite-step-{batch['step'] + 1}-process-{self._processes.rank}.json"
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_text(json.dumps(about, ensure_ascii=False, indent=1))

    def _after_step(self, done: Done) -> None:
        model, number = self._made.model, done.number
        seconds = self._meter.stop()
        if self._state.ema is not None:
            self._state.ema.update(model, number)
        self._unsaved = number
        for batch in done.batches:
            for of_source in batch["sources"].values():
                self._damage.add(of_source["damaged"])
        if self._log is not None:
            values = {
                "loss": done.loss,
                **(self._dual_step.parts if len(self.recipe.objective) > 1 else {}),
                "gradient_norm": done.gradient_norm,
                "lr": self._lr_at(number),
                "scale": float(model.log_scale.detach().exp()),
                **({} if model.bias is None else {"bias": float(model.bias.detach())}),
                "damaged": len(self._damage),
                "seconds": round(seconds, 2),
                "memory_mib": round(peak_memory_mib(self._processes.device)),
            }
            self._log.step(number, self._images_per_step, values)
        self._measure_and_save(number)
        self._meter.go_on()

    def _measure_and_save(self, number: int) -> None:
        last, stopping = number == self.steps, self._stop.is_made()
        measured: Mapping[str, float] = {}
        if last or (number % self._evaluate_every == 0 and not stopping):
            try:
                measured = self._keeper.measure()
            except SeesayError:  # what was learned is kept all the same, in every process
                self._save(number, {})
                raise
            self._tell(number, measured)
        if measured or last or stopping or number % self.recipe.checkpoint.every == 0:
            self._save(number, measured)
        if stopping and not last:
            self._stop.leave()

    def _tell(self, number: int, measured: Mapping[str, float]) -> None:
        if self._log is not None and measured:
            self._log.write(number, measured)
            shown = "  ".join(f"{name} {value:.3f}" for name, value in measured.items())
            self._say(f"step {number}: {shown}")

    def _say(self, text: str) -> None:
        if self._log is not None:
            self._log.say(text)
