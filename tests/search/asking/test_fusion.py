"""Several rankings as one: pictures with captions among those without."""

import numpy as np

from seesay.search.asking.fusion import fuse
from seesay.search.asking.results import RetrieverReport
from seesay.search.asking.retrievers import Ranking, reciprocal_ranks


def ranking(retriever, *units: int) -> Ranking:
    found, scores = np.array(units, np.int64), np.linspace(1, 0.5, len(units), dtype=np.float32)
    report = RetrieverReport(retriever=retriever, found=len(units))
    return Ranking(retriever, found, scores, scores, reciprocal_ranks(len(units)), report)


def order(*rankings: Ranking, captioned: list[int]) -> list[int]:
    return fuse(rankings, np.array(captioned, np.int64))[0].tolist()


def test_what_is_first_by_its_look_and_by_its_caption_is_first_without_a_keyword_too():
    pictures, texts = ranking("image", 7, 1, 2, 3), ranking("text", 7, 8)
    assert order(pictures, texts, captioned=[7, 8])[0] == 7


def test_a_caption_brings_no_picture_before_those_that_look_most_like_it():
    pictures, texts = ranking("image", 1, 2, 3, 7), ranking("text", 7)
    assert order(pictures, texts, captioned=[7])[:2] == [1, 2]


def test_a_picture_that_only_looks_like_it_loses_its_place_once_it_has_another_caption():
    pictures, texts = ranking("image", 7, 1), ranking("text", 8, 7)
    assert order(pictures, texts, captioned=[7, 8]) == [1, 7, 8]
