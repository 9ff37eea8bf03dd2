import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seesay.errors import ConfigError
from seesay.training.optimizers import Ema, OptimizerConfig, lr_factor, make_optimizer


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
        self.text = nn.Embedding(4, 3)
        self.log_scale = nn.Parameter(torch.tensor(1.0))


def settings_of(optimizer, parameter):
    return next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))


def test_vectors_and_scales_do_not_decay():
    model = Model()
    optimizer = make_optimizer(model, OptimizerConfig(weight_decay=0.3))
    for parameter in (model.image[0].weight, model.text.weight):
        assert settings_of(optimizer, parameter)["weight_decay"] == 0.3
    for parameter in (
        model.image[0].bias,
        model.image[1].weight,
        model.image[1].bias,
        model.log_scale,
    ):
        assert settings_of(optimizer, parameter)["weight_decay"] == 0


def test_the_longest_name_decides_how_fast_a_part_learns():
    model = Model()
    config = OptimizerConfig(multipliers={"image": 0.1, "image.0": 0.5})
    optimizer = make_optimizer(model, config)
    assert settings_of(optimizer, model.image[0].weight)["factor"] == 0.5
    assert settings_of(optimizer, model.image[1].weight)["factor"] == 0.1
    assert settings_of(optimizer, model.text.weight)["factor"] == 1.0


def test_a_frozen_part_is_left_out():
    model = Model()
    optimizer = make_optimizer(model, OptimizerConfig(freeze=("image",)))
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 2
    assert not any(p.requires_grad for p in model.image.parameters())


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"freeze": ("imag",)}, "did you mean 'image'"),
        ({"multipliers": {"text.weigth": 1.0}}, "did you mean 'text.weight'"),
        ({"freeze": ("image", "text", "log_scale")}, "leaves nothing to learn"),
        ({"freeze": ("qqq",)}, "name one of image, log_scale, text"),
    ],
)
def test_parts_that_do_not_exist_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        make_optimizer(Model(), OptimizerConfig(**wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"warmup": 1.5},
        {"final": -0.1},
        {"betas": (0.9, 1.0)},
        {"ema": 1.0},
        {"weight_decay": -1.0},
        {"multipliers": {"image": 0.0}},
    ],
)
def test_impossible_settings_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        OptimizerConfig(**wrong)


@given(st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_the_learning_rate_rises_then_falls_and_stays_in_bounds(steps, warmup, final):
    config = OptimizerConfig(warmup=warmup, final=final)
    factors = [lr_factor(config, step, steps) for step in range(1, steps + 1)]
    top = round(warmup * steps)
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert all(0 < f <= 1 + 1e-9 or final == 0 for f in factors)
    assert max(factors) == pytest.approx(1)


def test_the_learning_rate_at_known_places():
    config = OptimizerConfig(warmup=0.1, final=0.2)
    assert lr_factor(config, 5, 100) == pytest.approx(0.5)
    assert lr_factor(config, 10, 100) == lr_factor(config, 11, 100) == 1.0
    assert lr_factor(config, 56, 100) == pytest.approx(0.6)  # the middle of the cosine
    assert 0.2 < lr_factor(config, 100, 100) < 0.201


def test_the_average_follows_its_definition():
    model = nn.Linear(1, 1, bias=False)
    ema = Ema(model, decay=0.5)
    expected = model.weight.item()
    for step, value in enumerate((3.0, -1.0, 7.0), start=1):
        nn.init.constant_(model.weight, value)
        ema.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert float(ema.weights["weight"]) == pytest.approx(expected)
    assert model.weight.item() == 7.0
