"""Our MobileNetV2 against transformers' one with TensorFlow's padding, every parameter random."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import MobileNetV2Config, MobileNetV2Model

from seesay.errors import ConfigError
from seesay.models.mobilenet import Convolution, MobileNet, MobileNetClassifier, MobileNetConfig

HALF = MobileNetConfig(
    stem=16,
    dim=1280,
    stages=(
        (1, 8, 1, 1),
        (6, 16, 2, 2),
        (6, 16, 3, 2),
        (6, 32, 4, 2),
        (6, 48, 3, 1),
        (6, 80, 3, 2),
        (6, 160, 1, 1),
    ),
)
TINY = MobileNetConfig(stem=4, dim=12, stages=((1, 4, 1, 1), (2, 6, 2, 2)))


@pytest.fixture(scope="module")
def reference() -> MobileNetV2Model:
    torch.manual_seed(0)
    config = MobileNetV2Config(depth_multiplier=0.5, tf_padding=True)
    model = MobileNetV2Model(config).eval().double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "normalization.weight" in name:
                parameter.uniform_(0.5, 1.5)
            elif "normalization.bias" in name:
                parameter.normal_(std=0.3)
            else:
                parameter.normal_(std=(2 / parameter[0].numel()) ** 0.5)
        for name, buffer in model.named_buffers():
            if "running_mean" in name:
                buffer.normal_(std=0.1)
            elif "running_var" in name:
                buffer.uniform_(0.5, 1.5)
    return model


def folded(layer: nn.Module) -> tuple[Tensor, Tensor]:
    norm = layer.normalization
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return layer.convolution.weight * scale[
        :, None, None, None
    ], norm.bias - norm.running_mean * scale


def copy_into(ours: MobileNet, theirs: MobileNetV2Model) -> None:
    stem = theirs.conv_stem
    pairs = [(ours.stem, stem.first_conv), (ours.head, theirs.conv_1x1)]
    pairs += [(ours.blocks[0].depthwise, stem.conv_3x3), (ours.blocks[0].project, stem.reduce_1x1)]
    for block, layer in zip(list(ours.blocks)[1:], theirs.layer, strict=True):
        pairs += [
            (block.expand, layer.expand_1x1),
            (block.depthwise, layer.conv_3x3),
            (block.project, layer.reduce_1x1),
        ]
    with torch.no_grad():
        for convolution, layer in pairs:
            weight, bias = folded(layer)
            convolution.weight.copy_(weight)
            convolution.bias.copy_(bias)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (97, 64), (33, 50)])
def test_every_block_agrees_with_transformers(
    reference: MobileNetV2Model, height: int, width: int
) -> None:
    model = MobileNet(HALF).double()
    copy_into(model, reference)
    images = torch.rand(2, 3, height, width, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        theirs = reference(images, output_hidden_states=True)
        x = F.relu6(model.stem(images))
        for block, expected in zip(
            model.blocks, (reference.conv_stem(images), *theirs.hidden_states), strict=True
        ):
            x = block(x)
            torch.testing.assert_close(x, expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            model.features(images), theirs.last_hidden_state, rtol=1e-9, atol=1e-9
        )
        torch.testing.assert_close(model(images), theirs.pooler_output, rtol=1e-9, atol=1e-9)


@given(height=st.integers(1, 12), width=st.integers(1, 12), stride=st.sampled_from([1, 2]))
def test_a_convolution_pads_as_tensorflow_does(height: int, width: int, stride: int) -> None:
    layer = Convolution(2, 3, kernel=3, stride=stride)
    x = torch.randn(1, 2, height, width)
    pads: list[int] = []
    for size in (width, height):  # F.pad counts the last axis first
        missing = max((-(-size // stride) - 1) * stride + 3 - size, 0)
        pads += [missing // 2, missing - missing // 2]
    expected = F.conv2d(F.pad(x, pads), layer.weight, layer.bias, stride=stride)
    torch.testing.assert_close(layer(x), expected)


def test_an_image_gets_the_same_vector_alone_and_among_others() -> None:
    model = MobileNet(TINY)
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]))


def test_gradients_reach_every_parameter() -> None:
    model = MobileNetClassifier(TINY, classes=5)
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_gradients_are_exact_although_activations_are_overwritten() -> None:
    model = MobileNet(TINY).double()
    images = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: model(x).square().sum(), images)


@pytest.mark.parametrize("stages", [(), ((6, 24, 2, 3),), ((6, 24, 0, 1),)])
def test_impossible_stages_are_refused(stages: tuple[tuple[int, int, int, int], ...]) -> None:
    with pytest.raises(ConfigError, match="stages="):
        MobileNetConfig(stages=stages)


def test_a_tower_that_knows_classes_gives_their_probabilities_behind_its_channels():
    torch.manual_seed(0)
    tower = MobileNet(replace(TINY, classes=5)).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        vectors = tower(images)
        pooled = tower.features(images).mean(dim=(2, 3))
        assert vectors.shape == (2, tower.config.output_dim) == (2, TINY.dim + 5)
        torch.testing.assert_close(vectors[:, : TINY.dim], pooled)
        torch.testing.assert_close(vectors[:, TINY.dim :], tower.classifier(pooled).softmax(1))
