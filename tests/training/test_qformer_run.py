"""Whole runs of BLIP-2's first stage: a Q-Former that learns about coloured squares."""

import pytest
import torch

from seesay.training.recipe import read_recipe
from seesay.training.run import train
from tiny_runs import write_run

RECIPE = """
[run]
folder = "{folder}/queries"
steps = 120

[model]
vocabulary = {{ size = 400, written = true }}
tokenizer = {{ context = 16, pad_id = 0 }}

[model.qformer]
tower = "{folder}/tower"
queries = 3
dim = 32
depth = 2
heads = 2
hidden = 64
embed_dim = 16

[data.squares]
path = "{folder}/squares.jsonl"
format = "table"
batch = 8

[objective.contrastive]
kind = "query-contrastive"
source = "squares"

[objective.matching]
kind = "matching"
source = "squares"

[objective.captions]
kind = "captioning"
source = "squares"

[optimizer]
lr = 0.003

[hardware]
device = "cpu"
precision = "float32"
reuse = true

[loading]
workers = 0

[checkpoint]
every = 1000

[evaluation]
every = 1000

[evaluation.retrieval]
path = "{folder}/squares.jsonl"
format = "table"
rerank = 4

[log]
every = 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Squares, and a tower that has learned their captions."""
    folder = tmp_path_factory.mktemp("queries")
    pairs = write_run(folder, copies=1).rename(folder / "pairs.toml")
    settings = ("run.steps=60", "model.architecture.image.patch_size=4")
    train(read_recipe(pairs, settings)).folder.rename(folder / "tower")
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder), encoding="utf-8")
    return folder


@pytest.fixture
def recipe(folder, tmp_path):
    settings = (f"run.folder={tmp_path / 'queries'}",)
    return lambda *more: read_recipe(folder / "recipe.toml", (*settings, *more))


@pytest.fixture(scope="module")
def trained(folder):
    return train(read_recipe(folder / "recipe.toml"))


def test_it_finds_pictures(trained):
    print(trained)
