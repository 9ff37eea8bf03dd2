"""What a search answers: hits, how sure each is, and how it came about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from seesay.search.asking.asking import LaneName, Query
from seesay.search.catalog.metadata import Value
from seesay.search.catalog.passages import Locator
from seesay.search.vectors.planner import Plan


@dataclass(frozen=True, kw_only=True)
class LaneHit:
    """Where one lane put a unit."""

    lane: LaneName
    """"text" and "keyword" of a picture are about its captions."""
    rank: int
    """From 1."""
    score: float
    """Cosine with the query; BM25 for keywords (higher is better, without a scale)."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A unit that was found."""

    unit: int
    item: int
    path: str
    kind: str
    """What the unit is: "image", "page", "moment" or "text"."""
    locator: Locator
    text: str | None
    """What is written in it; of a picture its captions, one a line."""
    score: float
    """Reciprocal ranks of all lanes, weighted and added up: the order of likely hits."""
    confidence: float
    """0-100: how likely this is what was asked for rather than the nearest of what is there."""
    lanes: tuple[LaneHit, ...]
    duplicates: tuple[str, ...] = ()
    """Paths of the same content, which were left out of the list."""
    metadata: Mapping[str, Value | tuple[Value, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Hit({self.unit}, {self.path!r}, {self.kind}, confidence={self.confidence:.0f})"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the cosines of one lane were judged; see `search/asking/confidence.py`."""

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
    """The share of the lane that is expected to match (0 to 1)."""


@dataclass(frozen=True, kw_only=True)
class LaneReport:
    """What one lane did."""

    lane: LaneName
    weight: float
    found: int
    plan: Plan | None
    """How vectors were searched; None for keywords."""
    comparison: Comparison | None
    expression: str | None = None
    """What the keyword index was asked."""


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """A part of the query as it was used."""

    kind: Literal["text", "image", "unit"]
    shown: str
    weight: float
    windows: int = 1
    """Into how many windows of the model's context a long text was divided."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something that the person who asked should know, in both languages."""

    en: str
    zh: str


@dataclass(frozen=True, kw_only=True)
class Explain:
    """How an answer came about."""

    parts: tuple[PartReport, ...]
    lanes: tuple[LaneReport, ...]
    notes: tuple[Note, ...]
    """What was understood beyond the words, such as a date."""
    filter: str
    """The filter in use, as text; empty without one."""
    threshold: float
    """Confidence below which the best hit counts as no good match."""
    fusion: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Results:
    """The answer to a query."""

    hits: tuple[Hit, ...]
    no_good_match: bool
    """Whether nothing in the collection fits: the hits are then only the nearest there are."""
    query: Query
    """As it was understood; pictures by their names."""
    explain: Explain
    seconds: float

    def __repr__(self) -> str:
        best = f", best {self.hits[0]!r}" if self.hits else ""
        fits = "no good match" if self.no_good_match else "a good match"
        return f"Results({len(self.hits)} hits, {fits}{best})"
