"""`seesay interpolate`: a model between two, measured on the way."""

import json
import shutil

import pytest
import torch

from seesay.cli.main import run
from seesay.weights.bundle import load_bundle
from seesay.weights.saving import save_bundle
from tiny_checkpoint import write_checkpoint
from tiny_runs import COLOURS, weights, write_squares


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two models, and pictures both in a table with captions and sorted by colour."""
    folder = tmp_path_factory.mktemp("interpolate")
    before = load_bundle(write_checkpoint(folder))
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in before.model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    save_bundle(folder / "after", before)
    write_squares(folder, copies=1)
    for colour in COLOURS:
        (folder / "sorted" / colour).mkdir(parents=True)
        for file in folder.glob(f"{colour}-*.png"):
            shutil.copy(file, folder / "sorted" / colour)
    return folder


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "300")


def test_a_model_between_two_is_written(place, tmp_path, capsys):
    assert run(["interpolate", "tiny", "after", "--alpha", "0.25", "-o", str(tmp_path / "m")]) == 0
    assert "at alpha 0.25" in capsys.readouterr().out
    one, two, mixed = (weights(p) for p in (place / "tiny", place / "after", tmp_path / "m"))
    for name, value in mixed.items():
        torch.testing.assert_close(value, 0.75 * one[name] + 0.25 * two[name])


def test_several_alphas_are_measured_and_the_best_is_written(tmp_path, capsys):
    data = ["--data", "sorted", "--data", "squares.jsonl", "--alphas", "0,0.5,1"]
    assert run(["interpolate", "tiny", "after", *data, "-o", str(tmp_path / "m"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    points = told["points"]
    assert [point["alpha"] for point in points] == [0, 0.5, 1]
    assert list(points[0]["measures"]) == [
        "sorted top1",
        "sorted mean_per_class",
        *(
            f"squares {language}_{way}_r10"
            for language in ("en", "zh")
            for way in ("text_to_image", "image_to_text")
        ),
    ]
    means = [sum(point["measures"].values()) for point in points]
    assert told["alpha"] == points[means.index(max(means))]["alpha"]
    assert (tmp_path / "m" / "model.safetensors").exists()
    assert run(["interpolate", "tiny", "after", *data]) == 0
    assert "sorted top1" in capsys.readouterr().out


def test_what_is_measured_at_both_ends_is_that_of_the_two_models(capsys):
    assert (
        run(["interpolate", "tiny", "after", "--data", "sorted", "--alphas", "0,1", "--json"]) == 0
    )
    ends = [p["measures"]["sorted top1"] for p in json.loads(capsys.readouterr().out)["points"]]
    for model, top1 in zip(("tiny", "after"), ends, strict=True):
        assert run(["classify", "sorted", "--evaluate", "--no-none", "-m", model, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["top1"] == top1


def test_captions_in_one_language_and_labels_in_a_table_are_data_too(place, capsys):
    rows = [json.loads(line) for line in (place / "squares.jsonl").read_text("utf-8").splitlines()]
    english = [json.dumps({"image": row["image"], "en": row["en"]}) for row in rows]
    (place / "english.jsonl").write_text("\n".join(english), encoding="utf-8")
    named = [f"{row['image']},{row['image'].split('-')[0]}" for row in rows]
    (place / "named.csv").write_text("\n".join(["image,label", *named]), encoding="utf-8")
    data = ["--data", "english.jsonl", "--data", "named.csv", "--data", "sorted"]
    assert run(["interpolate", "tiny", "after", *data, "--alphas", "1", "--json"]) == 0
    measures = json.loads(capsys.readouterr().out)["points"][0]["measures"]
    assert not any("zh" in name for name in measures)
    assert measures["named top1"] == measures["sorted top1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is nothing to do with the models between these"),
        (["--out", "after"], "--out is after, one of the two models"),
        (["--out", "sorted"], "which no saved model has"),
        (
            ["--data", "sorted", "--alphas", "0,2"],
            "--alphas is '0,2'; expected numbers from 0 to 1",
        ),
        (["--data", "gone.csv"], "gone.csv cannot be read"),
        (["--alpha", "2", "--out", "new"], "Invalid value for '--alpha'"),
    ],
)
def test_wrong_use_is_one_line(arguments, words, capsys):
    assert run(["interpolate", "tiny", "after", *arguments]) == 2
    out, error = capsys.readouterr()
    assert words in error and error.count("\n") == 1 and out == ""
