"""The model that ships inside the package finds what it found when it was chosen."""

from dataclasses import replace
from pathlib import Path

import pytest

import seesay
from seesay.evaluation.measure import evaluate
from seesay.training.recipe import read_recipe

# R@10 on the dev split. The goal of 0.50 in Chinese was missed by 0.003 (the model's own card).
FLOORS = {
    "en_text_to_image_r10": 0.60,
    "zh_text_to_image_r10": 0.49,
    "en_image_to_text_r10": 0.58,
    "zh_image_to_text_r10": 0.50,
}


@pytest.mark.shared
def test_the_built_in_model_finds_the_photographs_of_the_dev_split(shared):
    # All 1,000 photographs with their 10,000 captions: among fewer, more would be found.
    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "seesay-mini.toml")
    dev = recipe.evaluation.measures["retrieval"]
    dev = replace(dev, path=dev.path.replace("../shared/data", str(shared)))
    assert len(dev.records) == 1000
    measured = evaluate(seesay.load("seesay-mini", device="cpu"), [dev])
    below = {name: measured[name] for name, floor in FLOORS.items() if measured[name] < floor}
    assert not below, f"below {FLOORS}"
