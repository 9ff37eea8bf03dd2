"""`seesay evaluate`: a suite, a model behind an endpoint or on this machine, and the reports."""

import base64
import io
import json

import pytest
from PIL import Image

from chat_server import chat_server, completion
from seesay.cli.main import run

SUITE = """
name = "small"

[tasks.pope]
data = "POPE.tsv"
prompt = "yes-no/seesay@1"
scorers = ["pope/seesay-zh@1", "pope/lmms@2026-08-06"]
"""

_stream = io.BytesIO()
Image.effect_noise((8, 8), 50).convert("RGB").save(_stream, "PNG")
PNG = base64.b64encode(_stream.getvalue()).decode()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A suite and its data, in the current folder."""
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    rows = [
        "index\timage_path\tquestion\tanswer",
        "1\t0.png\t有猫吗？\tyes",
        "2\t0.png\t有狗吗？\tno",
    ]
    (tmp_path / "POPE.tsv").write_text("\n".join([*rows, "3\t0.png\t有鸟吗？\t"]), encoding="utf-8")
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_suite_is_run_and_reported_in_three_forms(place, capsys, monkeypatch, language):
    monkeypatch.setenv("SEESAY_LANG", language)
    with chat_server(completion("是的。")) as server:
        asked = ["evaluate", "suite.toml", "-m", "cats/7b", "--endpoint", server.url]
        assert run(asked) == 0
        shown = capsys.readouterr().out
        assert run([*asked, "--json"]) == 0
        assert len(server.requests) == 2
    values = json.loads(capsys.readouterr().out)
    zh, lmms = values["scores"]
    assert (zh["scorer"], zh["values"]["accuracy"], zh["left_out"]) == ("pope/seesay-zh@1", 0.5, 1)
    assert lmms["values"]["accuracy"] == 0 and values["model"] == "cats/7b"
    folder = place / "evaluations" / "small-7b"
    names = ("report.html", "report.md", "report.json", "answers.sqlite")
    assert all((folder / name).is_file() for name in names)
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == values
    for text in (shown, *((folder / n).read_text(encoding="utf-8") for n in names[:2])):
        assert "pope/lmms@2026-08-06" in text and "0.500" in text
        assert ("未计入" if language == "zh" else "left out") in text
        assert ("没有正确答案" if language == "zh" else "no right answer") in text


def test_runs_are_scored_again_and_compared(place, capsys):
    with chat_server(completion("是的。"), completion("没有。")) as server:
        asked = ["evaluate", "suite.toml", "--endpoint", server.url, "-m"]
        assert run([*asked, "one", "-o", "one"]) == 0
        assert run([*asked, "two", "-o", "two", "--against", "one"]) == 0
    assert "paired bootstrap" in capsys.readouterr().out
    (place / "POPE.tsv").unlink()
    (place / "suite.toml").write_text(SUITE.replace("pope/lmms@2026-08-06", "pope/official@1"))
    assert run(["evaluate", "suite.toml", "-o", "one", "--rescore", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [one["scorer"] for one in values["scores"]] == ["pope/seesay-zh@1", "pope/official@1"]
    assert run(["evaluate", "suite.toml", "-o", "none", "--rescore"]) == 2
    assert "there are no answers in" in capsys.readouterr().err


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_wrong_is_said_in_a_line(place, capsys, monkeypatch, language):
    monkeypatch.setenv("SEESAY_LANG", language)
    suite = SUITE + SUITE.partition("\n\n")[2].replace("tasks.pope", "tasks.bad")
    suite = suite.replace("POPE.tsv", "bad.tsv")
    suite = suite.replace("bad.tsv", "POPE.tsv", 1)
    (place / "suite.toml").write_text(suite, encoding="utf-8")
    (place / "bad.tsv").write_text("index\tquestion\n1\ta\n")
    with chat_server(completion("no")) as server:
        model = ["-m", "cats", "--endpoint", server.url]
        assert run(["evaluate", "suite.toml", *model]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert ("没有 answer 这一列" if language == "zh" else "none for the answer") in lines[0]
        (place / "suite.toml").write_text(SUITE.replace("lmms@2026-08-06", "best@1"))
        assert run(["evaluate", "suite.toml", *model]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and "pope/best@1" in lines[0] and "pope/official@1" in lines[0]
        assert run(["evaluate", "slow", *model]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert run(["evaluate", "quick", "--judge-endpoint", server.url, *model]) == 2
        assert "--judge" in capsys.readouterr().err


def test_broken_pictures_and_a_judge_that_talks_nonsense_are_counted(place, capsys):
    (place / "suite.toml").write_text(
        SUITE.replace('"pope/seesay-zh@1"', '"mmvet/seesay@1", "pope/seesay-zh@1"')
    )
    rows = ["index\timage\tquestion\tanswer", f"1\t{'&' * 80}\ta?\tyes", f"2\t{PNG}\tb?\tyes"]
    (place / "POPE.tsv").write_text("\n".join(rows) + "\n")
    with chat_server(completion("yes")) as server, chat_server(completion("well")) as owl:
        asked = ["evaluate", "suite.toml", "-m", "cats", "--endpoint", server.url]
        assert run([*asked, "--judge", "owl", "--judge-endpoint", owl.url]) == 0
    shown = capsys.readouterr().out
    assert "its picture is no base64" in shown and "its last reply: 'well'" in shown
    report = json.loads((place / "evaluations/small-cats/report.json").read_text("utf-8"))
    vet, pope, _ = report["scores"]
    assert (vet["answers"], vet["left_out"]) == (0, 2)
    assert (pope["answers"], pope["left_out"], pope["values"]["accuracy"]) == (1, 1, 1.0)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_runs_stand_side_by_side(place, capsys, monkeypatch, language):
    monkeypatch.setenv("SEESAY_LANG", language)
    with chat_server(completion("是的。")) as server:
        asked = ["evaluate", "suite.toml", "--endpoint", server.url, "-m"]
        assert run([*asked, "one", "-o", "one", "--processes", "2", "--price-in", "1"]) == 0
        assert run([*asked, "two", "-o", "two", "--worst", "0"]) == 0
    page = (place / "one" / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" in page and "0.0006" in page  # 2 x 300 tokens
    assert "data:image/jpeg" not in (place / "two" / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert run(["leaderboard", "one", "two", "-o", "board"]) == 0
    shown = capsys.readouterr().out
    names = ("leaderboard.html", "leaderboard.md")
    for text in (shown, *((place / "board" / n).read_text(encoding="utf-8") for n in names)):
        assert "pope/seesay-zh@1" in text and "one" in text and "two" in text
    assert ("排行榜" if language == "zh" else "leaderboard") in shown
    assert run(["leaderboard", "one", "none"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
