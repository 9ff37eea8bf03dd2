"""What a step keeps and needs, in bytes."""

import ctypes
import gc
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor


def kept_for_backward(forward: Callable[[], Tensor], inputs: Sequence[Tensor]) -> tuple[int, int]:
    """Bytes of the distinct storages that autograd keeps, and of those that are no input."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = forward()
    own = {tensor.untyped_storage().data_ptr() for tensor in inputs}
    beyond = sum(size for address, size in kept.items() if address not in own)
    del value  # only now may the storages be freed and their addresses used again
    return sum(kept.values()), beyond


def growth(step: Callable[[], object]) -> int:
    """How far the process grows at most during a step (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier steps freed would hide what this one takes
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to now
    before = _status("VmRSS")
    step()
    return _status("VmHWM") - before


def free_bytes() -> int:
    """What programs can take before the machine runs short (Linux)."""
    return _kibibytes(Path("/proc/meminfo"), "MemAvailable")


def _status(name: str) -> int:
    return _kibibytes(Path("/proc/self/status"), name)


def _kibibytes(file: Path, name: str) -> int:
    return next(
        int(line.split()[1]) * 1024
        for line in file.read_text().splitlines()
        if line.startswith(name + ":")
    )
