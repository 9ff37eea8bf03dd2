"""EfficientNet-Lite2 by the names of `efficientnet_lite_pytorch`, against timm; all is random."""

import copy

import pytest
import torch
from torch import Tensor, nn

import torchvision_shim  # noqa: F401  # before timm
from seesay.errors import ConfigError
from seesay.models.mobilenet import MobileNetClassifier, MobileNetConfig

timm = pytest.importorskip("timm")

# Width 1.1 and depth 1.2 of EfficientNet-B0; the first and the last stage keep their depth. Images
# have 260 pixels.
EFFICIENTNET_LITE2 = MobileNetConfig(
    stages=(
        (1, 16, 1, 1),
        (6, 24, 3, 2),
        (6, 48, 3, 2),
        (6, 88, 4, 2),
        (6, 120, 4, 1),
        (6, 208, 5, 2),
        (6, 352, 1, 1),
    ),
    kernels=(3, 3, 5, 3, 5, 5, 3),
)
_EPSILON = 1e-3  # of TensorFlow's batch norm
_PARTS = ("weight", "bias")
# A convolution, and the batch norm behind it -> the convolution of our model with both in one.
_FOLDED = {
    ("_conv_stem", "_bn0"): "tower.stem",
    ("_blocks.{}._expand_conv", "_blocks.{}._bn0"): "tower.blocks.{}.expand",
    ("_blocks.{}._depthwise_conv", "_blocks.{}._bn1"): "tower.blocks.{}.depthwise",
    ("_blocks.{}._project_conv", "_blocks.{}._bn2"): "tower.blocks.{}.project",
    ("_conv_head", "_bn1"): "tower.head",
}
_NORM = ("weight", "bias", "running_mean", "running_var")
# timm's name within a block -> that of efficientnet_lite_pytorch. The first block has no expansion.
FIRST = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
OTHERS = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
ENDS = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite2", pretrained=False).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if "running_var" in name or ("bn" in name and name.endswith("weight")):
                value.uniform_(0.5, 1.5)
            elif value.ndim == 4:
                value.normal_(std=(2 / value[0].numel()) ** 0.5)
            elif value.ndim:
                value.normal_(std=0.1)
    return model


@pytest.fixture(scope="module")
def published(reference) -> dict[str, Tensor]:
    """The tensors of timm's model under the names of the published file."""
    tensors = {}
    blocks = [block for stage in reference.blocks for block in stage]
    for number, block in enumerate(blocks):
        for name, value in block.state_dict().items():
            layer, part = name.split(".", 1)
            theirs = (FIRST if number == 0 else OTHERS)[layer]
            tensors[f"_blocks.{number}.{theirs}.{part}"] = value
    for ours, theirs in ENDS.items():
        for part, value in getattr(reference, ours).state_dict().items():
            tensors[f"{theirs}.{part}"] = value
    for part, value in reference.classifier.state_dict().items():
        tensors[f"_fc.{part}"] = value
    return tensors


def fold_batch_norm(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an EfficientNet-Lite by our names, with batch norm folded into the
    convolutions (in float64). Names that do not belong to one stay as they are. Raises KeyError
    where one is missing."""
    rest = {k: v for k, v in published.items() if not k.endswith("num_batches_tracked")}
    blocks = {name.split(".")[1] for name in rest if name.startswith("_blocks.")}
    folded: dict[str, Tensor] = {}
    for (convolution, norm), ours in _FOLDED.items():
        for block in blocks if "{}" in ours else ("",):
            name = f"{convolution.format(block)}.weight"
            if name not in rest and ours.endswith("expand"):
                continue  # the first stage widens nothing
            published_kernel = rest.pop(name)
            kernel, dtype = published_kernel.double(), published_kernel.dtype
            scale, shift, mean, variance = (
                rest.pop(f"{norm.format(block)}.{part}").double() for part in _NORM
            )
            scale = scale / torch.sqrt(variance + _EPSILON)
            folded[f"{ours.format(block)}.weight"] = (kernel * scale[:, None, None, None]).to(dtype)
            folded[f"{ours.format(block)}.bias"] = (shift - mean * scale).to(dtype)
    for part in _PARTS:
        folded[f"classifier.{part}"] = rest.pop(f"_fc.{part}")
    return folded | rest


@pytest.mark.parametrize("size", [(64, 64), (65, 50)])
def test_features_and_logits_equal_those_of_timm(reference, published, size):
    model = MobileNetClassifier(EFFICIENTNET_LITE2, classes=1000).double().eval()
    model.load_state_dict(fold_batch_norm({k: v.double() for k, v in published.items()}))
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    reference = copy.deepcopy(reference).double()
    with torch.no_grad():
        features = reference.forward_features(images)
        assert features.abs().mean() > 0.5
        torch.testing.assert_close(model.tower.features(images), features, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(model(images), reference(images), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernels", [(3,), (3, 3, 5, 3, 5, 5, 4)])
def test_kernels_that_do_not_fit_the_stages_are_refused(kernels):
    with pytest.raises(ConfigError, match="kernels="):
        MobileNetConfig(stages=EFFICIENTNET_LITE2.stages, kernels=kernels)
