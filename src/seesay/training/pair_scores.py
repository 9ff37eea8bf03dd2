"""How well a text fits its picture: the probability of a matching head, or how far the cosine of a
dual encoder is above that of random pairs; and the score that random pairs seldom reach."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from seesay.inference.embedder import Embedder
from seesay.inference.matcher import Matcher

MATCHED = 0.5
"""Probability from which a matching head calls a text matched: BLIP's own decision."""
SAME = 0.9999
"""Cosine from which two pictures count as the same one."""
SMALLEST_DEVIATION = 0.001
"""Of cosines; less comes from a few pictures that happen to score alike."""
FEWEST_OTHERS = 2
"""Pictures that make a mean and a deviation; where fewer differ, copies count too."""
SIGNIFICANT = 1.63
"""Of the Kolmogorov-Smirnov distance, times sqrt(1/n + 1/m): chance exceeds it once in a hundred
times."""


@dataclass(frozen=True)
class SeenPictures:
    """Pictures as a scorer has seen them; those that cannot be read have no row."""

    seen: Any
    rows: tuple[int, ...]
    """For each row the index of its picture."""


@runtime_checkable
class PairScorer(Protocol):
    """Scores texts by how well they fit their pictures."""

    def look(self, images: Sequence[object]) -> SeenPictures: ...

    def score(
        self,
        pictures: SeenPictures,
        owners: Int[np.ndarray, " texts"],
        texts: Sequence[str],
        draws: Float[np.ndarray, " texts"],
    ) -> Float[np.ndarray, "texts 2"]:
        """Returns the score of each text with its own picture, and with a random other one (NaN if
        the scorer needs none). `owners` are rows of the pictures; `draws`, from 0 up to 1, choose
        the other ones."""
        ...


class MatchingScorer:
    """The probability that a matching head gives a pair."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher

    def look(self, images: Sequence[object]) -> SeenPictures:
        seen = self._matcher.look(images)
        failed = {one.index for one in seen.failures}
        return SeenPictures(seen, tuple(row for row in range(len(images)) if row not in failed))

    def score(
        self,
        pictures: SeenPictures,
        owners: Int[np.ndarray, " texts"],
        texts: Sequence[str],
        draws: Float[np.ndarray, " texts"],
    ) -> Float[np.ndarray, "texts 2"]:
        read = self._matcher.read(texts)
        pairs = owners, np.arange(len(texts))
        own = self._matcher.match_probabilities(pictures.seen, read, *pairs)
        return np.stack([own, np.full_like(own, np.nan)], axis=1)


class CosineScorer:
    """How many standard deviations the cosine of a pair is above those of its text with random
    pictures of the same set. So it matters little that some texts are close to everything, and
    that each model and language has cosines of its own."""

    def __init__(self, embedder: Embedder, others: Float[np.ndarray, "others embed"]) -> None:
        """`others` are the vectors of the random pictures."""
        self._embedder, self._others = embedder, others

    def look(self, images: Sequence[object]) -> SeenPictures:
        seen = self._embedder.embed_images(list(images))
        return SeenPictures(seen.vectors, seen.rows)

    def score(
        self,
        pictures: SeenPictures,
        owners: Int[np.ndarray, " texts"],
        texts: Sequence[str],
        draws: Float[np.ndarray, " texts"],
    ) -> Float[np.ndarray, "texts 2"]:
        own, vectors = pictures.seen[owners], self._embedder.embed_texts(texts).vectors
        cosines = vectors @ self._others.T
        differs = own @ self._others.T < SAME
        return above_random((own * vectors).sum(axis=1), cosines, differs, draws)


def above_random(
    own: Float[np.ndarray, " texts"],
    others: Float[np.ndarray, "texts others"],
    differs: Any,
    draws: Float[np.ndarray, " texts"],
) -> Float[np.ndarray, "texts 2"]:
    """Returns how many standard deviations the cosine of each text with its own picture is above
    those with other ones, and the same for one of these, which is left out of its own mean and
    deviation. Only others that differ from the own picture count; draws choose among them."""
    differs = differs | (differs.sum(axis=1, keepdims=True) < FEWEST_OTHERS)
    drawn = [
        np.flatnonzero(row)[int(draw * row.sum())] for row, draw in zip(differs, draws, strict=True)
    ]
    at = np.arange(len(own)), np.array(drawn, dtype=int)
    without = differs.copy()
    without[at] = False
    return np.stack(
        [_standardised(own, others, differs), _standardised(others[at], others, without)], axis=1
    )


def _standardised(values: Any, others: Any, chosen: Any) -> Any:
    mean = others.mean(axis=1, where=chosen)
    deviation = others.std(axis=1, where=chosen)
    return (values - mean) / np.maximum(deviation, SMALLEST_DEVIATION)


@dataclass(frozen=True)
class Cut:
    """A score that separates pairs from random ones."""

    threshold: float
    distance: float
    """Share of the random pairs below it, less the share of the pairs below it."""
    significant: bool
    """Whether chance alone would hardly give this distance."""


def cut_from_random(
    scores: Float[np.ndarray, " pairs"], random: Float[np.ndarray, " pairs"]
) -> Cut:
    """Returns the score at which pairs and random pairs are farthest apart (the point of the
    Kolmogorov-Smirnov distance).

    If some pairs do not belong together, they score as random ones do. Whatever their share, the
    distance is largest at the score that is as likely for a random pair as for one that belongs
    together, so that dropping what is below it makes the fewest mistakes of both kinds together.
    """
    candidates = np.unique(scores)
    below_random = np.searchsorted(np.sort(random), candidates) / len(random)
    below = np.searchsorted(np.sort(scores), candidates) / len(scores)
    best = int(np.argmax(below_random - below))
    distance = float(below_random[best] - below[best])
    chance = SIGNIFICANT * (1 / len(scores) + 1 / len(random)) ** 0.5
    return Cut(float(candidates[best]), distance, distance > chance)
