"""Comparisons of a model's parts: the same small training with each choice, over several seeds.

    config = ComparisonConfig(of="connectors", path="easy-vqa/*.tar", folder="runs/connectors")
    sweep = write_comparison(config)
    cells = cells_of(read_sweep(sweep), sweep)      # as any sweep's; run_sweep trains them
    summarise(cells).rows                           # one for each connector

The comparison is a sweep over choices and seeds. Its recipe and its sweep are written into its
folder, to be read, changed and run again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, Literal, get_args, get_type_hints

from seesay.data.files import write_whole
from seesay.data.sources import RecordsConfig, format_of, open_records
from seesay.errors import ConfigError, DataError
from seesay.models.layers import require_range
from seesay.models.vlm import Vlm
from seesay.text import Text
from seesay.training.assistant import AssistantConfig
from seesay.training.fusion import NewFusionConfig
from seesay.training.recipe import model_folder
from seesay.training.sweep import Cell
from seesay.training.sweep_report import Summary, dot_chart
from seesay.weights.bundle import load_bundle
from seesay.weights.vlm_step import rows_per_picture

RECIPE, SWEEP, FEATURES = "recipe.toml", "sweep.toml", "features"
CHARTS = {"accuracy": "Accuracy 准确率", "cider": "CIDEr"}
"""Names and titles."""
TOWERS = ("tower", "image", "text")
"""The parts of models that are frozen, and not counted."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A part of a model whose choices can be compared."""

    axis: str
    """What a choice is called."""
    setting: str
    """The setting of a recipe that makes the choice."""
    choices: tuple[str, ...]
    """Its values."""
    title: Text
    """Of the report."""
    model: str
    """The section of the model in the recipe, with places for the tower and its images."""
    objective: str
    """The objective that teaches it to answer questions."""
    freeze: str
    """Setting of the optimizer that freezes the towers; "" where they always are."""


COMPARED = {
    "connectors": Compared(
        axis="connector",
        setting="model.assistant.connector",
        choices=get_args(get_type_hints(AssistantConfig)["connector"]),
        title=Text("Connectors", "连接器"),
        model="""\
[model]
vocabulary = {{ size = {words}, chat = true }}
tokenizer = {{ context = 128, pad_id = 0 }}

[model.assistant]
tower = {tower}
{size}decoder = {{ dim = 192, depth = 3, heads = 4, hidden = 512 }}
""",
        objective="answering",
        freeze='freeze = ["tower"]\n',
    ),
    "fusion": Compared(
        axis="strategy",
        setting="model.fusion.strategy",
        choices=get_args(get_type_hints(NewFusionConfig)["strategy"]),
        title=Text("Fusion", "融合方式"),
        model="""\
[model.fusion]
tower = {tower}
{size}dim = 64
depth = 2
heads = 4
hidden = 128
""",
        objective="answer-classification",
        freeze="",
    ),
}
"""What can be compared, by the name of its command."""

_RECIPE = """\
# Written by `seesay compare {of}`.

[run]
folder = "run"
steps = {steps}

{model}
[optimizer]
lr = 1e-3
warmup = 0.05
{freeze}
# Pictures come again unchanged, and the tower is frozen: it sees each of them once for all runs.
[hardware]
reuse = true
features = {features}

[log]
every = {log}

[checkpoint]
every = {steps}

[evaluation]
every = {steps}
before = false
"""

