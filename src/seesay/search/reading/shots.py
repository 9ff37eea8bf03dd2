"""Where the shots of a video begin: where neighbouring pictures differ by much more than usual."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8

_SHORTEST_S = 1.0
_LEVELS = 32  # of a colour channel, for histograms
# A cut changes the picture by more than twice what its neighbourhood changes. Below _LITTLE lies
# the noise of a camera that stands still; above _MUCH, different scenes.
_NEARBY, _RATIO = 12, 2.0
_LITTLE, _MUCH = 0.06, 0.25

Picture = UInt8[np.ndarray, "side side 3"]


def cuts(times: Sequence[float], pictures: Sequence[Picture]) -> list[tuple[float, float]]:
    """Returns the times at which shots begin, apart from the first, each with how much the picture
    changes there (0 to 1). Pictures are small frames in RGB, one for each time."""
    if len(times) < 2:
        return []
    changes = _changes(np.stack(pictures))
    found: list[tuple[float, float]] = []
    for at, change in enumerate(changes):
        around = np.delete(changes[max(at - _NEARBY, 0) : at + _NEARBY + 1], min(at, _NEARBY))
        usual = float(np.median(around)) if len(around) else 0.0
        if change < min(max(_RATIO * usual, _LITTLE), _MUCH):
            continue
        before = found[-1][0] if found else times[0]
        if times[at + 1] - before >= _SHORTEST_S:
            found.append((times[at + 1], float(change)))
    return found


def _changes(
    pictures: UInt8[np.ndarray, "looks side side 3"],
) -> Float[np.ndarray, " changes"]:
    """Returns how much each picture differs from the one before it: the mean of the differences of
    their pixels, and of the shift of their histograms, which motion hardly changes."""
    small = pictures.astype(np.int16)
    pixels = np.array([np.abs(one - other).mean() for one, other in pairwise(small)]) / 255
    coloured = (pictures >> 3) + np.array([0, _LEVELS, 2 * _LEVELS], np.uint8)
    counts = np.stack([np.bincount(one.ravel(), minlength=3 * _LEVELS) for one in coloured])
    shares = counts.reshape(len(pictures), 3, _LEVELS) / pictures[0, ..., 0].size
    shift = np.abs(np.diff(shares.cumsum(-1), axis=0)).mean((1, 2))
    return (pixels + shift) / 2
