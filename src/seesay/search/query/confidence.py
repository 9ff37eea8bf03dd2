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
_SELF, _COPY = 0.9999, 0.98  # cosines of a picture with itself, and with a copy of it

Vectors = Float32[np.ndarray, "rows embed"]


@dataclass(frozen=True, eq=False)
class Judge:
    """What the cosines of one part of a query with the vectors of a lane say."""

    against: str
    """What the part is compared with: "en" and "zh" for everyday words, "image" for pictures."""
    searched: Float32[np.ndarray, " embed"]
    """What the lane is searched with; not of length 1. A word or two are searched for without what
    all words share, anything longer as the model embeds it."""
    scale: Scale
    chance: Chance
    level: Level | None
    """Where texts are searched by words: tells which texts the model understands."""

    def each(self, vectors: Vectors) -> Float32[np.ndarray, " rows"]:
        """The confidence of each vector by itself."""
        # einsum, since matrix products wake threads of BLAS, which wait for each other where a
        # server answers several searches and indexes beside them: a p95 was three times as long.
        products = np.einsum("ij,j->i", vectors, self.scale.direction)
        sure = self._sure(products)
        return sure if self.level is None else sure * self.level.understood(vectors)

    def ranked(
        self, cosines: Float32[np.ndarray, " found"], first: Vectors
    ) -> tuple[Float32[np.ndarray, " found"], Comparison]:
        """Confidences of a ranking with these cosines, whose first vectors are at hand: what is to
        be known of all is known of these."""
        products = cosines * float(np.linalg.norm(self.searched))
        products -= float((first @ (self.searched - self.scale.direction)).mean())
        sure = self._sure(products)
        if self.level is not None:
            understood = self.level.understood(first)
            sure[: len(first)] *= understood
            sure[len(first) :] *= understood.mean()
        comparison = Comparison(
            against=self.against,
            null=self.scale.null,
            spread=self.scale.spread,
            match=self.scale.match,
            best=float(self.scale.standard(products).max()),
            share=self.chance.share,
        )
        return sure, comparison

    def _sure(self, products: Float32[np.ndarray, " rows"]) -> Float32[np.ndarray, " rows"]:
        sure = 100 * self.chance(self.scale.standard(products))
        if self.against == "image":
            sure[products >= _COPY] = 100  # whatever the others are like
        return sure


@dataclass(frozen=True, eq=False)
class Sample:
    """Vectors that stand for a lane."""

    vectors: Vectors
    size: int
    """Vectors of the lane when they were drawn."""

    def chance(self, scale: Scale) -> Chance:
        """The chances of scores on this scale in the lane."""
        products = np.einsum("ij,j->i", self.vectors, scale.direction)
        return Chance(scale.match, scale.standard(products), self.size)


def judge_words(part: Embedded, level: Level, sample: Sample) -> Judge:
    """A part that is a text, in a lane of pictures or of texts."""
    (scale,) = level.scales(part.vector[None], np.array([part.sentence]))
    searched = part.vector if part.sentence else scale.direction
    texts = level if level.texts else None
    return Judge(str(part.language), searched, scale, sample.chance(scale), texts)


def judge_picture(part: Embedded, usual: tuple[float, float], sample: Sample) -> Judge:
    """A part that is a picture; `usual` is what pictures in general have with the lane."""
    scale = Scale(part.vector, *usual, _MATCH)
    return Judge("image", part.vector, scale, sample.chance(scale), None)


def usual_cosines(
    pictures: Float32[np.ndarray, "pictures embed"],
    others: Float32[np.ndarray, "others embed"],
    background: Background,
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
