"""`seesay sweep`: one recipe with some settings varied, and a report about all runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Json
from seesay.cli.output import say

if TYPE_CHECKING:
    from seesay.training.sweep import Cell
    from seesay.training.sweep_report import Summarise


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
    run_and_print(file, train=not report, as_json=json)


def run_and_print(
    file: Path, *, train: bool, as_json: bool, summarise: "Summarise | None" = None
) -> None:
    """Runs what is unfinished of a sweep and prints its table; see `run_and_report`."""
    from seesay.cli.output import print_json, print_table, warn
    from seesay.evaluation.report import format_value
    from seesay.training.sweep_report import run_and_report

    def on_cell(cell: "Cell", number: int, count: int) -> None:
        done = say("finished before", "已完成") if cell.finished else say("begins", "开始训练")
        warn(f"{number}/{count} {cell.name}: {done}")

    report = run_and_report(file, _train_apart if train else None, on_cell, summarise)
    page = report.folder / "report.html"
    shown = report.summary.rows or report.rows
    if as_json:
        told = {"report": str(page), "runs": report.rows}
        print_json(told if summarise is None else {**told, "comparison": report.summary.rows})
    elif shown:
        print_table(list(shown[0]), [[*map(format_value, row.values())] for row in shown])
        print(say(f"report: {page}", f"报告：{page}"))


def _train_apart(recipe: Path, assignments: Sequence[str]) -> None:
    """`seesay train --resume` in a process of its own; its progress appears on stderr."""
    import subprocess
    import sys

    code = "from seesay.cli.main import main; main()"
    changes = [part for assignment in assignments for part in ("--set", assignment)]
    command = [sys.executable, "-c", code, "train", str(recipe), *changes, "--resume"]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
