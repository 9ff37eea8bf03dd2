"""Trains, and kills the training again and again: argument 1 is a recipe, 2 the number of kills.

Every training is a process of its own, forked from here so that torch is imported once. Half of
the kills come at a random moment, half while a checkpoint is being written. A run that comes to
its end in between is left as it is, and the next one begun. What happened is written beside the
recipe, as told.json.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from seesay.training.recipe import read_recipe
from seesay.training.run import train

PROMPT_S = 0.001  # how often the folder is looked at, to kill within a write


def begin(recipe: Path, run: Path) -> int:
    """The process id of a training that goes on with a run, or begins it."""
    if child := os.fork():
        return child
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        train(read_recipe(recipe, (f"run.folder={run}",)), resume=True)
        os._exit(0)
    except BaseException:
        os._exit(1)


def ended(child: int) -> bool:
    """Whether a training came to its end by itself. Raises where it failed."""
    done, status = os.waitpid(child, os.WNOHANG)
    if done and status:
        raise SystemExit(f"the training ended with status {status}")
    return bool(done)


def watch(child: int, run: Path, *, until_writing: bool, seconds: float) -> bool:
    """Wait for the moment to kill; whether the training ended before."""
    deadline = time.monotonic() + (300 if until_writing else seconds)
    while time.monotonic() < deadline:
        if ended(child):
            return True
        if until_writing and any((run / "checkpoints").glob(".unfinished-*")):
            time.sleep(random.uniform(0, 0.01))
            return False
        time.sleep(PROMPT_S)
    return ended(child)


def main(recipe: Path, kills: int) -> None:
    torch.set_num_threads(1)
    random.seed(0)
    runs = recipe.parent / "runs"
    started = time.monotonic()
    os.waitpid(begin(recipe, runs / "whole"), 0)
    whole_s = time.monotonic() - started
    finished, writing, run = [], 0, runs / "killed-0"
    for kill in range(kills):
        child = begin(recipe, run)
        in_write = kill % 2 == 1
        seconds = random.uniform(0, 0.4 * whole_s)
        while watch(child, run, until_writing=in_write, seconds=seconds):
            finished.append(run.name)
            run = runs / f"killed-{len(finished)}"
            child = begin(recipe, run)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        writing += any((run / "checkpoints").glob(".unfinished-*"))
    _, status = os.waitpid(begin(recipe, run), 0)
    if status:
        raise SystemExit(f"the last training ended with status {status}")
    finished.append(run.name)
    told = {"finished": finished, "writing": writing, "whole_s": whole_s}
    recipe.with_name("told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
