"""One training run from a recipe: start it, resume it after a kill, export a model folder."""

import json
import os
import signal
import threading
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from seesay.data.batches import Batch, Batches, Samples
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError, SeesayError
from seesay.evaluation.measure import check_measures
from seesay.objectives.exchange import gather_objects
from seesay.text import Text
from seesay.training.build import make_model, make_objectives, make_trained
from seesay.training.checkpoints import Checkpoints, Snapshot, TrainingState
from seesay.training.checks import check_gradients, check_settings, check_vectors, first_batch
from seesay.training.distributed import (
    Processes,
    in_every_process,
    join_processes,
    mean_over_processes,
    wait_for_all,
)
from seesay.training.loop import FinishedStep, Learner, LoopConfig, TrainingStep, fit
from seesay.training.optimizers import Ema, lr_factor, make_optimizer
from seesay.training.recipe import Recipe, check_class_lists, differences, model_folder
from seesay.training.run_folder import Outputs, check_words, checkpoints_of, claim_run_folder
from seesay.training.run_log import DamageLog, Meter, RunLog, peak_memory_mib

_STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Inside its block, the first signal is only noted; a second one acts at once, as usual."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._usual: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python allows it only there
            self._usual = {kind: signal.signal(kind, self._note) for kind in _STOPPING_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._usual.items():
            signal.signal(kind, handler)

    def is_requested(self) -> bool:
        """Whether any process of the training was told to stop; all of them ask after each step."""
        return mean_over_processes(float(self._signal is not None)) > 0

    def leave(self) -> NoReturn:
        """Ends the program as the signal would, after an orderly shutdown."""
        if signal.SIGTERM in gather_objects(self._signal):
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt

    def _note(self, number: int, _: FrameType | None) -> None:
        self._signal = number
        self.__exit__()


# A resumed run must have the same values for these settings (empty: for the whole section). The
# others do not change what is learned from a batch.
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
    """Folder of the model, in seesay's own layout."""
    step: int
    """The step whose weights were exported: the best one if the recipe names measures, else the
    last."""
    measured: Mapping[str, float]
    """What was measured at that step."""
    before: Mapping[str, float]
    """What was measured before the first step, to compare with; nothing if that was not asked."""
    first: bool
    """Whether this is the first of several processes, which prints for all."""
    already_finished: bool = False
    """Whether the run was complete already, so that nothing was trained."""


def train(recipe: Recipe, *, resume: bool = False) -> Trained:
    """Train a model, measure what [evaluation] asks for, and export it.

    The model is measured as often as the recipe says; under torchrun, only the first process
    measures. Raises ConfigError if the run exists and `resume` is
    not set, if it has another recipe, if its folder holds files that no run wrote, or if the first
    batch shows that nothing could be learned (`seesay.training.checks`); DataError if that batch or
    the data to measure on cannot be read; TrainingError if the loss stops being finite.
    """
    # The workers keep all cores busy and encode one text at a time; threads would only slow them
    # down.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if recipe.hardware.threads is not None:
        torch.set_num_threads(recipe.hardware.threads)
    check_class_lists(recipe)
    with join_processes(recipe.hardware.device) as processes:
        in_every_process(
            lambda: check_measures(recipe.evaluation.measures) if processes.first else None
        )
        checkpoints = checkpoints_of(recipe)
        snapshot = _last_snapshot(recipe, checkpoints, resume)
        run_id = claim_run_folder(
            Path(recipe.run.folder), model_folder(recipe), checkpoints, processes
        )
        run = _Run(recipe, processes)
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
        before=notes.get("before", {}),  # older versions did not measure it
        first=processes.first,
        already_finished=snapshot is not None and snapshot.step >= run.steps,
    )


def _last_snapshot(recipe: Recipe, checkpoints: Checkpoints, resume: bool) -> Snapshot | None:
    steps = checkpoints.steps()
    if not steps:
        return None
    if not resume:
        folder = recipe.run.folder
        raise ConfigError(
            Text(
                f"{folder} already holds a run of {steps[-1]} steps, expected none: go on with it "
                "by --resume, or choose another place by --set run.folder=...",
                f"{folder} 里已有 {steps[-1]} 步的训练；应为尚未训练过的文件夹；"
                "请用 --resume 继续，或用 --set run.folder=... 换一个位置",
            )
        )
    snapshot = checkpoints.load(steps[-1])
    then = snapshot.notes["recipe"]
    changed = [
        difference
        for section, keys in SAME.items()
        for difference in differences(getattr(recipe, section), then[section], section, only=keys)
    ]
    if changed:
        folder, en = recipe.run.folder, "; ".join(difference.en for difference in changed)
        raise ConfigError(
            Text(
                f"{folder} was begun with another recipe: {en}. Set these back, or begin a new run "
                "in another folder",
                f"{folder} 是用另一份配方开始的：{'；'.join(d.zh for d in changed)}。"
                "请改回这些设置，或换一个文件夹重新训练",
            )
        )
    return snapshot


def _trained_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


