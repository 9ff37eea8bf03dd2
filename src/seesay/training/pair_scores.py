"""How well a text fits its picture: the probability of a matching head, or the cosine of a dual
encoder; and the cosine that separates pairs from random ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from seesay.inference.embedder import Embedder
from seesay.inference.matcher import Matcher

MATCHED = 0.5
"""Probability from which a matching head calls a text matched: BLIP's own decision."""
SAME = 0.9999
"""Cosine from which two pictures count as the same one."""
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
    """The cosine that a dual encoder gives a pair."""

    def __init__(self, embedder: Embedder, others: Float[np.ndarray, "others embed"]) -> None:
        """`others` are the vectors of random pictures."""
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
        others = self._others[draw_others(own @ self._others.T < SAME, draws)]
        return np.stack([(vectors * own).sum(axis=1), (vectors * others).sum(axis=1)], axis=1)


def draw_others(
    differs: Bool[np.ndarray, "texts others"], draws: Float[np.ndarray, " texts"]
) -> Int[np.ndarray, " texts"]:
    """Returns an other picture for each text, drawn among those that differ from its own, or among
    all if none does."""
    rows = [np.flatnonzero(row) if row.any() else np.arange(len(row)) for row in differs]
    return np.array([row[int(at * len(row))] for row, at in zip(rows, draws, strict=True)])


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
