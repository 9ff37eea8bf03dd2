"""How sure a hit is, and whether anything fits at all.

A cosine says little by itself: every model, language and query has a level of its own, and the
nearest of many is always rather near. So the best hits are held against what everyday words (for a
picture: other pictures of the collection) reach in the same lane:

- `lift`: how far the best cosine lies above the best ones of everyday words;
- `fit`: how far the first hits lie above what everyday words have with just these hits, less what
  everyday words' own first hits reach. The first three count, the second and third the less the
  fewer there are to choose from: in a handful of pictures they are other things.

Both are counted in the spreads of the everyday words among as many pictures as were searched: the
best of a thousand is always nearer than the best of three, so a filter or a small collection is
held against small groups. Even one picture has been measured with 200 words; only a picture that is
searched for is held against the other pictures, and where these are few, also against what
photographs have in common in general (`_PRIOR`), the less the more there are.

Share of captions that are accepted where their photograph is there, and of topics and words without
a meaning that get "no good match", in collections of 1 to 1,000 photographs (seesay-mini 0.1;
benchmarks/no_good_match.py --sizes):

    photographs      1            3            10           30           100          1000
    accepted en/zh   0.90 / 0.95  0.88 / 0.83  0.88 / 0.77  0.86 / 0.73  0.85 / 0.77  0.90 / 0.88
    refused en/zh    0.78 / 0.86  0.79 / 0.87  0.73 / 0.88  0.77 / 0.93  0.82 / 0.96  0.78 / 0.94

Counting three hits always, and one level for every size, gave 0.52 / 0.82 of refusals among 1,000
photographs, accepted 0.83 / 0.74 among three, and no picture as like its own crop where it was
alone.

There is no telling a caption whose own picture is gone where others like it are left. The query's
own scores over the collection, the usual z-score, told almost nothing (area under the curve
0.57-0.64, this 0.90-0.96): the nearest picture stands out as much where nothing fits.
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

_FIRST = 3
_GROWING = 30  # pictures at which the second and third hit count half as much as the first
_GROUPS = 16  # of the sample, in which the best of few are looked at
_MIDDLE, _STEEPNESS = 1.8, 0.8  # of the curve from evidence to confidence
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
    sizes: tuple[int, ...]
    """Of the groups of the lane that were looked at: 1, 2, 4 and so on up to the whole sample."""
    tops: tuple[Spread, ...]
    """For each size, the best cosines that the things reach."""
    fits: tuple[Spread, ...]
    """For each size, how far their first hits lie above what the others have with these."""
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
        first = above[:, : groups * size].reshape(len(things) * groups, size)
        tops.append(_mean_and_spread(best))
        fits.append(_mean_and_spread(_first_hits(-np.sort(-first, axis=1), size)))
    return Level(
        everyday=everyday,
        things=things,
        sizes=tuple(sizes),
        tops=tuple(tops),
        fits=tuple(fits),
        own=own,
    )


def background(
    level: Level,
    cosines: Float32[np.ndarray, " found"],
    vectors: Float32[np.ndarray, "first embed"],
    size: int,
) -> Background:
    """What the scores of a ranking, the best first, say; `vectors` are those of its first hits and
    `size` is how many units it was chosen from."""
    top_mean, top_spread = level.top(size)
    lift = float(_lift(level, cosines[:1], size)[0])
    above = _above(level.things @ vectors.T, cosines[None, : len(vectors)], own=level.own)
    mean, spread = level.fit(size)
    fit = (float(_first_hits(above, size)[0]) - mean) / spread
    return Background(
        everyday=level.everyday,
        top_mean=top_mean,
        top_spread=top_spread,
        lift=lift,
        fit=fit,
        evidence=float(_evidence(level, np.array([lift + fit], np.float32), cosines[:1])[0]),
    )


def confidences(
    found: Background, cosines: Float32[np.ndarray, " found"]
) -> Float32[np.ndarray, " found"]:
    """0-100 for each hit of a ranking. It falls with the cosine, so that it never contradicts the
    order."""
    return _confidence(found.evidence - 2 * (cosines[0] - cosines) / found.top_spread)


def each_confidence(
    level: Level,
    part: Float32[np.ndarray, " embed"],
    vectors: Float32[np.ndarray, "found embed"],
    size: int,
) -> Float32[np.ndarray, " found"]:
    """0-100 for each vector by itself: whether this part of a query is in it."""
    cosines = vectors @ part
    mean, spread = level.fit(size)
    above = _above(level.things @ vectors.T, cosines[None], own=level.own)
    fit = (above[0] - mean) / spread
    return _confidence(_evidence(level, _lift(level, cosines, size) + fit, cosines))


def _lift(
    level: Level, cosines: Float32[np.ndarray, " found"], size: int
) -> Float32[np.ndarray, " found"]:
    mean, spread = level.top(size)
    return (cosines - mean) / spread


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


def _first_hits(
    above: Float32[np.ndarray, "asked units"], size: int
) -> Float32[np.ndarray, " asked"]:
    """The mean of the first hits, of which later ones count less where there are few to find."""
    weights = np.full(min(_FIRST, above.shape[1]), size / (size + _GROWING), np.float32)
    weights[0] = 1.0
    return above[:, : len(weights)] @ (weights / weights.sum())


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


def _confidence(evidence: Float32[np.ndarray, " found"]) -> Float32[np.ndarray, " found"]:
    odds = np.clip(_STEEPNESS * (evidence - _MIDDLE), -50, 50)
    return (100 / (1 + np.exp(-odds))).astype(np.float32)
