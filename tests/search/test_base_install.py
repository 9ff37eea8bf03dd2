"""What the base install finds, which has neither FAISS nor jieba."""

import json
import subprocess
import sys

import numpy as np
import pytest

import made_collections as made
from seesay.search.vectors.rows import Rows

WITHOUT = """
import json, sys
sys.modules["faiss"] = sys.modules["jieba"] = None
from seesay.cli.main import run
for words in json.loads(sys.argv[1]):
    assert run(words) == 0, words
    print("\\f")
"""


@pytest.fixture
def seesay(tmp_path, monkeypatch):
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEESAY_LANG", "en")

    def call(*commands):
        """Several commands in one process, since each would import torch anew."""
        words = [sys.executable, "-c", WITHOUT, json.dumps(commands)]
        run = subprocess.run(words, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return run

    return call


def test_small_collections_are_indexed_and_searched_in_both_languages(seesay, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "bridge.txt").write_text("南京市长江大桥在夜晚灯火通明", encoding="utf-8")
    (notes / "launch.txt").write_text("The rocket left the launch pad at dawn", encoding="utf-8")
    seesay(["index", str(notes)])
    wanted = {"长江大桥": "bridge.txt", "長江 大橋": "bridge.txt", "rockets": "launch.txt"}
    run = seesay(*(["search", words, "--json", "--only", "keyword"] for words in wanted))
    printed = run.stdout.split("\f\n")[:-1]
    for text, (words, name) in zip(printed, wanted.items(), strict=True):
        assert json.loads(text)["hits"][0]["path"].endswith(name), words
    assert "jieba" not in seesay(["search", "a bridge"]).stderr
    assert "jieba is not installed" in seesay(["search", "大桥"]).stderr


def test_numpy_finds_what_faiss_finds(monkeypatch):
    vectors = made.unit_vectors(5000, 32).astype(np.float16)
    vectors[4000:4010] = vectors[7]  # equal vectors have equal scores
    rows, query = Rows(vectors), vectors[7].astype(np.float32)
    wanted, scores = rows.best(query, 9)
    of_some = rows.score(query, np.array([3, 7, 4005]))
    monkeypatch.setattr(Rows, "_by_numpy", True)
    found, by_numpy = rows.best(query, 9)
    assert sorted(found) == sorted(wanted) == [7, *range(4000, 4010)]
    assert len(set(by_numpy)) == 1
    np.testing.assert_allclose(np.sort(by_numpy), np.sort(scores), rtol=0, atol=1e-6)
    np.testing.assert_allclose(rows.score(query, np.array([3, 7, 4005])), of_some, atol=1e-6)