_SOURCE = """\

[data.{name}]
path = {path}
format = "{format}"
languages = ["{language}"]
stop = {stop}
batch = {batch}
{taught}

[data.{name}.augmentation]
crop_scale = [1.0, 1.0]
variants = 1

[objective.{measure}]
kind = "{objective}"
source = "{name}"

[evaluation.{measure}]
path = {path}
format = "{format}"
languages = ["{language}"]
start = {stop}
{measured}
"""
"""The sections of a recipe for one data source: questions, or captions."""
CAPTIONED = 8
"""Captioned pictures in a step."""


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """What is compared, on which data, and for how long."""

    of: Literal["connectors", "fusion"]
    """The part of a model to compare."""
    path: str
    """Pictures with questions, as a path or a glob pattern such as "easy-vqa/*.tar"."""
    folder: str
    """Where the runs and the reports go."""
    choices: tuple[str, ...] = ()
    """The choices to compare, such as values of `connector` in [model.assistant]; none: all."""
    seeds: int = 3
    """Trainings of each choice, which differ in first weights and order of data."""
    steps: int = 500
    """Optimizer steps of each training."""
    batch: int = 32
    """Pictures in a step."""
    language: Literal["en", "zh"] = "en"
    """Language of the questions."""
    held_out: int = 300
    """Number of pictures at the end of the data that are kept for evaluation."""
    captions: str | None = None
    """Captioned pictures, to compare connectors by the captions they write too; the last `held_out`
    of them are not trained on."""
    tower: str = "seesay-base"
    """Catalogue name or folder of the dual encoder whose towers, frozen, are used."""
    size: int | None = 256
    """Side in pixels of its images, for towers that take any size; none: the tower's own. At 256,
    seesay-base sees 8 x 8 places, which pixel shuffle merges evenly."""

    def __post_init__(self) -> None:
        require_range(1, seeds=self.seeds, steps=self.steps, batch=self.batch)
        require_range(1, held_out=self.held_out)
        if self.captions and self.of != "connectors":
            raise ConfigError(
                Text(
                    f"captions={self.captions} cannot be used in a comparison of {self.of}, whose "
                    "models write no text; expected none: leave it out, or compare connectors",
                    f"对比 {self.of} 时不能用 captions={self.captions}，因为这些模型不生成文字；"
                    "请去掉，或改为对比 connectors",
                )
            )
        known = COMPARED[self.of].choices
        if unknown := [name for name in self.choices if name not in known]:
            raise ConfigError(
                Text(
                    f"seesay compare {self.of} does not know {', '.join(unknown)}; expected some "
                    f"of {', '.join(known)}: correct the names",
                    f"seesay compare {self.of} 没有 {'、'.join(unknown)}；应为 "
                    f"{'、'.join(known)} 中的若干个；请改正名称",
                )
            )


