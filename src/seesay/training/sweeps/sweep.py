"""The same training many times, with a few settings varied: every combination, one after another.

Each combination is a run of its own in its own process, so that its memory is its own, and goes on
where it was when the sweep was stopped.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seesay.errors import ConfigError, TrainingError
from seesay.training.keeper import model_folder
from seesay.training.logs.run_log import read_log
from seesay.training.recipes.files import read_toml, refuse_other_kind
from seesay.training.recipes.recipe import Recipe, read_recipe, sentence
from seesay.training.recipes.settings import build
from seesay.training.run_folder import SWEEP, SWEEP_FILES, claim_folder
from seesay.weights.bundle import FILE

Setting = bool | int | float | str
Runner = Callable[[Path, Sequence[str]], None]


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Which recipe is varied, and how."""

    recipe: str
    """The recipe, beside this file."""
    folder: str
    """Where the runs and the report go."""
    title: str = "Sweep"
    """What the report is called."""
    axes: Mapping[str, Mapping[str, Mapping[str, Setting]]]
    """What is varied: by axis, and by a name for each choice, the settings it makes, as
    [axes.batch] small = {"data.captions.batch" = 64}. Every combination is run."""
    curves: tuple[str, ...] = ()
    """Measures that the report draws and lists first; none: all there are."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Settings of all runs that differ from the recipe."""

    def __post_init__(self) -> None:
        if not self.axes or not all(self.axes.values()):
            raise ConfigError(
                f"axes={dict(self.axes)} vary nothing: name at least one axis and one choice on it"
            )


@dataclass(frozen=True)
class Cell:
    """One combination."""

    choices: Mapping[str, str]
    """By axis, the name of the choice."""
    assignments: tuple[str, ...]
    """What it changes in the recipe, as `section.key=value`."""
    recipe: Recipe

    @property
    def name(self) -> str:
        return "-".join(self.choices.values())

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of its log so far."""
        file = Path(self.recipe.run.folder) / "log.jsonl"
        return read_log(file) if file.exists() else []

    @property
    def finished(self) -> bool:
        return (model_folder(self.recipe) / FILE).is_file()


def read_sweep(file: Path) -> SweepConfig:
    """Raises ConfigError, listing all that is wrong."""
    table = read_toml(file)
    refuse_other_kind(file, table, sweep=True)
    try:
        return build(SweepConfig, table)
    except ConfigError as error:
        raise ConfigError(f"{file} cannot be used: {sentence(error)} Correct this there") from None


def cells_of(config: SweepConfig, file: Path) -> list[Cell]:
    """Every combination, its recipe checked. Raises ConfigError before any is run."""
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
    """The folder of the reports, marked as the sweep's. Raises ConfigError where reports are there
    that no sweep wrote."""
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
    """Run what is not finished yet. `run` trains a recipe with assignments in a process of its
    own; `on_cell` is told before each. Raises TrainingError, naming the run, where one fails."""
    for number, cell in enumerate(cells, start=1):
        on_cell(cell, number)
        if cell.finished:
            continue
        run(recipe, cell.assignments)
        if not cell.finished:
            raise TrainingError(
                f"the run {cell.name} of the sweep did not come to its end; what it said stands "
                "above. Correct the cause and start the sweep again: it goes on from here"
            )
