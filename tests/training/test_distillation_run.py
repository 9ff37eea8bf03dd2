"""Whole runs that learn from a finished model."""

import json

import pytest
import torch
import torch.nn.functional as F

from seesay.errors import ConfigError
from seesay.training.distillation import DistillationConfig, fixed_rotation
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from seesay.training.run_log import read_log
from tiny_runs import losses, same, weights, write_run

KIND = ("objective.pairs.kind=distillation", "objective.pairs.teacher=seesay-mini")
TERMS = {
    "relation": (),
    "embedding": ("objective.pairs.relation=0", "objective.pairs.embedding=1"),
    "soft_labels": ("objective.pairs.relation=0", "objective.pairs.soft_labels=1"),
}


@pytest.fixture
def recipe(tmp_path):
    file = write_run(tmp_path)
    names = [("red", "红色"), ("green", "绿色"), ("blue", "蓝色"), ("white", "白色")]
    classes = [{"en": en, "zh": zh} for en, zh in names]
    (tmp_path / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    return lambda *assignments: read_recipe(file, (*KIND, *assignments))


@pytest.mark.parametrize("term", TERMS)
def test_a_run_comes_nearer_to_its_teacher(recipe, tmp_path, term):
    settings = (*TERMS[term], "run.steps=12", "checkpoint.every=12", "data.squares.batch=4")
    if term == "soft_labels":
        settings += (f"objective.pairs.classes={tmp_path / 'classes.json'}",)
    train(recipe(*settings))
    of_run = losses(tmp_path / "run")
    assert sum(of_run[step] for step in (10, 11, 12)) / 3 < 0.9 * of_run[1]


def test_a_stopped_run_goes_on_to_the_same_weights(recipe, tmp_path):
    settings = ("objective.pairs.embedding=0.5", "optimizer.warmup=0", "optimizer.final=1")
    whole = train(recipe(*settings, "run.steps=4"))
    parts = (*settings, f"run.folder={tmp_path / 'parts'}")
    train(recipe(*parts, "run.steps=2"))
    resumed = train(recipe(*parts, "run.steps=4"), resume=True)
    assert same(weights(resumed.folder), weights(whole.folder))


def test_a_teacher_stands_beside_another_objective(recipe, tmp_path):
    train(recipe("run.steps=1", "objective.more.kind=contrastive", "objective.more.source=squares"))
    row = read_log(tmp_path / "run" / "log.jsonl")[0]
    assert row["loss"] == pytest.approx(row["pairs"] + row["more"], rel=1e-5)


def test_another_width_keeps_the_cosines_where_there_is_room():
    vectors = F.normalize(torch.randn(5, 6), dim=1)
    wider = vectors @ fixed_rotation(6, 9)
    torch.testing.assert_close(wider @ wider.T, vectors @ vectors.T)
    narrow = fixed_rotation(9, 6)
    torch.testing.assert_close(narrow.T @ narrow, torch.eye(6))
    assert torch.equal(narrow, fixed_rotation(9, 6))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"relation": 0.0}, r"relation=0\.0"),
        ({"weight": -1.0}, r"weight=-1\.0"),
        ({"soft_labels": 1.0}, "classes=None contradict"),
        ({"classes": "x.json"}, "'x.json' contradict"),
        ({"names": 1}, "names=1"),
        ({"templates": {"en": ("a",)}}, "cannot be filled"),
    ],
)
def test_nonsense_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        DistillationConfig(source="a", teacher="b", **wrong)
