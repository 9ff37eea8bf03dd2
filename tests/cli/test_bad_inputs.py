"""The real command in its own process, with a real (tiny) model and what goes wrong in life."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bad_pictures import write_bad_pictures
from seesay.cli.main import run
from tiny_checkpoint import write_checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model, good pictures and bad ones."""
    place = tmp_path_factory.mktemp("bad-inputs")
    write_checkpoint(place)
    (place / "pictures").mkdir()
    for name in ("good-1.jpg", "good-2.png"):
        Image.effect_noise((64, 48), 60).convert("RGB").save(place / "pictures" / name)
    write_bad_pictures(place / "pictures")
    return place


def seesay(place: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    code = "from seesay.cli.main import main; main()"
    environment = {**os.environ, "SEESAY_LANG": "en", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_each_bad_input_is_one_clear_line_and_the_others_are_done(place):
    named = [f"pictures/{name}" for name in ("good-1.jpg", "missing.jpg", "directory.jpg")]
    done = seesay(place, ["embed", *named, "pictures", "-m", "tiny", "-o", "v.npz"])
    lines = done.stderr.splitlines()
    told = {
        "missing.jpg": "cannot be found",
        "directory.jpg": "no picture in it",
        "zero-byte.jpg": "empty",
        "truncated.jpg": "",
        "text.jpg": "",
        "bomb.png": "30,000",
    }
    for name, words in told.items():
        mine = [line for line in lines if f"pictures/{name}" in line]
        assert len(mine) == 1, (name, done.stderr)
        assert mine[0].startswith("seesay: ") and words in mine[0]
    assert lines[-1] == "seesay: 6 of 8 inputs failed; the others are done"
    assert len(lines) == len(told) + 1
    assert done.returncode == 1
    with np.load(place / "v.npz") as stored:
        assert list(stored["sources"]) == ["pictures/good-1.jpg", "pictures/good-2.png"]
        np.testing.assert_allclose(np.linalg.norm(stored["vectors"], axis=1), 1, atol=1e-5)


def test_classify_does_the_good_ones_and_names_the_bad_ones_in_its_json(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert run(["classify", "pictures", "-m", "tiny", "-l", "red,blue,绿色", "--json"]) == 1
    out, err = capsys.readouterr()
    printed = json.loads(out)
    assert err == ""
    assert [image["source"] for image in printed["images"]] == [
        "pictures/good-1.jpg",
        "pictures/good-2.png",
    ]
    failed = {Path(failure["source"]).name for failure in printed["failures"]}
    assert failed == {"bomb.png", "text.jpg", "truncated.jpg", "zero-byte.jpg"}


def test_an_unknown_model_is_one_line_with_the_nearest_name(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert run(["embed", "pictures", "-m", "seesay-mimi"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("seesay: ") and "seesay-mimi" in err and "Did you mean seesay-mini" in err
