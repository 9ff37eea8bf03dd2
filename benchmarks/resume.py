"""Whether an evaluation that was killed again and again gives the values of one that was not.

    python benchmarks/resume.py [--kills 5] [--limit 80]

Runs `seesay evaluate quick` with the built-in assistant once to its end, and once with SIGKILL at
random moments, resumed each time.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

DATA = Path(__file__).parents[2] / "shared" / "data"
SECONDS = (4.0, 7.5)
"""Between the start of a run and its end by force."""


def values(command: list[str]) -> list[tuple[Any, ...]]:
    """The scores of a run that ends by itself."""
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    scores = json.loads(done.stdout)["scores"]
    return [(one["task"], one["scorer"], one["values"]) for one in scores]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--limit", type=int, default=80, help="samples of each task")
    options = parser.parse_args()
    seesay = [sys.executable, "-c", "from seesay.cli.main import main; main()"]
    common = ["evaluate", "quick", "--data", str(DATA), "--limit", str(options.limit), "--json"]
    with TemporaryDirectory() as scratch:
        command = [*seesay, *common, "--model", "seesay-assistant", "--out"]
        whole = values([*command, f"{scratch}/whole"])
        for _ in range(options.kills):
            run = subprocess.Popen([*command, f"{scratch}/killed"], stdout=subprocess.DEVNULL)
            time.sleep(random.uniform(*SECONDS))
            state = "killed" if run.poll() is None else "had ended"
            run.kill()
            run.wait()
            print(state, flush=True)
        equal = values([*command, f"{scratch}/killed"]) == whole
    print(f"{sum(len(one[2]) for one in whole)} values, {'all equal' if equal else 'NOT equal'}")
    sys.exit(not equal)


if __name__ == "__main__":
    main()
