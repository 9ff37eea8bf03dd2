"""Finds the evidence for a question: passages of a collection, numbered for citing.

Each retriever of the collection searches for the question without its question words, as a whole
and in parts. The rankings are fused by reciprocal ranks, copies are folded, and neighbouring
passages of a file are joined.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log

import numpy as np

from seesay.data.spelling import fold, visible
from seesay.errors import ConfigError
from seesay.rag.questions import Question, spellings_of, stem, words_in
from seesay.search.asking.query import RETRIEVERS, Part, Query
from seesay.search.asking.results import Hit
from seesay.search.catalog.drafts import TEXT_TYPES, Place
from seesay.search.catalog.filters import Filter
from seesay.search.collection import Collection
from seesay.text import Text

Rerank = Callable[[str, Sequence[int]], Sequence[int]]

K = 10
"""Of reciprocal-rank fusion: lower than in a search, since only a few passages are used."""
_DEPTH = 40  # hits of each retriever
_COUNTED = 1000  # passages with a word, at least
_COMMON = 20  # a word in this fraction of all passages is as common as any
LEAST = 0.8
"""Likelihood from which a picture is named: see `likelihoods`."""
_TEMPERATURE = 2.5
_NONE = exp(2.0)
_PICTURES = 100  # compared; those far down add nothing
_ONE_SCENE = (
    0.95  # similarity of pictures; of 600 of different scenes none reach 0.92 (seesay-base)
)
_SAME = 40  # characters by which neighbouring passages may overlap


@dataclass(frozen=True, kw_only=True)
class EvidenceLimits:
    """How much evidence an answer may rest on."""

    texts: int = 8
    """Passages with text."""
    pictures: int = 4
    characters: int = 6000
    """Of all texts together."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name == "pictures" else 1):
                raise ConfigError(
                    Text(
                        f"{name}={value} leaves no evidence; expected at least 1 (of pictures 0); "
                        "raise it, or leave it out",
                        f"{name}={value} 时没有任何依据；至少应为 1（pictures 可为 0）；"
                        "请调大或省略",
                    )
                )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A passage that an answer may cite."""

    id: int
    """The number by which it is cited, from 1."""
    unit: int
    """Number of the passage in the collection."""
    path: str
    kind: str
    """"text", "page", "table", "moment" or "image"."""
    locator: Place
    text: str
    """Without invisible characters; empty for a picture without a caption. Quotes count
    characters in it. For cells that a value was computed from, it says how."""
    confidence: float
    """How likely the passage matches the question (0-100), by the search."""

    @property
    def is_picture(self) -> bool:
        """Whether it can be looked at."""
        return self.kind not in TEXT_TYPES


@dataclass(frozen=True, eq=False)
class Rarity:
    """How rare each word of a question is in a collection."""

    weights: dict[str, float] = field(default_factory=dict)
    """By stem: the logarithm of all passages divided by those that have the word."""

    def of(self, stem: str) -> float:
        return self.weights.get(stem, 1.0)


def gather(
    collection: Collection,
    question: Question,
    *,
    limits: EvidenceLimits | None = None,
    filter: Filter | None = None,
    rerank: Rerank | None = None,
) -> tuple[Evidence, ...]:
    """Returns the evidence for a question, best first: pictures first for a question about
    pictures. `rerank` puts the passages in another order, given the question and their numbers.
    Raises CollectionError for an empty collection."""
    limits = limits or EvidenceLimits()
    asked = [question, *(Question.of(part) for part in question.parts)]
    points: dict[int, float] = {}
    hits: dict[int, Hit] = {}
    rare = rarity(collection, asked)
    for one in asked:
        of_one: dict[int, Hit] = {}
        for ranking in _rankings(collection, one, filter):
            for rank, hit in enumerate(ranking):
                points[hit.unit] = points.get(hit.unit, 0.0) + 1 / (K + rank)
                known = hits.get(hit.unit)
                if known is None or known.confidence < hit.confidence:
                    hits[hit.unit] = hit
                of_one[hit.unit] = hit
        for rank, unit in _by_words(one, of_one, rare):
            points[unit] += 1 / (K + rank)
    order: Sequence[int] = sorted(hits, key=lambda unit: -points[unit])
    if rerank is not None:
        order = rerank(question.text, order)
    return _packed((hits[unit] for unit in order), question, limits)


def likelihoods(collection: Collection, shown: str, filter: Filter | None) -> dict[int, float]:
    """By number of the passage: how likely each picture is the one that shows what is described,
    if at most one scene does. Pictures of one scene are equally likely, however many there are.

    A picture is likely in proportion to exp((m z - m² / 2) / T), where z is its standard score and
    m that of a match (`search/asking/confidence.py`), and so is, with a fixed weight, that no
    picture shows it. Both constants were fitted to 600 photographs of Flickr8k's dev split and
    their captions in both languages, in groups of 20 to 200, with and without the picture: of 40
    photographs, seesay-base names one for 39 % (27 % in Chinese) of the captions, and it is the
    right one in 94 % (91 %).
    """
    query = Query(parts=(Part(text=shown),), retrievers=("image",), count=_PICTURES, filter=filter)
    found = collection.search(query)
    comparisons = [one.comparison for one in found.explain.retrievers if one.comparison]
    hits = [one for one in found.hits if one.kind == "image"]
    if not hits or not comparisons:
        return {}
    usual = comparisons[0]
    scores = np.array([one.retrievers[0].score - usual.null for one in hits]) / usual.spread
    weights = np.exp((usual.match * scores - usual.match**2 / 2) / _TEMPERATURE)
    return _by_scene(collection, dict(zip((one.unit for one in hits), weights, strict=True)))


def _by_scene(collection: Collection, weights: Mapping[int, float]) -> dict[int, float]:
    """Returns the likelihood of each picture, counting several pictures of one scene as one."""
    space = collection.store.spaces.active()
    assert space is not None  # it has just been searched
    units, vectors = collection.store.vectors.get(space.id, weights)
    alike = vectors @ vectors.T >= _ONE_SCENE
    count = alike.sum(axis=1)
    scenes = alike @ np.array([weights[unit] for unit in units.tolist()]) / count
    total = float((scenes / count).sum() + _NONE)
    return {
        unit: weight / total for unit, weight in zip(units.tolist(), scenes.tolist(), strict=True)
    }


def rarity(collection: Collection, questions: Iterable[Question]) -> Rarity:
    """Returns the rarity of the words of some questions in this collection."""
    index, total = collection.store.keywords, max(collection.store.passages.newest, 1)
    words = {word for one in questions for word in one.words}
    most = max(_COUNTED, total // _COMMON)
    weights = {
        stem(word): log(1 + total / (0.5 + index.count(" ".join(spellings_of(word)), most)))
        for word in words
    }
    return Rarity(weights)


def _rankings(
    collection: Collection, question: Question, filter: Filter | None
) -> Iterable[Sequence[Hit]]:
    """Yields the hits of each retriever; keywords are looked up in all their forms."""
    if not question.words:
        return
    forms = " ".join(form for word in question.words for form in spellings_of(word))
    for retriever in RETRIEVERS:
        words = forms if retriever == "keyword" else question.query
        query = Query(
            parts=(Part(text=words),), retrievers=(retriever,), count=_DEPTH, filter=filter
        )
        hits = collection.search(query).hits
        yield [hit for hit in hits if _serves(hit, question)]


def _serves(hit: Hit, question: Question) -> bool:
    """Whether a hit can help to answer. Only photographs answer "which photo"; a question about
    texts has no use for pictures without a caption."""
    if question.shown:
        return hit.kind == "image"
    return question.about_pictures or bool(hit.text)


def _by_words(
    question: Question, hits: Mapping[int, Hit], rare: Rarity
) -> Iterator[tuple[int, int]]:
    """Yields the ranks of passages by how many words of the question they contain, weighted by
    rarity; equal passages share a rank. Without this ranking, many passages that are a little like
    the question would outvote the one that contains all of its words."""
    weights = {
        unit: round(sum(map(rare.of, words_in(hit.text or "", question.wanted))), 6)
        for unit, hit in hits.items()
    }
    order = sorted({one for one in weights.values() if one}, reverse=True)
    ranks = {weight: rank for rank, weight in enumerate(order)}
    yield from ((ranks[weight], unit) for unit, weight in weights.items() if weight)


def _packed(
    hits: Iterable[Hit], question: Question, limits: EvidenceLimits
) -> tuple[Evidence, ...]:
    chosen: list[Hit] = []
    texts: set[str] = set()
    room, pictures, passages = limits.characters, 0, 0
    for hit in hits:
        text = visible(hit.text or "")
        looked_at = hit.kind not in TEXT_TYPES and (question.about_pictures or not text)
        if looked_at:
            if pictures < limits.pictures:
                pictures += 1
                chosen.append(hit)
            continue
        folded = "".join(fold(text).split())
        if not folded or folded in texts or passages >= limits.texts or len(text) > room:
            continue
        texts.add(folded)
        room -= len(text)
        passages += 1
        chosen.append(hit)
    if question.about_pictures:
        chosen.sort(key=lambda hit: hit.kind in TEXT_TYPES)
    joined = _joined(chosen)
    return tuple(
        Evidence(
            id=number,
            unit=hit.unit,
            path=hit.path,
            kind=hit.kind,
            locator=_place_in_visible(hit),
            text=visible(hit.text or ""),
            confidence=hit.confidence,
        )
        for number, hit in enumerate(joined, 1)
    )


def _place_in_visible(hit: Hit) -> Place:
    """Returns the place of a hit, with its subtitles counted in the visible text."""
    if hit.locator.cues is None:
        return hit.locator
    text = hit.text or ""
    cues = tuple((len(visible(text[:first])), start_s) for first, start_s in hit.locator.cues)
    return replace(hit.locator, cues=cues)


def _joined(hits: Sequence[Hit]) -> list[Hit]:
    """Joins consecutive texts on the same page of a file into the better-ranked one, since an
    answer may span two passages."""
    joined: list[Hit] = []
    for hit in hits:
        for at, other in enumerate(joined):
            if one := _as_one(other, hit):
                joined[at] = one
                break
        else:
            joined.append(hit)
    return joined


def _as_one(one: Hit, other: Hit) -> Hit | None:
    a, b = one.locator.offsets, other.locator.offsets
    page = (one.locator.page, one.locator.sheet) == (other.locator.page, other.locator.sheet)
    if one.item != other.item or not page or not a or not b or "text" not in (one.kind, other.kind):
        return None
    (first, begin), (second, end) = sorted(((one, a), (other, b)), key=lambda pair: pair[1])
    gap = end[0] - begin[1]
    before, after = first.text or "", second.text or ""
    whole = len(before) == begin[1] - begin[0] and len(after) == end[1] - end[0]
    if not whole or not -_SAME <= gap <= _SAME:
        return None
    text = before + after[-gap:] if gap < 0 else f"{before}\n{after}"
    place = replace(one.locator, offsets=(begin[0], end[1]))
    return replace(one, text=text, locator=place, confidence=max(one.confidence, other.confidence))
