"""`seesay probe`: fitted to a folder or a table, compared with zero-shot, and used."""

import json
import shutil

import pytest

from seesay.cli.main import run
from seesay.weights.bundle import load_bundle
from seesay.weights.saving import save_bundle
from tiny_checkpoint import write_checkpoint
from tiny_runs import COLOURS, write_squares


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model that knows no words, pictures sorted by colour, and a probe fitted to them."""
    folder = tmp_path_factory.mktemp("probe")
    write_checkpoint(folder)
    write_squares(folder)
    for colour in COLOURS:
        (folder / "sorted" / colour).mkdir(parents=True)
        for file in folder.glob(f"{colour}-*.png"):
            shutil.copy(file, folder / "sorted" / colour)
    tiny = ["--model", str(folder / "tiny"), "--out", str(folder / "colours")]
    assert run(["probe", str(folder / "sorted"), *tiny]) == 0
    return folder


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "200")


def test_a_probe_tells_apart_what_the_words_of_the_model_do_not(capsys):
    assert run(["probe", "sorted", "-m", "tiny", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["fitted"], report["tested"], report["failures"]) == (24, 8, [])
    assert report["probe"]["top1"] > 0.8 > report["zero_shot"]["top1"]
    assert report["probe"]["top5"] is None  # of four classes
    assert [c["label"] for c in report["classes"]] == sorted(COLOURS)
    assert report["l2"] in [l2 for l2, _ in report["tried"]]


def test_the_table_sets_it_beside_zero_shot(capsys, monkeypatch):
    monkeypatch.setenv("SEESAY_LANG", "zh")
    assert run(["probe", "sorted", "-m", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "零样本" in out and "top-1" in out and "%" in out


def test_it_is_used_on_pictures_with_its_own_model(place, capsys):
    assert run(["probe", "sorted", "red-left-0.png", "--predict", "colours", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == str(place / "tiny") and told["labels"] == sorted(COLOURS)
    right = [image["label"] in image["source"] for image in told["images"]]
    assert len(right) == 33 and sum(right) > 28
    for image in told["images"]:
        assert len(image["ranked"]) == 3 and image["ranked"][0]["label"] == image["label"]
    assert run(["probe", "red-left-0.png", "--predict", "colours", "--top", "1"]) == 0
    assert "red" in capsys.readouterr().out


def test_a_table_and_a_test_set_of_its_own_are_taken(place, capsys):
    rows = [json.loads(line) for line in (place / "squares.jsonl").read_text("utf-8").splitlines()]
    named = [f"{row['image']},{row['image'].split('-')[0]}" for row in rows]
    (place / "one.csv").write_text("\n".join(["image,label", *named[::2]]), encoding="utf-8")
    (place / "two.csv").write_text("\n".join(["image,label", *named[1::2]]), encoding="utf-8")
    words = ["--labels", "red=红色,white=白色"]
    assert run(["probe", "one.csv", "--test", "two.csv", "-m", "tiny", *words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["fitted"], report["tested"]) == (16, 16)
    assert report["probe"]["top1"] > report["zero_shot"]["top1"]


def test_a_picture_that_cannot_be_read_is_named_and_the_rest_is_done(place, tmp_path, capsys):
    shutil.copytree(place / "sorted", tmp_path / "sorted")
    (tmp_path / "sorted" / "red" / "broken.png").write_bytes(b"no picture")
    assert run(["probe", str(tmp_path / "sorted"), "-m", "tiny"]) == 1
    out, error = capsys.readouterr()
    assert "broken.png" in error and "1 of 33 inputs failed" in error and "zero-shot" in out


def test_a_probe_of_another_state_of_the_model_is_refused(place, tmp_path, capsys):
    other = load_bundle(place / "tiny")
    other.model.image_proj.weight.data.mul_(-1)
    save_bundle(tmp_path / "other", other)
    arguments = ["red-left-0.png", "--predict", "colours", "-m", str(tmp_path / "other")]
    assert run(["probe", *arguments]) == 2
    error = capsys.readouterr().err
    assert "was fitted on vectors of" in error and error.count("\n") == 1


@pytest.mark.parametrize("method", ["linear", "tip", "tip-trained"])
def test_a_few_pictures_are_enough_for_each_method(method, place, tmp_path, capsys):
    few = ["probe", "sorted", "-m", "tiny", "--method", method, "--shots", "2"]
    assert run([*few, "--out", str(tmp_path / "few"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["method"], report["shots"], report["fitted"], report["tested"]) == (
        *(method, 2),
        *(8, 8),
    )
    assert report["probe"]["top1"] > report["zero_shot"]["top1"]
    assert (report["l2"] is None) == (report["alpha"] is not None) == (method != "linear")
    assert run([*few, "--seed", "1"]) == 0
    out = capsys.readouterr().out
    assert ("linear probe" if method == "linear" else method) in out
    assert ("with l2 " if method == "linear" else "with alpha ") in out
    used = ["probe", "sorted", "--predict", str(tmp_path / "few")]
    assert run([*used, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["images"]
    right = [image["label"] == image["source"].split("/")[-2] for image in told]
    assert sum(right) > 0.4 * len(right)  # by chance, a quarter
    assert run([*used, "-m", "seesay-mini"]) == 2
    assert "was fitted on vectors of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sorted", "sorted"], "2 paths were given"),
        (["sorted/red"], "no sub-folder with pictures"),
        (["sorted", "--out", "sorted"], "which no probe has"),
        (["gone.csv"], "gone.csv cannot be read"),
        (["red-left-0.png", "--predict", "sorted"], "probe.json"),
        (["only", "-m", "tiny"], "pictures of red alone; expected at least two classes"),
        (["few", "-m", "tiny"], "has 1 pictures that can be read, expected at least 3"),
        (["sorted", "--shots", "6", "-m", "tiny"], "blue has 6 pictures beside those to test on"),
        (["sorted", "--test", "other", "-m", "tiny"], "pictures of lamp, which the probe does not"),
    ],
)
def test_wrong_use_is_one_line(place, arguments, words, capsys):
    for folder, classes in {"only": ["red"], "few": ["red", "blue"], "other": ["lamp"]}.items():
        for name in classes:
            (place / folder / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(place / "red-left-0.png", place / folder / name)
    assert run(["probe", *arguments]) == 2
    out, error = capsys.readouterr()
    assert words in error and error.count("\n") == 1 and out == ""
