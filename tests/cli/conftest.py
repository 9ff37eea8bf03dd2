"""A folder with photographs, notes in two languages, a damaged picture and a model beside it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from photographs import folder
from seesay.cli.main import run
from tiny_checkpoint import write_checkpoint

PICTURES = ("chelsea.png", "coffee.png", "rocket.jpg", "moon.png")


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A folder with two models that have learnt nothing: one/tiny and two/tiny."""
    place = tmp_path_factory.mktemp("models")
    for name in ("one", "two"):
        (place / name).mkdir()
        write_checkpoint(place / name)
    return place


@pytest.fixture
def model(models) -> str:
    return str(models / "one" / "tiny")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The current folder; its `photos` are what is indexed."""
    write_photos(tmp_path)
    settle(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def indexed(place, model, capsys) -> Path:
    """The same, indexed into the collection called default."""
    assert run(["index", "photos", "--model", model]) == 1  # one picture is damaged
    capsys.readouterr()
    return place


@pytest.fixture(scope="session")
def _library(tmp_path_factory, models) -> Path:
    place = tmp_path_factory.mktemp("library")
    write_photos(place)
    shutil.copy(place / "photos" / "moon.png", place / "photos" / "the moon again.png")
    with pytest.MonkeyPatch.context() as patch:
        settle(place, patch)
        assert run(["index", "photos", "--model", str(models / "one" / "tiny")]) == 1
    return place


@pytest.fixture
def library(_library, monkeypatch) -> Path:
    """A place that is indexed once, for tests that change nothing; moon.png is there twice."""
    settle(_library, monkeypatch)
    return _library


@pytest.fixture(params=["en", "zh"])
def language(request, monkeypatch) -> str:
    """Every test that asks for it, after its place, runs in both languages."""
    monkeypatch.setenv("SEESAY_LANG", request.param)
    return request.param


@pytest.fixture
def start() -> Callable[..., "subprocess.Popen[str]"]:
    """Starts the real command in a process of its own."""

    def started(*arguments: str) -> "subprocess.Popen[str]":
        code = "from seesay.cli.main import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started


def write_photos(place: Path) -> None:
    photos = place / "photos"
    photos.mkdir()
    for name in PICTURES:
        shutil.copy(folder() / name, photos)
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff this is no picture")
    (photos / "note.md").write_text("The rocket stands on the launch pad.\n", encoding="utf-8")
    (photos / "笔记.txt").write_text("南京市长江大桥在夜里很好看。\n", encoding="utf-8")


def settle(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEESAY_HOME", str(place / "home"))
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(place)
