"""The recipes that begin with nothing train through the command itself, in a size for a test."""

import json
from pathlib import Path

import pytest

from seesay.cli.main import run
from seesay.training.build import make_model
from seesay.training.recipe import read_recipe
from seesay.training.tokenizer import texts_of_records
from seesay.weights.bundle import load_bundle
from tiny_runs import losses, write_squares

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = {
    "model.vocabulary.size": 320,
    "model.vocabulary.min_frequency": 1,
    "model.tokenizer.context": 24,
    "model.transform.size": 16,
    "model.architecture.embed_dim": 32,
    "model.architecture.image.image_size": 16,
    "model.architecture.image.patch_size": 8,
    "model.architecture.text.vocab_size": 320,
    "model.architecture.text.context": 24,
    **{
        f"model.architecture.{tower}.{name}": value
        for tower in ("image", "text")
        for name, value in {"dim": 32, "depth": 2, "heads": 2, "hidden": 64}.items()
    },
    "data.captions.augmentation.flip": 0.0,
    "run.steps": 20,
    "optimizer.lr": 3e-3,
    "data.captions.format": "table",
    "data.captions.batch": 16,
    "evaluation.retrieval.format": "table",
    "loading.workers": 0,
    "hardware.precision": "float32",
    "log.every": 1,
}


@pytest.mark.parametrize("name", ["clip-flickr8k", "siglip-flickr8k"])
def test_a_recipe_from_scratch_learns_in_a_small_size(name, tmp_path, capsys):
    write_squares(tmp_path)
    places = {
        "run.folder": tmp_path / "run",
        "data.captions.path": tmp_path / "squares.jsonl",
        "evaluation.retrieval.path": tmp_path / "squares.jsonl",
    }
    settings = [f"{key}={value}" for key, value in {**TINY, **places}.items()]
    sets = [part for setting in settings for part in ("--set", setting)]
    assert run(["train", str(RECIPES / f"{name}.toml"), *sets, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["before"].keys() == told["dev"].keys()
    of_run = losses(tmp_path / "run")
    assert sum(of_run[step] for step in range(16, 21)) / 5 < 0.95 * of_run[1]
    trained = load_bundle(Path(told["model"]))
    assert (trained.model.bias is not None) == (name == "siglip-flickr8k")


def test_the_recipes_from_scratch_are_of_the_published_kinds():
    clip = read_recipe(RECIPES / "clip-flickr8k.toml")
    siglip = read_recipe(RECIPES / "siglip-flickr8k.toml")
    for recipe in (clip, siglip):
        model = recipe.model
        assert model.start is None and model.vocabulary is not None
        assert model.architecture.text.vocab_size == model.vocabulary.size
        assert model.architecture.text.context == model.tokenizer.context
    assert clip.model.vocabulary.written and clip.model.architecture.text.eos_id == 2
    kinds = [(r.model.architecture.text.pool, r.objective["pairs"].loss) for r in (clip, siglip)]
    assert kinds == [("eos", "softmax"), ("last", "sigmoid")]
    assert siglip.model.architecture.image.pool == "attention"


@pytest.mark.parametrize("name", ["clip-flickr8k", "siglip-flickr8k"])
def test_captions_of_the_real_data_fit_the_context(name, shared):
    """Cut in two, a caption would be learned in halves."""
    recipe = read_recipe(
        RECIPES / f"{name}.toml", (f"data.captions.path={shared}/flickr8k-bilingual/dev-*.tar",)
    )
    made = make_model(recipe, name)
    texts = list(texts_of_records(recipe.data["captions"]))
    windows = len(made.tokenizer.encode(texts).ids)
    assert windows < 1.01 * len(texts)
