"""Which folder a person means by a name, a path, or nothing."""

import sys
from pathlib import Path

import pytest

from seesay.errors import CollectionError, ConfigError
from seesay.search.catalog.store import Store
from seesay.search.places import find_collection, home, list_collections, resolve_collection


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make(name: str) -> None:
    Store(resolve_collection(name), create=True).close()


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_DATA_HOME", "given/seesay"),
        ("linux", None, "person/.local/share/seesay"),
        ("darwin", None, "person/Library/Application Support/seesay"),
        ("win32", "LOCALAPPDATA", "given/seesay"),
        ("win32", None, "person/AppData/Local/seesay"),
    ],
)
def test_without_seesay_home_the_platform_says_where(
    tmp_path, monkeypatch, platform, variable, expected
):
    for name in ("SEESAY_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "person")
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "given"))
    assert home() == tmp_path / expected


def test_seesay_home_goes_before_the_platform_and_may_begin_at_ones_own_folder(monkeypatch):
    monkeypatch.setenv("SEESAY_HOME", "~/my seesay")
    assert home() == Path.home() / "my seesay"


def test_nothing_named_means_the_collection_called_default(place):
    assert resolve_collection() == place / "collections" / "default"


@pytest.mark.parametrize("name", ["work", "2024", "照片", "été-2023", "a.b_c"])
def test_a_name_lies_under_the_home(place, name):
    assert resolve_collection(name) == place / "collections" / name


def test_what_looks_like_a_path_is_one(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_collection("./here") == tmp_path / "here"
    assert resolve_collection("a/b") == tmp_path / "a" / "b"
    assert resolve_collection(Path("bare")) == tmp_path / "bare"
    assert resolve_collection("~/there") == Path.home() / "there"


@pytest.mark.parametrize("name", ["", "-n", "_", "a b", "a\0b", "con", "NUL.txt", "x" * 65, "a."])
def test_a_name_that_cannot_be_a_folder_everywhere_is_refused(place, name):
    with pytest.raises(ConfigError, match="cannot be used; expected letters"):
        resolve_collection(name)


def test_an_unknown_name_is_answered_with_the_nearest(place):
    make("holidays")
    make("work")
    assert list_collections() == ["holidays", "work"]
    with pytest.raises(
        CollectionError, match=r"did you mean 'holidays'.*There are: holidays, work"
    ):
        find_collection("holiday")
    assert find_collection("work") == place / "collections" / "work"


def test_before_the_first_collection_the_message_says_how_to_make_it(place):
    with pytest.raises(CollectionError, match=r"no collection yet.*seesay index FOLDER$"):
        find_collection()
    assert list_collections() == []


def test_a_folder_without_a_collection_in_it_is_not_listed(place):
    (place / "collections" / "empty").mkdir(parents=True)
    make("full")
    assert list_collections() == ["full"]
