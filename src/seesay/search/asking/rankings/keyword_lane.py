"""The keyword lane: texts that hold the words of the query, all of them before some of them."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from seesay.search.asking.asking import Part
from seesay.search.asking.hits import Found
from seesay.search.asking.rankings.fusion import LOOSE, WEIGHTS, Ranked
from seesay.search.asking.rankings.ranking import Answered
from seesay.search.asking.results import LaneReport
from seesay.search.catalog.filters import Filter
from seesay.search.catalog.keywords import match_expression
from seesay.search.catalog.store import Store

LITERAL = 90.0
"""Confidence of a unit that holds every word: it is what was typed, perhaps not what was
meant."""


def search_keywords(
    store: Store, parts: Sequence[Part], count: int, within: Filter | None
) -> Answered | None:
    """None where the query has no words, or where there are no texts."""
    if store.keywords.is_empty():
        return None  # and jieba need not be loaded
    wanted = [part for part in parts if part.text and not part.negative]
    text = " ".join(str(part.text) for part in wanted)
    phrases = [phrase for part in wanted for phrase in part.phrases]
    excluded = [str(part.text) for part in parts if part.text and part.negative]
    strict = match_expression(text, phrases, excluded, every=True)
    if strict is None:
        return None
    loose = match_expression(text, phrases, excluded)
    ask = partial(
        store.keywords.search, text, count, phrases=phrases, excluded=excluded, within=within
    )
    units, scores = ask(every=True)
    weight = WEIGHTS["keyword"]
    rankings: list[tuple[float, Ranked]] = [(weight, (units, scores))]
    sure = np.full(len(units), LITERAL, np.float32)
    if loose != strict and len(units) < count:
        some, of_some = ask()
        fresh = ~np.isin(some, units)
        some, of_some = some[fresh], of_some[fresh]
        rankings.append((weight * LOOSE, (some, of_some)))
        units, scores = np.concatenate([units, some]), np.concatenate([scores, of_some])
        sure = np.concatenate([sure, np.zeros(len(some), np.float32)])
    found = Found("keyword", units, scores, sure)
    report = LaneReport(
        lane="keyword",
        weight=weight,
        found=len(units),
        plan=None,
        comparison=None,
        expression=strict,
    )
    return Answered(found, rankings, report)
