"""`seesay sweep`: one recipe with some settings varied, and a report about all runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from seesay.cli.options import Json
from seesay.cli.output import say


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
    from seesay.cli.output import print_json, print_table, warn, write_text
    from seesay.evaluation.report import format_value
    from seesay.training.sweep import (
        Cell,
        cells_of,
        claim_sweep_folder,
        read_sweep,
        run_sweep,
    )
    from seesay.training.sweep_report import last_rows, sweep_csv, sweep_markdown, sweep_page

    config = read_sweep(file)
    cells = cells_of(config, file)
    folder = claim_sweep_folder(config, cells)

    def on_cell(cell: Cell, number: int) -> None:
        write_text(folder / "report.html", sweep_page(config, cells))
        done = say("finished before", "已完成") if cell.finished else say("begins", "开始训练")
        warn(f"{number}/{len(cells)} {cell.name}: {done}")

    if not report:
        run_sweep(cells, file.parent / config.recipe, _train_apart, on_cell)
    write_text(folder / "report.html", sweep_page(config, cells))
    write_text(folder / "report.csv", sweep_csv(cells))
    write_text(folder / "report.md", sweep_markdown(config, cells))
    rows = last_rows(config, cells)
    if json:
        print_json({"report": str(folder / "report.html"), "runs": rows})
    elif rows:
        print_table(
            list(rows[0]), [[format_value(value) for value in row.values()] for row in rows]
        )
        print(say(f"report: {folder / 'report.html'}", f"报告：{folder / 'report.html'}"))


def _train_apart(recipe: Path, assignments: Sequence[str]) -> None:
    """`seesay train --resume` in a process of its own; its progress appears on stderr."""
    import subprocess
    import sys

    code = "from seesay.cli.main import main; main()"
    changes = [part for assignment in assignments for part in ("--set", assignment)]
    command = [sys.executable, "-c", code, "train", str(recipe), *changes, "--resume"]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
