"""Tag the pictures of a collection with words that fit them, from their stored vectors.

A picture gets a tag if a search for the word would rate it as likely (`confidence`): `search dog`
and `tags dog` agree, in small collections and with any model.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from seesay.errors import ConfigError
from seesay.inference.background import Backgrounds
from seesay.inference.cancelling import check_cancelled
from seesay.inference.embedder import Embedder
from seesay.inference.prompts import concepts
from seesay.search.asking.confidence import THRESHOLD, Confidence
from seesay.search.asking.retrievers import VectorRetrievers
from seesay.search.catalog.filters import Filter, matching_passages
from seesay.search.catalog.keywords import cache_folder
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.text import Language, Text, detect_language

TAG_KEY = "tag"
MOST_LABELS = 1000
LONGEST_LABEL = 200  # characters
MOST_TAGS = 5  # per language and picture
_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class TagReport:
    """The result of tagging."""

    pictures: int
    """Number of pictures examined."""
    tagged: int
    """Number of pictures with at least one tag."""
    counts: Mapping[str, int]
    """Number of pictures per tag, the most frequent first."""


def default_labels() -> tuple[str, ...]:
    """Returns some 200 everyday words in each language."""
    return (*concepts("en"), *concepts("zh"))


def check_labels(labels: Sequence[str]) -> None:
    """Raises ConfigError for an empty label, and for more or longer labels than a server accepts: a
    longer label is a sentence or a mistake, and each must be embedded."""
    _check_not_empty(labels)
    if len(labels) > MOST_LABELS:
        raise ConfigError(
            Text(
                f"there are {len(labels):,} labels; expected at most {MOST_LABELS:,}; leave some "
                "out",
                f"有 {len(labels)} 个标签，最多只能有 {MOST_LABELS} 个，请减少一些",
            )
        )
    longest = max(labels, key=len, default="")
    if len(longest) > LONGEST_LABEL:
        start = f"{longest[:30]}…"
        raise ConfigError(
            Text(
                f"the label {start!r} has {len(longest):,} characters; expected at most "
                f"{LONGEST_LABEL}; shorten it, or separate labels with commas",
                f"标签“{start}”有 {len(longest)} 个字符，最多只能有 {LONGEST_LABEL} 个，"
                "请缩短，或用逗号分隔各个标签",
            )
        )


def _check_not_empty(labels: Sequence[str]) -> None:
    if not all(label.strip() for label in labels):
        raise ConfigError(
            Text(
                f"the labels {list(labels)[:20]} hold an empty one; expected words; give them as "
                "in 'cat,dog' or '猫,狗'",
                f"标签 {list(labels)[:20]} 中有空的；应为词语；请写成 'cat,dog' 或 '猫,狗' 这样",
            )
        )


def tag(
    store: Store,
    embedder: Embedder,
    labels: Sequence[str] | None = None,
    *,
    within: Filter | None = None,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> TagReport:
    """Tag the pictures that `within` accepts, or all, with the `labels` that fit, replacing their
    old tags. Filters find tags under the key "tag".

    `on_progress` gets the number of pictures done, the total, and 0. Raises ConfigError for empty
    labels.
    """
    words = tuple(dict.fromkeys(label.strip() for label in labels or default_labels()))
    _check_not_empty(words)
    space = store.spaces.active()
    if space is None:
        return TagReport(pictures=0, tagged=0, counts={})
    retrievers = VectorRetrievers(
        store, space, Backgrounds(embedder, cache_folder() / "background")
    )
    try:
        return _tagged(retrievers, embedder, words, within, on_progress)
    finally:
        retrievers.close()


@dataclass(frozen=True)
class _Label:
    word: str
    language: Language
    confidence: Confidence


def _labels(retrievers: VectorRetrievers, embedder: Embedder, words: Sequence[str]) -> list[_Label]:
    labels = []
    for word, vector in zip(words, embedder.embed_texts(words).vectors, strict=True):
        confidence = retrievers.confidence("image", word, vector)
        labels.append(_Label(word, detect_language(word), confidence))
    return labels


def _fitting(
    labels: Sequence[_Label], vectors: Float32[np.ndarray, "rows embed"]
) -> list[tuple[str, ...]]:
    """Returns the words for each picture, the likeliest first."""
    confidences = np.stack([label.confidence(vectors) for label in labels], axis=1)
    return [_best(labels, of_one) for of_one in confidences]


def _best(labels: Sequence[_Label], confidences: Float32[np.ndarray, " labels"]) -> tuple[str, ...]:
    chosen: Counter[str] = Counter()
    best = []
    for row in np.argsort(-confidences, kind="stable"):
        if confidences[row] < THRESHOLD:
            break
        if chosen[labels[row].language] < MOST_TAGS:
            chosen[labels[row].language] += 1
            best.append(labels[row].word)
    return tuple(best)


def _tagged(
    retrievers: VectorRetrievers,
    embedder: Embedder,
    words: Sequence[str],
    within: Filter | None,
    on_progress: Callable[[int, int, int], None] | None,
) -> TagReport:
    store, space = retrievers.store, retrievers.space
    units = _pictures(store, space, within)
    labels = _labels(retrievers, embedder, words) if units else []
    counts: Counter[str] = Counter()
    tagged = 0
    for start in range(0, len(units), _BATCH):
        check_cancelled()
        numbers, vectors = store.vectors.get(space.id, units[start : start + _BATCH])
        given = _fitting(labels, vectors)
        with store.writing("tag"):
            metadata = store.metadata.get(numbers.tolist())  # without those removed since
            there = {unit.id for unit in store.passages.get(numbers)}
            for unit, tags in zip(numbers.tolist(), given, strict=True):
                if unit in there and {*tags} != _former(metadata[unit].get(TAG_KEY)):
                    store.passages.describe(unit, metadata={**metadata[unit], TAG_KEY: tags})
        counts.update(word for tags in given for word in tags)
        tagged += sum(bool(tags) for tags in given)
        if on_progress is not None:
            on_progress(min(start + _BATCH, len(units)), len(units), 0)
    return TagReport(pictures=len(units), tagged=tagged, counts=dict(counts.most_common()))


def _former(value: object) -> set[object]:
    return set(value) if isinstance(value, tuple) else {value} - {None}


def _pictures(store: Store, space: EmbeddingSpace, within: Filter | None) -> list[int]:
    rows = store.database.rows(
        "SELECT unit FROM vectors WHERE space = ? AND modality = 'image' ORDER BY unit", (space.id,)
    )
    units = [unit for (unit,) in rows]
    if within is None:
        return units
    allowed = set(matching_passages(within, store.database).tolist())
    return [unit for unit in units if unit in allowed]
