"""The blocks that pages mark with `<!-- run -->` do what they say, in a folder of photographs."""

import shutil

import pytest

from markdown_pages import Page, written_pages
from photographs import photographs
from random_model import write_random_model
from seesay.cli.main import run

PAGES = [p for p in written_pages() if any(block.expected is not None for block in p.blocks)]


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A folder as the pages take it for granted: photographs, some sorted by what they show, and a
    model. The model has learnt nothing, so that no page may rest on what it answers."""
    (tmp_path / "photos").mkdir()
    for file in photographs():
        shutil.copy(file, tmp_path / "photos")
        (tmp_path / "sorted" / file.stem).mkdir(parents=True)
        shutil.copy(file, tmp_path / "sorted" / file.stem)
    write_random_model(tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_marks_as_runnable_runs(page: Page, workshop, capsys):
    names: dict[str, object] = {}
    for block in page.blocks:
        if block.expected is None:
            continue
        if block.language == "python":
            code = compile(block.text, f"{page.name}:{block.line}", "exec")
            exec(code, names)
        for command in block.commands:
            assert command[0] == "seesay", "only seesay runs here; examples have tests of their own"
            assert run(command[1:]) == block.expected, f"{command}: {capsys.readouterr().err}"
