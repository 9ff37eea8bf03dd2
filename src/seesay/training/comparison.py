"""Comparisons of connectors: the same small training with each of them, over several seeds.

    sweep = write_comparison(ComparisonConfig(path="easy-vqa/*.tar", folder="runs/connectors"))
    cells = cells_of(read_sweep(sweep), sweep)      # as any sweep's; run_sweep trains them
    summaries(cells)                                # a row for each connector

The comparison is a sweep over connectors and seeds. Its recipe and its sweep are written into its
folder, to be read, changed and run again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, get_args, get_type_hints

from seesay.data.files import write_whole
from seesay.data.sources import RecordsConfig, format_of, open_records
from seesay.errors import ConfigError, DataError
from seesay.models.layers import require_range
from seesay.text import Text
from seesay.training.assistant import AssistantConfig
from seesay.training.recipe import model_folder
from seesay.training.sweep import Cell
from seesay.weights.bundle import load_bundle
from seesay.weights.vlm_step import rows_per_picture

CONNECTORS: tuple[str, ...] = get_args(get_type_hints(AssistantConfig)["connector"])
RECIPE, SWEEP = "recipe.toml", "sweep.toml"

# seesay-base sees 8 x 8 places of a picture of 256 pixels, which pixel shuffle merges evenly.
_RECIPE = """\
# Written by `seesay compare connectors`.

[run]
folder = "run"
steps = {steps}

[model]
vocabulary = {{ size = 420, chat = true }}
tokenizer = {{ context = 128, pad_id = 0 }}

[model.assistant]
tower = {tower}
{size}decoder = {{ dim = 192, depth = 3, heads = 4, hidden = 512 }}

[data.questions]
path = {path}
format = "{format}"
languages = ["{language}"]
stop = {stop}
batch = {batch}
captions = 0
questions = 8

[objective.answers]
kind = "answering"
source = "questions"

[optimizer]
lr = 1e-3
warmup = 0.05
freeze = ["tower"]

# Pictures come again unchanged, and the tower is frozen: it sees each of them once.
[hardware]
reuse = true

[data.questions.augmentation]
crop_scale = [1.0, 1.0]
variants = 1

[log]
every = {log}

[checkpoint]
every = {steps}

[evaluation]
every = {steps}

[evaluation.answers]
path = {path}
format = "{format}"
languages = ["{language}"]
start = {stop}
questions = 10
"""


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """What is compared, on which data, and for how long."""

    path: str
    """Pictures with questions, as a path or a glob pattern such as "easy-vqa/*.tar"."""
    folder: str = "runs/compare-connectors"
    """Where the runs and the reports go."""
    connectors: tuple[str, ...] = CONNECTORS
    """The values of `connector` in [model.assistant] to compare."""
    seeds: int = 3
    """Trainings of each connector, which differ in first weights and order of data."""
    steps: int = 500
    """Optimizer steps of each training."""
    batch: int = 32
    """Pictures in a step."""
    language: Literal["en", "zh"] = "en"
    """Language of the questions."""
    held_out: int = 300
    """Pictures at the end of the data whose questions measure and train nothing."""
    tower: str = "seesay-base"
    """Catalogue name or folder of the dual encoder whose image tower, frozen, is used."""
    size: int | None = 256
    """Side in pixels of its images, for towers that take any size; none: the tower's own."""

    def __post_init__(self) -> None:
        require_range(1, seeds=self.seeds, steps=self.steps, batch=self.batch)
        require_range(1, held_out=self.held_out)
        unknown = [name for name in self.connectors if name not in CONNECTORS]
        if unknown or not self.connectors:
            raise ConfigError(
                Text(
                    f"connectors={list(self.connectors)} cannot be compared; expected some of "
                    f"{', '.join(CONNECTORS)}: correct the names",
                    f"connectors={list(self.connectors)} 不能对比；应为 {'、'.join(CONNECTORS)} "
                    "中的若干个；请改正名称",
                )
            )


