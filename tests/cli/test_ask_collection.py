"""`seesay ask` without pictures: a question to a collection."""

import json
from io import BytesIO, TextIOWrapper

import pytest

from chat_server import chat_server, completion
from made_videos import RED, write_scenes
from seesay.cli.main import run
from texts_in_a_collection import make_collection

FILES = {
    "/notes/rocket.md": "The rocket stands on the launch pad. It was built in 1969.",
    "/notes/笔记.txt": "南京市长江大桥于1968年建成。夜里很好看。",
}


@pytest.fixture
def notes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEESAY_LANG", "en")
    make_collection(tmp_path / "home" / "collections" / "default", FILES).close()
    return tmp_path


def test_the_answer_is_printed_with_numbers_and_where_they_stand(notes, capsys):
    assert run(["ask", "Where does the rocket stand?"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("The rocket stands on the launch pad. [")
    assert any(line.endswith("] /notes/rocket.md") for line in shown)


def test_what_is_not_there_is_not_found_with_the_nearest(notes, language, capsys):
    assert run(["ask", "How high is the rocket?"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("资料库里没有找到答案" if language == "zh" else "not found")
    assert "/notes/rocket.md" in shown
    assert "    The rocket stands on the launch pad.\n" in shown


def test_json_has_the_whole_answer(notes, capsys):
    assert run(["ask", "南京市长江大桥是哪一年建成的？", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "answered" and answer["mode"] == "quote"
    assert "1968" in answer["claims"][0]["text"]


def test_a_later_question_refers_to_an_earlier_one(notes, capsys):
    assert run(["ask", "-q", "Where does the rocket stand?", "-q", "When was it built?"]) == 0
    shown = capsys.readouterr().out
    assert "When was the rocket built?" in shown and "1969" in shown


def test_an_endpoint_writes_and_its_claims_are_verified(notes, capsys):
    claims = [
        {"text": "The rocket was built in 1969.", "evidence": [1]},
        {"text": "The rocket was built in 1850.", "evidence": [1]},
    ]
    written = completion(json.dumps({"claims": claims}))
    with chat_server(written, completion("yes")) as endpoint:
        where = ["--endpoint", endpoint.url, "--model", "cats-7b"]
        assert run(["ask", "When was the rocket built?", *where]) == 0
    shown = capsys.readouterr().out
    assert "1969. [1]" in shown and "1850" not in shown


def test_text_of_files_controls_no_terminal(notes, capsys):
    place = notes / "home" / "collections" / "odd"
    make_collection(place, {"/a\x1b[31m.txt": "The rocket stands on the \x1b[31mred pad."}).close()
    assert run(["ask", "Where does the rocket stand?", "--collection", "odd"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_conversation_goes_on_and_begins_anew(notes, monkeypatch, capsys):
    lines = ["Where does the rocket stand?", "When was it built?", "/clear", "And it?", "/nothing"]
    type_lines(monkeypatch, *lines)
    assert run(["chat", "-c", "default"]) == 1
    shown = capsys.readouterr()
    told = shown.out.splitlines()
    assert told[0].startswith("The rocket stands on the launch pad. [")
    at = told.index("When was the rocket built?")
    assert told[at + 1].startswith("It was built in 1969. [")
    # Nothing is left of the earlier questions, to which "it" could refer.
    assert "not found in the collection" in told[at + 2 :]
    assert "no command /nothing" in shown.err and "/image" not in shown.err


def test_a_conversation_is_in_the_language_of_the_terminal(notes, language, monkeypatch, capsys):
    type_lines(monkeypatch, "南京市长江大桥是哪一年建成的？", "火车什么时候通车？", "/quit", "x")
    assert run(["chat", "--mode", "quote"]) == 0
    shown = capsys.readouterr().out
    assert "1968" in shown
    assert ("没有找到答案" if language == "zh" else "not found") in shown


def test_a_conversation_is_about_pictures_or_with_a_collection(notes, capsys):
    assert run(["chat", "a.png", "-c", "default"]) == 2
    assert "--collection is for questions to a collection" in capsys.readouterr().err
    assert run(["chat", "-c", "default", "--system", "Be brief."]) == 2
    assert "--system" in capsys.readouterr().err


def type_lines(monkeypatch, *lines):
    content = "\n".join(lines).encode()
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(content), encoding="utf-8"))


SPOKEN = {
    "en": {0.5: "A red kite flies over the harbour.", 3.2: "The lighthouse was built in 1874."},
    "zh": {0.5: "一只红色风筝飞过海港。", 6.4: "灯塔建于1874年。"},
}
ASKED = {
    "When was the lighthouse built?": (3.2, "0:03"),
    "灯塔建于哪一年？": (6.4, "0:06"),
}


def test_a_quote_from_a_video_names_the_time_of_its_subtitle(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEESAY_LANG", "en")
    (tmp_path / "films").mkdir()
    write_scenes(tmp_path / "films" / "a.mp4", [RED], seconds=8, fps=2)
    for language, lines in SPOKEN.items():
        cues = [f"00:00:0{at} --> 00:00:0{at + 1}\n{line}\n\n" for at, line in lines.items()]
        file = tmp_path / "films" / f"a.{language}.srt"
        file.write_text("".join(cues), encoding="utf-8")
    assert run(["index", str(tmp_path / "films")]) == 0
    for question, (start_s, clock) in ASKED.items():
        capsys.readouterr()
        assert run(["ask", question, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        (quote,) = answer["claims"][0]["quotes"]
        assert quote["start_s"] == start_s
        (one,) = (one for one in answer["evidence"] if one["id"] == quote["evidence"])
        assert one["locator"]["start_s"] == 0.5  # of the whole passage
        assert run(["ask", question]) == 0
        assert f"a.mp4 · at {clock}" in capsys.readouterr().out
