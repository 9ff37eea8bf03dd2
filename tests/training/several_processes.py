"""Started by torchrun: trains each of the given runs, one after the other. After an error the
others still run, and the file for errors says which failed. A run with `cut` goes on from a copy of
another one, cut back. In a run that is `unmeasurable`, the first process cannot evaluate, and each
process notes what it was told."""

import json
import shutil
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import torch.distributed as dist

from seesay.errors import DataError
from seesay.training.recipe import EvaluationConfig, read_recipe
from seesay.training.run import train


@dataclass(frozen=True)
class Unmeasurable:
    def names(self):
        return ()

    def check(self):
        pass

    def measure(self, embedder):
        raise DataError("the dev set is gone")


def note_refusal(recipe, file: Path) -> None:
    try:
        train(replace(recipe, evaluation=EvaluationConfig(measures={"dev": Unmeasurable()})))
    except DataError as error:
        file.write_text(str(error))


def cut_back(run: Path, step: int, to: Path) -> None:
    """Copy a run as it looks when it was killed after a step."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("model", "tensorboard"))
    for path in (to / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)


def main(jobs: Path) -> None:
    import quick_bitsandbytes  # noqa: F401

    dist.init_process_group("gloo")
    for job in json.loads(jobs.read_text()):
        try:
            recipe = read_recipe(Path(job["recipe"]), tuple(job["settings"]))
            if job.get("unmeasurable"):
                note_refusal(recipe, jobs.with_name(f"told-{dist.get_rank()}"))
                continue
            if cut := job.get("cut"):
                if dist.get_rank() == 0:
                    cut_back(Path(cut["run"]), cut["step"], Path(recipe.run.folder))
                dist.barrier()
            train(recipe, resume=cut is not None)
        except Exception:
            with jobs.with_suffix(".errors").open("a") as errors:
                errors.write(f"{job}\n{traceback.format_exc()}\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
