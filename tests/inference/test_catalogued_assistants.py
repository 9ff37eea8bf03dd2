"""An assistant is loaded by its name in the catalogue: from a hub, or from a folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import seesay
from hub_server import HubState, hub_server
from seesay.errors import ConfigError, UnknownModelError
from seesay.weights.catalog import published_assistants
from seesay.weights.hub import in_cache, locate
from tiny_assistants import TinyAssistant, picture, tiny_llava

ALIAS = "llava-1.5-7b"
CPU = dict(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> TinyAssistant:
    torch.manual_seed(0)
    return tiny_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def server(monkeypatch, tmp_path, tiny) -> Iterator[HubState]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("SEESAY_HUB", raising=False)
    with hub_server() as state:
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        files = {path.name: path.read_bytes() for path in tiny.folder.iterdir()}
        state.repos[published_assistants()[ALIAS].repo] = files
        yield state


def answer(name: str) -> str:
    return seesay.chat(name, **CPU).ask(picture(0), "What is it?", max_tokens=8).text


def test_a_name_of_the_catalogue_brings_its_repository(server, tiny):
    entry = published_assistants()[ALIAS]
    assert in_cache(entry) is None
    assert answer(ALIAS) == answer(str(tiny.folder)) != ""
    assert server.files_asked_for() >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert in_cache(entry) == locate(ALIAS).folder


def test_it_is_brought_once(server, monkeypatch):
    answer(ALIAS.upper())
    server.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    answer(published_assistants()[ALIAS].repo)
    assert server.requests == []


def test_a_folder_of_that_name_is_taken_only_with_its_path(server, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(ALIAS).symlink_to(tiny.folder)
    assert locate(f"./{ALIAS}").folder == Path(ALIAS)
    assert server.requests == []
    assert answer(f"./{ALIAS}") and server.requests == []
    locate(ALIAS)
    assert server.requests != []


def test_models_of_the_other_sort_are_refused_before_anything_is_brought(server):
    with pytest.raises(ConfigError, match=r"makes no vectors.*seesay\.chat"):
        seesay.load(ALIAS)
    with pytest.raises(ConfigError, match=r"answers no questions.*seesay\.load"):
        seesay.chat("clip-b32")
    assert server.requests == []


def test_a_misspelt_name_is_answered_with_those_of_the_catalogue():
    with pytest.raises(UnknownModelError, match=r"Did you mean llava-1\.5-7b"):
        seesay.chat("llava-1.5-7")