def write_comparison(config: ComparisonConfig) -> Path:
    """Writes the recipe and the sweep of a comparison into its folder, and returns the sweep's
    file. Raises ConfigError if the folder has others, DataError if the data cannot be split."""
    part = COMPARED[config.of]
    recipe = _RECIPE.format(
        of=config.of,
        model=part.model.format(
            tower=json.dumps(config.tower),
            size="" if config.size is None else f"size = {config.size}\n",
            words=2000 if config.captions else 420,
        ),
        freeze=part.freeze,
        features=json.dumps(str(Path(config.folder) / FEATURES)),
        steps=config.steps,
        log=max(1, min(10, config.steps // 10)),
    )
    recipe += _SOURCE.format(
        name="questions",
        measure="answers",
        objective=part.objective,
        batch=config.batch,
        taught="captions = 0\nquestions = 8",
        measured="questions = 10",
        **_split(config.path, config),
    )
    if config.captions:
        recipe += _SOURCE.format(
            name="captions",
            measure="captions",
            objective=part.objective,
            batch=CAPTIONED,
            taught="captions = 5\nquestions = 0",
            measured="max_tokens = 30",
            **_split(config.captions, config),
        )
    folder = Path(config.folder)
    for name, text in ((RECIPE, recipe), (SWEEP, _sweep(config))):
        _write_once(folder / name, text)
    return folder / SWEEP


def _split(path: str, config: ComparisonConfig) -> dict[str, Any]:
    """Returns the values in `_SOURCE` that depend on the data: how to read it, and where its
    held-out pictures begin."""
    form, held_out = format_of(path), config.held_out
    total = len(open_records(RecordsConfig(path=path, format=form)))
    if total <= held_out:
        raise DataError(
            Text(
                f"{path} holds {total} pictures, of which held_out={held_out} are not trained on; "
                "expected more: give more data, or hold out fewer",
                f"{path} 里有 {total} 张图片，其中 held_out={held_out} 张不参与训练；图片应更多；"
                "请增加数据，或减少留出的数量",
            )
        )
    place = {"path": json.dumps(path), "format": form, "language": config.language}
    return {**place, "stop": total - held_out}


def _sweep(config: ComparisonConfig) -> str:
    part = COMPARED[config.of]
    curves = [f"{config.language}_answers"]
    curves += [_cider(config.language)] if config.captions else []
    lines = [
        f"# Written by `seesay compare {config.of}`; `seesay sweep` runs it again.\n",
        f'recipe = "{RECIPE}"',
        f"folder = {json.dumps(config.folder)}",
        f'title = "{part.title.en} 对比：{part.title.zh}"',
        f"curves = {json.dumps(curves)}\n",
        f"[axes.{part.axis}]",
        *(f'{name} = {{ "{part.setting}" = "{name}" }}' for name in config.choices or part.choices),
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
                "choices, which go on where they stopped: repeat them, or choose another folder",
                f"{file} 属于另一次对比；数据、步数、种子和对比的选项应与之相同，才能接着运行；"
                "请照原样填写，或换一个文件夹",
            )
        )


def summarise(cells: Sequence[Cell]) -> Summary:
    """Returns a row for each choice with a finished run: how many parameters it has besides the
    towers, the tokens that a picture takes in the prompt of a vision-language model, seconds of a
    step, peak memory, and the accuracy on held-out questions, and CIDEr where captions are learnt
    too, as mean and standard deviation over the seeds. Charts show accuracy and CIDEr of each
    seed."""
    finished: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.finished:
            choice = next((axis, name) for axis, name in cell.choices.items() if axis != "seed")
            finished.setdefault(choice, []).append(cell)
    if not finished:
        return Summary()
    measures = _measures(cells[0])
    charts = {}
    # Where no captions are learnt, there is no CIDEr.
    for (name, title), measure in zip(CHARTS.items(), measures, strict=False):
        values = {choice: _last(measure, runs) for (_, choice), runs in finished.items()}
        charts[name] = dot_chart(title, values)
    return Summary([_row(*choice, runs, measures) for choice, runs in finished.items()], charts)


def _measures(cell: Cell) -> list[str]:
    """The names of the accuracy and, where captions are learnt, of CIDEr."""
    names = cell.recipe.evaluation.names
    accuracy = [name for name in names if name.endswith("_answers")]
    return accuracy + [name for name in names if name in map(_cider, ("en", "zh"))]


def _row(axis: str, name: str, runs: Sequence[Cell], measures: Sequence[str]) -> dict[str, Any]:
    bundle = load_bundle(model_folder(runs[0].recipe))
    accuracy, *cider = measures
    steps = [[line for line in run.log if "loss" in line] for run in runs]
    parameters = bundle.model.named_parameters()
    prompts = isinstance(bundle.model, Vlm)
    return {
        axis: name,
        "parameters": sum(p.numel() for n, p in parameters if n.split(".")[0] not in TOWERS),
        **({"picture_tokens": rows_per_picture(bundle)} if prompts else {}),
        "step_s": median(chain.from_iterable(map(_seconds_of_steps, steps))),
        "memory_mib": max(lines[-1]["memory_mib"] for lines in steps),
        "seeds": len(runs),
        **_over_seeds(runs, accuracy, "accuracy", "spread"),
        **(_over_seeds(runs, cider[0], "CIDEr", "CIDEr_spread") if cider else {}),
    }


def _cider(language: str) -> str:
    return "en_cider" if language == "en" else "zh_cider_chars"


def _last(name: str, runs: Sequence[Cell]) -> list[float]:
    return [[line[name] for line in run.log if name in line][-1] for run in runs]


def _over_seeds(runs: Sequence[Cell], name: str, mean: str, spread: str) -> dict[str, Any]:
    """Returns the mean and standard deviation, over the seeds, of a measure's final values."""
    found = _last(name, runs)
    return {mean: fmean(found), spread: stdev(found) if len(found) > 1 else None}


def _seconds_of_steps(lines: Sequence[Mapping[str, Any]]) -> list[float]:
    """Returns the mean seconds of a step between one logged line and the next. Their median leaves
    out the first steps, in which one of the runs sees the pictures for all."""
    start = {"seconds": 0.0, "step": 0}
    return [
        float(b["seconds"] - a["seconds"]) / int(b["step"] - a["step"])
        for a, b in pairwise([start, *lines])
    ]
