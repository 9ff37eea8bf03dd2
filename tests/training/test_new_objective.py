"""A new objective is one module and one line of a table."""

import ast
from pathlib import Path

import pytest
import torch

import margin_objective
from seesay.errors import ConfigError
from seesay.training.recipe import OBJECTIVES, read_recipe
from seesay.training.recipe_reference import recipe_reference
from seesay.training.run import train
from tiny_runs import losses, weights, write_run

MARGIN = ("objective.pairs.kind=margin", "run.steps=2", "optimizer.warmup=0")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "margin", margin_objective.MarginConfig)
    file = write_run(tmp_path)
    return lambda *settings: read_recipe(file, (*MARGIN, *settings))


def test_a_new_objective_trains_by_a_recipe(recipe, tmp_path):
    settings = recipe("objective.pairs.margin=0.5", "optimizer.lr=0.001")
    trained = train(settings)
    assert trained.step == 2
    of_run = losses(tmp_path / "run")
    assert of_run.keys() == {1, 2} and of_run[1] > 0
    again = weights(train(recipe("run.seed=0", f"run.folder={tmp_path / 'again'}")).folder)
    learned = weights(trained.folder)
    # It does not depend on the scale of logits, which is left as it was.
    assert torch.equal(learned["log_scale"], again["log_scale"])
    assert not torch.equal(learned["image_proj.weight"], again["image_proj.weight"])


def test_it_stands_beside_others_and_in_small_parts(recipe, tmp_path):
    other = "objective.more={ kind = 'contrastive', source = 'squares', weight = 0.5 }"
    train(recipe(other, "hardware.micro_batch=3"))
    assert losses(tmp_path / "run").keys() == {1, 2}


def test_its_settings_are_checked_and_explained_as_those_of_all(recipe):
    with pytest.raises(ConfigError, match=r"did you mean objective.pairs.margin\?"):
        recipe("objective.pairs.margn=1")
    with pytest.raises(ConfigError, match=r"\[objective.pairs\] weight=0.0 lets nothing"):
        recipe("objective.pairs.weight=0")
    reference = recipe_reference()
    assert '### [objective.NAME (kind = "margin")]' in reference
    assert "| `margin` | a number | `0.2` | How much nearer, as a cosine. |" in reference


def test_its_module_needs_nothing_but_the_floor_of_objectives():
    tree = ast.parse(Path(margin_objective.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {m for m in modules if m.startswith("seesay")} == {"seesay.objectives.objective"}
