"""The page about comparisons shows what real runs found, and nothing else."""

import csv
from pathlib import Path
from statistics import fmean, stdev

import pytest

from seesay.evaluation.report import format_value
from seesay.training.comparison import COMPARED

DOCS = Path(__file__).parents[2] / "docs"
MEASURES = {"accuracy": "en_answers", "CIDEr": "en_cider"}
PARTS = sorted(folder.name for folder in (DOCS / "comparisons").iterdir())


def ends(part):
    """The last line of each run in the CSV."""
    file = DOCS / "comparisons" / part / "report.csv"
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return {row["run"]: row for row in csv.DictReader(lines)}


def table(part):
    """The first table, by choice and column."""
    first, _ = (DOCS / "comparisons" / part / "report.md").read_text("utf-8").split("\n\n")
    head, _, *rows = ([cell.strip() for cell in r.strip("|").split("|")] for r in first.split("\n"))
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


@pytest.mark.parametrize("part", PARTS)
def test_the_table_holds_the_means_of_all_choices_and_seeds(part):
    assert tuple(table(part)) == COMPARED[part].choices
    for choice, row in table(part).items():
        runs = [run for run in ends(part).values() if run[COMPARED[part].axis] == choice]
        assert [run["seed"] for run in runs] == ["0", "1", "2"] and row["seeds"] == "3"
        assert {run["step"] for run in runs} == {"500"}
        for name, measure in MEASURES.items():
            if measure in runs[0]:
                values = [float(run[measure]) for run in runs]
                spread = {"accuracy": "spread", "CIDEr": "CIDEr_spread"}[name]
                shown = (row[name], row[spread])
                assert shown == (format_value(fmean(values)), format_value(stdev(values)))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("part", PARTS)
def test_both_pages_show_that_table_and_its_chart(part, language):
    page = (DOCS / language / "comparisons.md").read_text(encoding="utf-8")
    assert f'```{{include}} ../comparisons/{part}/report.md\n:end-before: "| run"\n```' in page
    assert f"(../comparisons/{part}/accuracy.svg)" in page
