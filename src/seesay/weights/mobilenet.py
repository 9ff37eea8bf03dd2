"""MobileNetV2 1.0/224, an ImageNet classifier, in its folded form: names as in our model, 1,001
classes, of which 0 is the background. Each image goes in as RGB, x / 127.5 - 1.
"""

from pathlib import Path

from torch import Tensor

from seesay.errors import WeightsError
from seesay.models.mobilenet import MobileNet, MobileNetClassifier, MobileNetConfig
from seesay.text import Text
from seesay.weights.tensors import Rules, load_weights, read_file

MEAN = STD = (0.5, 0.5, 0.5)
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


def load_mobilenet(file: Path) -> MobileNet:
    """The tower alone, float32. Raises WeightsError where the file does not fit."""
    tower = MobileNet(MobileNetConfig())
    load_weights(tower, _read(file), TOWER_RULES)
    return tower


def load_classifier(file: Path) -> MobileNetClassifier:
    """Tower and classifier, float32. Output 0 is the background, output 1 + i ImageNet class i."""
    classifier = MobileNetClassifier(MobileNetConfig())
    load_weights(classifier, _read(file), CLASSIFIER_RULES)
    return classifier


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
