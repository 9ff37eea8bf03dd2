"""Connectors, and ways of fusion, compared by a training of two steps each."""

import csv
import io
from pathlib import Path

import pytest

from seesay.cli import sweep as command
from seesay.errors import ConfigError, DataError
from seesay.training.comparison import COMPARED, ComparisonConfig, summarise, write_comparison
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from seesay.training.sweep import cells_of, read_sweep
from seesay.training.sweep_report import Summary

DATA = {"path": "questions.jsonl", "tower": "tower"}


@pytest.fixture(scope="module")
def folder(squares, tmp_path_factory):
    """The runs of comparisons, and what they learn from."""
    folder = tmp_path_factory.mktemp("comparison")
    (folder / "squares").symlink_to(squares)
    return folder


def config(folder, name, of="connectors", **settings):
    tiny = {
        "steps": 2,
        "batch": 4,
        "held_out": 4,
        "size": None,
        "tower": str(folder / "squares" / "tower"),
    }
    settings |= {"of": of}
    place = {"path": str(folder / "squares" / "questions.jsonl"), "folder": str(folder / name)}
    return ComparisonConfig(**{**place, **tiny, **settings})


def train_here(recipe, assignments):
    fast = ["hardware.device=cpu", "loading.workers=0"]
    if any(one.startswith("model.assistant") for one in assignments):
        fast.append("model.assistant.decoder.depth=1")
    train(read_recipe(recipe, (*assignments, *fast)))


def test_each_connector_gets_a_row_over_its_seeds(folder, monkeypatch, capsys):
    monkeypatch.setattr(command, "_train_apart", train_here)
    monkeypatch.setenv("COLUMNS", "160")
    some = ("pixel-shuffle", "gated-cross-attention")
    file = write_comparison(config(folder, "runs", seeds=2, choices=some))
    cells = cells_of(read_sweep(file), file)
    assert [cell.name for cell in cells][:2] == ["pixel-shuffle-0", "pixel-shuffle-1"]
    assert summarise(cells) == Summary()
    command.run_and_print(file, train=True, as_json=False, summarise=summarise)
    rows = {row["connector"]: row for row in summarise(cells).rows}
    assert tuple(rows) == some
    tokens = {name: row["picture_tokens"] for name, row in rows.items()}
    assert tokens == {"pixel-shuffle": 4, "gated-cross-attention": 1}
    for row in rows.values():
        assert row["seeds"] == 2 and 0 <= row["accuracy"] <= 1 and row["spread"] >= 0
        assert row["step_s"] > 0 and row["memory_mib"] > 50 and row["parameters"] > 1000
    assert rows["gated-cross-attention"]["parameters"] > rows["pixel-shuffle"]["parameters"]
    report = (folder / "runs" / "report.md").read_text(encoding="utf-8")
    assert report.startswith("| connector | parameters | picture_tokens | step_s | memory_mib |")
    page = (folder / "runs" / "report.html").read_text(encoding="utf-8")
    chart = (folder / "runs" / "accuracy.svg").read_text(encoding="utf-8")
    assert chart.count("<circle") == 4 and "gated-cross-attention</text>" in chart
    assert not (folder / "runs" / "cider.svg").exists() and chart in page
    assert "Comparison 对比" in page and "Last measurement of each run" in page
    logged = csv.DictReader(io.StringIO((folder / "runs" / "report.csv").read_text("utf-8-sig")))
    assert {(row["connector"], row["seed"]) for row in logged} >= {(some[0], "0"), (some[1], "1")}
    assert "picture_tokens" in capsys.readouterr().out


def test_each_way_of_fusion_gets_a_row(folder, monkeypatch):
    monkeypatch.setattr(command, "_train_apart", train_here)
    file = write_comparison(config(folder, "fusions", of="fusion", seeds=1))
    command.run_and_print(file, train=True, as_json=True, summarise=summarise)
    cells = cells_of(read_sweep(file), file)
    rows = {row["strategy"]: row for row in summarise(cells).rows}
    assert tuple(rows) == ("early", "late", "cross-attention")
    counts = {name: row["parameters"] for name, row in rows.items()}
    assert counts["early"] < counts["cross-attention"] < counts["late"]
    for row in rows.values():
        assert "picture_tokens" not in row and row["spread"] is None
        assert row["step_s"] > 0 and 0 <= row["accuracy"] <= 1
    report = (folder / "fusions" / "report.md").read_text(encoding="utf-8")
    assert report.startswith("| strategy | parameters | step_s | memory_mib | seeds | accuracy |")


def test_every_connector_fits_the_recipe_of_a_comparison(folder):
    file = write_comparison(config(folder, "every", seeds=1))
    cells = cells_of(read_sweep(file), file)
    assert [cell.recipe.model.assistant.connector for cell in cells] == list(
        COMPARED["connectors"].choices
    )
    held_out = cells[0].recipe.evaluation.measures["answers"]
    assert (cells[0].recipe.data["questions"].stop, held_out.start) == (28, 28)


def test_captions_are_learnt_and_measured_too(folder, monkeypatch):
    monkeypatch.setattr(command, "_train_apart", train_here)
    captions = str(folder / "squares" / "squares.jsonl")
    file = write_comparison(
        config(folder, "captions", seeds=1, choices=("mlp",), captions=captions)
    )
    command.run_and_print(file, train=True, as_json=True, summarise=summarise)
    cells = cells_of(read_sweep(file), file)
    (row,) = summarise(cells).rows
    assert (folder / "captions" / "cider.svg").is_file()
    assert row["CIDEr"] >= 0 and row["CIDEr_spread"] is None and row["accuracy"] >= 0
    recipe = cells[0].recipe
    with (Path(recipe.run.folder) / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 2, "en_answers": 0.5, "en_rouge_l": 0.1, "en_cider": 0.7}\n')
    (row,) = summarise(cells).rows
    assert (row["accuracy"], row["CIDEr"]) == (0.5, 0.7)
    assert (recipe.data["captions"].stop, recipe.evaluation.measures["captions"].start) == (44, 44)
    with pytest.raises(ConfigError, match="whose models write no text"):
        config(folder, "none", of="fusion", captions=captions)


def test_a_folder_holds_one_comparison(folder):
    write_comparison(config(folder, "one"))
    write_comparison(config(folder, "one"))
    with pytest.raises(ConfigError, match="is of another comparison") as refused:
        write_comparison(config(folder, "one", steps=3))
    assert "换一个文件夹" in refused.value.text.zh


def test_what_cannot_be_compared_is_refused(folder):
    with pytest.raises(
        ConfigError, match=r"does not know mpl; .* of linear, mlp, .*correct the names"
    ):
        config(folder, "wrong", choices=("mpl",))
    with pytest.raises(ConfigError, match="seeds=0"):
        config(folder, "wrong", seeds=0)
    with pytest.raises(DataError, match="holds 32 pictures, of which held_out=32"):
        write_comparison(config(folder, "wrong", held_out=32))
