"""Checkpoints: the whole state of a training run, saved and restored bit for bit.

A checkpoint folder is either complete or absent, even if the process is killed. It is written under
a temporary name, synced file by file and then renamed, which is atomic. Deletion starts with a
rename.
"""

import json
import os
import random
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seesay.errors import TrainingError
from seesay.models.layers import require_range
from seesay.objectives.exchange import gather_objects
from seesay.text import Text
from seesay.training.distributed import Processes, sharded_like, unsharded
from seesay.training.optimizers import Ema

NAME = re.compile(r"step-(\d{8,})")
UNFINISHED = ".unfinished-"


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """How often a checkpoint is written, and how many are kept."""

    every: int = 1000
    """Steps between two checkpoints; the last step always makes one."""
    keep: int = 2
    """How many of the newest checkpoints are kept, besides the best one."""

    def __post_init__(self) -> None:
        require_range(1, every=self.every, keep=self.keep)


@dataclass(frozen=True)
class Snapshot:
    """The state of a training run after a step, as whole tensors in main memory.

    On a CPU they share memory with the model being trained: save them before the next step.
    """

    step: int
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    """The running average of the weights; empty if none is kept."""
    optimizer: dict[str, dict[str, Tensor]]
    """AdamW's tensors by parameter."""
    random: list[dict[str, Any]]
    """Generators' states, one per process."""
    notes: dict[str, Any]
    """JSON: metrics, the score that ranks checkpoints, the recipe."""

    @property
    def score(self) -> float | None:
        """The mean of the measures that the recipe names as `best`; higher is better."""
        return self.notes.get("score")


class Checkpoints:
    """The checkpoints in one folder."""

    def __init__(self, folder: Path, config: CheckpointConfig) -> None:
        self.folder = folder
        self._keep = config.keep

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, ascending."""
        names = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(int(m[1]) for path in names if (m := NAME.fullmatch(path.name)))

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def best(self) -> int | None:
        """The step with the highest score, or the earliest of several; None if no checkpoint has a
        score."""
        scores = {step: self.notes(step).get("score") for step in self.steps()}
        known = {step: score for step, score in scores.items() if score is not None}
        return max(known, key=lambda step: (known[step], -step)) if known else None

    def chosen(self) -> int:
        """The step whose weights are exported: the best one if there is one, else the last."""
        best = self.best()
        return self.steps()[-1] if best is None else best

    def notes(self, step: int) -> dict[str, Any]:
        try:
            return json.loads((self.path(step) / "notes.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._unreadable(step, error) from None

    def save(self, snapshot: Snapshot) -> None:
        """Writes a checkpoint, then deletes those beyond the limit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clear_unfinished()
        path = self.path(snapshot.step)
        unfinished = self.folder / f"{UNFINISHED}{path.name}"
        unfinished.mkdir()
        save_file(snapshot.model, unfinished / "model.safetensors")
        if snapshot.average:
            save_file(snapshot.average, unfinished / "average.safetensors")
        state = {"optimizer": snapshot.optimizer, "random": snapshot.random}
        torch.save(state, unfinished / "state.pt")
        notes = json.dumps({**snapshot.notes, "step": snapshot.step}, indent=1, ensure_ascii=False)
        (unfinished / "notes.json").write_text(notes, encoding="utf-8")
        publish(unfinished, path)
        self._prune()

    def load(self, step: int) -> Snapshot:
        """Loads a checkpoint. Raises TrainingError if its files are damaged."""
        path = self.path(step)
        try:
            state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
            average = path / "average.safetensors"
            return Snapshot(
                step=step,
                model=load_file(path / "model.safetensors"),
                average=load_file(average) if average.exists() else {},
                optimizer=state["optimizer"],
                random=state["random"],
                notes=self.notes(step),
            )
        except TrainingError:
            raise
        except Exception as error:  # each reader has errors of its own
            raise self._unreadable(step, error) from None

    def clear_unfinished(self) -> None:
        """Deletes folders that a killed process left half written or half deleted."""
        for path in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(path)

    def _prune(self) -> None:
        steps = self.steps()
        for step in set(steps) - {*steps[-self._keep :], self.best()}:
            doomed = self.folder / f"{UNFINISHED}{self.path(step).name}"
            self.path(step).rename(doomed)
            shutil.rmtree(doomed)

    def _unreadable(self, step: int, error: Exception) -> TrainingError:
        path, reason = self.path(step), type(error).__name__
        return TrainingError(
            Text(
                f"the checkpoint {path} is damaged ({reason}), expected one written to the end: "
                "check the disk, delete this folder and resume from the one before",
                f"检查点 {path} 已损坏（{reason}）；应为完整写入的检查点；"
                "请检查硬盘，删除这个文件夹，再从前一个检查点继续",
            )
        )


