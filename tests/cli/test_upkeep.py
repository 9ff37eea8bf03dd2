"""`seesay errors`, `stats`, `verify`, `rebuild`, `export`: looking after a collection."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from socket import gethostname

import numpy as np
import pytest

from made_collections import read_only
from raw_rows import raw_rows
from seesay.cli.main import run
from seesay.search.collection import Collection


@pytest.fixture(autouse=True)
def no_model(request, monkeypatch):
    """None of these may load one."""
    if "indexed" not in request.fixturenames:
        monkeypatch.setattr("seesay.search.model.load", lambda *_, **__: pytest.fail("loaded"))


def test_errors_say_which_file_and_why(library, capsys, language):
    assert run(["errors"]) == 0
    out = capsys.readouterr().out
    assert "photos/broken.jpg" in out and {"en": "what is wrong", "zh": "问题"}[language] in out
    assert {"en": "Expected a", "zh": "请另存为 PNG 或 JPEG"}[language] in out
    assert ("Expected" in out) == (language == "en")
    assert run(["errors", "--json"]) == 0
    (bad,) = json.loads(capsys.readouterr().out)
    assert (bad["stage"], bad["tries"]) == ("decode", 1)
    assert "Expected a" in bad["error"]["en"] and "请另存为 PNG 或 JPEG" in bad["error"]["zh"]


def test_a_bad_file_is_tried_again_when_asked(indexed, capsys):
    assert run(["errors", "--retry"]) == 0
    assert run(["errors"]) == 0
    assert "every file could be read" in capsys.readouterr().out
    assert run(["index"]) == 1


def test_stats_count_everything(library, models, capsys, language):
    assert run(["stats"]) == 0
    out = capsys.readouterr().out
    told = {"en": "pictures 5 · texts 2", "zh": "图片 5 · 文字 2"}
    assert told[language] in out and str(library / "photos") in out
    assert {"en": "index: done", "zh": "收录：已完成"}[language] in out
    assert run(["stats", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["items"], found["failed"]) == ({"image": 5, "text": 1, "markdown": 1}, 1)
    (space,) = found["spaces"]
    assert space["model"] == str(models / "one" / "tiny")
    assert (space["dim"], space["images"], space["texts"]) == (8, 5, 2)
    assert {"width", "height"} <= set(found["metadata"])


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_stats_tell_a_run_that_goes_on_from_one_that_was_killed(indexed):
    code = """
import os, signal
from seesay.search.collection import Collection
from seesay.search.indexing import index
index.Walk = lambda **_: os.kill(os.getpid(), signal.SIGKILL)
Collection.open().index()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    with Collection.open() as collection:
        assert collection.store.runs.newest(1)[0].state == "running"
        assert collection.stats().last_run.state == "interrupted"
        with collection.store.writing("begin"):
            process = {"pid": os.getpid(), "host": gethostname()}
            collection.store.runs.start("index", process)
        assert collection.stats().last_run.state == "running"


@pytest.mark.parametrize("verb", [["export", "all.jsonl"], ["tags", "cat,dog"]])
def test_a_filter_on_what_nothing_has_is_an_error(indexed, capsys, verb):
    assert run([*verb, "--where", "nokey=3"]) == 2
    told = capsys.readouterr().err
    assert "nokey, which nothing in the collection has" in told and "correct the name" in told
    assert run([*verb, "--where", "widht>3"]) == 2
    assert "did you mean width?" in capsys.readouterr().err
    assert not (indexed / "all.jsonl").exists()


def test_verify_finds_nothing_in_a_whole_collection(library, capsys, language):
    assert run(["verify", "--deep"]) == 0
    assert {"en": "all is well", "zh": "一切正常"}[language] in capsys.readouterr().out


