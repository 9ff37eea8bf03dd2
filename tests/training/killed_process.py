"""Trains, and kills the training again and again: argument 1 is a recipe, 2 the number of kills.

Every training that may be killed is a process of its own, forked from here after the first, whole
one, so that all it imports is there. Half of the kills come at a random moment, half while a
checkpoint is being written, which the process says through a pipe. A run that comes to its end in
between is left as it is, and the next one begun. What happened is written beside the recipe, as
told.json.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch

from seesay.training import checkpoints
from seesay.training.recipe import read_recipe
from seesay.training.run import train

PROMPT_S = 0.001  # how often it is looked whether a training has ended


class Child(NamedTuple):
    number: int
    pipe: int
    """Says when the first file of a checkpoint is being written."""


def begin(recipe: Path, run: Path) -> Child:
    """A training that goes on with a run, or begins it."""
    reading, writing = os.pipe()
    if number := os.fork():
        os.close(writing)
        return Child(number, reading)
    save = checkpoints.save_file

    def saying(tensors: dict[str, torch.Tensor], file: Path) -> None:
        os.write(writing, b"w")
        save(tensors, file)

    checkpoints.save_file = saying
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        train(read_recipe(recipe, (f"run.folder={run}",)), resume=True)
        os._exit(0)
    except BaseException:
        os._exit(1)


def ended(child: Child, *, wait: bool = False) -> bool:
    """Whether a training came to its end by itself. Raises where it failed."""
    done, status = os.waitpid(child.number, 0 if wait else os.WNOHANG)
    if done and status:
        raise SystemExit(f"the training ended with status {status}")
    return bool(done)


def watch(child: Child, *, until_writing: bool, seconds: float) -> bool:
    """Wait for the moment to kill; whether the training ended before."""
    if until_writing:
        if not os.read(child.pipe, 1):
            return ended(child, wait=True)
        time.sleep(random.uniform(0, 0.005))
        return ended(child)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ended(child):
            return True
        time.sleep(PROMPT_S)
    return ended(child)


def main(recipe: Path, kills: int) -> None:
    torch.set_num_threads(1)
    random.seed(0)
    runs = recipe.parent / "runs"
    train(read_recipe(recipe, (f"run.folder={runs / 'whole'}",)))
    started = time.monotonic()
    ended(begin(recipe, runs / "killed-0"), wait=True)  # as it is in a process of its own
    whole_s = time.monotonic() - started
    finished, writing, run = ["killed-0"], 0, runs / "killed-1"
    for kill in range(kills):
        child = begin(recipe, run)
        in_write = kill % 2 == 1
        seconds = random.uniform(0, 0.4 * whole_s)
        while watch(child, until_writing=in_write, seconds=seconds):
            finished.append(run.name)
            run = runs / f"killed-{len(finished)}"
            child = begin(recipe, run)
        os.kill(child.number, signal.SIGKILL)
        os.waitpid(child.number, 0)
        writing += any((run / "checkpoints").glob(".unfinished-*"))
    ended(begin(recipe, run), wait=True)
    finished.append(run.name)
    told = {"finished": finished, "writing": writing, "whole_s": whole_s}
    recipe.with_name("told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
