"""Photographs and notes in two languages, indexed with the built-in model and served."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from live_server import Live, serving
from photographs import PHOTOGRAPHS, folder
from seesay.search.collection import Collection

BRIDGE = "南京市长江大桥在夜里很好看。"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """The folder that is indexed; moon.png is there twice."""
    place = tmp_path_factory.mktemp("pictures")
    for name in PHOTOGRAPHS:
        shutil.copy(folder() / name, place)
    shutil.copy(place / "moon.png", place / "the moon again.png")
    (place / "notes").mkdir()
    (place / "notes" / "rocket.md").write_text("The rocket stands on the launch pad.\n")
    (place / "notes" / "桥.txt").write_text(BRIDGE, encoding="utf-8")
    return place


@pytest.fixture(scope="session")
def album(tmp_path_factory, pictures) -> Path:
    """A collection of the built-in model, for tests that change nothing."""
    place = tmp_path_factory.mktemp("home") / "album"
    with Collection.open(place, create=True) as collection:
        assert collection.index([pictures]).added == 9
    return place


@pytest.fixture
def own(tmp_path, album) -> Path:
    """A copy of it, for tests that change it."""
    return shutil.copytree(album, tmp_path / "own")


@pytest.fixture(scope="session")
def server(album) -> Iterator[Live]:
    with serving(album) as up:
        yield up


@pytest.fixture(scope="session")
def client(server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
