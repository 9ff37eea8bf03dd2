"""The answer to a query: hits with their confidence, and how they were found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from seesay.search.asking.query import Query, RetrieverName
from seesay.search.catalog.drafts import Place
from seesay.search.catalog.files import File
from seesay.search.catalog.metadata import Value
from seesay.search.catalog.passages import Passage
from seesay.search.catalog.store import Store
from seesay.search.reading.registry import shows
from seesay.search.vectors.planner import Plan
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class RetrieverRank:
    """Where one retriever ranked a hit."""

    retriever: RetrieverName
    """For a picture, "text" and "keyword" refer to its captions."""
    rank: int
    """Starts at 1."""
    score: float
    """Cosine with the query; BM25 for keywords (higher is better, without a scale)."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage found by a search."""

    unit: int
    item: int
    path: str
    kind: str
    """"image", "page", "moment", "text" or "table"."""
    has_picture: bool
    """Whether it has a thumbnail: a text has one of the page or moment that it stands in."""
    locator: Place
    text: str | None
    """The text; for a picture its captions, one per line."""
    score: float
    """The sum of weighted reciprocal ranks; orders likely hits."""
    confidence: float
    """0-100: how likely the hit matches the query, rather than just being the nearest."""
    retrievers: tuple[RetrieverRank, ...]
    duplicates: tuple[str, ...] = ()
    """Paths of files with the same content, not listed as hits of their own."""
    metadata: Mapping[str, Value | tuple[Value, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Hit({self.unit}, {self.path!r}, {self.kind}, confidence={self.confidence:.0f})"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the cosines of one retriever were judged; see `search/asking/confidence.py`."""

    against: str
    """The background vocabulary ("en", "zh"), or other pictures ("image")."""
    null: float
    """The cosine expected of vectors that do not match."""
    spread: float
    """The spread of such cosines."""
    match: float
    """How many spreads above `null` a match is expected."""
    best: float
    """How many spreads above `null` the best hit lies."""
    share: float
    """The share of the retriever's passages expected to match (0 to 1); 0 for texts with a text
    embedder, which are judged one by one."""


@dataclass(frozen=True, kw_only=True)
class RetrieverReport:
    """What one retriever did."""

    retriever: RetrieverName
    """"text" may occur twice: for captions, and for text passages if these have a text embedder."""
    model: str | None = None
    """The model whose vectors were compared; None for keywords."""
    weight: float = 1.0
    found: int
    plan: Plan | None = None
    """How vectors were searched; None for keywords."""
    comparison: Comparison | None = None
    expression: str | None = None
    """The query sent to the keyword index."""


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """A part of the query as it was used."""

    kind: Literal["text", "image", "unit"]
    shown: str
    weight: float
    windows: int = 1
    """The number of context windows that a long text was split into."""


@dataclass(frozen=True, kw_only=True)
class Explain:
    """How the hits were found."""

    parts: tuple[PartReport, ...]
    retrievers: tuple[RetrieverReport, ...]
    notes: tuple[Text, ...]
    """Notes for the user, such as how a time was understood."""
    filter: str
    """The filter in use, as text; empty if there is none."""
    threshold: float
    """Confidence below which the best hit counts as no good match."""
    fusion: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Results:
    """The answer to a query."""

    hits: tuple[Hit, ...]
    no_good_match: bool
    """Whether nothing in the collection matches, so that the hits are only the nearest."""
    query: Query
    """As it was understood."""
    explain: Explain
    seconds: float

    def __repr__(self) -> str:
        best = f", best {self.hits[0]!r}" if self.hits else ""
        fits = "no good match" if self.no_good_match else "a good match"
        return f"Results({len(self.hits)} hits, {fits}{best})"


@dataclass(frozen=True, eq=False)
class Ranked:
    """Passages in display order."""

    units: Int[np.ndarray, " found"]
    scores: Float[np.ndarray, " found"]
    confidences: Float[np.ndarray, " found"]
    places: Sequence[
        tuple[RetrieverName, Int[np.ndarray, " _found"], Float[np.ndarray, " _found"]]
    ] = ()
    """The passages and scores of each retriever, best first."""


_SLACK = 3


def has_picture(passage: Passage, file: File) -> bool:
    """Whether a passage can be shown as a picture."""
    return passage.media_type == "image" or shows(file.media_type, passage.place)


def make_hits(store: Store, ranked: Ranked, page: slice) -> list[Hit]:
    """Returns the hits of one page, folding copies into the first of them and leaving out passages
    that have been removed since."""
    looked_at = page.stop + _SLACK
    with store.database.snapshot():
        while True:
            units = {unit.id: unit for unit in store.passages.get(ranked.units[:looked_at])}
            items = {i.id: i for i in store.files.get({u.file for u in units.values()})}
            folded = _fold(units, items, ranked.units[:looked_at].tolist())
            # Copies of a hit come right after it: one more hit completes those of the last.
            if len(folded) > page.stop or looked_at >= len(ranked.units):
                break
            looked_at *= 2
        folded = folded[page]
        metadata = store.metadata.get([number for number, _ in folded])
    rows = {number: row for row, number in enumerate(ranked.units[:looked_at].tolist())}
    places = [
        (name, {unit: place for place, unit in enumerate(found.tolist())}, scores)
        for name, found, scores in ranked.places
    ]
    return [
        Hit(
            unit=number,
            item=units[number].file,
            path=items[units[number].file].path,
            kind=units[number].media_type,
            has_picture=has_picture(units[number], items[units[number].file]),
            locator=units[number].place,
            text=units[number].text,
            score=float(ranked.scores[rows[number]]),
            confidence=float(ranked.confidences[rows[number]]),
            retrievers=tuple(
                RetrieverRank(retriever=name, rank=at[number] + 1, score=float(scores[at[number]]))
                for name, at, scores in places
                if number in at
            ),
            duplicates=tuple(copies),
            metadata=metadata[number],
        )
        for number, copies in folded
    ]


def _fold(
    units: Mapping[int, Passage], items: Mapping[int, File], order: Sequence[int]
) -> list[tuple[int, list[str]]]:
    """Returns passages with the paths of their copies: the same place in the same content."""
    folded: dict[tuple[str, int], tuple[int, list[str]]] = {}
    for number in order:
        unit = units.get(number)
        if unit is None or unit.file not in items:
            continue
        item = items[unit.file]
        key = (item.content_hash or f"item {item.id}", unit.position)
        if key in folded:
            folded[key][1].append(item.path)
        else:
            folded[key] = (number, [])
    return list(folded.values())
