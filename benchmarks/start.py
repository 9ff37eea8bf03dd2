"""How long the command line takes to answer before it does any work.

    python benchmarks/start.py

Wall and processor time of `seesay --help` beside a bare Python, and beside one that imports what
--help must never import. Goal: --help within 0.3 s.
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

GOAL_S = 0.3
ROUNDS = 15
HELP = "import sys; from seesay.cli.main import run; sys.exit(run(['--help']))"
COMMANDS = {
    "python, nothing imported": "pass",
    "seesay --help": HELP,
    "import torch": "import torch",
}


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Seconds of wall and processor time of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):  # in turn, so that a busy machine is unfair to none
        for name, code in COMMANDS.items():
            times[name].append(measure([sys.executable, "-c", code]))
    print(f"{'':28}{'wall':>10}{'cpu':>10}   medians of {ROUNDS}, load {os.getloadavg()[0]:.1f}")
    for name, pairs in times.items():
        wall, cpu = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        print(f"{name:28}{wall:9.3f}s{cpu:9.3f}s")
    best = min(wall for wall, _ in times["seesay --help"])
    met = "met" if best < GOAL_S else "missed"
    print(f"goal: --help under {GOAL_S} s: {met} ({best:.3f} s in the quickest of {ROUNDS} runs)")


if __name__ == "__main__":
    main()
