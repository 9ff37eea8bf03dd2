"""The folder of a training run or sweep, marked as its own.

A run truncates its log when it resumes, deletes old checkpoints and replaces its exported model. In
a folder with other contents, these could be someone else's files. So the mark is written first, and
only where none of these names is taken.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from seesay.data.files import write_whole
from seesay.errors import ConfigError, TrainingError
from seesay.text import Text
from seesay.training.checkpoints import Checkpoints
from seesay.training.distributed import Processes, in_every_process
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
    """The id of the run in `folder`, which is marked with it on first use; collective.

    A folder with checkpoints belongs to a run even without a mark, which version 0.1.0 did not
    write. An exported model without an id belongs to the run if it has the weights of one of its
    checkpoints. Raises
    ConfigError, in every process, where something else is in the way.
    """

    def claim() -> str:
        if not processes.first:
            return ""
        own = claim_folder(folder, RUN, () if checkpoints.steps() else RUN_FILES)
        mark_run(model, own, _weights(checkpoints))
        check_replaceable(model, own)
        return own

    return in_every_process(claim)[0]


def _weights(checkpoints: Checkpoints) -> Iterator[Mapping[str, Tensor]]:
    """The weights that each checkpoint would export, newest first, without damaged checkpoints."""
    for step in reversed(checkpoints.steps()):
        with suppress(TrainingError):
            snapshot = checkpoints.load(step)
            yield snapshot.average or snapshot.model


def claim_folder(folder: Path, mark: str, files: Sequence[str]) -> str:
    """The id in the file `mark`, which is created if it is missing.

    Raises ConfigError where it is missing and something matches one of the patterns `files`, or
    where it is not a mark.
    """
    if (folder / mark).exists():
        return _read(folder / mark)
    taken = sorted(path.name for pattern in files for path in folder.glob(pattern))
    if taken:
        raise ConfigError(
            Text(
                f"{folder} holds {', '.join(taken[:3])}, which seesay did not put there as far as "
                "it knows; expected a folder without that, since it would be replaced; move it "
                "away, or choose another folder (run.folder in a recipe, folder in a sweep)",
                f"{folder} 里有 {'、'.join(taken[:3])}，似乎不是 seesay 写的，会被覆盖；"
                "应为没有这些文件的文件夹；请移走它们，或换一个文件夹"
                "（配方里的 run.folder，对比实验里的 folder）",
            )
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
        Text(
            f"{mark} is not a mark that seesay wrote; expected that, or no such file; move it "
            "away, or choose another folder",
            f"{mark} 不是 seesay 写的标记；应为它写的标记，或没有这个文件；"
            "请移走它，或换一个文件夹",
        )
    )
