"""Dropout in training: a locked tower has none, and processes do not share their masks."""

import pytest
import torch

from seesay.training.distributed import Processes
from seesay.training.recipe import read_recipe
from seesay.training.run import _Run
from tiny_runs import write_run


def begun(recipe, rank=0):
    """A run just before its first step, as process `rank` of two."""
    run = _Run(recipe, Processes(rank, 2, torch.device("cpu")))
    run._make_state(None)
    return run


@pytest.fixture
def file(tmp_path):
    return write_run(tmp_path)


@pytest.mark.parametrize("locked", ["image", "text"])
def test_a_locked_tower_is_used_as_it_will_be(file, locked):
    model = begun(read_recipe(file, (f"optimizer.freeze=['{locked}']",)))._bundle.model
    assert model.image.training is (locked != "image")
    assert model.text.training is (locked != "text")


def test_processes_begin_with_the_same_weights_and_draw_masks_of_their_own(file):
    recipe = read_recipe(file)
    weights, draws = [], []
    for rank in (0, 1):
        weights.append(begun(recipe, rank)._bundle.model.state_dict())
        draws.append(torch.rand(8))
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not torch.equal(*draws)
