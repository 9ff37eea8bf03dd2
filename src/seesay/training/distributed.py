"""Training in several processes: joining them, sharing a model, agreeing on results.

Modules that only several processes need are imported where they are used: this takes a second.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seesay.errors import SeesayError
from seesay.inference.devices import choose_device
from seesay.objectives.exchange import gather_objects

Result = TypeVar("Result")
Sharing = Literal["copies", "shards"]
EVALUATION = timedelta(hours=2)  # how long the others wait while the first process evaluates


@dataclass(frozen=True)
class Processes:
    """This process among the processes of a training run, and its device."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes and prints for all."""
        return self.rank == 0


@contextmanager
def join_processes(device: str = "auto") -> Iterator[Processes]:
    """Joins the processes that torchrun started; without torchrun, there is a single process."""
    chosen = choose_device(None if device == "auto" else device)
    if chosen.type == "cuda" and chosen.index is None:
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(chosen)
    if dist.is_initialized():  # by a program that trains several models in turn
        yield Processes(dist.get_rank(), dist.get_world_size(), chosen)
        return
    if "RANK" not in os.environ:
        yield Processes(0, 1, chosen)
        return
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=EVALUATION)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), chosen)
    finally:
        dist.destroy_process_group()


def share_model(towers: nn.Module, sharing: Sharing, scalars: Sequence[nn.Parameter]) -> nn.Module:
    """Wraps a model so that its gradients are averaged over the processes; a single process gets it
    back unchanged.

    "copies" keeps the whole model in each process (DDP); "shards" keeps a part in each (FSDP2).
    `scalars` are the parameters without dimensions, which cannot be sharded.
    """
    if not dist.is_initialized():
        return towers
    if sharing == "copies":
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(towers)
    from torch.distributed.fsdp import fully_shard

    for module in transformer_blocks(towers):
        fully_shard(module)
    fully_shard(towers, ignored_params=set(scalars))
    for scalar in scalars:
        if scalar.requires_grad:
            scalar.register_post_accumulate_grad_hook(_average_gradient)
    return towers


def _average_gradient(parameter: Tensor) -> None:
    if parameter.grad is not None:
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()


def transformer_blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated layers: the unit of sharding and of recomputation."""
    return [
        block
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and name.split(".")[-1] == "blocks"
        for block in module
    ]


def is_sharded(tensor: Any) -> bool:
    """Whether this process holds only a part of the tensor."""
    return hasattr(tensor, "full_tensor")


def unsharded(tensor: Any) -> Tensor:
    """Gathers a tensor from its shards; returns it unchanged if it is not sharded. Collective."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def sharded_like(template: Any, tensor: Tensor) -> Tensor:
    """A whole tensor, placed and sharded like `template`."""
    if is_sharded(template):
        from torch.distributed.tensor import distribute_tensor

        tensor = tensor.to(template.device, template.dtype)
        return distribute_tensor(tensor, template.device_mesh, template.placements)
    return torch.empty_like(template).copy_(tensor)  # in the template's memory format


@torch.no_grad()
def clip_gradients(parameters: Sequence[Tensor], largest: float) -> float:
    """Scales all gradients down so that their norm is at most `largest`; returns their original
    norm."""
    gradients: list[Any] = [p.grad for p in parameters if p.grad is not None]
    kinds = [[g for g in gradients if is_sharded(g) is sharded] for sharded in (False, True)]
    norms = [unsharded(nn.utils.get_total_norm(kind)) for kind in kinds if kind]
    norm = float(torch.stack([n.double() for n in norms]).square().sum().sqrt()) if norms else 0.0
    if norm > largest:
        for gradient in gradients:
            gradient.mul_(largest / norm)
    return norm


def mean_over_processes(value: float) -> float:
    """Returns the mean over all processes' values."""
    if not dist.is_initialized():
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=_collective_device())
    dist.all_reduce(tensor)
    return float(tensor) / dist.get_world_size()


def in_every_process(work: Callable[[], Result]) -> list[Result]:
    """Runs `work` in each process and returns all results, by rank; collective. A SeesayError in
    one process is raised in all, so that none waits for a process that has ended."""
    outcome: Result | SeesayError
    try:
        outcome = work()
    except SeesayError as error:
        outcome = error
    results: list[Result] = []
    for one in gather_objects(outcome):
        if isinstance(one, SeesayError):
            raise one
        results.append(one)
    return results


def wait_for_all() -> None:
    """Waits until every process has called it."""
    if dist.is_initialized():
        dist.barrier()


def _collective_device() -> torch.device:
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
