"""Which folder a training run or a sweep may write in: one that it has marked as its own.

A run cuts its log back when it resumes, removes old checkpoints and replaces its exported model. In
a folder that held something else, those would be another program's files. So the mark is written
before anything else, and only where none of the names is taken.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from seesay.data.atomic import write_whole
from seesay.errors import ConfigError, TrainingError
from seesay.training.checkpoints.store import Checkpoints
from seesay.training.distributed import Processes, in_all
from seesay.weights.saving import check_replaceable, mark_run

RUN = "seesay-run.json"
"""The mark of a run's folder."""
RUN_FILES = (
    "model",
    "checkpoints",
    "log.jsonl",
    "damaged-*.jsonl",
    "not-finite-*.json",
    "tensorboard",
    "wandb",
)
SWEEP = "seesay-sweep.json"
"""The mark of a sweep's folder."""
SWEEP_FILES = ("report.html", "report.csv", "report.md")


def claim_run_folder(
    folder: Path, model: Path, checkpoints: Checkpoints, processes: Processes
) -> str:
    """The id of the run in `folder`, which is marked with it on first use; every process must ask.

    A folder with checkpoints is that of a run, also where version 0.1.0 left no mark. An exported
    model without an id counts as the run's if it has the weights of one of its checkpoints. Raises
    ConfigError, in every process, where something else is in the way.
    """

    def claim() -> str:
        if not processes.first:
            return ""
        own = claim_folder(folder, RUN, () if checkpoints.steps() else RUN_FILES)
        mark_run(model, own, _weights(checkpoints))
        check_replaceable(model, own)
        return own

    return in_all(claim)[0]


def _weights(checkpoints: Checkpoints) -> Iterator[Mapping[str, Tensor]]:
    """What exporting each checkpoint would write, the newest first; damaged ones are left out."""
    for step in reversed(checkpoints.steps()):
        with suppress(TrainingError):
            snapshot = checkpoints.load(step)
            yield snapshot.average or snapshot.model


def claim_folder(folder: Path, mark: str, files: Sequence[str]) -> str:
    """The id in the file `mark`, which is written first where it is missing.

    Raises ConfigError where it is missing and one of `files`, which are names and patterns, is
    there, or where it is not a mark.
    """
    if (folder / mark).exists():
        return _read(folder / mark)
    taken = sorted(path.name for pattern in files for path in folder.glob(pattern))
    if taken:
        raise ConfigError(
            f"{folder} holds {', '.join(taken[:3])}, which seesay did not put there as far as it "
            "knows; expected a folder without that, since it would be replaced; move it away, or "
            "choose another folder (run.folder in a recipe, folder in a sweep)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    own = secrets.token_hex(8)
    with write_whole(folder / mark) as unfinished:
        unfinished.write_text(json.dumps({"written_by": "seesay", "id": own}) + "\n", "utf-8")
    return own


def _read(mark: Path) -> str:
    try:
        known = json.loads(mark.read_text(encoding="utf-8"))
        if known["written_by"] == "seesay":
            return str(known["id"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    raise ConfigError(
        f"{mark} is not a mark that seesay wrote; expected that, or no such file; move it away, or "
        "choose another folder"
    )
