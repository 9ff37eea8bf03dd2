"""`seesay data convert`: to the toolkits and back, by its command."""

import json

import pytest
from PIL import Image

from seesay.cli.main import run


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A table with two pictures, and LLaVA's JSON about one of them and one that is missing."""
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / name)
    rows = [{"image": name, "question": "What?", "answer": "No."} for name in ("a.png", "b.png")]
    (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "No."}]
    llava = [{"image": name, "conversations": turns} for name in ("a.png", "c.png")]
    (tmp_path / "llava.json").write_text(json.dumps(llava, indent=1), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEESAY_LANG", "en")
    return tmp_path


def test_data_and_configurations_are_written_and_summed_up(place, capsys, monkeypatch):
    arguments = ["data", "convert", "table.jsonl", "--to", "ms-swift"]
    assert run([*arguments, "-o", "out"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 samples are good, 0 bad; 2 placeholders for 2 pictures and 0 videos" in out
    assert "out/train.jsonl: 2 samples" in out and "out/sft.yaml" in out
    monkeypatch.setenv("SEESAY_LANG", "zh")
    assert run([*arguments, "-o", "zh"]) == 0
    assert "2 个样本中 2 个可用" in capsys.readouterr().out


def test_a_missing_picture_is_one_clear_line_and_the_rest_is_converted(place, capsys):
    assert run(["data", "convert", "llava.json", "--to", "seesay", "-o", "out"]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "llava.json line 15: " in printed.err and "c.png is missing, expected" in printed.err
    assert "1 of 2 samples are good, 1 bad" in printed.out
    assert 'path = "out/train.jsonl", format = "table"' in printed.out
    assert run(["data", "convert", "out/train.jsonl", "--check"]) == 0


def test_a_check_alone_writes_nothing(place, capsys):
    before = sorted(place.iterdir())
    assert run(["data", "convert", "llava.json", "--check", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    counts = [report[name] for name in ("samples", "good", "bad", "placeholders", "images")]
    assert counts == [2, 1, 1, 1, 1]
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["llava.json"], "--to with --out, or --check alone"),
        (["llava.json", "--to", "llava"], "--to with --out, or --check alone"),
        (["llava.json", "--check", "-o", "out"], "--to with --out, or --check alone"),
        (["llava.json", "--to", "llava", "-o", "."], "exists"),
        (["llava.json", "--check", "--request", "Describe."], "holds conversations"),
        (["none.json", "--check"], "names nothing"),
        (["llava.json", "--to", "llama-factory", "-o", "out", "-m", "eye-7b"], "template"),
    ],
)
def test_wrong_use_is_one_clear_line(place, capsys, arguments, message):
    assert run(["data", "convert", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (place / "out").exists()
