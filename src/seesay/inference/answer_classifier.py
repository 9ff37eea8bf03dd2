"""A fusion ready for use: it answers questions about images by one of the answers it has learned.

classifier = load_answer_classifier("runs/mine/model")
classifier.choose([("cat.jpg", "What is it?")])   # a ChosenAnswer for each pair
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from seesay.data.images import ImageSource, open_image
from seesay.data.squares import square
from seesay.errors import ConfigError
from seesay.text import Text
from seesay.weights.hub import locate

if TYPE_CHECKING:
    import torch

    from seesay.models.fusion import FusionClassifier
    from seesay.weights.bundle import Bundle

AT_ONCE = 32  # images, with all questions about them


@dataclass(frozen=True, kw_only=True)
class ChosenAnswer:
    """The likeliest answer to a question."""

    text: str
    """The answer, as in the data that it was learned from."""
    probability: float
    """Its share among all answers, from 0 to 1."""


class AnswerClassifier:
    """A fusion with its towers."""

    def __init__(
        self, bundle: "Bundle[FusionClassifier]", *, device: "str | torch.device | None" = None
    ) -> None:
        from seesay.data.transform import ImageTransform
        from seesay.inference.devices import choose_device

        weight = bundle.model.fusion.text_proj.weight
        self.device = weight.device if device is None else choose_device(device)
        self.name, self.model = bundle.name, bundle.model.to(self.device).eval()
        self.transform, self.tokenizer = ImageTransform(bundle.transform), bundle.tokenizer
        self.answers = bundle.config.answers

    def choose(self, pairs: Sequence[tuple[object, str]]) -> list[ChosenAnswer]:
        """Answers questions about images: paths, files' bytes, Pillow images, arrays or tensors. An
        image that stands in several neighbouring pairs is seen once. Raises ImageError if one
        cannot be read."""
        images: list[object] = []
        owners = []
        for image, _ in pairs:
            if not images or image is not images[-1]:
                images.append(image)
            owners.append(len(images) - 1)
        chosen = []
        for start in range(0, len(images), AT_ONCE):
            rows = [n for n, owner in enumerate(owners) if start <= owner < start + AT_ONCE]
            chosen += self._choose(
                images[start : start + AT_ONCE],
                [pairs[row][1] for row in rows],
                [owners[row] - start for row in rows],
            )
        return chosen

    def _choose(
        self, images: Sequence[object], questions: Sequence[str], owners: Sequence[int]
    ) -> list[ChosenAnswer]:
        import torch

        config = self.transform.config
        squares = [
            np.array(square(open_image(cast(ImageSource, one), target=config.size), config))
            for one in images
        ]
        ids = torch.from_numpy(self.tokenizer.encode(questions).first).to(self.device)
        with torch.inference_mode():
            dtype = self.model.fusion.text_proj.weight.dtype
            stacked = torch.from_numpy(np.stack(squares)).to(self.device)
            patches = self.model.patches(self.transform.normalise(stacked).to(dtype))
            logits = self.model(patches, ids, torch.tensor(owners, device=self.device))
            shares, numbers = logits.float().softmax(1).max(1)
        return [
            ChosenAnswer(text=self.answers[number], probability=share)
            for number, share in zip(numbers.tolist(), shares.tolist(), strict=True)
        ]


def load_answer_classifier(
    name: str | Path, *, device: "str | torch.device | None" = None
) -> AnswerClassifier:
    """Loads a classifier that a recipe with [model.fusion] trained. Raises UnknownModelError,
    WeightsError, or ConfigError for a model of another type."""
    from seesay.models.fusion import FusionClassifier
    from seesay.weights.bundle import load_bundle

    bundle = load_bundle(locate(str(name)).folder, name=str(name))
    if not isinstance(bundle.model, FusionClassifier):
        raise ConfigError(
            Text(
                f"{name} is a {type(bundle.model).__name__}, expected a classifier of answers, as "
                "a recipe with [model.fusion] trains one: choose another model",
                f"{name} 是 {type(bundle.model).__name__}；应为答案分类模型，即用 [model.fusion] "
                "训练的模型；请换一个模型",
            )
        )
    return AnswerClassifier(bundle, device=device)