def test_a_damaged_index_is_found_and_can_be_built_again(indexed, capsys):
    assert run(["rebuild"]) == 0
    assert "faiss" in capsys.readouterr().out
    (rows,) = (indexed / "home").rglob("*-image/*/rows.npy")
    damaged = bytearray(rows.read_bytes())
    damaged[-1] ^= 0xFF
    rows.write_bytes(damaged)
    assert run(["verify"]) == 1
    assert "seesay rebuild" in capsys.readouterr().err
    assert run(["verify", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 1
    assert run(["search", "--image", "photos/moon.png", "--json", "-n", "1"]) == 0
    assert run(["rebuild"]) == 0
    assert run(["verify"]) == 0


def test_verify_names_the_command_that_mends_what_was_lost(indexed, capsys, language):
    with raw_rows(next(indexed.rglob("collection.sqlite"))) as file:
        file.execute("DELETE FROM vectors WHERE unit < 3")
    assert run(["verify", "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["kind"], problem["count"], problem["remedy"]) == ("missing vectors", 2, "index")
    assert run(["verify"]) == 1
    told = capsys.readouterr().err
    assert {"en": "2 pictures and texts have no vector", "zh": "有 2 条图文缺少"}[language] in told
    assert run(["index"]) == 0  # the picture that is damaged is left alone
    assert {"en": "refilled 2", "zh": "已补算 2"}[language] in capsys.readouterr().out
    assert run(["verify", "--deep", "--files"]) == 0


def test_a_collection_that_may_only_be_read_is_searched_and_checked_and_never_changed(
    indexed, capsys
):
    with read_only(indexed / "home") as possible:
        if not possible:
            pytest.skip("cannot make a folder read-only here")
        for reading in ("search --image photos/moon.png", "stats", "errors", "verify --deep"):
            assert run(reading.split()) == 0, reading
        for writing in ("index", "rebuild", "errors --retry", "tags cat,dog"):
            assert run(writing.split()) == 2, writing
            assert "reading alone" in capsys.readouterr().err, writing
    assert run(["verify", "--deep"]) == 0


def test_verify_reads_the_files_again_when_asked(indexed, capsys, language):
    file = indexed / "photos" / "moon.png"
    before, data = file.stat(), bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(["verify", "--deep"]) == 0
    assert run(["verify", "--files"]) == 1
    told = capsys.readouterr().err
    assert "moon.png" in told and {"en": "Put back a copy", "zh": "请换回备份"}[language] in told


def test_a_damaged_collection_is_one_clear_line(library, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(library / "home" / "collections" / "default", copy)
    with (copy / "collection.sqlite").open("r+b") as file:
        file.write(b"this is no database " * 20)
    (copy / "collection.sqlite-wal").unlink(missing_ok=True)
    assert run(["stats", "-c", str(copy)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("seesay: ") and err.count("\n") == 1
    assert "collection.sqlite" in err


def test_an_export_is_what_the_ending_says(library, tmp_path, capsys, language):
    assert run(["export", str(tmp_path / "all.npz")]) == 0
    assert {"en": "7 units -> ", "zh": "已导出 7 条 -> "}[language] in capsys.readouterr().out
    with np.load(tmp_path / "all.npz", allow_pickle=False) as data:
        assert data["vectors"].shape == (7, 8)
    texts = str(tmp_path / "texts.csv")
    assert run(["export", texts, "--type", "text", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": texts, "units": 2}
    rows = list(csv.DictReader((tmp_path / "texts.csv").read_text("utf-8-sig").splitlines()))
    assert {row["text"].strip() for row in rows} == {
        "The rocket stands on the launch pad.",
        "南京市长江大桥在夜里很好看。",
    }


@pytest.mark.parametrize(
    "verb", ["search x", "stats", "errors", "verify", "rebuild", "export a.csv"]
)
def test_before_anything_is_indexed_each_says_how_to_begin(place, capsys, verb):
    assert run(verb.split()) == 2
    err = capsys.readouterr().err
    assert "there is no collection yet" in err and "seesay index FOLDER" in err
    assert not (place / "home").exists()
