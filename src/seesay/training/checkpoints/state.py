"""All that a training is made of at one moment, taken out whole and put back to the last bit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from seesay.errors import TrainingError
from seesay.training.checkpoints.store import Snapshot, random_state, restore_random_state
from seesay.training.distributed import Processes, gather_objects, like, whole
from seesay.training.optimizers import Ema


class TrainingState:
    """Model, optimizer and running average of one training, in one process or cut over many."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema | None) -> None:
        self.model, self.optimizer, self.ema = model, optimizer, ema

    def snapshot(self, step: int, notes: dict[str, Any]) -> Snapshot:
        """The state after a step; every process must ask."""
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
        """Go back to a snapshot, taken by any number of processes.
        Raises TrainingError where it is of another model."""
        _fill(self.model.state_dict(), snapshot.model, "weights")
        if self.ema is not None:
            _fill(self.ema.weights, snapshot.average, "running average")
        for name, parameter in self.model.named_parameters():
            if name in snapshot.optimizer:
                self.optimizer.state[parameter] = {
                    key: tensor if key == "step" else like(parameter.detach(), tensor)
                    for key, tensor in snapshot.optimizer[name].items()
                }
        if len(snapshot.random) == processes.count:
            restore_random_state(snapshot.random[processes.rank])
        else:  # masks of dropout differ then, and nothing else
            torch.manual_seed(snapshot.step * processes.count + processes.rank)


def whole_weights(model: nn.Module, ema: Ema | None) -> dict[str, Tensor]:
    """What is evaluated: the running average where there is one. Every process must ask."""
    weights = ema.weights if ema is not None else model.state_dict()
    return {name: whole(tensor).detach() for name, tensor in weights.items()}


def _in_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: whole(t).detach().cpu().contiguous() for name, t in tensors.items()}


@torch.no_grad()
def _fill(targets: Mapping[str, Tensor], values: Mapping[str, Tensor], what: str) -> None:
    if different := sorted(targets.keys() ^ values.keys()):
        raise TrainingError(
            f"the checkpoint's {what} are those of another model: {', '.join(different[:5])} stand "
            "on one side only; resume with the recipe and the version that the run was begun with"
        )
    for name, target in targets.items():
        target.copy_(like(target, values[name]))
