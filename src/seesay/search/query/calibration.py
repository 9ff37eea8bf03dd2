"""How sure a hit is, and whether anything fits at all.

A cosine says little by itself: every model, language and query has a level of its own, and the
nearest of many is always rather near. So the best hits are held against what everyday words (for a
picture: other pictures of the collection) reach in the same lane:

- `lift`: how far a hit's cosine lies above the best ones of everyday words;
- `fit`: how far it lies above what everyday words have with just this hit, less what they reach
  with the ones that fit them best;
- `contrast`: how much wider the query's cosines with the whole lane are spread than those of
  everyday words. What the model understands tells pictures apart; words without a meaning are about
  as near to one as to another. A handful of pictures says little of it, so it counts for n / (n +
  10) with n of them. Other pictures are no measure of it, so it is 0 where a picture is searched.

`lift` and `fit` are counted in the spreads of the everyday words among as many pictures as were
searched: the best of a thousand is always nearer than the best of three, so a filter or a small
collection is held against small groups. Even one picture has been measured with 200 words; only a
picture that is searched for is held against the other pictures, and where these are few, also
against what photographs have in common in general (`_PRIOR`), the less the more there are.

Each of the first hits is judged by itself, so that a second one that is right is not pushed under
by the first. Where a later one has more evidence than one before it, they share their mean, so that
confidence falls with the rank (pool adjacent violators; Barlow et al., Statistical Inference under
Order Restrictions, 1972).

The factor of `contrast` and the curve are what `python benchmarks/confidence.py` prints: a logistic
regression on one half of 1,000 photographs (seesay-mini). It counts spreads, not cosines, so
published models use the same. What is accepted and refused on the other half, with captions and
with plain words, stands in docs/en/measurements.md (`benchmarks/no_good_match.py --sizes`).

There is no telling a caption whose own picture is gone where others like it are left. How far the
best hit stands out of the query's own scores, the usual z-score, told almost nothing (area under
the curve 0.57-0.64, this 0.90-0.96): the nearest picture stands out as much where nothing fits.
"""

from dataclasses import dataclass
from math import log2

import numpy as np
from jaxtyping import Float32

from seesay.search.query.results import Background

SAMPLE = 2000
"""Vectors of a lane that stand for all of it."""
THRESHOLD = 40.0
"""Confidence of the best hit below which nothing fits."""
CONTRAST = 3.2
"""What `contrast` counts in evidence."""

_GROUPS = 16  # of the sample, in which the best of few are looked at
_OF_WORDS = 2.82, 0.46  # middle and steepness of the curve from evidence to confidence
_OF_PICTURES = 1.8, 0.8  # the same for a picture that is searched for
_LEAST = 1e-3  # a spread below it is no spread
_ITSELF = 0.9999
_PRIOR = (0.34, 0.13)  # mean and spread of the best of ten unrelated photographs, seesay-mini
_MOST = 10.0  # evidence from other pictures
_PRIOR_WEIGHS = 10  # as much as so many pictures

Spread = tuple[float, float]
"""A mean and how far values lie around it."""


