"""How long the command line takes to answer before it does any work, and to answer a first search
or question.

    python benchmarks/start.py
    python benchmarks/start.py --folder ~/Pictures --model seesay-base
    python benchmarks/start.py --assistant runs/seesay-assistant/model

Wall and processor time and peak memory of `seesay --help`, of a cold `seesay search`, of a cold
`seesay ask` about one of the pictures with the built-in assistant (or a model folder like it), and
of `seesay mcp` until it answers `initialize`, each in a process of its own, beside a bare Python,
one that imports torch (which none may do), and rclip where that is installed and has its model.
Without a folder, the photographs of scikit-image are searched. Goals: --help within 0.3 s; a search
within 0.7 s of processor time and 120 MB; an answer within 1.5 s; `seesay mcp` ready within 1 s.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from seesay.data.images import list_images
from seesay.weights.catalog import has_assistant

GOAL_HELP_S, GOAL_SEARCH_S, GOAL_SEARCH_MB = 0.3, 0.7, 120
GOAL_MCP_S = 1.0
GOAL_ASK_S = 1.5
ASK = "seesay ask (built-in assistant)"
ROUNDS = 15
CLI = "from seesay.cli.main import main; main()"
PEAK = "import os, resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"  # noqa: E501


def measure(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of wall and processor time of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, env=environment, check=True, **quiet)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def peak_mb(command: Sequence[str], environment: dict[str, str]) -> float:
    """The most memory that one process had, measured in a parent that has few pages itself."""
    told = subprocess.run(
        [sys.executable, "-c", PEAK, *command], env=environment, capture_output=True, check=True
    )
    unit = 1 if sys.platform == "darwin" else 1024
    return int(told.stdout) * unit / 1e6


def mcp_ready(environment: dict[str, str]) -> float:
    """Seconds from the start of `seesay mcp` to its first answer."""
    who = {"protocolVersion": "2025-06-18", "capabilities": {}}
    who["clientInfo"] = {"name": "start", "version": "1"}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": who}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", CLI, "mcp"], env=environment, **pipes) as process:
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        answered = json.loads(process.stdout.readline())
        seconds = time.perf_counter() - start
        process.stdin.close()
    assert "result" in answered, answered
    return seconds


def commands(folder: Path, assistant: str | None) -> dict[str, list[str]]:
    python = [sys.executable, "-c"]
    known = {
        "python, nothing imported": [*python, "pass"],
        "import torch": [*python, "import torch"],
        "seesay --help": [*python, CLI, "--help"],
        "seesay search (English)": [*python, CLI, "search", "a cat"],
        "seesay search (Chinese)": [*python, CLI, "search", "一只猫"],
    }
    if assistant or has_assistant():
        named = ["--model", assistant] if assistant else []
        picture, question = str(list_images(folder)[0]), "What is in the picture?"
        known[ASK] = [*python, CLI, "ask", picture, question, *named]
    else:
        print("no assistant comes with seesay: give the folder of one with --assistant")
    if rclip := shutil.which("rclip"):
        known["rclip"] = [rclip, "--no-indexing", "a cat"]
    else:
        print("rclip is not installed: pip install rclip, and let it load its model once")
    return known


def main(folder: Path, home: Path, model: str | None, assistant: str | None) -> None:
    # Byte code is kept, as it is for anybody who starts a program twice.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "SEESAY_HOME": str(home)}
    chosen = ["--model", model] if model else []
    index = subprocess.run(
        [sys.executable, "-c", CLI, "index", str(folder), *chosen], env=environment
    )
    if index.returncode > 1:  # 1: a file could not be read
        raise SystemExit("indexing failed")
    all_commands = commands(folder, assistant)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in all_commands}
    for warming in (True, *[False] * ROUNDS):  # in turn, so that a busy machine is unfair to none
        for name, command in all_commands.items():
            pair = measure(command, environment)
            if not warming:
                times[name].append(pair)
    print(f"{'':32}{'wall':>10}{'cpu':>10}{'peak':>10}   ", end="")
    print(f"medians of {ROUNDS}, load {os.getloadavg()[0]:.1f}")
    medians, peaks = {}, {}
    for name, pairs in times.items():
        wall, cpu = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        medians[name], peaks[name] = (wall, cpu), peak_mb(all_commands[name], environment)
        print(f"{name:32}{wall:9.3f}s{cpu:9.3f}s{peaks[name]:7.0f} MB")
    ready = [mcp_ready(environment) for _ in range(ROUNDS + 1)][1:]
    print(f"{'seesay mcp, ready':32}{statistics.median(ready):9.3f}s")
    tell("mcp", min(ready), GOAL_MCP_S, "s (quickest)")
    best = min(wall for wall, _ in times["seesay --help"])
    tell("--help", best, GOAL_HELP_S, "s (quickest)")
    if ASK in times:
        tell("an answer", min(wall for wall, _ in times[ASK]), GOAL_ASK_S, "s (quickest)")
    for name in (name for name in medians if name.startswith("seesay search")):
        tell(name, medians[name][1], GOAL_SEARCH_S, "s of processor time")
        tell(name, peaks[name], GOAL_SEARCH_MB, "MB")


def tell(what: str, value: float, goal: float, unit: str) -> None:
    print(
        f"goal: {what} at most {goal} {unit}: {'met' if value <= goal else 'missed'} ({value:.3g})"
    )


def photographs() -> Path:
    import skimage

    return Path(skimage.__file__).parent / "data"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument(
        "--model", help="that the collection is indexed with; else the built-in one"
    )
    parser.add_argument("--assistant", help="model that answers; else the built-in one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        main(given.folder or photographs(), Path(place), given.model, given.assistant)
