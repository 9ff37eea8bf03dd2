"""How far a mean would vary with other pictures."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

RESAMPLES = 2000
SHARE = 0.95
"""Of the resampled means that lie in the interval."""


def interval(
    values: Float[np.ndarray, " answers"] | Bool[np.ndarray, " answers"],
    pictures: Sequence[str],
    *,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns where the middle 95 % of the means of resamples lie. Pictures are drawn with
    replacement, each with all its answers, since answers about one picture are not independent
    (Efron & Tibshirani 1993)."""
    _, groups = np.unique(pictures, return_inverse=True)
    sums, counts = np.bincount(groups, values), np.bincount(groups)
    random = np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES):
        drawn = random.integers(len(sums), size=len(sums))
        means.append(sums[drawn].sum() / counts[drawn].sum())
    low, high = np.quantile(means, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)
