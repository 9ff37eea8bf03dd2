"""An objective that seesay does not have: the one module that a new one takes."""

from dataclasses import dataclass

import torch

from seesay.objectives.objective import TOWERS, ObjectiveConfig, View


@dataclass(frozen=True, kw_only=True)
class MarginConfig(ObjectiveConfig):
    """An image is nearer to its own text than to the text of the next image, by a margin."""

    margin: float = 0.2
    """How much nearer, as a cosine."""

    @property
    def trains(self):
        return TOWERS

    def make(self, context):
        return Margin(self)


class Margin:
    def __init__(self, config):
        self._config = config

    def inputs(self, batch):
        source, own = self._config.source, batch.sources[self._config.source]
        return {View("images", source): own.images, View("texts", source): own.ids}

    def loss(self, outputs, batch, log_scale, bias):
        source = self._config.source
        owners = batch.sources[source].owners
        images, texts = outputs[View("images", source)], outputs[View("texts", source)]
        cosines = images @ texts.T
        columns = torch.arange(len(texts))
        other = (owners + 1) % len(images)
        return (
            (self._config.margin + cosines[other, columns] - cosines[owners, columns]).relu().mean()
        )
