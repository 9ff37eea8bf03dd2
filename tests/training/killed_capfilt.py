"""Filters captions, and kills that again and again: argument 1 is the folder of the squares, 2 the
number of kills.

Every run is a process of its own, forked from here so that torch is imported once, and killed
while it scores its first blocks or between them. The blocks that each begins are written to
blocks.txt.
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
from seesay.inference.embedder import Embedder, load
from seesay.training import caption_scoring
from seesay.training.capfilt import CapfiltConfig, run_capfilt


def begin(folder: Path, out: Path, model: Embedder) -> int:
    """The process id of a run in a folder."""
    if child := os.fork():
        return child
    try:
        with (folder / "blocks.txt").open("a") as blocks:

            def report(done: int, total: int, failed: int) -> None:
                blocks.write(f"{out.name} {done}\n")
                blocks.flush()

            records = RecordsConfig(path=str(folder / "shuffled.jsonl"), format="table")
            run_capfilt(records, CapfiltConfig(), out, model, report=report)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def begun(blocks: Path) -> int:
    return len(blocks.read_text().splitlines()) if blocks.exists() else 0


def main(folder: Path, kills: int) -> None:
    torch.set_num_threads(1)
    random.seed(0)
    caption_scoring.BLOCK = 2
    blocks, killed = folder / "blocks.txt", folder / "killed"
    model = load(folder / "run" / "model")
    os.waitpid(begin(folder, folder / "whole", model), 0)
    for kill in range(kills):
        enough = begun(blocks) + random.randint(1, 3)
        child = begin(folder, killed, model)
        while begun(blocks) < enough:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.01) * (kill % 2))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status != signal.SIGKILL:
            raise SystemExit(f"a run ended with status {status} before it was killed")
    _, status = os.waitpid(begin(folder, killed, model), 0)
    if status:
        raise SystemExit(f"the last run ended with status {status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
