"""Runs that go on from a finished model, and what such a model lacks."""

import math

import pytest

from seesay.errors import ConfigError
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from seesay.training.run_log import read_log
from seesay.weights.bundle import load_bundle
from tiny_runs import weights, write_run


@pytest.fixture
def recipe(tmp_path):
    file = write_run(tmp_path)
    return lambda *assignments: read_recipe(file, assignments)


def test_the_sigmoid_loss_gives_a_finished_model_without_a_bias_one(recipe, tmp_path):
    first = train(recipe("run.steps=1"))
    lines = (tmp_path / "recipe.toml").read_text()
    begin, end = lines.index("[model]"), lines.index("[data.squares]")
    further = f'{lines[:begin]}[model]\nstart = "{first.folder}"\n\n{lines[end:]}'
    (tmp_path / "further.toml").write_text(further)
    changes = (f"run.folder={tmp_path / 'two'}", "run.steps=2", "objective.pairs.loss=sigmoid")
    second = train(read_recipe(tmp_path / "further.toml", changes))
    before = read_log(tmp_path / "run" / "log.jsonl")[-1]
    rows = read_log(tmp_path / "two" / "log.jsonl")
    assert rows[0]["bias"] == pytest.approx(-math.log(7), abs=0.02)  # one step of lr = 0.01
    assert rows[0]["scale"] == pytest.approx(before["scale"], rel=0.02)
    assert rows[1]["bias"] != rows[0]["bias"]
    loaded = load_bundle(second.folder).model
    assert loaded.bias.item() == pytest.approx(rows[1]["bias"])
    assert "bias" not in weights(first.folder)


def test_a_part_that_a_finished_model_lacks_is_refused_before_data_is_read(recipe, tmp_path):
    first = train(recipe("run.steps=1"))
    lines = (tmp_path / "recipe.toml").read_text()
    begin, end = lines.index("[model]"), lines.index("[data.squares]")
    (tmp_path / "further.toml").write_text(
        f'{lines[:begin]}[model]\nstart = "{first.folder}"\n\n{lines[end:]}'
    )
    (tmp_path / "squares.jsonl").unlink()
    with pytest.raises(ConfigError, match="did you mean 'image'"):
        changes = (f"run.folder={tmp_path / 'two'}", "optimizer.freeze=['imag']")
        train(read_recipe(tmp_path / "further.toml", changes))
