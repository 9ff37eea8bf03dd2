"""Pictures with captions among those without."""

import numpy as np

from seesay.search.asking.hits import Found
from seesay.search.asking.rankings.captions import weighed
from seesay.search.asking.rankings.fusion import fused
from seesay.search.asking.rankings.ranking import Answered
from seesay.search.asking.results import LaneReport


def answered(lane, *units: int) -> Answered:
    found, scores = np.array(units, np.int64), np.linspace(1, 0.5, len(units), dtype=np.float32)
    report = LaneReport(lane=lane, weight=1.0, found=len(units), plan=None, comparison=None)
    return Answered(Found(lane, found, scores, scores), [(1.0, (found, scores))], report)


def order(*lanes: Answered, captioned: list[int]) -> list[int]:
    return fused(weighed(lanes, np.array(captioned, np.int64)))[0].tolist()


def test_what_is_first_by_its_look_and_by_its_caption_is_first_without_a_keyword_too():
    seen, said = answered("image", 7, 1, 2, 3), answered("text", 7, 8)
    assert order(seen, said, captioned=[7, 8])[0] == 7


def test_a_caption_brings_no_picture_before_those_that_look_most_like_it():
    seen, said = answered("image", 1, 2, 3, 7), answered("text", 7)
    assert order(seen, said, captioned=[7])[:2] == [1, 2]


def test_a_picture_that_only_looks_like_it_loses_its_place_once_it_has_another_caption():
    seen, said = answered("image", 7, 1), answered("text", 8, 7)
    assert order(seen, said, captioned=[7, 8]) == [1, 7, 8]
