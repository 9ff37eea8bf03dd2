"""Pictures with captions, which all lanes find: by what they show, by what is said of them, and by
the very words.

Such a picture counts with a weighted mean of the lanes, not their sum: every picture is somewhere
in its lane, so that with a sum whatever has a caption would come before all that has none. How sure
it is, is weighed in the same way; whoever holds every word stays as sure as that. What is first by
its look and by its caption is first, in whichever language that is. The shares were chosen on 1,000
photographs (seesay-mini), some with a caption in each language, asked with other captions of
theirs: the right one was among the first ten so often (en / zh; first and last line as
`python benchmarks/captions.py` prints them):

                               half have captions              a tenth has
                               of those       of the others    of those       of the others
    pictures alone             0.68 / 0.50    0.62 / 0.47      0.68 / 0.45    0.64 / 0.49
    pictures + keywords        0.78 / 0.60    0.56 / 0.40      0.83 / 0.57    0.63 / 0.47
    all lanes, summed          0.92 / 0.78    0.49 / 0.33      0.99 / 0.86    0.58 / 0.42
    all lanes, as here         0.77 / 0.65    0.65 / 0.51      0.79 / 0.61    0.64 / 0.49
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from seesay.search.asking.asking import LaneName
from seesay.search.asking.confidence import THRESHOLD
from seesay.search.asking.hits import Found
from seesay.search.asking.rankings.fusion import Weighted
from seesay.search.asking.rankings.ranking import Answered
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space

SHARES: Mapping[LaneName, float] = {"image": 0.45, "text": 0.54, "keyword": 0.1}
"""What each lane counts for in a picture with captions; 1 in any other. The first two are just
enough that one which is first in both comes before all that has no caption."""


def captioned_of(
    answered: Sequence[Answered], store: Store, space: Space
) -> Int[np.ndarray, " captioned"]:
    """The pictures with captions among what was found; none unless both lanes of vectors were
    asked, since one has nothing to be weighed against."""
    found = {lane.found.lane: lane.found.units.tolist() for lane in answered}
    if not {"image", "text"} <= found.keys() or store.annotations.is_empty():
        return np.empty(0, np.int64)
    return store.vectors.captioned(space.id, {unit for units in found.values() for unit in units})


def weighed(
    answered: Sequence[Answered], captioned: Int[np.ndarray, " captioned"]
) -> list[Weighted]:
    """The rankings of all lanes with what they count for. Captions are ranked among captions:
    longer texts about the same are no rivals of pictures."""
    rankings: list[Weighted] = []
    for lane in answered:
        share = SHARES[lane.found.lane]
        for weight, (units, scores) in lane.rankings:
            has = np.isin(units, captioned)
            if lane.found.lane == "text" and has.any():
                rankings.append((weight, (units[~has], scores[~has])))
                rankings.append((share * weight, (units[has], scores[has])))
            else:
                rankings.append((np.where(has, share * weight, weight), (units, scores)))
    return rankings


def confidences_of(
    units: Int[np.ndarray, " found"],
    lanes: Sequence[Found],
    captioned: Int[np.ndarray, " captioned"],
) -> Float[np.ndarray, " found"]:
    """For each unit the confidence of the lane that is surest of it; what a picture with captions
    shows and what is said of it are weighed against each other first. Where both together do not
    fit, words that come near make it no surer than a picture without words would be. Rounded to
    whole percents, as they are shown."""
    by_lane: dict[LaneName, np.ndarray] = {}
    order = np.argsort(units)
    for lane in lanes:
        at = order[np.searchsorted(units, lane.units, sorter=order)]
        by_lane[lane.lane] = np.zeros(len(units))
        by_lane[lane.lane][at] = lane.confidences
    if len(captioned):
        has = np.isin(units, captioned)
        shown, said = by_lane["image"], by_lane["text"]
        both = SHARES["image"] * shown + (1 - SHARES["image"]) * said
        both = np.where(both < THRESHOLD, np.minimum(both, shown), both)
        by_lane["image"], by_lane["text"] = np.where(has, both, shown), np.where(has, 0, said)
    return np.maximum.reduce([np.zeros(len(units)), *by_lane.values()]).round()
