"""`seesay embed`: pictures and texts to vectors, on the screen, as JSON or in a file."""

import json
import re

import numpy as np
import pytest

from fakes import DIM, FakeEmbedder
from seesay.cli.main import run


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setattr("seesay.cli.inputs.load_embedder", lambda *_: FakeEmbedder())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("dog-1.JPG", "sub/cat-1.png", "notes.txt"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_are_embedded_whole_into_a_file(folder, capsys):
    assert run(["embed", "pictures", "--text", "a dog", "--out", "v.npz"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"3 vectors of {DIM} numbers by fake -> v.npz\n", "")
    with np.load("v.npz") as stored:
        assert list(stored["sources"]) == ["pictures/dog-1.JPG", "pictures/sub/cat-1.png", "a dog"]
        assert list(stored["kinds"]) == ["image", "image", "text"]
        expected = FakeEmbedder().embed_images(["dog-1", "cat-1"]).vectors
        np.testing.assert_array_equal(stored["vectors"][:2], expected)


def test_texts_come_from_options_and_from_a_file(folder, capsys):
    (folder / "texts.txt").write_text("一只狗\n\n# left out\na cat\n", encoding="utf-8")
    assert run(["embed", "-t", "a dog", "--texts-file", "texts.txt", "--json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [item["source"] for item in items] == ["a dog", "一只狗", "a cat"]


def test_json_holds_the_vectors_and_nothing_else_is_on_stdout(folder, capsys):
    assert run(["embed", "pictures/dog-1.JPG", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["model"] == "fake" and printed["dim"] == DIM and printed["failures"] == []
    (item,) = printed["items"]
    assert (item["kind"], item["source"], item["windows"]) == ("image", "pictures/dog-1.JPG", 1)
    expected = FakeEmbedder().embed_images(["dog-1"]).vectors[0]
    np.testing.assert_array_equal(np.array(item["vector"], np.float32), expected)


def test_json_beside_a_file_says_what_is_in_it_without_the_vectors(folder, capsys):
    assert run(["embed", "pictures", "--json", "-o", "v.npy"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["out"] == "v.npy"
    assert [item["source"] for item in printed["items"]] == [
        "pictures/dog-1.JPG",
        "pictures/sub/cat-1.png",
    ]
    assert "vector" not in printed["items"][0]
    assert np.load("v.npy").shape == (2, DIM)


def test_pictures_beside_texts_show_how_well_they_fit(folder, capsys):
    assert run(["embed", "pictures/dog-1.JPG", "--text", "dog", "--text", "cat"]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "dog-1" in line).split()
    assert float(row[1]) > 0.5 > abs(float(row[2]))


def test_alone_they_show_where_the_vectors_begin(folder, capsys):
    assert run(["embed", "pictures"]) == 0
    first = FakeEmbedder().embed_images(["dog-1"]).vectors[0, 1]
    assert f"{first:+.3f}" in capsys.readouterr().out


def test_what_fails_is_named_once_and_the_rest_is_done(folder, capsys):
    (folder / "pictures" / "broken-1.jpg").touch()
    (folder / "nothing").mkdir()
    assert run(["embed", "pictures", "nothing", "-o", "v.npz"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("2 vectors")
    assert err.splitlines() == [
        "seesay: nothing: this folder has no picture in it; expected files that end in .jpg, .png "
        "or the like; name a folder with some",
        "seesay: pictures/broken-1.jpg: is broken.",
        "seesay: 2 of 4 inputs failed; the others are done",
    ]


def test_where_nothing_can_be_done_no_table_and_no_file_is_left(folder, capsys):
    (folder / "broken-1.jpg").touch()
    (folder / "broken-2.jpg").touch()
    assert run(["embed", "broken-1.jpg"]) == 1
    assert capsys.readouterr() == ("", "seesay: broken-1.jpg: is broken.\n")
    assert run(["embed", "broken-1.jpg", "broken-2.jpg", "-o", "v.npz"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1] == "seesay: all 2 inputs failed"
    assert not (folder / "v.npz").exists()


LONG = "a dog and a cat and a horse by the sea " * 12


@pytest.mark.parametrize("out", [[], ["-o", "v.npz"]])
@pytest.mark.parametrize("spoken", ["en", "zh"])
def test_a_text_longer_than_the_context_is_told_in_one_line(
    folder, capsys, monkeypatch, out, spoken
):
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SEESAY_LANG", spoken)
    (folder / "texts.txt").write_text(f"a dog\n{LONG}\n")
    assert run(["embed", "-m", "seesay-mini", "--texts-file", "texts.txt", *out]) == 0
    err = capsys.readouterr().err
    pattern = {
        "en": r"seesay: text 2 is longer than \d+ tokens: "
        r"its vector is the average of \d+ windows\n",
        "zh": r"seesay: 第 2 段文字超过 \d+ 个词元：它的向量是 \d+ 段的平均\n",
    }[spoken]
    assert re.fullmatch(pattern, err)


def test_with_json_failures_stand_in_the_json(folder, capsys):
    (folder / "pictures" / "broken-1.jpg").touch()
    assert run(["embed", "pictures", "--json"]) == 1
    out, err = capsys.readouterr()
    failures = json.loads(out)["failures"]
    assert [failure["source"] for failure in failures] == ["pictures/broken-1.jpg"]
    assert err == ""


def test_a_file_name_cannot_write_on_the_terminal(folder, capsys):
    (folder / "broken-\x1b[31m\nred.jpg").touch()
    assert run(["embed", "broken-\x1b[31m\nred.jpg", "--text", "a dog"]) == 1
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert err.count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["embed"], "nothing to embed"),
        (["embed", "-t", "a", "-o", "v.txt"], "expected one of .npz"),
        (["embed", "-t", "a", "-o", "missing/v.npz"], "cannot be written: there is no folder"),
        (["embed", "-t", "a", "-t", " "], "a text is empty; expected words"),
        (["embed", "--texts-file", "missing.txt"], "missing.txt cannot be read"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(folder, capsys, arguments, words):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err and err.count("\n") == 1


@pytest.mark.parametrize("file", ["v.txt", "missing/v.npz"])
def test_a_wrong_ending_or_folder_is_told_before_the_work(folder, monkeypatch, file):
    monkeypatch.setattr("seesay.cli.inputs.load_embedder", lambda *_: pytest.fail("worked first"))
    assert run(["embed", "pictures", "-o", file]) == 2


def test_chinese_is_spoken_where_it_is_asked_for(folder, capsys, monkeypatch):
    monkeypatch.setenv("SEESAY_LANG", "zh")
    (folder / "pictures" / "broken-1.jpg").touch()
    assert run(["embed", "pictures", "-o", "v.npz"]) == 1
    out, err = capsys.readouterr()
    assert out == f"fake 生成了 2 个 {DIM} 维向量 -> v.npz\n"
    assert "3 个输入中有 1 个失败，其余已完成" in err
