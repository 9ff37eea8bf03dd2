"""seesay train and seesay sweep, as people use them."""

import json

import pytest

from seesay.cli.main import run
from seesay.training.recipe import read_recipe
from tiny_runs import write_run


@pytest.fixture
def recipe(tmp_path):
    file = write_run(tmp_path)
    dev = f"""
[evaluation]
every = 6
best = ["zh_text_to_image_r1"]

[evaluation.retrieval]
path = "{tmp_path}/squares.jsonl"
format = "table"

[evaluation.zero_shot]
path = "{tmp_path}/squares.jsonl"
format = "table"
classes = "{tmp_path}/classes.json"
templates = {{ en = ["something {{}}"], zh = ["{{}}方块"] }}
"""
    file.write_text(file.read_text(encoding="utf-8") + dev, encoding="utf-8")
    names = [("red", "红色"), ("green", "绿色"), ("blue", "蓝色"), ("white", "白色")]
    classes = [{"en": en, "zh": zh} for en, zh in names]
    (tmp_path / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    return file


def test_train_measures_in_both_languages_and_says_where_the_model_is(recipe, tmp_path, capsys):
    assert run(["train", str(recipe), "--set", "run.seed=2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == str(tmp_path / "run" / "model")
    assert told["step"] in (6, 12)
    assert {name for name in told["dev"] if name.startswith("zh")} == {
        *(f"zh_text_to_image_r{k}" for k in (1, 5, 10)),
        *(f"zh_image_to_text_r{k}" for k in (1, 5, 10)),
        "zh_zero_shot_top1",
        "zh_zero_shot_top5",
    }
    assert told["dev"]["en_zero_shot_top5"] == 1.0  # of four classes
    assert list(told["dev"]) == read_recipe(recipe).evaluation.names


def test_train_twice_asks_for_resume_and_resume_is_at_its_end_at_once(recipe, tmp_path, capsys):
    assert run(["train", str(recipe)]) == 0
    assert str(tmp_path / "run" / "model") in capsys.readouterr().out
    assert run(["train", str(recipe)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert run(["train", str(recipe), "--resume"]) == 0
    assert "nothing was left to train; the model of step" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train"], "there is no recipe"),
        (["train", "nothing.toml"], "nothing.toml is not there"),
        (["sweep", "nothing.toml"], "nothing.toml is not there"),
    ],
)
def test_wrong_use_is_one_clear_line(arguments, message, capsys):
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_wrong_setting_is_one_line_with_the_right_one(recipe, capsys):
    assert run(["train", str(recipe), "--set", "optimizer.lrr=1", "--set", "run.stps=3"]) == 2
    error = capsys.readouterr().err
    assert "did you mean optimizer.lr?" in error and "did you mean run.steps?" in error
    assert error.count("\n") == 1


def test_a_dev_set_that_is_damaged_is_refused_before_training(recipe, tmp_path, capsys):
    lines = (tmp_path / "squares.jsonl").read_text(encoding="utf-8")
    (tmp_path / "squares.jsonl").write_text(lines + "{broken\n", encoding="utf-8")
    assert run(["train", str(recipe)]) == 2
    assert "has 1 damaged records" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_measures_and_class_names_are_checked_before_anything_is_read(recipe, tmp_path, capsys):
    (tmp_path / "squares.jsonl").unlink()
    for wrong, message in (
        ("evaluation.best=['zh_text_to_image_r2']", "did you mean zh_text_to_image_r"),
        ("evaluation.zero_shot.classes=/nope.json", "/nope.json holds no class names"),
        ("optimizer.freeze=['imag']", "did you mean 'image'?"),
    ):
        assert run(["train", str(recipe), "--set", wrong]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_the_reference_is_printed(capsys):
    assert run(["train", "--reference"]) == 0
    assert "### [optimizer]" in capsys.readouterr().out
    assert run(["train", "--reference", "--json"]) == 0
    sections = {section["path"]: section for section in json.loads(capsys.readouterr().out)}
    assert sections["optimizer"]["settings"][0]["default"] == "0.0005"


def test_a_sweep_trains_apart_and_writes_its_report(recipe, tmp_path, capsys, monkeypatch):
    (tmp_path / "sweep.toml").write_text(
        f"""
recipe = "recipe.toml"
folder = "{tmp_path}/sweep"
[settings]
"run.steps" = 2
[axes.loss]
softmax = {{ "objective.pairs.loss" = "softmax" }}
"""
    )
    assert run(["sweep", str(tmp_path / "sweep.toml"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == str(tmp_path / "sweep" / "report.html")
    assert told["runs"][0]["run"] == "softmax"
    assert "<svg" in (tmp_path / "sweep" / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "sweep" / "report.csv").read_text(encoding="utf-8-sig").startswith("run,")
    assert "| run | softmax |" in (tmp_path / "sweep" / "report.md").read_text(encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "300")  # a narrow terminal would cut the columns
    assert run(["sweep", str(tmp_path / "sweep.toml"), "--report"]) == 0
    assert "softmax" in capsys.readouterr().out


@pytest.mark.parametrize("language, word", [("en", "recipe"), ("zh", "配方")])
def test_help_speaks_both_languages(language, word, tmp_path):
    import os
    import subprocess
    import sys

    code = "from seesay.cli.main import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", code, "train", "--help"],
        env={**os.environ, "SEESAY_LANG": language, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert shown.returncode == 0 and word in shown.stdout
