"""Several parts of a query as one direction.

A score is a weighted sum of the parts' scores, each brought to the spread that it has in the lane:
pictures lie closer to each other than texts to pictures, and would otherwise decide alone. Such a
sum is again the score of one vector, so a lane is asked once. One part alone stays as it is.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from seesay.search.query.embedding import Embedded


def combined(
    parts: Sequence[Embedded], sample: Float32[np.ndarray, "rows embed"]
) -> Float32[np.ndarray, " embed"]:
    """The direction of the parts together, of length 1; `sample` are vectors of the lane."""
    if len(parts) == 1 and not parts[0].part.negative:
        return parts[0].vector
    total = np.zeros_like(parts[0].vector)
    for part in parts:
        spread = float(np.einsum("ij,j->i", sample, part.vector).std()) if len(sample) > 1 else 1.0
        total += part.part.weight * part.vector / max(spread, 1e-6)
    length = float(np.linalg.norm(total))
    if length < 1e-6:  # the same thing wanted and unwanted
        return parts[0].vector
    return total / length
