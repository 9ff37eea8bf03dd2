"""The confidence of a hit (0 to 100): how likely it matches the query.

`seesay.inference.confidence` turns cosines into probabilities. A text query is calibrated with the
background vocabulary. A picture query has no such vocabulary, so it is compared with usual cosines:
those between pictures and the vectors of the collection and, while the collection is small, those
between captions of different scenes.

Confidence depends on the whole collection and not on the filter: a picture shows a dog or does not,
whichever folder is searched.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from seesay.inference.background import SMALLEST, Background
from seesay.inference.confidence import (
    AnswerLikelihood,
    Calibration,
    Mixture,
    Presence,
    Scale,
    sentence_weight,
    text_scale,
)
from seesay.search.asking.results import Comparison
from seesay.text import Language

THRESHOLD = 40.0
"""Confidence below which a hit is unlikely. The best F1 is reached by accepting hits above half of
that F1 (Lipton et al., ECML 2014), and the best F1 is about 0.8 here."""

# Scores between pictures of the same kind: 2.1 for kitchens where a third of the collection are
# kitchens and bathrooms; 2.5 to 4 for surfers, beaches, streets and the like.
_MATCH = 2.25
_PRIOR = 10  # weight of the cosines between scenes, in vectors
_SELF, _COPY = 0.9999, 0.98  # cosines of a picture with itself, and with a copy of it

Vectors = Float32[np.ndarray, "rows embed"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Vectors sampled from all `size` vectors of one modality."""

    vectors: Vectors
    size: int


@dataclass(frozen=True, eq=False)
class Confidence:
    """The confidence in one part of a query, for the vectors of one modality."""

    against: str
    """What it is compared with: "en" and "zh" for background words, "image" for pictures."""
    scale: Scale
    mixture: Mixture | AnswerLikelihood
    presence: Presence | None = None
    """For pictures searched by words: tells whether any of them shows the thing."""
    texts: Calibration | None = None
    """For texts searched by words: tells which of them the model understands."""

    def __call__(
        self, vectors: Vectors, worded: Bool[np.ndarray, " rows"] | bool = False
    ) -> Float32[np.ndarray, " rows"]:
        """`worded` tells which texts contain words of the query: these are about it, even if the
        model knows none of their other words."""
        confidences = 100 * self.mixture(self.scale.scores(vectors))
        if self.against == "image":  # a copy stays a copy, whatever the other pictures
            confidences[np.einsum("ij,j->i", vectors, self.scale.direction) >= _COPY] = 100
        if self.presence is not None:
            confidences *= self.presence(vectors)
        if self.texts is not None:
            confidences *= np.where(worded, 1, self.texts.understood(vectors))
        return confidences

    def comparison(self, vectors: Vectors) -> Comparison:
        """How the hits that have these vectors were judged."""
        return Comparison(
            against=self.against,
            null=self.scale.null,
            spread=self.scale.spread,
            match=self.scale.match,
            best=float(self.scale.scores(vectors).max()),
            share=self.mixture.share,
        )


def of_text(
    text: str,
    vector: Float32[np.ndarray, " embed"],
    language: Language,
    calibration: Calibration,
    sample: Sample,
) -> Confidence:
    sentence = sentence_weight(text, language)
    scale = calibration.scale(vector, sentence)
    mixture = Mixture(scale.match, scale.scores(sample.vectors), sample.size)
    if calibration.of_texts:
        return Confidence(language, scale, mixture, texts=calibration)
    presence = calibration.presence(vector, sentence, sample.vectors)
    return Confidence(language, scale, mixture, presence=presence)


def of_text_passages(
    vector: Float32[np.ndarray, " embed"], language: Language, background: Background
) -> Confidence:
    """The confidence in texts that a text embedder embedded: see `text_scale`."""
    return Confidence(language, text_scale(vector, background), AnswerLikelihood())


def of_picture(
    vector: Float32[np.ndarray, " embed"], null: tuple[float, float], sample: Sample
) -> Confidence:
    """`null` comes from `picture_null`."""
    scale = Scale(vector, *null, _MATCH)
    mixture = Mixture(scale.match, scale.scores(sample.vectors), sample.size)
    return Confidence("image", scale, mixture)


def picture_null(
    pictures: Float32[np.ndarray, "pictures embed"],
    others: Float32[np.ndarray, "others embed"],
    background: Background,
) -> tuple[float, float]:
    """Returns the mean and spread of the cosines between pictures and vectors that do not resemble
    them, taken from the lower half of all cosines, since resembling vectors are in the upper
    half."""
    mean, spread = _lower_half(background.between_scenes)
    cosines = (pictures @ others.T).ravel() if len(pictures) else np.empty(0, np.float32)
    cosines = cosines[cosines < _SELF]  # the others may be the same pictures
    if not len(cosines):
        return mean, spread
    weight = len(others) / (len(others) + _PRIOR)
    own_mean, own_spread = _lower_half(cosines)
    own_spread = max(own_spread, spread / 2)  # a few pictures may be alike by chance
    return weight * own_mean + (1 - weight) * mean, weight * own_spread + (1 - weight) * spread


def _lower_half(cosines: Float32[np.ndarray, " pairs"]) -> tuple[float, float]:
    """Returns the median and, as the spread, its distance to the quantile one standard deviation
    below."""
    low, middle = np.quantile(cosines, [0.1587, 0.5])
    return float(middle), max(float(middle - low), SMALLEST)