@dataclass(frozen=True, eq=False)
class Level:
    """What everyday things reach in a lane: it depends on the lane and the kind of query alone."""

    everyday: str
    things: Float32[np.ndarray, "things embed"]
    rows: int
    """Of the sample that stands for the lane."""
    covariance: Float32[np.ndarray, "embed embed"]
    """Of these rows: with it the spread of any query's cosines is known without comparing them."""
    spread: float
    """Of the cosines of one thing with the sample, on average."""
    sizes: tuple[int, ...]
    """Of the groups of the lane that were looked at: 1, 2, 4 and so on up to the whole sample."""
    tops: tuple[Spread, ...]
    """For each size, the best cosines that the things reach."""
    fits: tuple[Spread, ...]
    """For each size, how far they lie above what the others have with the unit where they lie
    highest above them."""
    own: bool
    """Whether the things are from the lane itself."""

    def top(self, size: int) -> Spread:
        """Of the best of `size` units. Beyond the sample it goes on growing as before."""
        if size <= self.sizes[-1] or len(self.sizes) < 2:
            return self._between(self.tops, size)
        doubling = self.tops[-1][0] - self._between(self.tops, self.sizes[-1] // 2)[0]
        mean, spread = self.tops[-1]
        return mean + doubling * log2(size / self.sizes[-1]), spread

    def fit(self, size: int) -> Spread:
        """The same for `fits`, which hardly grow."""
        return self._between(self.fits, size)

    def _between(self, spreads: tuple[Spread, ...], size: int) -> Spread:
        at, known = log2(max(size, 1)), np.log2(self.sizes)
        mean, spread = (
            float(np.interp(at, known, values)) for values in zip(*spreads, strict=True)
        )
        return mean, spread


def level_of(
    everyday: str,
    things: Float32[np.ndarray, "things embed"],
    sample: Float32[np.ndarray, "rows embed"],
    *,
    own: bool = False,
) -> Level:
    """`sample` is in no order. `own` says that the things are among it: none of them is compared
    with itself."""
    scores = things @ sample.T
    if own:
        scores = np.where(scores > _ITSELF, np.nan, scores).astype(np.float32)
    above = _above(scores, scores, own=own)
    scores, above = np.nan_to_num(scores, nan=-1.0), np.nan_to_num(above, nan=-10.0)
    sizes = [2**power for power in range(len(sample).bit_length()) if 2**power < len(sample)]
    sizes.append(len(sample))
    tops, fits = [], []
    for size in sizes:
        groups = min(len(sample) // size, _GROUPS)
        best = scores[:, : groups * size].reshape(len(things), groups, size).max(axis=2)
        highest = above[:, : groups * size].reshape(len(things), groups, size).max(axis=2)
        tops.append(_mean_and_spread(best))
        fits.append(_mean_and_spread(highest))
    return Level(
        everyday=everyday,
        things=things,
        rows=len(sample),
        covariance=np.cov(sample, rowvar=False, bias=True, dtype=np.float32),
        spread=max(float(scores.std(axis=1).mean()), _LEAST),
        sizes=tuple(sizes),
        tops=tuple(tops),
        fits=tuple(fits),
        own=own,
    )


def judged(
    level: Level,
    part: Float32[np.ndarray, " embed"],
    cosines: Float32[np.ndarray, " found"],
    vectors: Float32[np.ndarray, "first embed"],
    size: int,
) -> tuple[Float32[np.ndarray, " found"], Background]:
    """0-100 for each hit of a ranking, the best first, and what it rests on; `vectors` are those of
    its first hits and `size` is how many units it was chosen from. It never contradicts the order:
    a hit is no less sure than those after it."""
    count = len(vectors)
    top_mean, top_spread = level.top(size)
    lift, fit, contrast = _measured(level, part, vectors, size)
    first = _falling(_evidence(level, lift + fit + contrast, cosines[:count]))
    rest = first[-1] - 2 * (cosines[count - 1] - cosines[count:]) / top_spread
    found = Background(
        everyday=level.everyday,
        top_mean=top_mean,
        top_spread=top_spread,
        lift=float(lift[0]),
        fit=float(fit[0]),
        contrast=contrast,
        evidence=float(first[0]),
    )
    return _confidence(level, np.concatenate([first, rest])), found


def each_confidence(
    level: Level,
    part: Float32[np.ndarray, " embed"],
    vectors: Float32[np.ndarray, "found embed"],
    size: int,
) -> Float32[np.ndarray, " found"]:
    """0-100 for each vector by itself: whether this part of a query is in it."""
    lift, fit, contrast = _measured(level, part, vectors, size)
    return _confidence(
        level, _evidence(level, lift + fit + contrast, np.einsum("ij,j->i", vectors, part))
    )


def _measured(
    level: Level,
    part: Float32[np.ndarray, " embed"],
    vectors: Float32[np.ndarray, "found embed"],
    size: int,
) -> tuple[Float32[np.ndarray, " found"], Float32[np.ndarray, " found"], float]:
    """`lift` and `fit` of each vector and `contrast`, which is the query's."""
    # einsum, since matrix products wake threads of BLAS, which wait for each other where a server
    # answers several searches and indexes beside them: there a p95 was three times as long.
    cosines = np.einsum("ij,j->i", vectors, part)
    top_mean, top_spread = level.top(size)
    fit_mean, fit_spread = level.fit(size)
    of_things = np.einsum("ij,kj->ik", level.things, vectors)
    above = _above(of_things, cosines[None], own=level.own)[0]
    lift = ((cosines - top_mean) / top_spread).astype(np.float32)
    return lift, ((above - fit_mean) / fit_spread).astype(np.float32), _contrast(level, part)


def _contrast(level: Level, part: Float32[np.ndarray, " embed"]) -> float:
    if level.everyday == "image" or level.rows < 2:
        return 0.0
    variance = float(np.einsum("ij,j->i", level.covariance, part) @ part)
    spread = max(variance, 0.0) ** 0.5
    return CONTRAST * (spread / level.spread - 1) * level.rows / (level.rows + _PRIOR_WEIGHS)


def _falling(values: Float32[np.ndarray, " first"]) -> Float32[np.ndarray, " first"]:
    """The nearest values that never rise: where a later one is higher, they share their mean."""
    pools: list[tuple[float, int]] = []
    for value in values.tolist():
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] < pools[-1][0]:
            (one, count), (other, more) = pools[-2:]
            pools[-2:] = [((one * count + other * more) / (count + more), count + more)]
    means, counts = zip(*pools, strict=True)
    return np.repeat(np.array(means, np.float32), counts)


def _above(
    of_things: Float32[np.ndarray, "things units"],
    cosines: Float32[np.ndarray, "asked units"],
    *,
    own: bool,
) -> Float32[np.ndarray, "asked units"]:
    """How far cosines with units lie above those of everyday things with the same units."""
    known = np.isfinite(of_things) & ~(own & (of_things > _ITSELF))
    others = np.maximum(known.sum(axis=0), 1)  # a picture alone has none
    mean = np.where(known, of_things, 0).sum(axis=0) / others
    spread = np.sqrt(np.where(known, (of_things - mean) ** 2, 0).sum(axis=0) / others)
    above = (cosines - mean) / np.maximum(spread, _LEAST)
    return above.astype(np.float32)


def _evidence(
    level: Level, found: Float32[np.ndarray, " found"], cosines: Float32[np.ndarray, " found"]
) -> Float32[np.ndarray, " found"]:
    """What was found; of pictures among few others, also what they have in common in general."""
    if not level.own:
        return found
    others = len(level.things) - 1
    weight = others / (others + _PRIOR_WEIGHS)
    general = 2 * (cosines - _PRIOR[0]) / _PRIOR[1]
    bounded = np.clip(found, -_MOST, _MOST)  # two or three others may be alike by chance
    return (weight * bounded + (1 - weight) * general).astype(np.float32)


def _mean_and_spread(values: Float32[np.ndarray, "..."]) -> Spread:
    return float(values.mean()), max(float(values.std()), _LEAST)


def _confidence(
    level: Level, evidence: Float32[np.ndarray, " found"]
) -> Float32[np.ndarray, " found"]:
    middle, steepness = _OF_PICTURES if level.everyday == "image" else _OF_WORDS
    odds = np.clip(steepness * (evidence - middle), -50, 50)
    return (100 / (1 + np.exp(-odds))).astype(np.float32)
