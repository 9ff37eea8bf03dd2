"""Between two models of one run lies a line of others; between two others lies nothing."""

from dataclasses import replace

import pytest
import torch

from seesay.data.tokenizer import load_tokenizer
from seesay.errors import ConfigError
from seesay.models.dual_encoder import DualEncoder
from seesay.weights.bundle import load_bundle
from seesay.weights.interpolation import interpolate
from tiny_checkpoint import write_checkpoint
from tiny_runs import same


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return load_bundle(write_checkpoint(tmp_path_factory.mktemp("before")))


@pytest.fixture(scope="module")
def after(before):
    model = DualEncoder(before.model.config)
    return replace(before, model=model.eval(), name="after")


def test_the_ends_of_the_line_are_the_two_models_to_the_last_bit(before, after):
    assert same(interpolate(before, after, 0.0).model.state_dict(), before.model.state_dict())
    assert same(interpolate(before, after, 1.0).model.state_dict(), after.model.state_dict())


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
def test_each_weight_lies_where_alpha_says(before, after, alpha):
    mixed = interpolate(before, after, alpha)
    one, two = before.model.state_dict(), after.model.state_dict()
    for name, value in mixed.model.state_dict().items():
        torch.testing.assert_close(value, (1 - alpha) * one[name] + alpha * two[name])
    assert (mixed.name, mixed.model.training) == ("after", False)


def test_a_bias_that_only_training_added_is_kept(before, after):
    config = replace(after.model.config, bias_init=-3.0, scale_init=10.0)
    torch.manual_seed(1)
    trained = replace(after, model=DualEncoder(config))
    mixed = interpolate(before, trained, 0.5)
    assert mixed.model.bias.item() == -3.0
    halfway = (before.model.log_scale + trained.model.log_scale) / 2
    torch.testing.assert_close(mixed.model.log_scale, halfway)


def test_two_models_that_are_not_of_one_kind_are_refused_by_what_differs(before, after):
    deeper = replace(after.model.config, image=replace(after.model.config.image, depth=2))
    with pytest.raises(ConfigError, match=r"differ in their architecture: image.depth is 1 and 2"):
        interpolate(before, replace(after, model=DualEncoder(deeper)))
    with pytest.raises(ConfigError, match="image preparation: mean"):
        interpolate(before, replace(after, transform=replace(after.transform, mean=(0.0,) * 3)))


def test_another_vocabulary_of_the_same_size_is_refused(before, after, tmp_path):
    before.tokenizer.save(tmp_path)
    file = tmp_path / "tokenizer.json"
    words = file.read_text(encoding="utf-8")
    file.write_text(words.replace('"left"', '"links"'), encoding="utf-8")
    other = load_tokenizer(tmp_path, before.tokenizer.config)
    assert before.tokenizer.same_vocabulary(after.tokenizer)
    with pytest.raises(ConfigError, match="differ in their vocabulary"):
        interpolate(before, replace(after, tokenizer=other))


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_an_alpha_beyond_the_two_models_is_refused(before, after, alpha):
    with pytest.raises(ConfigError, match="expected a number from 0"):
        interpolate(before, after, alpha)
