"""How sure a hit is, and whether anything fits at all.

A cosine says little by itself: every model, language and query has a level of its own, and the
nearest of many is always rather near. So the best hits are held against what everyday words (for a
picture: other pictures of the collection) reach in the same lane:

- `lift`: how far the best cosine lies above the best ones of everyday words;
- `fit`: how far the first three hits lie above what everyday words have with just these hits, less
  what everyday words' own first hits reach.

Both are counted in the spreads of the everyday words, which makes their sum mean the same in both
languages and in collections of 20 to 1,000 pictures. With an early seesay-mini and 800 photographs,
"no good match" is said to 12-14% of captions that have their picture, to 90% of held-out topics
that the collection lacks, and to all words without a meaning (benchmarks/no_good_match.py; there is
no telling a caption whose own picture is gone where others like it are left). The query's own
scores over the collection, the usual z-score, told almost nothing (area under the curve 0.57-0.64,
this 0.90-0.93): the nearest picture stands out as much where nothing fits.
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
_MIDDLE, _STEEPNESS = 1.5, 0.8  # of the curve from evidence to confidence
_LEAST = 1e-3  # a spread below it is no spread
_ITSELF = 0.9999


@dataclass(frozen=True, eq=False)
class Level:
    """What everyday things reach in a lane: it depends on the lane and the kind of query alone."""

    everyday: str
    things: Float32[np.ndarray, "things embed"]
    top: tuple[float, float]
    """Mean and spread of their best cosines."""
    fit: tuple[float, float]
    """The same of how far their first hits lie above what the others have with these."""
    doubling: float
    """How much higher the best cosine lies in a lane of twice the size."""
    sampled: int


def level_of(
    everyday: str,
    things: Float32[np.ndarray, "things embed"],
    sample: Float32[np.ndarray, "rows embed"],
    *,
    own: bool = False,
) -> Level:
    """`own` says that the things are among the sample: none of them is compared with itself."""
    scores = things @ sample.T
    if own:
        scores = np.where(scores > _ITSELF, -1.0, scores).astype(np.float32)
    above = (scores - scores.mean(axis=0)) / np.maximum(scores.std(axis=0), _LEAST)
    first = np.argsort(-scores, axis=1)[:, :_FIRST]
    fits = np.take_along_axis(above, first, axis=1).mean(axis=1)
    best = scores.max(axis=1)
    half = scores[:, : max(len(sample) // 2, 1)].max(axis=1)
    return Level(
        everyday=everyday,
        things=things,
        top=_mean_and_spread(best),
        fit=_mean_and_spread(fits),
        doubling=float((best - half).mean()),
        sampled=len(sample),
    )


def background(
    level: Level,
    cosines: Float32[np.ndarray, " found"],
    vectors: Float32[np.ndarray, "first embed"],
    size: int,
) -> Background:
    """What the scores of a ranking, the best first, say; `vectors` are those of its first hits and
    `size` is how many units it was chosen from."""
    lift = float(_lift(level, cosines[:1], size)[0])
    fit = float(_fit(level, cosines[: len(vectors)], vectors).mean())
    return Background(
        everyday=level.everyday,
        top_mean=level.top[0] + _grown(level, size),
        top_spread=level.top[1],
        lift=lift,
        fit=fit,
        evidence=lift + fit,
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
    return _confidence(_lift(level, cosines, size) + _fit(level, cosines, vectors))


def _lift(
    level: Level, cosines: Float32[np.ndarray, " found"], size: int
) -> Float32[np.ndarray, " found"]:
    return (cosines - level.top[0] - _grown(level, size)) / level.top[1]


def _fit(
    level: Level,
    cosines: Float32[np.ndarray, " found"],
    vectors: Float32[np.ndarray, "found embed"],
) -> Float32[np.ndarray, " found"]:
    of_things = level.things @ vectors.T
    above = (cosines - of_things.mean(axis=0)) / np.maximum(of_things.std(axis=0), _LEAST)
    return (above - level.fit[0]) / level.fit[1]


def _grown(level: Level, size: int) -> float:
    return level.doubling * max(log2(max(size, 1) / max(level.sampled, 1)), 0.0)


def _mean_and_spread(values: Float32[np.ndarray, " things"]) -> tuple[float, float]:
    return float(values.mean()), max(float(values.std()), _LEAST)


def _confidence(evidence: Float32[np.ndarray, " found"]) -> Float32[np.ndarray, " found"]:
    odds = np.clip(_STEEPNESS * (evidence - _MIDDLE), -50, 50)
    return (100 / (1 + np.exp(-odds))).astype(np.float32)
