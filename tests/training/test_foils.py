"""Training with foils: the loss is that of a choice between each caption and its foil, over any
number of processes, and a tiny model learns to make it."""

import json

import pytest
import torch
import torch.nn.functional as F

from seesay.data.batches import Batch
from seesay.objectives.objective import ObjectiveContext, View
from seesay.training.build import make_model
from seesay.training.class_names import first_tokens
from seesay.training.foils import FoilsConfig, foils_loss
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from tiny_runs import write_run
from training.test_objectives import CPU, batch_of

CAPTIONS = ["two dogs and a red ball", "两只黑狗", "nothing that a rule knows", "一只猫"]


def unit(rows):
    return F.normalize(torch.randn(rows, 6), dim=1)


def test_the_loss_is_a_softmax_over_a_caption_and_its_foil():
    torch.manual_seed(0)
    images, texts, foils, scale = unit(5), unit(5), unit(5), torch.tensor(2.0)
    logits = torch.stack([(images * of).sum(1) for of in (texts, foils)], dim=1) * scale.exp()
    expected = F.cross_entropy(logits, torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(foils_loss(images, texts, foils, scale), expected)
    # Without a foil there is nothing to learn, and no number that is none.
    assert foils_loss(images[:0], texts[:0], foils[:0], scale) == 0


@pytest.fixture
def objective(tmp_path):
    bundle = make_model(read_recipe(write_run(tmp_path)), "tiny")
    batch = batch_of(images=4, languages=("en",))
    own = batch.sources["a"]._replace(texts=CAPTIONS, languages=["en", "zh"] * 2)
    config = FoilsConfig(source="a")
    return config.make(ObjectiveContext("foils", bundle, 0, CPU)), Batch(0, {"a": own}), bundle


def test_only_captions_with_a_foil_count(objective):
    objective, batch, bundle = objective
    inputs = objective.inputs(batch)
    assert set(objective.drawn) == {0, 1, 3}
    assert all(foil != CAPTIONS[at] for at, foil in objective.drawn.items())
    ids = first_tokens(bundle.tokenizer, list(objective.drawn.values()))
    assert torch.equal(inputs[View("texts", "objective foils")], ids)

    images, texts, foils, scale = unit(4), unit(4), unit(3), torch.tensor(1.0)
    outputs = {View("images", "a"): images, View("texts", "a"): texts}
    outputs[View("texts", "objective foils")] = foils
    found = objective.loss(outputs, batch, scale, None)
    at = torch.tensor([0, 1, 3])
    torch.testing.assert_close(found, foils_loss(images[at], texts[at], foils, scale))


def test_another_step_draws_other_foils(objective):
    objective, batch, _ = objective
    drawn = set()
    for step in range(8):
        objective.inputs(Batch(step, batch.sources))
        drawn.add(tuple(objective.drawn.values()))
    assert len(drawn) > 2


def test_a_recipe_learns_with_foils(tmp_path):
    recipe = write_run(tmp_path)
    settings = ("objective.foils={kind = 'foils', source = 'squares'}", "run.steps=3")
    train(read_recipe(recipe, settings))
    lines = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line) for line in lines]
    assert any("foils" in name for line in logged for name in line)
