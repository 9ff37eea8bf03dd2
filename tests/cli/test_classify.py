"""`seesay classify`: answers, "none of these", files, evaluation over a labelled folder."""

import csv
import json

import pytest

from fakes import FakeEmbedder
from seesay.cli.main import run


@pytest.fixture(params=["en", "zh"])
def language(request, monkeypatch) -> str:
    monkeypatch.setenv("SEESAY_LANG", request.param)
    return request.param


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("seesay.cli.inputs.load_embedder", lambda *_: FakeEmbedder())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("dog/dog-1.jpg", "dog/dog-2.jpg", "cat/cat-1.jpg", "lamp/lamp-1.jpg"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answers(capsys) -> list[str | None]:
    return [image["label"] for image in json.loads(capsys.readouterr().out)["images"]]


def test_each_picture_gets_its_label_or_none(folder, capsys, language):
    labels = {"en": "dog,cat", "zh": "狗，猫"}[language]
    dog, cat = {"en": ("dog", "cat"), "zh": ("狗", "猫")}[language]
    assert run(["classify", "set", "--labels", labels]) == 0
    lines = {
        line.split()[0]: line for line in capsys.readouterr().out.splitlines() if "set/" in line
    }
    none = {"en": "none of these", "zh": "都不是"}[language]
    assert f" {dog} " in lines["set/dog/dog-1.jpg"] and "100.0%" in lines["set/dog/dog-1.jpg"]
    assert f" {cat} " in lines["set/cat/cat-1.jpg"]
    assert none in lines["set/lamp/lamp-1.jpg"]


def test_json_says_everything_about_each_picture(folder, capsys):
    assert run(["classify", "set", "--labels", "dog,cat", "--json", "--top", "1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["model"], printed["labels"]) == ("fake", ["dog", "cat"])
    cat, *_, lamp = printed["images"]
    assert (cat["source"], cat["label"], cat["none"]) == ("set/cat/cat-1.jpg", "cat", False)
    assert cat["probability"] > 0.9 and cat["chance"] < 0.05
    assert [score["label"] for score in cat["ranked"]] == ["cat"]
    assert (lamp["label"], lamp["none"]) == (None, True)


def test_none_of_these_can_be_switched_off_or_said_less_often(folder, capsys):
    assert run(["classify", "set/lamp", "--labels", "dog,cat", "--no-none", "--json"]) == 0
    assert answers(capsys)[0] in ("dog", "cat")
    assert run(["classify", "set/lamp", "--labels", "dog,cat", "--json"]) == 0
    (lamp, *_) = json.loads(capsys.readouterr().out)["images"]
    assert lamp["none"] and 0.9 < lamp["chance"] < 1
    lenient = ["--none-above", str((1 + lamp["chance"]) / 2)]
    assert run(["classify", "set/lamp", "--labels", "dog,cat", *lenient, "--json"]) == 0
    assert answers(capsys)[0] in ("dog", "cat")


def test_labels_come_from_a_file_and_may_ask_for_other_words(folder, capsys):
    (folder / "labels.txt").write_text("甲=dog\n乙=cat\n", encoding="utf-8")
    assert run(["classify", "set/dog", "--labels", "labels.txt", "--json"]) == 0
    assert answers(capsys) == ["甲", "甲"]


def test_given_templates_replace_the_built_in_ones(folder, capsys, monkeypatch):
    seen = []

    def load(name, device, adapter):
        seen.append(FakeEmbedder())
        return seen[0]

    monkeypatch.setattr("seesay.cli.inputs.load_embedder", load)
    (folder / "templates.txt").write_text("the {}\n")
    options = ["--template", "my {}", "--templates", "templates.txt", "--no-none"]
    assert run(["classify", "set/dog", "--labels", "dog,cat", *options]) == 0
    assert seen[0].texts == ["my dog", "the dog", "my cat", "the cat"]


def test_the_csv_has_a_row_per_picture_with_the_failed_ones(folder, capsys):
    (folder / "set" / "dog" / "broken-1.jpg").touch()
    arguments = ["classify", "set", "--labels", "狗,猫", "--csv", "answers.csv", "--top", "2"]
    assert run(arguments) == 1
    assert "seesay: 1 of 5 inputs failed" in capsys.readouterr().err
    raw = (folder / "answers.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")  # or spreadsheets show Chinese as gibberish
    rows = list(csv.DictReader(raw.decode("utf-8-sig").splitlines()))
    assert [row["label"] for row in rows] == ["猫", "狗", "狗", "", ""]
    assert [row["none"] for row in rows] == ["False", "False", "False", "True", ""]
    assert rows[0]["label_2"] == "狗"
    assert "is broken" in rows[4]["error"]


def test_a_labelled_folder_is_evaluated(folder, capsys, language):
    (folder / "set" / "cat" / "broken-1.jpg").touch()
    assert run(["classify", "set", "--labels", "dog,cat", "--evaluate"]) == 1
    out, err = capsys.readouterr()
    accuracy = next(
        line for line in out.splitlines() if {"en": "accuracy", "zh": "准确率"}[language] in line
    )
    assert "100.0%" in accuracy
    assert {"en": "Confusion", "zh": "混淆矩阵"}[language] in out
    assert "set/cat/broken-1.jpg: is broken." in err


def test_folder_names_are_the_labels_of_an_evaluation(folder, capsys):
    files = ["--csv", "classes.csv", "--html", "page.html"]
    assert run(["classify", "set", "--evaluate", "--json", *files]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["answers"] == ["cat", "dog", "lamp", "none of these"]
    assert report["accuracy"] == report["top1"] == 1.0
    rows = list(csv.DictReader((folder / "classes.csv").read_text("utf-8-sig").splitlines()))
    assert [row["recall"] for row in rows] == ["1.0", "1.0", "1.0", ""]
    assert "<table>" in (folder / "page.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["set"], "no labels were given"),
        (["set", "--labels", "dog", "--template", "a dog"], "exactly one {}"),
        (["set", "--labels", "dog,dog"], "more than once"),
        (["set", "--labels", " , "], "at least one name"),
        (["set", "--labels", "dog", "--none-above", "2"], "none_above is 2.0"),
        (["set", "set", "--evaluate"], "--evaluate got 2 paths"),
        (["set/dog", "--evaluate"], "no sub-folder with pictures"),
        (["set", "--labels", "dog", "--language", "fr"], "'fr' is not one of"),
        (["set", "--labels", "dog", "--top", "0"], "Invalid value for '--top'"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(folder, capsys, arguments, words):
    assert run(["classify", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err and err.count("\n") == 1


def test_a_label_in_brackets_is_shown_as_it_is(folder, capsys):
    assert run(["classify", "set/dog", "--labels", "[red]dog=dog,cat"]) == 0
    assert "[red]dog" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "labels", "told"),
    [
        ("openai/clip-vit-base-patch32", "狗,猫", "was not trained on Chinese"),
        ("openai/clip-vit-base-patch32", "dog,cat", ""),
        ("OFA-Sys/chinese-clip-vit-base-patch16", "dog,cat", "was not trained on English"),
        ("seesay-mini", "狗,cat", ""),
        ("some/other", "狗,cat", ""),
    ],
)
def test_a_model_that_never_saw_the_language_of_the_labels_is_named(
    folder, capsys, model, labels, told
):
    assert run(["classify", "set/dog", "--labels", labels, "--model", model]) == 0
    err = capsys.readouterr().err
    assert told in err and bool(told) == bool(err) and err.count("\n") <= 1
