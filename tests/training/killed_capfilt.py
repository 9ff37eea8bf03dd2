"""Filters captions, and kills that again and again: argument 1 is the folder of the squares, 2 the
number of kills.

Every run is a process of its own, forked from here so that torch is imported once, and killed at a
random moment. The blocks that each begins are written to blocks.txt.
"""

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from seesay.data.sources import RecordsConfig
from seesay.inference.embedder import load
from seesay.training import caption_scoring
from seesay.training.capfilt import CapfiltConfig, run_capfilt


def begin(folder: Path, out: Path) -> int:
    """The process id of a run in a folder."""
    if child := os.fork():
        return child
    try:
        with (folder / "blocks.txt").open("a") as blocks:

            def report(done: int, total: int, failed: int) -> None:
                blocks.write(f"{out.name} {done}\n")
                blocks.flush()

            records = RecordsConfig(path=str(folder / "shuffled.jsonl"), format="table")
            comparing = load(folder / "run" / "model")
            run_capfilt(records, CapfiltConfig(), out, comparing, report=report)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main(folder: Path, kills: int) -> None:
    torch.set_num_threads(1)
    random.seed(0)
    caption_scoring.BLOCK = 2
    started = time.monotonic()
    os.waitpid(begin(folder, folder / "whole"), 0)
    whole_s = time.monotonic() - started
    for _ in range(kills):
        child = begin(folder, folder / "killed")
        time.sleep(random.uniform(0.1, 0.7) * whole_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    _, status = os.waitpid(begin(folder, folder / "killed"), 0)
    if status:
        raise SystemExit(f"the last run ended with status {status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
