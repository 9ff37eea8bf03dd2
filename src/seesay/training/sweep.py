"""Sweeps: one recipe trained with every combination of a few settings.

Each combination runs in its own process, so that its memory is measured separately. A stopped sweep
resumes where it was.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seesay.data.settings import build, check_file_type, read_toml
from seesay.errors import ConfigError, TrainingError
from seesay.text import Text
from seesay.training.recipe import Recipe, model_folder, read_recipe, sentence
from seesay.training.run_folder import SWEEP, SWEEP_FILES, claim_folder
from seesay.training.run_log import read_log
from seesay.weights.bundle import FILE

Setting = bool | int | float | str
Runner = Callable[[Path, Sequence[str]], None]


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """The recipe to vary, and its variations."""

    recipe: str
    """The recipe, beside this file."""
    folder: str
    """Where the runs and the report go."""
    title: str = "Sweep"
    """Title of the report."""
    axes: Mapping[str, Mapping[str, Mapping[str, Setting]]]
    """By axis, the choices by name with their settings, as in
    [axes.batch] small = {"data.captions.batch" = 64}. Every combination is run."""
    curves: tuple[str, ...] = ()
    """Measured values that the report shows; none: all."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Settings that all runs change from the recipe."""

    def __post_init__(self) -> None:
        if not self.axes or not all(self.axes.values()):
            axes = dict(self.axes)
            raise ConfigError(
                Text(
                    f"axes={axes} vary nothing: name at least one axis and one choice on it",
                    f"axes={axes} 没有要对比的；至少应有一个维度和其中一个取值；请写上",
                )
            )


@dataclass(frozen=True)
class Cell:
    """One combination."""

    choices: Mapping[str, str]
    """The name of the choice, by axis."""
    assignments: tuple[str, ...]
    """Its changes to the recipe, as `section.key=value`."""
    recipe: Recipe

    @property
    def name(self) -> str:
        return "-".join(self.choices.values())

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its log so far."""
        file = Path(self.recipe.run.folder) / "log.jsonl"
        return read_log(file) if file.exists() else []

    @property
    def finished(self) -> bool:
        return (model_folder(self.recipe) / FILE).is_file()


def read_sweep(file: Path) -> SweepConfig:
    """Reads a sweep. Raises ConfigError with all problems."""
    table = read_toml(file)
    check_file_type(file, table, sweep=True)
    try:
        return build(SweepConfig, table)
    except ConfigError as error:
        reason = sentence(error)
        raise ConfigError(
            Text(
                f"{file} cannot be used: {reason.en} Correct this there",
                f"{file} 不能用：{reason.zh}请在文件里改正",
            )
        ) from None


def cells_of(config: SweepConfig, file: Path) -> list[Cell]:
    """Every combination, with its recipe. Raises ConfigError if one of them is invalid."""
    cells = []
    for names in itertools.product(*config.axes.values()):
        choices = dict(zip(config.axes, names, strict=True))
        place = Path(config.folder) / "-".join(names)
        changes: dict[str, Setting] = dict(config.settings)
        for axis, name in choices.items():
            changes |= config.axes[axis][name]
        written = (
            f"{key}={str(value).lower() if isinstance(value, bool) else value}"
            for key, value in changes.items()
        )
        assignments = (*written, f"run.folder={place}")
        cells.append(
            Cell(choices, assignments, read_recipe(file.parent / config.recipe, assignments))
        )
    return cells


def claim_sweep_folder(config: SweepConfig, cells: Sequence[Cell]) -> Path:
    """Returns the folder of the reports, marked as the sweep's. Raises ConfigError if it holds
    reports that no sweep wrote."""
    folder = Path(config.folder)
    known = any(cell.log for cell in cells)  # a sweep of a version without marks
    claim_folder(folder, SWEEP, () if known else SWEEP_FILES)
    return folder


def run_sweep(
    cells: Sequence[Cell],
    recipe: Path,
    run: Runner,
    on_cell: Callable[[Cell, int], None] = lambda cell, number: None,
) -> None:
    """Runs the unfinished combinations. `run` trains a recipe with assignments in a process of its
    own; `on_cell` is called before each. Raises TrainingError, naming the run, if one fails."""
    for number, cell in enumerate(cells, start=1):
        on_cell(cell, number)
        if cell.finished:
            continue
        run(recipe, cell.assignments)
        if not cell.finished:
            raise TrainingError(
                Text(
                    f"the run {cell.name} of the sweep did not come to its end; what it said "
                    "stands above. Correct the cause and start the sweep again: it goes on from "
                    "here",
                    f"对比实验中的 {cell.name} 没有训练完；原因见上面的输出；"
                    "请改正后重新运行对比实验，会从这里继续",
                )
            )
