"""The page about ranks of adapters shows what a real sweep found, and nothing else."""

import csv
from pathlib import Path

import pytest

from seesay.evaluation.report import format_value
from seesay.training.sweep import cells_of, read_sweep
from seesay.training.sweep_report import BEFORE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "lora-ranks"


@pytest.fixture(scope="module")
def runs():
    """The lines of the CSV by run: before the first step, and at the end."""
    with (FOLDER / "report.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    by_run = {row["run"]: [one for one in rows if one["run"] == row["run"]] for row in rows}
    return {run: (own[0], own[-1]) for run, own in by_run.items()}


def test_every_rank_of_the_recipe_was_trained_to_its_end_from_the_same_model(runs):
    file = ROOT / "recipes" / "lora-ranks.toml"
    cells = cells_of(read_sweep(file), file)
    assert list(runs) == [cell.name for cell in cells]
    for cell in cells:
        before, after = runs[cell.name]
        assert (int(before["step"]), int(after["step"])) == (0, cell.recipe.run.steps)
    assert len({before["zh_answers"] for before, _ in runs.values()}) == 1


def test_the_table_holds_the_figures_of_the_csv_and_stands_on_both_pages(runs):
    first, _ = (FOLDER / "report.md").read_text(encoding="utf-8").split("\n\n")
    head, _, *rows = (
        [cell.strip() for cell in row.strip("|").split("|")] for row in first.split("\n")
    )
    assert head == ["run", BEFORE, *runs]
    for measure, before, *after in rows:
        given = [ends[1][measure] for ends in runs.values()]
        assert after == [format_value(float(one) if "." in one else int(one)) for one in given]
        begun = next(iter(runs.values()))[0][measure]
        assert before == format_value(float(begun) if begun else None)
    for language in ("en", "zh"):
        page = (ROOT / "docs" / language / "comparisons.md").read_text(encoding="utf-8")
        assert "```{include} ../lora-ranks/report.md\n```" in page


def test_what_the_pages_say_of_the_figures_is_so(runs):
    def gain(rank, measure):
        before, after = runs[rank]
        return float(after[measure]) - float(before[measure])

    assert gain("16", "zh_answers") > 0.8 and gain("4", "zh_answers") > 0.75
    assert abs(gain("64", "zh_answers") - gain("16", "zh_answers")) < 0.005
    for measure in ("en_answers", "en_cider", "zh_cider_words"):
        assert gain("64", measure) < 2 * min(gain("4", measure), gain("16", measure)) < 0
    for measure in ("en_cider", "zh_cider_words"):
        assert gain("4", measure) > gain("16", measure)
    assert gain("16", "en_answers") > gain("4", "en_answers")
    trained = int(runs["16"][1]["trained_parameters"])
    assert trained == 4 * int(runs["4"][1]["trained_parameters"])
    assert float(runs["16"][1]["seconds"]) < 4.5 * 60
