"""`seesay data balance` and `vqa`, and trainings on what they write."""

import json

import pytest
from PIL import Image

from made_detectors import write_colour_detector
from seesay.cli.main import run
from tiny_runs import write_run

pytest.importorskip("pyarrow")
pytest.importorskip("jieba")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Everything a run needs; 32 squares with captions, eight of each colour."""
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "colours.txt").write_text("red\ngreen\nblue\nwhite\n", encoding="utf-8")
    return tmp_path


BALANCE = ["data", "balance", "squares.jsonl", "--min-count", "0", "-c", "colours.txt"]


def test_a_training_reads_only_what_is_kept(place, capsys):
    # The colours are in 16 captions each: of "white" alone, all are left.
    (place / "colours.txt").write_text("white\n", encoding="utf-8")
    assert run([*BALANCE, "--cap", "99", "--language", "en", "-o", "out", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    totals = [report[name] for name in ("captions", "kept", "records", "kept_records")]
    assert totals == [64, 16, 32, 8]
    kept = ["--set", "data.squares.kept=out/kept.parquet"]
    assert run(["train", "recipe.toml", "--set", "run.steps=1", *kept]) == 0
    capsys.readouterr()
    too_large = ["--set", "data.squares.batch=9", "--set", f"run.folder={place}/other"]
    assert run(["train", "recipe.toml", *kept, *too_large]) == 2
    assert "9" in (message := capsys.readouterr().err) and "8" in message  # only 8 are left


def test_the_summary_is_printed_in_both_languages(place, capsys, monkeypatch):
    assert run([*BALANCE, "--cap", "4", "-o", "out"]) == 0
    out = capsys.readouterr().out
    assert "red" in out and "0.250" in out
    assert "4 concepts, 4 thinned out, 0 in no caption; 32 captions without any" in out
    assert 'kept = "out/kept.parquet"' in out
    monkeypatch.setenv("SEESAY_LANG", "zh")
    assert run([*BALANCE, "--cap", "4", "-o", "out", "--force"]) == 0
    assert "共 4 个概念，抽稀 4 个" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["squares.jsonl", "--cap", "4"], "--out"),
        (["squares.jsonl", "-o", "out"], "--cap"),
        (["squares.jsonl", "--cap", "0", "-o", "out"], "--cap"),
        (["nothing.jsonl", "--cap", "4", "-o", "out"], "names nothing"),
        (["squares.jsonl", "--cap", "4", "-o", "."], "holds something else"),
        (["squares.jsonl", "--cap", "4", "-o", "out", "--column", "image"], "names no column"),
        (["squares.jsonl", "--cap", "4", "-o", "out", "-c", "none.txt"], "none.txt cannot be read"),
        (["squares.jsonl", "--cap", "4", "-o", "out", "--min-count", "0"], "min_count=0"),
    ],
)
def test_wrong_input_is_one_clear_line(place, capsys, arguments, message):
    assert run(["data", "balance", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (place / "out").exists()


@pytest.fixture
def balls(tmp_path, monkeypatch):
    """Two pictures with captions, and a third with labelled objects."""
    rows = [
        {"image": "0.png", "en": "A red ball .", "zh": "红色的球。"},
        {"image": "1.png", "en": "A dog .", "zh": "一只狗。"},
        {"image": "2.png", "objects": [{"category": "dog"}, {"category": "sofa bed"}]},
        {"image": "3.png", "objects": ["cat", "car"]},
    ]
    lines = "\n".join(map(json.dumps, rows))
    (tmp_path / "balls.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


VQA = ["data", "vqa", "balls.jsonl", "-o", "vqa.jsonl"]


def test_questions_are_written_and_summed_up_in_both_languages(balls, capsys, monkeypatch):
    assert run([*VQA, "--sample", "100"]) == 0
    out = capsys.readouterr().out
    assert "0.png: " in out and "A red ball . | 红色的球。" in out
    assert "50.0%" in out and "questions about 4 of 4 pictures, 0 damaged" in out
    assert 'added = "vqa.jsonl"' in out
    lines = [json.loads(line) for line in (balls / "vqa.jsonl").read_text("utf-8").splitlines()]
    assert [line["key"] for line in lines] == [f"{n}.png" for n in range(4)]
    assert {"red", "红色"} <= {one["answer"] for one in lines[0]["qa"]}
    monkeypatch.setenv("SEESAY_LANG", "zh")
    assert run([*VQA, "--language", "zh"]) == 0
    assert "对 4 张图片中的" in capsys.readouterr().out


def test_pope_is_asked_in_chinese_only_where_every_object_has_a_chinese_name(balls, capsys):
    assert run([*VQA, "--kind", "pope", "--objects", "2", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert [(one["language"], one["questions"], one["yes"]) for one in counts] == [
        ("en", 8, 0.5),
        ("zh", 0, None),
    ]


def test_a_detector_looks_at_pictures_without_labels(balls, capsys):
    for number, colour in enumerate(["red", "blue"]):
        Image.new("RGB", (64, 64), colour).save(balls / f"{number}.png")
    detector = write_colour_detector(balls / "colours.onnx")
    assert run([*VQA, "--detector", str(detector), "--kind", "pope", "--objects", "1"]) == 0
    lines = [json.loads(line) for line in (balls / "vqa.jsonl").read_text("utf-8").splitlines()]
    first = {one["question"]: one["answer"] for one in lines[0]["qa"]}
    assert first["Is there a dog in the image?"] == "yes"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--kind", "pope"], "at least 3 kinds"),
        (["--most", "1"], "--most"),
        (["--lexicon", "none.toml"], "is no lexicon"),
        (["--column", "image"], "--column image names no column"),
        (["-o", "none/vqa.jsonl"], "none"),
        (["--classes", "none.json"], "holds no class names"),
        (["--detector", "none.onnx"], "none.onnx"),
    ],
)
def test_wrong_use_of_vqa_is_one_clear_line(balls, capsys, arguments, message):
    assert run([*VQA, *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
