"""Whatever a stranger puts into a model folder ends in one clear error, soon, in little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hostile_folders
import references
from seesay.cli.main import run
from tiny_checkpoint import write_checkpoint

MIB = 1200  # of the process that reads them all, of which torch itself takes some 300
SECONDS = 30.0  # of processor time for one


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    references.openai_clip(place / "clip")
    own = write_checkpoint(place)
    (place / "hostile").mkdir()
    written = hostile_folders.write_all(place / "clip", own, place / "hostile")
    return {folder.name: folder for folder in written}


def test_every_hostile_folder_is_refused_soon_and_in_little_memory(folders):
    assert len(folders) > 100
    command = [sys.executable, hostile_folders.__file__, *map(str, folders.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    after = next((name for name in folders if name not in rows), "")
    assert done.returncode == 0, f"ended with {done.returncode} at {after}: {done.stderr[-500:]}"
    let_in = {name: row["kinds"] for name, row in rows.items() if "SeesayError" not in row["kinds"]}
    assert let_in == {}
    assert {name: row["seconds"] for name, row in rows.items() if row["seconds"] > SECONDS} == {}
    assert max(row["mib"] for row in rows.values()) < MIB
    assert "code from a checkpoint ran" not in done.stdout + done.stderr
    assert "weights_only" not in done.stdout  # torch's advice to run the code after all
    assert [name for name, row in rows.items() if not row["message"]] == []


@pytest.mark.parametrize("name", ["10^9 image layers", "charsmap of 4 GB", "config.json is a pipe"])
@pytest.mark.parametrize(
    "command",
    [["index", "{here}", "--collection", "{here}/c", "--model"], ["classify", "{here}", "--model"]],
    ids=["index", "classify"],
)
def test_the_command_line_says_so_in_one_line(folders, tmp_path, capsys, command, name):
    words = [word.format(here=tmp_path) for word in command]
    labels = ["--labels", "a,b"] if command[0] == "classify" else []
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert run([*words, str(folders[name]), *labels]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("seesay: ")


@pytest.mark.parametrize("name", ["~nobody-here/model", "x" * 5000, "a\0b", "./" + "y/" * 3000])
def test_a_name_that_no_file_can_have_is_an_unknown_model(name, capsys, tmp_path):
    assert run(["embed", "--text", "a", "--model", name]) == 1
