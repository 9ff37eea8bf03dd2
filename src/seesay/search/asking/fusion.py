"""Several rankings as one, by reciprocal-rank fusion (Cormack et al., SIGIR 2009).

A passage gets weight / (60 + rank) from every retriever that found it. Only ranks count, so cosines
between texts, which are always higher than those between texts and pictures, cannot drown the
pictures. Hits are shown by confidence, and pictures and texts that are about as likely in turn
(`in_order`). With 91 photographs and 150 captions of others in one collection, their own captions
found so many of the photographs among the first ten (seesay-mini, en / zh):

    searched among pictures alone             0.98 / 0.88
    by confidence to the last percent         0.91 / 0.64  (0.04 / 0.20 of the answers no picture)
    in turn where less than 20 lie between    0.93 / 0.73  (0.01 / 0.08; texts gain 0.01 / 0.03)

Taking the mean of each modality off all vectors (GR-CLIP, arXiv 2507.19054) is the other way to let
texts and pictures meet. Where they meet by rank it brings nothing, and within one modality it costs
recall: R@10 among 1,000 photographs goes from 0.637 to 0.632 (en) and from 0.495 to 0.488 (zh).

All retrievers find a picture with captions: by what it shows, by the meaning of the captions, and
by their words. It counts with a weighted mean of the retrievers, not their sum: every picture is
somewhere in the ranking of pictures, so with a sum whatever has a caption would come before all
that has none. Its confidence is weighed in the same way. The shares were chosen on 1,000
photographs (seesay-mini), some with a caption in each language, asked with other captions of
theirs: the right one was among the first ten so often (en / zh; first and last line as
`python benchmarks/captions.py` prints them):

                               half have captions              a tenth has
                               of those       of the others    of those       of the others
    pictures alone             0.68 / 0.50    0.62 / 0.47      0.68 / 0.45    0.64 / 0.49
    pictures + keywords        0.78 / 0.60    0.56 / 0.40      0.83 / 0.57    0.63 / 0.47
    all retrievers, summed     0.92 / 0.78    0.49 / 0.33      0.99 / 0.86    0.58 / 0.42
    all retrievers, as here    0.77 / 0.65    0.65 / 0.51      0.79 / 0.61    0.64 / 0.49
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from seesay.search.asking.confidence import THRESHOLD
from seesay.search.asking.query import RetrieverName
from seesay.search.asking.retrievers import K, Ranking, reciprocal_ranks
from seesay.search.catalog.store import Store
from seesay.text import Text

METHOD = Text(
    "by confidence; likely pictures, and likely texts, by the sum over retrievers of "
    f"weight / ({K} + rank); pictures and texts about as likely in turn",
    f"按匹配度；可能相符的图片之间、文字之间，按各种检索方式的 权重 / ({K} + 名次) 之和；"
    "匹配度相近的图片与文字交替排列",
)

_SHARES: Mapping[RetrieverName, float] = {"image": 0.45, "text": 0.54, "keyword": 0.1}
"""What each retriever counts for in a picture with captions; 1 in any other. The first two are just
enough that one which is first in both comes before all that has no caption."""
# Confidences of a picture and of a text that differ by less do not tell which of them fits better.
_CLOSE = 20

Captioned = Int[np.ndarray, " captioned"]


def captioned_among(rankings: Sequence[Ranking], store: Store, space: int) -> Captioned:
    """The pictures with captions among what was found; none unless both pictures and texts were
    searched by vectors, since one has nothing to be weighed against."""
    found = {one.retriever: one.units.tolist() for one in rankings}
    if not {"image", "text"} <= found.keys() or store.annotations.is_empty():
        return np.empty(0, np.int64)
    return store.vectors.captioned(space, {unit for units in found.values() for unit in units})


def fuse(
    rankings: Sequence[Ranking], captioned: Captioned
) -> tuple[Int[np.ndarray, " found"], Float[np.ndarray, " found"]]:
    """Passages with their fused scores, the best first; equal ones in the order of the rankings.
    Captions are ranked among captions: longer texts about the same are no rivals of pictures."""
    if not any(len(one.units) for one in rankings):
        return np.empty(0, np.int64), np.empty(0)
    points = [one.points.copy() for one in rankings]
    if len(captioned):
        for one, some in zip(rankings, points, strict=True):
            has = np.isin(one.units, captioned)
            if one.retriever == "text":
                some[has] = reciprocal_ranks(int(has.sum()))
                some[~has] = reciprocal_ranks(int((~has).sum()))
            some[has] *= _SHARES[one.retriever]
    units = np.concatenate([one.units for one in rankings])
    distinct, first, place = np.unique(units, return_index=True, return_inverse=True)
    scores = np.bincount(place, np.concatenate(points), minlength=len(distinct))
    order = np.lexsort((first, -scores))
    return distinct[order], scores[order]


def fused_confidences(
    units: Int[np.ndarray, " found"], rankings: Sequence[Ranking], captioned: Captioned
) -> Float[np.ndarray, " found"]:
    """For each passage the highest confidence that a retriever has in it, in whole percents as they
    are shown. For a picture with captions, what it shows and what they say are weighed against each
    other first; if both together do not fit, the captions make it no more likely than the picture
    alone is. Captions that hold every word count as such."""
    by_retriever: dict[RetrieverName, np.ndarray] = {}
    order = np.argsort(units)
    for one in rankings:
        at = order[np.searchsorted(units, one.units, sorter=order)]
        by_retriever[one.retriever] = np.zeros(len(units))
        by_retriever[one.retriever][at] = one.confidences
    if len(captioned):
        has = np.isin(units, captioned)
        picture, caption = by_retriever["image"], by_retriever["text"]
        both = _SHARES["image"] * picture + (1 - _SHARES["image"]) * caption
        both = np.where(both < THRESHOLD, np.minimum(both, picture), both)
        by_retriever["image"] = np.where(has, both, picture)
        by_retriever["text"] = np.where(has, 0, caption)
    return np.maximum.reduce([np.zeros(len(units)), *by_retriever.values()]).round()


def in_order(
    confidences: Float[np.ndarray, " found"], pictures: Bool[np.ndarray, " found"] | None
) -> tuple[Int[np.ndarray, " found"], Float[np.ndarray, " found"]]:
    """The order in which hits are shown, and the confidences to show, from the best to the worst.

    The hits come in their fused order, which says more about likely hits of one kind than their
    confidence does, so these stay in it; the others are sorted by confidence. Pictures and texts
    that are about as likely come in turn (`pictures` is None where all hits are of one kind). Where
    a lower hit has the higher confidence, the hits in between get their mean (isotonic regression).
    """
    values = np.array(confidences, float)
    likely, unlikely = np.flatnonzero(values >= THRESHOLD), np.flatnonzero(values < THRESHOLD)
    unlikely = unlikely[np.argsort(-values[unlikely], kind="stable")]
    order = []
    for rows in (likely, unlikely):
        if pictures is not None:
            rows = _in_turn(rows[pictures[rows]], rows[~pictures[rows]], values)
        values[rows] = _falling(values[rows]).round()
        order.append(rows)
    rows = np.concatenate(order)
    return rows, values[rows]


def _in_turn(
    pictures: Int[np.ndarray, " pictures"],
    texts: Int[np.ndarray, " texts"],
    values: Float[np.ndarray, " found"],
) -> Int[np.ndarray, " both"]:
    """The rows of both kinds, each kind in its order: in turn while their confidences are close,
    the surer one first where they are not."""
    levels = _falling(values[pictures]).tolist(), _falling(values[texts]).tolist()
    rows = pictures.tolist(), texts.tolist()
    merged, at, last = list[int](), [0, 0], None
    while at[0] < len(rows[0]) and at[1] < len(rows[1]):
        lead = levels[0][at[0]] - levels[1][at[1]]
        kind = 1 - last if last is not None and abs(lead) < _CLOSE else int(lead < 0)
        merged.append(rows[kind][at[kind]])
        at[kind] += 1
        last = kind
    return np.array([*merged, *rows[0][at[0] :], *rows[1][at[1] :]], np.int64)


def _falling(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The nearest values that never rise (pool adjacent violators)."""
    means: list[float] = []
    counts: list[int] = []
    for value in values.tolist():
        mean, count = value, 1
        while means and means[-1] < mean:
            mean = (mean * count + means[-1] * counts[-1]) / (count + counts[-1])
            count += counts.pop()
            means.pop()
        means.append(mean)
        counts.append(count)
    return np.repeat(means, counts)
