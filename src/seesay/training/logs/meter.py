"""What a training costs: seconds spent on its steps, over all its parts, and memory at its peak."""

import resource
import sys
import time

import torch

MIB = 2**20


class Meter:
    """A stopwatch that can be stopped while a model is measured or saved."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        """Time until the last stop, with that of earlier parts of the run."""
        self._since = time.perf_counter()

    def stop(self) -> float:
        self.seconds += time.perf_counter() - self._since
        return self.seconds

    def go_on(self) -> None:
        self._since = time.perf_counter()


def peak_memory_mib(device: torch.device) -> float:
    """Most memory so far: of the tensors on a GPU, elsewhere of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB
