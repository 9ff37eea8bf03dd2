"""`seesay sweep`: one recipe with some settings varied, and a report about all runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seesay.cli.options import Json
from seesay.cli.output import say

if TYPE_CHECKING:
    from seesay.training.sweep import Cell


def sweep(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="SWEEP",
            help=say(
                "What to vary, in TOML, as in recipes/.", "TOML 格式的对比实验，见 recipes/。"
            ),
        ),
    ],
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help=say("Train nothing; report what there is.", "不再训练，只汇总已有的结果。"),
        ),
    ] = False,
    json: Json = False,
) -> None:
    run_and_report(file, train=not report, as_json=json)


def run_and_report(
    file: Path,
    *,
    train: bool,
    as_json: bool,
    summarise: "Callable[[Sequence[Cell]], Sequence[Mapping[str, Any]]] | None" = None,
) -> None:
    """Runs what is unfinished of a sweep, writes its reports and prints the last measurements.
    `summarise` returns the rows of a table about several runs each, which is printed instead and
    stands first in the reports."""
    from seesay.cli.output import print_json, print_table, warn, write_text
    from seesay.evaluation.report import Table, format_value, markdown_table
    from seesay.training.sweep import (
        cells_of,
        claim_sweep_folder,
        read_sweep,
        run_sweep,
    )
    from seesay.training.sweep_report import last_rows, sweep_csv, sweep_markdown, sweep_page

    config = read_sweep(file)
    cells = cells_of(config, file)
    folder = claim_sweep_folder(config, cells)

    def on_cell(cell: "Cell", number: int) -> None:
        write_text(folder / "report.html", sweep_page(config, cells))
        done = say("finished before", "已完成") if cell.finished else say("begins", "开始训练")
        warn(f"{number}/{len(cells)} {cell.name}: {done}")

    if train:
        run_sweep(cells, file.parent / config.recipe, _train_apart, on_cell)
    rows = last_rows(config, cells)
    summaries = [] if summarise is None else summarise(cells)
    shown = summaries or rows
    values = [[format_value(value) for value in row.values()] for row in shown]
    summary = Table("Comparison 对比", list(shown[0]), values) if summaries else None
    write_text(folder / "report.html", sweep_page(config, cells, summary))
    write_text(folder / "report.csv", sweep_csv(cells))
    first = "" if summary is None else f"{markdown_table(summary)}\n"
    write_text(folder / "report.md", first + sweep_markdown(config, cells))
    if as_json:
        told = {"report": str(folder / "report.html"), "runs": rows}
        print_json(told if summarise is None else {**told, "comparison": summaries})
    elif shown:
        print_table(list(shown[0]), values)
        print(say(f"report: {folder / 'report.html'}", f"报告：{folder / 'report.html'}"))


def _train_apart(recipe: Path, assignments: Sequence[str]) -> None:
    """`seesay train --resume` in a process of its own; its progress appears on stderr."""
    import subprocess
    import sys

    code = "from seesay.cli.main import main; main()"
    changes = [part for assignment in assignments for part in ("--set", assignment)]
    command = [sys.executable, "-c", code, "train", str(recipe), *changes, "--resume"]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
