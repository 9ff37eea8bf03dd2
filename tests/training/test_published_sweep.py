"""The page about softmax and sigmoid shows what a real sweep found, and nothing else."""

import csv
from html import unescape
from pathlib import Path

import pytest

from seesay.evaluation.report import format_value
from seesay.training.sweep import cells_of, read_sweep
from seesay.training.sweep_report import NOTHING

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "softmax-vs-sigmoid"


@pytest.fixture(scope="module")
def cells():
    file = ROOT / "recipes" / "softmax-vs-sigmoid.toml"
    return cells_of(read_sweep(file), file)


@pytest.fixture(scope="module")
def ends():
    """The last line of each run in the CSV."""
    with (FOLDER / "report.csv").open(encoding="utf-8-sig", newline="") as lines:
        return {row["run"]: row for row in csv.DictReader(lines)}


@pytest.fixture(scope="module")
def table():
    """The figures in the Markdown table, by measure and run, as they stand there."""
    text = (FOLDER / "report.md").read_text(encoding="utf-8")
    assert NOTHING not in text
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {measure: dict(zip(rows[0][1:], cells, strict=True)) for measure, *cells in rows[2:]}


def test_every_run_of_the_recipe_was_trained_to_its_end(cells, ends):
    assert list(ends) == [cell.name for cell in cells]
    for cell in cells:
        assert float(ends[cell.name]["epoch"]) == cell.recipe.run.epochs
        images = 6000 * cell.recipe.run.epochs
        assert int(ends[cell.name]["step"]) == round(images / int(ends[cell.name]["batch"]))


def test_the_table_and_the_page_of_curves_hold_the_figures_of_the_csv(table, ends):
    page = unescape((FOLDER / "report.html").read_text(encoding="utf-8"))
    assert NOTHING not in page and "Not finished" not in page
    assert len(table) == 8
    for measure, figures in table.items():
        assert list(figures) == list(ends)
        for run, figure in figures.items():
            given = ends[run][measure]
            assert figure == format_value(float(given) if "." in given else int(given))
            assert f"<td>{figure}</td>" in page


def test_both_pages_show_that_table():
    for language in ("en", "zh"):
        page = (ROOT / "docs" / language / "softmax-vs-sigmoid.md").read_text(encoding="utf-8")
        assert "```{include} ../softmax-vs-sigmoid/report.md\n```" in page


def test_what_the_pages_say_of_the_figures_is_so(ends):
    def lead(measure, batch):
        """Of the softmax."""
        return float(ends[f"softmax-{batch}"][measure]) - float(ends[f"sigmoid-{batch}"][measure])

    ways = [f"{a}_{b}_r10" for a in ("en", "zh") for b in ("text_to_image", "image_to_text")]
    leads = [lead(way, batch) for way in ways for batch in (64, 256)]
    assert all(0 < one < 0.03 for one in leads)  # "by nearly three at most"
    assert sum(one < 0.01 for one in leads) > len(leads) / 2  # "less than a point in most"
    zero_shot = [lead(f"{a}_zero_shot_top5", batch) for a in ("en", "zh") for batch in (64, 256)]
    assert all(-0.03 < one < 0 for one in zero_shot)
    assert ends["sigmoid-1024"]["step"] == "35"
    assert float(ends["sigmoid-1024"]["en_text_to_image_r10"]) < 0.04  # chance is 0.01
