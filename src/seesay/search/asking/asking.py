"""A query: words and pictures wanted and unwanted, a filter, and which of the hits to show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from seesay.data.images import ImageSource, describe_source
from seesay.data.spelling import visible
from seesay.errors import ConfigError
from seesay.search.asking.reading.dates import Period, find_period
from seesay.search.asking.reading.wording import NEGATIVE_WEIGHT, read_wording
from seesay.search.catalog.filters import Filter

LaneName = Literal["image", "text", "keyword"]
LANES: tuple[LaneName, ...] = ("image", "text", "keyword")
MOST_HITS = 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One thing that is wanted, or with a weight below zero unwanted: a text, a picture, or a unit
    of the collection."""

    text: str | None = None
    image: ImageSource | None = None
    unit: int | None = None
    weight: float = 1.0
    phrases: tuple[str, ...] = ()
    """What of the text stood in quotes: the keyword lane holds each to the letter."""

    def __post_init__(self) -> None:
        given = [x for x in (self.text, self.image, self.unit) if x is not None]
        if len(given) != 1 or not math.isfinite(self.weight) or not self.weight:
            raise ConfigError(
                f"a part of the query has {len(given)} of text, image and unit, and the weight "
                f"{self.weight:g}; expected one of them, and a weight that is not 0; "
                "make one part of each"
            )

    @property
    def negative(self) -> bool:
        """Whether it is unwanted."""
        return self.weight < 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What is searched for. `count` hits after the first `offset` are shown."""

    parts: tuple[Part, ...]
    filter: Filter | None = None
    count: int = 20
    offset: int = 0
    min_confidence: float | None = None
    """Hits below it are left out (0-100)."""
    lanes: tuple[LaneName, ...] | None = None
    """Only these; None for all."""
    period: Period | None = None
    """A time named in the words: used where the collection has pictures taken then."""

    def __post_init__(self) -> None:
        if self.count < 1 or self.offset < 0 or self.offset + self.count > MOST_HITS:
            raise ConfigError(
                f"the query asks for {self.count} hits after the first {self.offset}; expected at "
                f"least 1, and no more than {MOST_HITS} in all; ask for fewer, or narrow the "
                "search with a filter"
            )
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 100:
            raise ConfigError(
                f"min_confidence is {self.min_confidence:g}; expected 0 to 100; "
                "50 keeps what is more likely right than not"
            )
        if self.lanes is not None and (not self.lanes or set(self.lanes) - set(LANES)):
            raise ConfigError(
                f"the lanes are {self.lanes!r}; expected some of {', '.join(LANES)}; "
                "leave them out to search all"
            )


def parse(text: str, *, images: Sequence[ImageSource] = (), today: date | None = None) -> Query:
    """Read a query as people type it; see `wording` for what has a meaning. Words without one are
    searched for as they were typed. `images` are wanted as much as the words. `today` is what "last
    year" starts from.

    Raises ConfigError where nothing is asked for.
    """
    plain = visible(text).strip()
    words = [
        Part(text=said.text, weight=said.weight, phrases=said.phrases)
        for said in read_wording(plain)
    ]
    parts = (*words, *(Part(image=image) for image in images))
    if not parts:
        raise ConfigError(
            f"the query is {text[:40]!r}; expected words or a picture; say what to look for, as in "
            '"a dog on the grass"'
        )
    return Query(parts=parts, period=find_period(plain, today or date.today()))


def without_pictures(query: Query) -> Query:
    """The same with the pictures' names in their place."""
    parts = [
        part if part.image is None else replace(part, image=describe_source(part.image))
        for part in query.parts
    ]
    return replace(query, parts=tuple(parts))


__all__ = ["LANES", "MOST_HITS", "NEGATIVE_WEIGHT", "LaneName", "Part", "Query", "parse"]