def write_comparison(config: ComparisonConfig) -> Path:
    """Writes the recipe and the sweep of a comparison into its folder, and returns the sweep's
    file. Raises ConfigError if the folder has others, DataError if the data cannot be split."""
    form = format_of(config.path)
    total = len(open_records(RecordsConfig(path=config.path, format=form)))
    if total <= config.held_out:
        raise DataError(
            Text(
                f"{config.path} holds {total} pictures, of which held_out={config.held_out} are "
                "not trained on; expected more: give more data, or hold out fewer",
                f"{config.path} 里有 {total} 张图片，其中 held_out={config.held_out} 张不参与训练；"
                "图片应更多；请增加数据，或减少留出的数量",
            )
        )
    recipe = _RECIPE.format(
        steps=config.steps,
        log=max(1, min(10, config.steps // 10)),
        tower=json.dumps(config.tower),
        size="" if config.size is None else f"size = {config.size}\n",
        path=json.dumps(config.path),
        format=form,
        language=config.language,
        stop=total - config.held_out,
        batch=config.batch,
    )
    folder = Path(config.folder)
    for name, text in ((RECIPE, recipe), (SWEEP, _sweep(config))):
        _write_once(folder / name, text)
    return folder / SWEEP


def _sweep(config: ComparisonConfig) -> str:
    lines = [
        "# Written by `seesay compare connectors`; `seesay sweep` runs it again.\n",
        f'recipe = "{RECIPE}"',
        f"folder = {json.dumps(config.folder)}",
        'title = "Connectors 对比：连接器"',
        f'curves = ["{config.language}_answers"]\n',
        "[axes.connector]",
        *(f'{name} = {{ "model.assistant.connector" = "{name}" }}' for name in config.connectors),
        "\n[axes.seed]",
        *(f'{seed} = {{ "run.seed" = {seed} }}' for seed in range(config.seeds)),
    ]
    return "\n".join(lines) + "\n"


def _write_once(file: Path, text: str) -> None:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(file) as whole:
            whole.write_text(text, encoding="utf-8")
    elif file.read_text(encoding="utf-8", errors="replace") != text:
        raise ConfigError(
            Text(
                f"{file} is of another comparison; expected the same data, steps, seeds and "
                "connectors, which go on where they stopped: repeat them, or choose another folder",
                f"{file} 属于另一次对比；数据、步数、种子和连接器应与之相同，才能接着运行；"
                "请照原样填写，或换一个文件夹",
            )
        )


def summaries(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Returns a row for each connector with a finished run: how many parameters it and its decoder
    have, the tokens that a picture takes in the prompt, seconds of a step, peak memory, and the
    accuracy on held-out questions, as mean and standard deviation over the seeds."""
    finished: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.finished:
            finished.setdefault(cell.choices["connector"], []).append(cell)
    return [_summary(name, runs) for name, runs in finished.items()]


def _summary(name: str, runs: Sequence[Cell]) -> dict[str, Any]:
    bundle = load_bundle(model_folder(runs[0].recipe))
    (measure,) = runs[0].recipe.evaluation.names
    found = [[line[measure] for line in run.log if measure in line][-1] for run in runs]
    steps = [[line for line in run.log if "loss" in line] for run in runs]
    trained = (p.numel() for n, p in bundle.model.named_parameters() if n.split(".")[0] != "tower")
    return {
        "connector": name,
        "parameters": sum(trained),
        "picture_tokens": rows_per_picture(bundle),
        "step_s": fmean(map(_seconds_of_a_step, steps)),
        "memory_mib": max(lines[-1]["memory_mib"] for lines in steps),
        "seeds": len(runs),
        "accuracy": fmean(found),
        "spread": stdev(found) if len(found) > 1 else None,
    }


def _seconds_of_a_step(lines: Sequence[Mapping[str, Any]]) -> float:
    """Mean seconds of the steps after the first logged line, which is slow from the start."""
    first, last = lines[0], lines[-1]
    if len(lines) == 1:
        return float(last["seconds"]) / int(last["step"])
    return float(last["seconds"] - first["seconds"]) / int(last["step"] - first["step"])
