"""EfficientNet-Lite2 by the names of `efficientnet_lite_pytorch`, against timm; all is random."""

import copy

import pytest
import torch
from torch import Tensor, nn

import torchvision_shim  # noqa: F401  # before timm
from seesay.errors import ConfigError, WeightsError
from seesay.models.mobilenet import EFFICIENTNET_LITE2, MobileNetClassifier, MobileNetConfig
from seesay.weights.mobilenet import fold_batch_norm, load_classifier

timm = pytest.importorskip("timm")

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


def test_its_file_is_read_strictly(published, tmp_path):
    torch.save(published, tmp_path / "lite2.pth")
    model = load_classifier(tmp_path / "lite2.pth").model
    for name, value in fold_batch_norm(published).items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_file_of_something_else_is_refused_by_name(published, tmp_path):
    lacking = {name: value for name, value in published.items() if name != "_bn0.running_mean"}
    for tensors, reason in (
        (lacking, "_bn0.running_mean"),
        (published | {"_extra": torch.ones(1)}, "_extra"),
    ):
        torch.save(tensors, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match=reason):
            load_classifier(tmp_path / "other.pth")


@pytest.mark.parametrize("kernels", [(3,), (3, 3, 5, 3, 5, 5, 4)])
def test_kernels_that_do_not_fit_the_stages_are_refused(kernels):
    with pytest.raises(ConfigError, match="kernels="):
        MobileNetConfig(stages=EFFICIENTNET_LITE2.stages, kernels=kernels)
