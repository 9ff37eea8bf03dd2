from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from objectives.contrastive_reference import Towers
from seesay.errors import ConfigError
from seesay.objectives.contrastive import sigmoid_loss, softmax_loss
from seesay.objectives.grad_cache import cached_backward


class Noisy(nn.Module):
    """A tower whose rows depend on the random stream and on their own chunk."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 8)
        )
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.bias = nn.Parameter(torch.tensor(-1.0))

    def forward(self, rows):
        return F.normalize(self.layers(rows), dim=-1)


def noisy_batch(seed=0):
    torch.manual_seed(seed)
    model = Noisy().double()
    chunks = [(torch.randn(n, 6).double(), torch.randn(n, 6).double()) for n in (4, 4, 3)]
    return model, chunks


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("loss", [softmax_loss, sigmoid_loss])
def test_dropout_and_batch_norm_behave_as_in_one_pass_over_the_chunks(loss):
    model, chunks = noisy_batch()
    parts = [(model(images), model(texts)) for images, texts in chunks]
    embeds = [torch.cat(side) for side in zip(*parts, strict=True)]
    expected_value = loss(*embeds, model.log_scale, model.bias)
    expected_value.backward()
    expected, expected_buffers = gradients(model), dict(model.named_buffers())
    expected_next_draw = torch.rand(3)

    model, chunks = noisy_batch()
    value = cached_backward(
        model,
        lambda chunk: (model(chunk[0]), model(chunk[1])),
        chunks,
        loss,
        (model.log_scale, model.bias),
    )
    torch.testing.assert_close(value, expected_value.detach())
    torch.testing.assert_close(gradients(model), expected)
    torch.testing.assert_close(dict(model.named_buffers()), expected_buffers)
    torch.testing.assert_close(torch.rand(3), expected_next_draw)


def test_gradients_add_to_those_already_there():
    torch.manual_seed(0)
    model = Towers(6, 8)
    chunks = [(torch.randn(3, 6), torch.randn(3, 6)) for _ in range(2)]

    def run():
        cached_backward(model, lambda c: model(*c), chunks, softmax_loss, (model.log_scale, None))
        return model.log_scale.grad.clone(), model.image.weight.grad.clone()

    once, twice = run(), run()
    torch.testing.assert_close(twice, tuple(2 * gradient for gradient in once))


class Watched(Towers):
    """Stands in for DDP (`no_sync`) and FSDP2 (`set_requires_gradient_sync`), and takes notes."""

    def __init__(self):
        super().__init__(6, 8)
        self.quiet, self.notes = False, []

    @contextmanager
    def no_sync(self):
        self.quiet = True
        yield
        self.quiet = False

    def set_requires_gradient_sync(self, wanted):
        self.wanted = wanted

    def forward(self, images, texts):
        if torch.is_grad_enabled():
            self.notes.append((not self.quiet, self.wanted))
        return super().forward(images, texts)


def test_processes_synchronise_in_the_last_chunk_only():
    model = Watched()
    chunks = [(torch.randn(2, 6), torch.randn(2, 6)) for _ in range(3)]
    parameters = (model.log_scale, model.bias)
    cached_backward(model, lambda chunk: model(*chunk), chunks, sigmoid_loss, parameters)
    assert model.notes == [(False, False), (False, False), (True, True)]


def test_a_frozen_tower_and_a_frozen_scale_are_left_alone():
    model = Towers(6, 8)
    model.image.requires_grad_(False)
    model.log_scale.requires_grad_(False)
    chunks = [(torch.randn(2, 6), torch.randn(2, 6)) for _ in range(2)]
    parameters = (model.log_scale, model.bias)
    cached_backward(model, lambda chunk: model(*chunk), chunks, sigmoid_loss, parameters)
    given = {name for name, gradient in gradients(model).items() if gradient is not None}
    assert given == {"text.weight", "text.bias", "bias"}


def test_an_empty_batch_is_refused():
    model = Towers(6, 8)
    with pytest.raises(ConfigError, match="0 chunks"):
        cached_backward(model, lambda chunk: model(*chunk), [], softmax_loss)
