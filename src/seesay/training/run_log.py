"""The logs of a training run: log.jsonl, TensorBoard, Weights & Biases and a progress bar; samples
that could not be read; time and memory."""

import json
import resource
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from seesay.data.files import write_whole
from seesay.data.formats.records import Damaged
from seesay.errors import MissingExtraError
from seesay.models.layers import require_range

MIB = 2**20
QUIET_S = 30.0  # between two lines if there is no terminal for a progress bar


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """What is logged besides log.jsonl, and how often."""

    every: int = 10
    """Steps between two lines."""
    also: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Further logs: TensorBoard files in the run's folder, or Weights & Biases."""

    def __post_init__(self) -> None:
        require_range(1, every=self.every)


class RunLog:
    """The log of a run, continued after step `after`, or started anew if it is None."""

    def __init__(self, folder: Path, config: LogConfig, *, after: int | None, steps: int) -> None:
        self.file = folder / "log.jsonl"
        self._config = config
        self._writers: list[Any] = []
        folder.mkdir(parents=True, exist_ok=True)
        truncate_log(self.file, -1 if after is None else after)
        if "tensorboard" in config.also:
            self._writers.append(_tensorboard(folder / "tensorboard", after or 0))
        if "wandb" in config.also:
            self._writers.append(_Wandb(folder))
        self._lines = self.file.open("a", encoding="utf-8")
        self._bar = _Bar(after or 0, steps)
        self._speed = _Speed()

    def step(self, number: int, samples: int, values: Mapping[str, Any]) -> None:
        """Logs a step on `samples` images; `values` include its loss and the seconds spent on all
        steps so far."""
        speed = self._speed.after(samples, values["seconds"])
        self._bar.advance(number, values["loss"], speed, samples)
        if number % self._config.every == 0:
            self.write(number, {**values, "samples_per_s": round(speed, 2)})

    def write(self, number: int, values: Mapping[str, Any]) -> None:
        """Writes a line at any step."""
        self._lines.write(json.dumps({"step": number, **values}, ensure_ascii=False) + "\n")
        self._lines.flush()
        for name, value in values.items():
            if isinstance(value, int | float):
                for writer in self._writers:
                    writer.add_scalar(name, value, number)

    def say(self, text: str) -> None:
        """Prints a line beside the progress bar."""
        self._bar.say(text)

    def close(self) -> None:
        self._bar.close()
        self._lines.close()
        for writer in self._writers:
            writer.close()


def truncate_log(file: Path, step: int) -> None:
    """Drops the lines after a step, which a resumed run writes again, and an incomplete last
    line."""
    if not file.exists():
        return
    with write_whole(file) as whole:
        whole.write_text(
            "".join(
                f"{json.dumps(row, ensure_ascii=False)}\n"
                for row in read_log(file)
                if row["step"] <= step
            ),
            encoding="utf-8",
        )


def read_log(file: Path) -> list[dict[str, Any]]:
    """The lines of a log.jsonl, without an incomplete last one."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class _Speed:
    """Samples per second over the last steps, without evaluation and checkpoints."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, float]] = deque(maxlen=20)

    def after(self, samples: int, seconds: float) -> float:
        """`seconds` count from any starting point. Returns 0 after the first step, which includes
        the start-up."""
        self._last.append((samples, seconds))
        passed = seconds - self._last[0][1]
        return sum(n for n, _ in list(self._last)[1:]) / passed if passed > 0 else 0.0


class _Bar:
    """A progress bar with samples per second and the time left; plain lines without a terminal."""

    def __init__(self, after: int, steps: int) -> None:
        self._console = Console(stderr=True)
        self._steps = steps
        self._last_line = time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:.1f} samples/s"),
            TextColumn("{task.fields[left]} left"),
        )
        self._progress = Progress(*columns, console=self._console)
        self._task = self._progress.add_task(
            "training", total=steps, completed=after, speed=0.0, left="?"
        )
        if self._console.is_terminal:
            self._progress.start()

    def advance(self, number: int, loss: float, speed: float, samples: int) -> None:
        said = f"loss {loss:.4f}"
        seconds = (self._steps - number) * samples / speed if speed else 0.0
        left = str(timedelta(seconds=round(seconds))) if speed else "?"
        self._progress.update(
            self._task, completed=number, description=said, speed=speed, left=left
        )
        if not self._console.is_terminal and time.monotonic() - self._last_line > QUIET_S:
            self._last_line = time.monotonic()
            self.say(f"step {number}/{self._steps}  {said}  {speed:.1f} samples/s  {left} left")

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        self._progress.stop()


def _tensorboard(folder: Path, after: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        raise MissingExtraError("tensorboard", "train") from None
    return SummaryWriter(str(folder), purge_step=after + 1)


class _Wandb:
    """Weights & Biases behind TensorBoard's two methods."""

    def __init__(self, folder: Path) -> None:
        try:
            import wandb
        except ModuleNotFoundError:
            raise MissingExtraError("wandb", "wandb") from None
        self._run = wandb.init(dir=folder, name=folder.name, id=folder.name, resume="allow")

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._run.log({name: value}, step=step)

    def close(self) -> None:
        self._run.finish()


class DamageLog:
    """A file with a line for each damaged sample: its name and the reason."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = {row["key"] for row in read_log(file)} if file.exists() else set()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, damaged: Iterable[Damaged]) -> None:
        """Logs those that are not in the file yet."""
        for one in damaged:
            if one.key in self._known:
                continue
            self._known.add(one.key)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8", errors="backslashreplace") as lines:
                row = {"key": one.key, "reason": one.reason}
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")


class Meter:
    """A stopwatch that pauses while the model is evaluated or saved."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        """Time until the last stop, including earlier parts of the run."""
        self._since = time.perf_counter()

    def stop(self) -> float:
        self.seconds += time.perf_counter() - self._since
        return self.seconds

    def start(self) -> None:
        self._since = time.perf_counter()


def peak_memory_mib(device: torch.device) -> float:
    """Peak memory: of tensors on a GPU, elsewhere of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB
