"""Several parts of a query as one direction.

A score is a weighted sum of the parts' scores, each brought to the spread that it has in the lane:
pictures lie closer to each other than texts to pictures, and would otherwise decide alone. Such a
sum is again the score of one vector, so a lane is asked once. One part alone stays as it is.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32


def combined(
    directions: Sequence[Float32[np.ndarray, " embed"]],
    weights: Sequence[float],
    sample: Float32[np.ndarray, "rows embed"],
) -> Float32[np.ndarray, " embed"]:
    """One direction for all parts; `sample` are vectors of the lane."""
    if len(directions) == 1 and weights[0] > 0:
        return directions[0]
    total = np.zeros_like(directions[0])
    for direction, weight in zip(directions, weights, strict=True):
        spread = float(np.einsum("ij,j->i", sample, direction).std()) if len(sample) > 1 else 1.0
        total += weight * direction / max(spread, 1e-6)
    if float(np.linalg.norm(total)) < 1e-6:  # the same thing wanted and unwanted
        return directions[0]
    return total
