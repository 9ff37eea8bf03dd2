"""A run of BLIP-2's first stage of a second: the squares of tiny_runs, an untrained tower, a tiny
Q-Former."""

from pathlib import Path

from seesay.training.build import make_model
from seesay.training.recipe import read_recipe
from seesay.weights.saving import save_bundle
from tiny_runs import write_run

RECIPE = """
[run]
folder = "{folder}/queries"
steps = 3

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

[data.squares.augmentation]
crop_scale = [1.0, 1.0]
flip = 0.0

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
warmup = 0.0

[hardware]
device = "cpu"
precision = "float32"

[loading]
workers = 0

[checkpoint]
every = 2

[log]
every = 1
"""


def write_qformer_run(folder: Path, copies: int = 1) -> Path:
    """Everything a run needs; returns its recipe."""
    pairs = write_run(folder, copies)
    tower = make_model(read_recipe(pairs, ("model.architecture.image.patch_size=4",)), "tower")
    save_bundle(folder / "tower", tower)
    recipe = folder / "queries.toml"
    recipe.write_text(RECIPE.format(folder=folder), encoding="utf-8")
    return recipe
