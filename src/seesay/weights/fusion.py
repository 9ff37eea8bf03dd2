"""Fusions of an image and a text, as training calls them and in seesay's own layout: questions
about images, answered by one of a list of answers, through frozen towers."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from seesay.data.tokenizer import Tokenizer
from seesay.models.bert import BertConfig
from seesay.models.fusion import FusionClassifier, FusionClassifierConfig
from seesay.models.mean_text import MeanTextConfig
from seesay.models.mobilenet import MobileNetConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.objectives.objective import TrainedModel, View
from seesay.objectives.tiled import at_least_float32
from seesay.text import Text
from seesay.weights.bundle import Blueprint, Bundle, Family
from seesay.weights.step import Pixels, Reused, computing_in, is_frozen, reuse_features
from seesay.weights.vlm_step import picture_misfits, text_misfits


class TrainedFusion(TrainedModel):
    """Wraps a fusion for training, which needs a single forward call."""

    def __init__(
        self, bundle: Bundle[FusionClassifier], autocast: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.model = bundle.model
        self._pixels = Pixels(bundle.transform, self.model.image)
        self._pad_id = bundle.tokenizer.config.pad_id
        self._autocast = autocast

    def forward(self, inputs: Mapping[View, Tensor]) -> tuple[Tensor, ...]:
        """Returns, for each view, the mean of each image's patches or the logits of the answers to
        each question, in float32 or wider."""
        dtype = self.model.fusion.text_proj.weight.dtype
        with computing_in(self._autocast, inputs):
            patches = {
                view.source: self.model.patches(self._pixels(images, dtype))
                for view, images in inputs.items()
                if view.role == "images"
            }
            outputs = [
                patches[view.source].mean(1)
                if view.role == "images"
                else self._logits(patches[view.source], rows)
                for view, rows in inputs.items()
            ]
        return tuple(map(at_least_float32, outputs))

    def _logits(self, patches: Tensor, rows: Tensor) -> Tensor:
        """Returns zeros where an image has fewer questions than another."""
        count, most = rows.shape[:2]
        places = (rows != self._pad_id).any(-1).flatten().nonzero()[:, 0]
        logits = self.model(patches, rows.flatten(0, 1)[places], places // most)
        answers = logits.new_zeros(count * most, logits.shape[1]).index_copy(0, places, logits)
        return answers.unflatten(0, (count, most))


def misfits(blueprint: Blueprint, tokenizer: Tokenizer) -> list[Text]:
    """Returns contradictions between the model, the image preparation and the tokenizer."""
    model: FusionClassifierConfig = blueprint.model
    return [
        *picture_misfits(model.image, blueprint.transform.size),
        *text_misfits(
            blueprint,
            tokenizer,
            Text("text tower", "文本塔"),
            words=model.text.vocab_size,
            context=model.text.context,
        ),
    ]


def build(config: FusionClassifierConfig, initial: Mapping[str, float]) -> FusionClassifier:
    return FusionClassifier(config)


def reuse(model: FusionClassifier, folder: Path | None) -> None:
    """Keeps the frozen towers' output in float16: for each image in a folder or in memory, for each
    question in memory."""
    if is_frozen(model.image):
        reuse_features(model.image, folder)
    if is_frozen(model.text):
        features, dtype = model.text.features, model.fusion.text_proj.weight.dtype
        tokens = Reused(features, torch.float16, model.lengths)
        model.text.features = lambda ids: tokens(ids).to(dtype)


def step(bundle: Bundle[FusionClassifier], autocast: torch.dtype | None) -> TrainedFusion:
    return TrainedFusion(bundle, autocast)


FAMILY = Family(
    name="fusion",
    model=FusionClassifier,
    config=FusionClassifierConfig,
    parts={
        "vit": VitConfig,
        "mobilenet": MobileNetConfig,
        "text": TextConfig,
        "bert": BertConfig,
        "mean_text": MeanTextConfig,
    },
    misfits=misfits,
    build=build,
    step=step,
    reuse=reuse,
)
