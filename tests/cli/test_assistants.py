"""`seesay ask`, `caption`, `chat` and `tokens`, with a tiny model and with endpoints that fail."""

import csv
import io
import json
import shutil
import sys

import pytest
import torch

import seesay.cli.inputs as inputs
import seesay.inference.remote as remote
from chat_server import Reply, as_json, chat_server, completion, piece, refusal, stream
from seesay.cli.main import run
from seesay.inference.assistant import LocalAssistant, chat
from tiny_assistants import picture, tiny_llava, tiny_qwen


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    torch.manual_seed(0)
    made = {}
    for name, make in (("qwen", tiny_qwen), ("llava", tiny_llava)):
        made[name] = make(tmp_path_factory.mktemp(name)).folder
    return made


@pytest.fixture(scope="module")
def loaded(models):
    return {name: chat(folder, device="cpu") for name, folder in models.items()}


@pytest.fixture
def place(tmp_path, monkeypatch, loaded):
    """Two pictures and a broken one in the current folder; models are loaded once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.delenv("SEESAY_ASSISTANT", raising=False)
    (tmp_path / "photos").mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        picture(seed).save(tmp_path / "photos" / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 500)
    usual = inputs.load_assistant

    def load(name, endpoint, device, pictures=None):
        found = None if endpoint else loaded.get(name)
        if found is None:
            return usual(name, endpoint, device, pictures)
        return LocalAssistant(found.files)

    monkeypatch.setattr(inputs, "load_assistant", load)
    return tmp_path


@pytest.fixture(params=["en", "zh"])
def language(request, monkeypatch, place):
    monkeypatch.setenv("SEESAY_LANG", request.param)
    return request.param


def pipe(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def last_error(capsys) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_a_question_is_answered_and_a_cut_is_told(place, loaded, capsys):
    asked = ["ask", "photos/a.png", "photos/b.png", "What differs?", "-m", "qwen"]
    assert run([*asked, "--max-tokens", "6"]) == 0
    shown = capsys.readouterr()
    pictures = [place / "photos" / name for name in ("a.png", "b.png")]
    assert shown.out == loaded["qwen"].ask(pictures, "What differs?", max_tokens=6).text + "\n"
    assert "cut off after 6 tokens" in shown.err


def test_several_questions_about_one_picture_are_answered_as_json(place, loaded, capsys):
    questions = ["What is it?", "图里有什么？"]
    asked = ["ask", "photos/a.png", *(word for one in questions for word in ("-q", one))]
    assert run([*asked, "-m", "qwen", "--max-tokens", "5", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["images"] == ["photos/a.png"]
    for one, question in zip(shown["answers"], questions, strict=True):
        assert one["question"] == question
        assert one["text"] == loaded["qwen"].ask("photos/a.png", question, max_tokens=5).text
        assert one["prompt_tokens"] > 10 and "tokens" not in one


def test_decoding_options_reach_the_model(place, capsys):
    def asked(*options: str) -> str:
        where = ["ask", "photos/a.png", "Why?", "-m", "qwen", "--max-tokens", "8"]
        assert run([*where, *options]) == 0
        return capsys.readouterr().out

    drawn = ["--temperature", "1.5", "--top-p", "0.95", "--seed"]
    assert asked(*drawn, "1") == asked(*drawn, "1") != asked(*drawn, "2")
    assert asked("--beams", "3") != asked() == asked("--temperature", "0")
    assert run(["ask", "photos/a.png", "Why?", "--beams", "2", "--temperature", "1"]) == 2
    assert "only at temperature 0" in last_error(capsys)


def test_a_picture_comes_from_stdin(place, monkeypatch, capsys):
    pipe(monkeypatch, (place / "photos" / "a.png").read_bytes())
    assert run(["ask", "-", "Why?", "-m", "qwen", "--max-tokens", "4"]) == 0
    piped = capsys.readouterr().out
    assert run(["ask", "photos/a.png", "Why?", "-m", "qwen", "--max-tokens", "4"]) == 0
    assert capsys.readouterr().out == piped


WRONG = {
    "no question": (["photos/a.png"], "there is no question", "没有问题"),
    "no collection": (["Why?"], "there is no collection yet", "还没有资料库"),
    "two at once": (
        ["photos/a.png", "Why?", "--mode", "quote"],
        "--mode is for questions to a collection",
        "--mode 用于向资料库提问",
    ),
    "no such mode": (["Why?", "--mode", "endpoint"], "expected an address", "应给出地址"),
    "a wrong file": (["broken.jpg", "Why?", "-m", "qwen"], "broken.jpg", "broken.jpg"),
    "a missing file": (["x.jpg", "Why?", "-m", "qwen"], "x.jpg", "x.jpg"),
    "a broken video": (["broken.mp4", "Why?", "-m", "qwen"], "read as a video", "无法作为视频"),
    "no video": (["broken.mp4", "Why?", "-m", "llava"], "reads no videos", "不支持视频"),
    "a question without quotes": (
        ["photos/a.png", "what", "is", "it", "-m", "qwen"],
        "no file 'what'",
        "问题请加引号",
    ),
    "a question beside -q": (
        ["photos/a.png", "Why?", "-q", "How?", "-m", "llava"],
        "no file 'Why?'",
        "没有文件 'Why?'",
    ),
    "an address": (["http://a.org/b.jpg", "Why?", "-m", "qwen"], "is a web address", "是网址"),
    "an empty folder": (["empty", "Why?", "-m", "qwen"], "without a picture", "其中没有图片"),
    "a large seed": (
        ["photos/a.png", "Why?", "-m", "qwen", "--seed", "9" * 20],
        "at most 64 bits",
        "不超过 64 位",
    ),
    "many beams": (["photos/a.png", "Why?", "-m", "qwen", "--beams", "999"], "at most 100", "最多"),
    "no share": (
        ["photos/a.png", "Why?", "-m", "qwen", "--top-p", "0"],
        "top_p=0.0 allows",
        "top_p",
    ),
    "a file as model": (
        ["photos/a.png", "Why?", "-m", "broken.jpg"],
        "a model folder",
        "模型文件夹",
    ),
    "many pictures": (["photos", "Why?", "-m", "llava"], "at most 1", "最多应为 1 张"),
    "a long question": (["photos", "Why? " * 300, "-m", "qwen"], "tokens", "词元"),
    "beams there": (
        ["photos/a.png", "Why?", "-m", "x", "--endpoint", "http://localhost:9/v1", "--beams", "2"],
        "have no beam search",
        "不支持束搜索",
    ),
    "no name there": (
        ["photos/a.png", "Why?", "--endpoint", "http://localhost:9/v1"],
        "names no model",
        "没有指明模型",
    ),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_cannot_be_asked_is_one_line(place, language, case, capsys):
    words, en, zh = case
    assert run(["ask", *words]) == (1 if words[-1] == "broken.jpg" else 2)
    assert (zh if language == "zh" else en) in last_error(capsys)


ENDPOINTS = {
    "silence": (Reply(end="stall"), "was silent for 0.2 s"),
    "nonsense": (Reply(b"<html>", headers={"Content-Type": "text/html"}), "no valid answer"),
    "a cut": (stream(piece("a c"), done=False, end="cut"), "cut off after 3 characters"),
    "an overrun": (refusal(400, "maximum context length is 10"), "too long for cats-7b"),
    "a proxy's page": (
        Reply(b"<html><title>a</title>\n<h1>Bad  Gateway</h1></html>", 400),
        "(400: Bad Gateway)",
    ),
    "no reason": (Reply(b"", 400), "(400: without a message)"),
    "fields": (
        as_json({"detail": [{"loc": ["body", "model"], "msg": "is missing"}]}, 422),
        "(422: body.model: is missing)",
    ),
    "an error on the way": (
        stream(piece("a c"), {"error": {"message": "out of memory", "code": 500}}),
        "(500: out of memory)",
    ),
}


@pytest.mark.parametrize("case", ENDPOINTS.values(), ids=ENDPOINTS)
def test_an_endpoint_that_fails_is_one_line(place, case, capsys, monkeypatch):
    reply, words = case
    config = remote.RemoteConfig

    def impatient(**given):
        return config(**given, timeout_s=0.2, retries=0)

    monkeypatch.setattr(remote, "RemoteConfig", impatient)
    with chat_server(reply) as endpoint:
        asked = ["ask", "photos/a.png", "Why?", "--endpoint", endpoint.url, "-m", "cats-7b"]
        assert run(asked) == 2
    assert words in last_error(capsys)


def test_an_endpoint_answers_and_of_a_video_gets_frames(place, capsys, monkeypatch):
    frames = [type("Frame", (), {"image": picture(seed)}) for seed in range(3)]
    monkeypatch.setattr(remote, "read_frames", lambda file, sampling: frames[: sampling.count])
    with chat_server(stream(piece("a c\x1b[2J"), piece("at", "stop"))) as endpoint:
        asked = ["ask", "clip.mp4", "Why?", "--endpoint", endpoint.url, "-m", "cats-7b"]
        assert run([*asked, "--seed", "3"]) == 0
    assert capsys.readouterr().out == "a c[2Jat\n"  # nothing steers the terminal
    body = endpoint.requests[0].body
    kinds = [part["type"] for part in body["messages"][0]["content"]]
    assert kinds == ["image_url"] * 3 + ["text"]
    assert body["seed"] == 3


def test_captions_are_a_line_each_and_a_broken_picture_is_told(place, loaded, capsys):
    table = place / "captions.csv"
    asked = ["caption", "photos", "broken.jpg", "-m", "qwen", "--max-tokens", "6"]
    assert run([*asked, "--csv", str(table)]) == 1
    shown = capsys.readouterr()
    prompt = "Describe this picture in one sentence."
    expected = {
        name: " ".join(loaded["qwen"].ask(name, prompt, max_tokens=6).text.split())
        for name in ("photos/a.png", "photos/b.png")
    }
    assert shown.out.splitlines() == [f"{name}: {text}" for name, text in expected.items()]
    assert "broken.jpg" in shown.err and "1 of 3 inputs failed" in shown.err
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8-sig"))))
    assert {row["source"]: row["caption"] for row in rows[:2]} == expected
    assert rows[2]["error"] and len(rows) == 3
    assert run([*asked, "--json", "--language", "zh"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["source"] for one in found["images"]] == list(expected)
    assert found["images"][0]["caption"] != expected["photos/a.png"]
    assert [one["source"] for one in found["failures"]] == ["broken.jpg"]


@pytest.mark.parametrize(
    ("words", "part"),
    [(["--csv", "empty"], "it is a folder"), (["--prompt", " "], "--prompt is empty")],
    ids=["a folder as table", "an empty prompt"],
)
def test_captions_are_refused_before_any_is_written(place, capsys, words, part):
    assert run(["caption", "photos", "-m", "qwen", *words]) == 2
    assert part in last_error(capsys)


def test_an_empty_stdin_is_one_line(place, language, monkeypatch, capsys):
    pipe(monkeypatch, b"")
    assert run(["ask", "-", "Why?", "-m", "qwen"]) == 2
    told = last_error(capsys)
    assert ("标准输入没有内容" if language == "zh" else "nothing came from stdin") in told


def test_image_settings_that_do_not_fit_the_weights_are_refused(place, models, capsys):
    copied = place / "copied"
    shutil.copytree(models["qwen"], copied)
    (copied / "preprocessor_config.json").unlink()
    assert run(["ask", "photos/a.png", "Why?", "-m", "copied"]) == 2
    assert "preprocessor_config.json that belongs to the weights" in last_error(capsys)


def test_one_video_among_captions_fails_alone(place, capsys):
    asked = ["caption", "photos/a.png", "broken.mp4", "photos/b.png", "-m", "llava"]
    assert run([*asked, "--max-tokens", "4"]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2 and "reads no videos" in shown.err


def test_an_endpoint_writes_captions_in_order(place, capsys):
    with chat_server(completion("one\n line")) as endpoint:
        asked = ["caption", "photos", "--endpoint", endpoint.url, "-m", "cats-7b"]
        assert run([*asked, "--prompt", "Name it."]) == 0
    assert capsys.readouterr().out == "photos/a.png: one line\nphotos/b.png: one line\n"
    assert len(endpoint.requests) == 2
    body = endpoint.requests[0].body
    assert body["max_tokens"] == 100 and "Name it." in json.dumps(body["messages"])


def test_a_talk_from_a_pipe_goes_on_and_says_what_is_wrong(place, loaded, monkeypatch, capsys):
    lines = [
        "Hello",
        "/image photos/b.png",
        "And this?",
        "/image no.png",
        "/clear",
        "Hello",
        "/quit",
        "x",
    ]
    pipe(monkeypatch, "\n".join(lines).encode())
    assert run(["chat", "photos/a.png", "-m", "qwen", "--max-tokens", "5"]) == 1
    shown = capsys.readouterr()
    import seesay

    talk = seesay.Conversation(LocalAssistant(loaded["qwen"].files))
    first = talk.ask("Hello", "photos/a.png", max_tokens=5)
    second = talk.ask("And this?", "photos/b.png", max_tokens=5)
    fresh = loaded["qwen"].ask(None, "Hello", max_tokens=5)
    assert shown.out == "".join(f"{one.text}\n" for one in (first, second, fresh))
    assert "no.png" in shown.err
    pipe(monkeypatch, b"/help\nHello\n")
    assert run(["chat", "-m", "qwen", "--max-tokens", "5"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{fresh.text}\n" and "/image PATH" in shown.err


def test_a_talk_goes_on_after_pictures_that_the_model_refuses(place, loaded, monkeypatch, capsys):
    pipe(monkeypatch, b"Both?\n/image 'photos/a.png'\nThis?\n/picture x\n")
    assert run(["chat", "photos", "-m", "llava", "--max-tokens", "5"]) == 1
    shown = capsys.readouterr()
    assert shown.out == loaded["llava"].ask("photos/a.png", "This?", max_tokens=5).text + "\n"
    assert "left out of the conversation: photos/a.png, photos/b.png" in shown.err
    assert "at most 1" in shown.err and "no command /picture" in shown.err


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_costs_fit_a_narrow_terminal(place, monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    picture(0, (4000, 8)).save("narrow.png")
    assert run(["tokens", "narrow.png", "photos", "empty"]) == 1
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= columns and "photos/b.png: 50 × 37" in lines
    assert sum("llava-onevision-hf" in line and line.endswith("% ") for line in lines) == 3
    assert "no picture so narrow" in " ".join(shown.out.split()) and "empty" in shown.err


def test_a_scheme_in_capitals_is_suggested(place, capsys):
    assert run(["tokens", "photos/a.png", "-s", "Qwen2-VL"]) == 2
    assert "did you mean qwen2-vl?" in last_error(capsys)


def test_a_file_costs_tokens_under_each_scheme(place, language, capsys):
    assert run(["tokens", "photos/a.png", "broken.jpg", "--scheme", "qwen2-vl"]) == 1
    shown = capsys.readouterr()
    assert "50 × 37" in shown.out and "qwen2-vl" in shown.out and "broken.jpg" in shown.err
    assert run(["tokens", "photos/a.png", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert found["costs"]["llava-1.5"]["total"] == 576
    assert found["costs"]["llava-1.5"]["fits"] is True
    assert len(found["costs"]) > 10
    assert run(["tokens", "photos/a.png", "-s", "nothing"]) == 2
    assert "nothing" in last_error(capsys)
