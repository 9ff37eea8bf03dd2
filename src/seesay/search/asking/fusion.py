"""Fuses several rankings by reciprocal-rank fusion (Cormack et al., SIGIR 2009).

A passage gets weight / (60 + rank) from every retriever that found it. Only ranks count, so cosines
between texts, which are always higher than those between texts and pictures, cannot drown the
pictures. Hits are shown by confidence, and pictures and texts of similar confidence alternate
(`in_order`). In a collection of 91 photographs and 150 captions of other photographs, searches by
their own captions found this share of the photographs among the first ten (seesay-mini, en / zh):

    searched among pictures alone             0.98 / 0.88
    by confidence to the last percent         0.91 / 0.64  (0.04 / 0.20 of the answers no picture)
    in turn where less than 20 lie between    0.93 / 0.73  (0.01 / 0.08; texts gain 0.01 / 0.03)

Subtracting the mean of each modality from its vectors (GR-CLIP, arXiv 2507.19054) is the other way
to make texts and pictures comparable. With fusion by rank it gains nothing, and within one modality
it costs recall: R@10 among 1,000 photographs goes from 0.637 to 0.632 (en) and from 0.495 to 0.488
(zh).

All retrievers find a picture with captions: by its content, by the meaning of its captions, and by
their words. Its score is a weighted mean over the retrievers, not their sum: every picture is
somewhere in the picture ranking, so with a sum every picture with a caption would come before every
picture without. Its confidence is weighted in the same way. The shares were chosen on 1,000
photographs (seesay-mini), some with a caption in each language, searched by other captions of the
same photographs. The share of searches with the right photograph among the first ten (en / zh;
`python benchmarks/captions.py` prints the first and last lines):

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
"""The weight of each retriever for a picture with captions; 1 for any other passage. The first two
are just large enough to put a picture that is first in both before all pictures without
captions."""
# If the confidences of a picture and a text differ by less than this, they do not tell which fits
# better.
_CLOSE = 20

Captioned = Int[np.ndarray, " captioned"]


def captioned_among(rankings: Sequence[Ranking], store: Store, space: int) -> Captioned:
    """Returns the pictures with captions among the passages found; none unless both pictures and
    texts were searched by vectors, since the weights need both."""
    searched = {one.retriever for one in rankings}
    if not {"image", "text"} <= searched or store.annotations.is_empty():
        return np.empty(0, np.int64)
    return store.vectors.captioned(space, {unit for one in rankings for unit in one.units.tolist()})


def fuse(
    rankings: Sequence[Ranking], captioned: Captioned
) -> tuple[Int[np.ndarray, " found"], Float[np.ndarray, " found"]]:
    """Returns passages with their fused scores, best first; ties keep the order of the rankings.
    Captions are ranked only among captions: longer texts on the same subject do not compete with
    pictures."""
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
    """Returns the highest confidence of any retriever for each passage, in whole percent as shown.
    For a picture with captions, the confidences of the picture and of the captions are averaged
    first; if the average is too low for a match, captions cannot raise the confidence above that of
    the picture alone. Captions that contain every word count as keyword matches."""
    by_retriever: dict[RetrieverName, np.ndarray] = {}
    order = np.argsort(units)
    for one in rankings:
        at = order[np.searchsorted(units, one.units, sorter=order)]
        found = by_retriever.setdefault(one.retriever, np.zeros(len(units)))
        found[at] = np.maximum(found[at], one.confidences)  # texts may have two rankings
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
    """Returns the order in which to show hits, best first, and the confidences to show.

    Likely hits of one kind keep their fused order, which says more about them than their confidence
    does; unlikely hits are sorted by confidence. Pictures and texts of similar confidence alternate
    (`pictures` is None if all hits are of one kind). Where a lower hit has a higher confidence, the
    hits in between get the mean (isotonic regression).
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
    """Merge the rows of both kinds, keeping the order within each: alternate while their
    confidences are close, else the more confident one first."""
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
    """Returns the closest non-increasing values (pool adjacent violators)."""
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
