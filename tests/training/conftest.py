"""What several modules train on."""

from pathlib import Path

import pytest

from seesay.training.recipe import read_recipe
from seesay.training.run import train
from tiny_runs import write_questions, write_run


@pytest.fixture(scope="session")
def squares(tmp_path_factory) -> Path:
    """Squares with questions, and a tower that has learned their captions."""
    folder = tmp_path_factory.mktemp("squares")
    pairs = write_run(folder, copies=3).rename(folder / "pairs.toml")
    settings = ("run.steps=60", "model.architecture.image.patch_size=4")
    train(read_recipe(pairs, settings)).folder.rename(folder / "tower")
    write_questions(folder, "questions.jsonl", (0, 1))
    write_questions(folder, "held-out.jsonl", (2,))
    return folder