class _Run:
    def __init__(self, recipe: Recipe, processes: Processes) -> None:
        self.recipe = recipe
        self._processes = processes
        self._folder = Path(recipe.run.folder)
        self._bundle = make_model(recipe, self._folder.name)
        transform = ImageTransform(self._bundle.transform)
        self._samples = samples = {
            name: Samples(config, transform, self._bundle.tokenizer, recipe.run.seed)
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
        recipe, model = self.recipe, self._bundle.model
        first = snapshot.step + 1 if snapshot else 1
        self._make_state(snapshot)
        self._damage = self._begin_damage_log(snapshot)
        if self._processes.first:
            self._folder.mkdir(parents=True, exist_ok=True)
            after = snapshot.step if snapshot else None
            self._log = RunLog(self._folder, recipe.log, after=after, steps=self.steps)
            self._say(
                f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters "
                f"({_trained_parameters(model) / 1e6:.2f} M trained), "
                f"{self.steps} steps, {self._processes.count} x {self._processes.device}"
            )
        if snapshot is not None:
            self._outputs.before = snapshot.notes.get("before", {})
        elif recipe.evaluation.before:
            self._outputs.before = self._outputs.measure()
            self._tell(0, self._outputs.before)
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
        """Saves what was learned before a batch could not be read or a log could not be written, if
        possible. It is not possible within a step, or while other processes still compute."""
        if self._unsaved is not None and self._processes.count == 1:
            with suppress(Exception):  # the first reason is the one to tell
                self._save(self._unsaved, {})

    def _save(self, number: int, measured: Mapping[str, float]) -> None:
        self._outputs.save(number, measured, self._meter.seconds)
        self._unsaved = None

    def export(self, run_id: str) -> None:
        self._outputs.export(run_id)

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def _make_state(self, snapshot: Snapshot | None) -> None:
        recipe, model = self.recipe, self._bundle.model
        make_optimizer(model, recipe.optimizer)  # refuses wrong parts, and freezes
        if snapshot is not None:
            check_words(recipe.run.folder, snapshot, self._bundle)
        if snapshot is None:
            check_settings(recipe, self._bundle, {n: len(s) for n, s in self._samples.items()})
        objectives = make_objectives(recipe, self._bundle, self._processes.device)
        if snapshot is None:
            batch = first_batch(self._batches)
            model.to(self._processes.device)
            check_vectors(recipe, self._bundle, [o for _, o in objectives.values()], batch)
        self._trained, shared = make_trained(self._bundle, recipe.hardware, self._processes)
        micro_batch = recipe.hardware.micro_batch
        self._training_step = TrainingStep(self._trained, shared, objectives, micro_batch)
        if snapshot is None:
            # Compiling takes minutes, which a single batch is not worth.
            compiling = recipe.hardware.compile
            with torch.compiler.set_stance("force_eager") if compiling else nullcontext():
                check_gradients(self._training_step, model, batch)
        optimizer = make_optimizer(model, recipe.optimizer)
        optimizer.register_step_post_hook(lambda *_: self._trained.keep_in_range())
        ema = Ema(model, recipe.optimizer.ema) if recipe.optimizer.ema is not None else None
        self._state = TrainingState(model, optimizer, ema)
        self._outputs = Outputs(recipe, self._bundle, self._state, self._processes)
        # Each process draws its own dropout masks, after all have drawn the same first weights.
        torch.manual_seed(recipe.run.seed + self._processes.rank)
        if snapshot is not None:
            self._state.load(snapshot, self._processes)

    def _begin_damage_log(self, snapshot: Snapshot | None) -> DamageLog:
        file = self._folder / f"damaged-{self._processes.rank}.jsonl"
        if snapshot is None:
            file.unlink(missing_ok=True)  # left by a failed attempt
        damage = DamageLog(file)
        damage.add(d for s in self._samples.values() for d in s.source.damaged)
        return damage

    def _lr_at(self, number: int) -> float:
        config = self.recipe.optimizer
        return config.lr * lr_factor(config, number, self.steps)

    def _step(self, batch: Batch) -> Tensor:
        self._unsaved = None
        loss = self._training_step(batch)
        if not torch.isfinite(loss.detach()):
            self._note_failure(batch)
        return loss

    def _note_failure(self, batch: Batch) -> None:
        """Writes down all samples of a batch without a finite loss; the error names the first
        ones."""
        about = {
            "parts": self._training_step.parts,
            **self._trained.figures(),
            "samples": batch.keys,
        }
        name = f"not-finite-step-{batch.step + 1}-process-{self._processes.rank}.json"
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_text(json.dumps(about, ensure_ascii=False, indent=1))

    def _after_step(self, done: FinishedStep) -> None:
        number = done.number
        seconds = self._meter.stop()
        if self._state.ema is not None:
            self._state.ema.update(self._bundle.model, number)
        self._unsaved = number
        for batch in done.batches:
            for source in batch.sources.values():
                self._damage.add(source.damaged)
        if self._log is not None:
            values = {
                "loss": done.loss,
                **(self._training_step.parts if len(self.recipe.objective) > 1 else {}),
                "gradient_norm": done.gradient_norm,
                "lr": self._lr_at(number),
                **self._trained.figures(),
                **self._training_step.figures(),
                "damaged": len(self._damage),
                "seconds": round(seconds, 2),
                "memory_mib": round(peak_memory_mib(self._processes.device)),
            }
            if self._bundle.lora is not None:
                values["trained_parameters"] = _trained_parameters(self._bundle.model)
            self._log.step(number, self._images_per_step, values)
        self._measure_and_save(number)
        self._meter.start()

    def _measure_and_save(self, number: int) -> None:
        last, stopping = number == self.steps, self._stop.is_requested()
        measured: Mapping[str, float] = {}
        if last or (number % self._evaluate_every == 0 and not stopping):
            try:
                measured = self._outputs.measure()
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
            examples = self._outputs.examples
            self._log.write(number, {**measured, **({"examples": examples} if examples else {})})
            shown = "  ".join(f"{name} {value:.3f}" for name, value in measured.items())
            self._say(f"step {number}: {shown}")

    def _say(self, text: str) -> None:
        if self._log is not None:
            self._log.say(text)
