"""How sure a hit is, from 0 to 100, and whether anything fits at all.

`seesay.inference.confidence` makes chances of cosines; here stands what that means in a collection:
what a part of a query is compared with in one vector lane, and what each hit gets.

- Words are judged by the level that everyday words have in the lane.
- Pictures have no words to be measured with, so a picture is judged by how near the lane's vectors
  lie to pictures in general: to each other, and where there are few of them, also as near as
  descriptions of different scenes lie to each other.

The chance depends on the lane, not on a filter: a picture does not show a dog more or less because
of the folder that is searched.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from seesay.inference.background import Background
from seesay.inference.confidence import Chance, Level, Scale
from seesay.search.query.embedding import Embedded
from seesay.search.query.results import Comparison

THRESHOLD = 40.0
"""Confidence of the best hit below which nothing fits. Of labels that are right or wrong, the best
F1 is reached by taking those above half of it (Lipton et al., ECML 2014), here about 0.8 / 2."""

# Spreads by which pictures of the same kind lie higher: kitchens 2.1, where a third of the
# collection are kitchens and bathrooms; surfers, beaches, streets and the like 2.5 to 4.
_MATCH = 2.25
_PRIOR = 10  # pictures that the distance of scenes counts as
_SELF = 0.9999

Vectors = Float32[np.ndarray, "rows embed"]


@dataclass(frozen=True, eq=False)
class Judge:
    """What the cosines of one part of a query with the vectors of a lane say."""

    against: str
    """What the part is compared with: "en" and "zh" for everyday words, "image" for pictures."""
    searched: Float32[np.ndarray, " embed"]
    """What the lane is searched with; not of length 1. Words are searched for without what all
    words share, sentences as the model embeds them."""
    scale: Scale
    chance: Chance
    level: Level | None
    """Where texts are searched by words: tells which texts the model understands."""

    def each(self, vectors: Vectors) -> Float32[np.ndarray, " rows"]:
        """The confidence of each vector by itself."""
        return self._percent(self._scores(vectors))

    def ranked(
        self, cosines: Float32[np.ndarray, " found"], first: Vectors
    ) -> tuple[Float32[np.ndarray, " found"], Comparison]:
        """Confidences of a ranking with these cosines, whose first vectors are at hand: what is to
        be known of all is known of these."""
        products = cosines * float(np.linalg.norm(self.searched))
        products -= float((first @ (self.searched - self.scale.direction)).mean())
        scores = self.scale.standard(products)
        if self.level is not None:
            lowered = self.level.lowered(first)
            scores[: len(first)] -= lowered
            scores[len(first) :] -= lowered.mean()
        comparison = Comparison(
            against=self.against,
            null=self.scale.null,
            spread=self.scale.spread,
            match=self.scale.match,
            best=float(scores.max()),
            share=self.chance.share,
        )
        return self._percent(scores), comparison

    def _scores(self, vectors: Vectors) -> Float32[np.ndarray, " rows"]:
        # einsum, since matrix products wake threads of BLAS, which wait for each other where a
        # server answers several searches and indexes beside them: a p95 was three times as long.
        scores = self.scale.standard(np.einsum("ij,j->i", vectors, self.scale.direction))
        return scores if self.level is None else scores - self.level.lowered(vectors)

    def _percent(self, scores: Float32[np.ndarray, " rows"]) -> Float32[np.ndarray, " rows"]:
        return 100 * self.chance(scores)


@dataclass(frozen=True, eq=False)
class Sampled:
    """Vectors that stand for a lane, and what words or pictures in general have with them."""

    vectors: Vectors
    size: int
    """Vectors of the lane."""
    lowered: Float32[np.ndarray, " rows"] | None
    """By how much the scores of texts are lowered; None for pictures."""

    def chance(self, scale: Scale) -> Chance:
        products = np.einsum("ij,j->i", self.vectors, scale.direction)
        scores = scale.standard(products)
        if self.lowered is not None:
            scores = scores - self.lowered
        return Chance(scale.match, scores, self.size)


def judge_words(part: Embedded, level: Level, sample: Sampled) -> Judge:
    """A part that is a text, in a lane of pictures or of texts."""
    (scale,) = level.scales(part.vector[None], np.array([part.sentence]))
    kept = part.sentence * level.background.shared(part.vector) * level.background.common
    texts = level if sample.lowered is not None else None
    against = str(part.language)
    return Judge(against, scale.direction + kept, scale, sample.chance(scale), texts)


def judge_picture(part: Embedded, usual: tuple[float, float], sample: Sampled) -> Judge:
    """A part that is a picture; `usual` is what pictures in general have with the lane."""
    scale = Scale(part.vector, *usual, _MATCH)
    plain = Sampled(sample.vectors, sample.size, None)
    return Judge("image", part.vector, scale, plain.chance(scale), None)


def usual_cosines(
    pictures: Vectors, others: Vectors, background: Background
) -> tuple[float, float]:
    """Where the cosines lie that pictures have with what else is in a lane (the same pictures,
    perhaps) and does not resemble them, and how far apart: told by the lower half, since what
    resembles them is in the upper one."""
    mean, spread = _lower_half(background.between_scenes)
    cosines = (pictures @ others.T).ravel() if len(pictures) else np.empty(0, np.float32)
    cosines = cosines[cosines < _SELF]
    if not len(cosines):
        return mean, spread
    weight = len(others) / (len(others) + _PRIOR)
    middle, around = _lower_half(cosines)
    around = max(around, spread / 2)  # a few pictures may be as near to each other by chance
    return weight * middle + (1 - weight) * mean, weight * around + (1 - weight) * spread


def _lower_half(cosines: Float32[np.ndarray, " pairs"]) -> tuple[float, float]:
    """The median, and how far it lies above the value that 16% of a normal distribution do not
    reach: its standard deviation."""
    low, middle = np.quantile(cosines, [0.1587, 0.5])
    return float(middle), float(middle - low)


def in_order(confidences: Float[np.ndarray, " found"]) -> np.ndarray:
    """The order in which hits are shown: that of the number beside them. What is equally sure
    stays in the order of the ranking."""
    return np.argsort(-confidences, kind="stable")
