"""Tag the pictures of a collection with words that fit them, from their stored vectors.

A tag is given where a search for the word would call the picture a good match (`calibration`), so
that tags are as sure in a small collection and with any model.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from seesay.errors import ConfigError
from seesay.inference.cancelling import check_cancelled
from seesay.inference.classifier import PLAIN, ensemble
from seesay.inference.embedder import Embedder
from seesay.inference.prompts import concepts, detect_language, fill, templates
from seesay.search.query.calibration import THRESHOLD, each_confidence
from seesay.search.query.everyday import Everyday
from seesay.search.query.rankings.lanes import SpaceLanes
from seesay.search.store.filters.conditions import Filter, matching_units
from seesay.search.store.records import Space
from seesay.search.store.store import Store

TAG_KEY = "tag"
MOST_TAGS = 5  # of each language, for one picture
_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class TagReport:
    """What tagging did."""

    pictures: int
    """That were looked at."""
    tagged: int
    """That got at least one tag."""
    counts: Mapping[str, int]
    """Pictures by tag, the most frequent first."""


def default_labels() -> tuple[str, ...]:
    """Some 200 everyday words in each language."""
    return (*concepts("en"), *concepts("zh"))


def tag(
    store: Store,
    embedder: Embedder,
    labels: Sequence[str] | None = None,
    *,
    within: Filter | None = None,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> TagReport:
    """Tag the pictures that `within` takes, or all, with those of `labels` that fit; their former
    tags go. Filters find tags under the key "tag".

    `on_progress` gets the pictures done, their number, and 0. Raises ConfigError for empty labels.
    """
    words = tuple(dict.fromkeys(label.strip() for label in labels or default_labels()))
    if not all(words):
        raise ConfigError(
            f"the labels {list(words)} hold an empty one; expected words; "
            "give them as in 'cat,dog' or '猫,狗'"
        )
    space = store.spaces.active()
    if space is None:
        return TagReport(pictures=0, tagged=0, counts={})
    lanes = SpaceLanes(store, space, Everyday(embedder))
    try:
        return _tagged(lanes, _Labels(embedder, words), within, on_progress)
    finally:
        lanes.close()


class _Labels:
    """Words with their vectors."""

    def __init__(self, embedder: Embedder, words: Sequence[str]) -> None:
        self.words = words
        self.languages = [detect_language(word) for word in words]
        self.vectors = ensemble(
            embedder,
            [
                [fill(template, word) for template in templates(language)[:PLAIN]]
                for word, language in zip(words, self.languages, strict=True)
            ],
        )

    def fitting(
        self, lanes: SpaceLanes, vectors: Float32[np.ndarray, "rows embed"], size: int
    ) -> list[tuple[str, ...]]:
        """The words for each picture, the surest first."""
        sure = np.zeros((len(self.words), len(vectors)))
        for row, (language, vector) in enumerate(zip(self.languages, self.vectors, strict=True)):
            level = lanes.level("image", language)
            if level is not None:
                sure[row] = each_confidence(level, vector, vectors, size)
        return [self._best(of_one) for of_one in sure.T]

    def _best(self, sure: np.ndarray) -> tuple[str, ...]:
        chosen: Counter[str] = Counter()
        best = []
        for row in np.argsort(-sure, kind="stable"):
            if sure[row] < THRESHOLD:
                break
            if chosen[self.languages[row]] < MOST_TAGS:
                chosen[self.languages[row]] += 1
                best.append(self.words[row])
        return tuple(best)


def _tagged(
    lanes: SpaceLanes,
    labels: _Labels,
    within: Filter | None,
    on_progress: Callable[[int, int, int], None] | None,
) -> TagReport:
    store, space = lanes.store, lanes.space
    units = _pictures(store, space, within)
    counts: Counter[str] = Counter()
    tagged = 0
    for start in range(0, len(units), _BATCH):
        check_cancelled()
        numbers, vectors = store.vectors.get(space.id, units[start : start + _BATCH])
        given = labels.fitting(lanes, vectors, lanes.sample("image").size)
        with store.writing("tag"):
            metadata = store.units.metadata(numbers.tolist())  # those that went since are left out
            there = {unit.id for unit in store.units.get(numbers)}
            for unit, words in zip(numbers.tolist(), given, strict=True):
                if unit in there and {*words} != _former(metadata[unit].get(TAG_KEY)):
                    store.units.describe(unit, metadata={**metadata[unit], TAG_KEY: words})
        counts.update(word for words in given for word in words)
        tagged += sum(bool(words) for words in given)
        if on_progress is not None:
            on_progress(min(start + _BATCH, len(units)), len(units), 0)
    return TagReport(pictures=len(units), tagged=tagged, counts=dict(counts.most_common()))


def _former(value: object) -> set[object]:
    return set(value) if isinstance(value, tuple) else {value} - {None}


def _pictures(store: Store, space: Space, within: Filter | None) -> list[int]:
    rows = store.database.rows(
        "SELECT unit FROM vectors WHERE space = ? AND modality = 'image' ORDER BY unit", (space.id,)
    )
    units = [unit for (unit,) in rows]
    if within is None:
        return units
    allowed = set(matching_units(within, store.database).tolist())
    return [unit for unit in units if unit in allowed]