def publish(unfinished: Path, path: Path) -> None:
    """Syncs a folder to the disk, then renames it atomically."""
    for file in (*unfinished.iterdir(), unfinished):
        _to_disk(file)
    unfinished.rename(path)
    _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def random_state() -> dict[str, Any]:
    """Returns the state of every random generator of this process, in types that load without a
    pickle. Long sequences of numbers are tensors, which are written a hundred times faster than
    lists."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    words = torch.tensor([int(key) for key in keys])
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), words, int(position), int(has_gauss), float(gauss)],
        "python": [version, torch.tensor(internal), gauss_next],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Sets every random generator back to a state from `random_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss_next))


class TrainingState:
    """Model, optimizer and running average, in one process or sharded over several."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema | None) -> None:
        self.model, self.optimizer, self.ema = model, optimizer, ema

    def snapshot(self, step: int, notes: dict[str, Any]) -> Snapshot:
        """The state after a step; collective."""
        return Snapshot(
            step=step,
            model=_in_memory(self.model.state_dict()),
            average=_in_memory(self.ema.weights) if self.ema is not None else {},
            optimizer={
                name: _in_memory(self.optimizer.state[parameter])
                for name, parameter in self.model.named_parameters()
                if parameter in self.optimizer.state
            },
            random=gather_objects(random_state()),
            notes=notes,
        )

    def load(self, snapshot: Snapshot, processes: Processes) -> None:
        """Restores a snapshot, regardless of how many processes took it. Raises TrainingError if it
        belongs to another model."""
        _fill(self.model.state_dict(), snapshot.model, "weights")
        if self.ema is not None:
            _fill(self.ema.weights, snapshot.average, "running average")
        for name, parameter in self.model.named_parameters():
            if name in snapshot.optimizer:
                self.optimizer.state[parameter] = {
                    key: tensor if key == "step" else sharded_like(parameter.detach(), tensor)
                    for key, tensor in snapshot.optimizer[name].items()
                }
        if len(snapshot.random) == processes.count:
            restore_random_state(snapshot.random[processes.rank])
        else:  # only the dropout masks differ then
            torch.manual_seed(snapshot.step * processes.count + processes.rank)


def whole_weights(model: nn.Module, ema: Ema | None) -> dict[str, Tensor]:
    """The weights to evaluate: the running average if there is one. Collective."""
    weights = ema.weights if ema is not None else model.state_dict()
    return {name: unsharded(tensor).detach() for name, tensor in weights.items()}


def _in_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: unsharded(t).detach().cpu().contiguous() for name, t in tensors.items()}


@torch.no_grad()
def _fill(targets: Mapping[str, Tensor], values: Mapping[str, Tensor], what: str) -> None:
    if different := sorted(targets.keys() ^ values.keys()):
        names = ", ".join(different[:5])
        raise TrainingError(
            Text(
                f"the checkpoint's {what} are those of another model: {names} stand on one side "
                "only; resume with the recipe and the version that the run was begun with",
                f"检查点里的参数（{what}）属于另一个模型：{names} 只在一边有；"
                "应与开始训练时一致；请用当时的配方和版本继续",
            )
        )
    for name, target in targets.items():
        target.copy_(sharded_like(target, values[name]))
