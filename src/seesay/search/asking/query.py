"""A query: words and pictures wanted and unwanted, a filter, and which of the hits to show."""

import inspect
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, cast

from seesay.data.images import ImageSource, several, several_images
from seesay.data.spelling import visible
from seesay.errors import ConfigError
from seesay.search.asking.words import NEGATIVE_WEIGHT, Period, find_period, read_clauses
from seesay.search.catalog.database import Database
from seesay.search.catalog.filters import All, AnyOf, Compare, Filter, Not, matching_passages
from seesay.search.catalog.metadata import DATE_KEY
from seesay.search.catalog.store import Store
from seesay.search.filtering import Where, make_filter
from seesay.search.indexing.walk import absolute
from seesay.text import Text

RetrieverName = Literal["image", "text", "keyword"]
RETRIEVERS: tuple[RetrieverName, ...] = ("image", "text", "keyword")
MOST_HITS = 10_000

Example = int | ImageSource
"""A passage by its number, a file of the collection by its path, or any picture."""
Searching = TypeVar("Searching", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One thing that is wanted, or with a weight below zero unwanted: a text, a picture, or a
    passage of the collection by its number."""

    text: str | None = None
    image: ImageSource | None = None
    unit: int | None = None
    weight: float = 1.0
    phrases: tuple[str, ...] = ()
    """What of the text is in quotes: keywords have to match it word for word."""

    def __post_init__(self) -> None:
        given = sum(one is not None for one in (self.text, self.image, self.unit))
        if given != 1 or not math.isfinite(self.weight) or not self.weight:
            raise ConfigError(
                Text(
                    f"a part of the query has {given} of text, image and unit, and the weight "
                    f"{self.weight:g}; expected one of them, and a weight that is not 0; "
                    "make one part of each",
                    f"查询的一个部分在 text、image 和 unit 中给出了 {given} 项，权重为 "
                    f"{self.weight:g}；应恰好给出一项，且权重不为 0；请为每一项单独建一个部分",
                )
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What is searched for. `Query.of` makes one of words, pictures and a filter. `count` hits
    after the first `offset` are shown."""

    parts: tuple[Part, ...] = ()
    like: tuple[Example, ...] = ()
    """More of these is wanted; they are not among the hits themselves."""
    unlike: tuple[Example, ...] = ()
    """What is like these goes down; they are not among the hits either."""
    filter: Filter | None = None
    count: int = 20
    offset: int = 0
    min_confidence: float | None = None
    """Hits below it are left out (0-100)."""
    lanes: tuple[RetrieverName, ...] | None = None
    """Search only by pictures ("image"), by the meaning of texts ("text") or by keywords; None for
    all of them."""
    period: Period | None = None
    """A time named in the words: used where the collection has pictures taken then."""

    def __post_init__(self) -> None:
        if self.count < 1 or self.offset < 0 or self.offset + self.count > MOST_HITS:
            raise ConfigError(
                Text(
                    f"the query asks for {self.count} hits after the first {self.offset}; expected "
                    f"at least 1, and no more than {MOST_HITS} in all; ask for fewer, or narrow "
                    "the search with a filter",
                    f"查询要求从第 {self.offset} 条之后取 {self.count} 条结果；至少取 1 条，"
                    f"总数不超过 {MOST_HITS}；请减少条数，或用筛选条件缩小范围",
                )
            )
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 100:
            raise ConfigError(
                Text(
                    f"min_confidence is {self.min_confidence:g}; expected 0 to 100; "
                    "50 keeps what is more likely right than not",
                    f"min_confidence 为 {self.min_confidence:g}；应在 0 到 100 之间；"
                    "50 表示只保留更可能正确的结果",
                )
            )
        if self.lanes is not None and (not self.lanes or set(self.lanes) - set(RETRIEVERS)):
            names = ", ".join(RETRIEVERS)
            raise ConfigError(
                Text(
                    f"the lanes are {self.lanes!r}; expected some of {names}; "
                    "leave them out to search all",
                    f"lanes 为 {self.lanes!r}；应取自 {names}；不填则全部查找",
                )
            )
        if not (self.parts or self.like or self.unlike or self.filter):
            raise ConfigError(
                Text(
                    "the query has no words and no picture; expected words or a picture, or a "
                    'filter; say what to look for, as in "a dog on the grass"',
                    "查询既没有文字也没有图片；应有文字、图片或筛选条件；请说明要找什么，"
                    "例如“草地上的一只狗”",
                )
            )

    @classmethod
    def of(  # noqa: PLR0913  # all that can be asked for
        cls,
        words: str = "",
        *,
        images: ImageSource | Sequence[ImageSource] = (),
        without: str | Sequence[str] = (),
        like: Example | Sequence[Example] = (),
        unlike: Example | Sequence[Example] = (),
        where: Where = (),
        folders: str | Path | Sequence[str | Path] = (),
        since: str | None = None,
        until: str | None = None,
        media: str | None = None,
        count: int = 20,
        offset: int = 0,
        min_confidence: float | None = None,
        lanes: Sequence[RetrieverName] | None = None,
        today: date | None = None,
    ) -> "Query":
        """A query as people ask it.

        `words` may name a time and what is unwanted, and hold quotes and weights; see `words`.
        `images` are wanted as much as the words, `without` is unwanted. `like` asks for more of the
        same, `unlike` for less of it: numbers of passages, files of the collection, or any
        pictures. None of them is among the hits, and unless there are words or `images` too,
        pictures find pictures and texts find texts. `where`, `folders`, `since`, `until` and
        `media` are those of `make_filter`. `today` is what "last year" counts from.

        Raises ConfigError if nothing is asked for, and for conditions that cannot be read.
        """
        words = visible(words).strip()
        pictures = cast(list[ImageSource], several_images(images))
        parts = (
            *(Part(text=c.text, weight=c.weight, phrases=c.phrases) for c in read_clauses(words)),
            *(Part(image=image) for image in pictures),
            *(Part(text=text, weight=NEGATIVE_WEIGHT) for text in several(without) if text.strip()),
        )
        return cls(
            parts=parts,
            like=_examples(like),
            unlike=_examples(unlike),
            filter=make_filter(where=where, folders=folders, since=since, until=until, media=media),
            count=count,
            offset=offset,
            min_confidence=min_confidence,
            lanes=None if lanes is None else tuple(dict.fromkeys(lanes)),
            period=find_period(words, today or date.today()),
        )

    def among(self, store: Store) -> "Query":
        """The query with `like` and `unlike` as parts, now that it is known what the collection
        holds of them."""
        wanted = tuple(_parts_like(self.like, store))
        unwanted = tuple(_parts_like(self.unlike, store, NEGATIVE_WEIGHT))
        lanes = self.lanes
        if wanted and lanes is None and not any(part.weight > 0 for part in self.parts):
            numbers = [part.unit for part in wanted if part.unit is not None]
            modalities = {passage.modality for passage in store.passages.get(numbers)}
            modalities |= {"image" for part in wanted if part.unit is None}
            lanes = cast(tuple[RetrieverName, ...], tuple(sorted(modalities))) or None
        return replace(self, parts=(*wanted, *self.parts, *unwanted), lanes=lanes)


class QueryArguments(TypedDict, total=False):
    """The arguments of `Query.of` but for the words."""

    images: ImageSource | Sequence[ImageSource]
    without: str | Sequence[str]
    like: Example | Sequence[Example]
    unlike: Example | Sequence[Example]
    where: Where
    folders: str | Path | Sequence[str | Path]
    since: str | None
    until: str | None
    media: str | None
    count: int
    offset: int
    min_confidence: float | None
    lanes: Sequence[RetrieverName] | None
    today: date | None


def spelled_out(search: Searching) -> Searching:
    """Lets help show each argument of `Query.of` where a function takes them as `**asked`."""
    own = inspect.signature(search)
    named = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
    asked = inspect.signature(Query.of).parameters.values()
    keywords = [one for one in asked if one.kind is one.KEYWORD_ONLY]
    search.__signature__ = own.replace(parameters=[*named, *keywords])  # type: ignore[attr-defined]
    return search


def _examples(given: Example | Sequence[Example]) -> tuple[Example, ...]:
    one = isinstance(given, int)
    return tuple(cast(list[Example], [given] if one else several_images(given)))


def _parts_like(examples: Sequence[Example], store: Store, weight: float = 1.0) -> Iterator[Part]:
    """A file of the collection is all of its passages; what else is no number is a picture."""
    for example in examples:
        if isinstance(example, int):
            yield Part(unit=example, weight=weight)
            continue
        path = [absolute(example)] if isinstance(example, str | Path) else []
        files = [file.id for file in store.files.by_path(path).values()]
        passages = store.passages.of_files(files)
        yield from (Part(unit=passage.id, weight=weight) for passage in passages)
        if not passages:
            yield Part(image=example, weight=weight)


@dataclass(frozen=True, eq=False)
class Scope:
    """What a query looks for, and among what, once its time is known to be one of the collection's.

    A time in the words is a guess at what is meant, so it is softer than a filter. Texts without a
    date are judged by their words; and if no picture of that time is left, the words are searched
    for as they are, with a note.
    """

    parts: tuple[Part, ...]
    """What vectors are compared with: without the words of a time that is used."""
    filter: Filter | None
    listed: Filter | None
    """What is listed if nothing but a filter or a time is asked for."""
    notes: tuple[Text, ...] = ()

    @classmethod
    def of(cls, query: Query, keys: Collection[str], database: Database) -> "Scope":
        """`keys` are the metadata keys of the collection."""
        as_typed = cls(query.parts, query.filter, query.filter)
        period = query.period
        if period is None:
            return as_typed
        if DATE_KEY not in keys:
            return replace(as_typed, notes=(_undated(period),))
        taken_then = _both(query.filter, period.as_filter())
        if not len(matching_passages(taken_then, database, most=1)):
            return replace(as_typed, notes=(_nothing_then(period),))
        undated_text = All((Compare("unit.modality", "=", "text"), Not(Compare(DATE_KEY))))
        filter = _both(query.filter, AnyOf((period.as_filter(), undated_text)))
        parts = query.parts
        if query.lanes != ("keyword",):
            parts = tuple(part for part in (_without(part, period) for part in parts) if part)
        return cls(parts, filter, taken_then, (_then(period),))


def _both(one: Filter | None, other: Filter) -> Filter:
    return other if one is None else All((one, other))


def _without(part: Part, period: Period) -> Part | None:
    if part.text is None or period.words not in part.text:
        return part
    rest = period.cut_from(part.text)
    return replace(part, text=rest) if rest else None


def _undated(period: Period) -> Text:
    return Text(
        f"{period.words!r} may be a time, but nothing in this collection has a date; it was "
        "searched for as words",
        f"“{period.words}”像是时间，但资料库里的内容都没有日期，已按字面查找",
    )


def _nothing_then(period: Period) -> Text:
    return Text(
        f"nothing was taken in {period.words!r} ({_days(period, 'to')}); searched without it",
        f"没有“{period.words}”（{_days(period, '至')}）拍摄的内容，已不限时间查找",
    )


def _then(period: Period) -> Text:
    return Text(
        f"{period.words!r} was taken for a time: only pictures from {_days(period, 'to')}",
        f"“{period.words}”按时间理解：只找 {_days(period, '至')} 拍摄的图片",
    )


def _days(period: Period, to: str) -> str:
    return f"{period.first} {to} {period.last}" if period.first < period.last else f"{period.first}"
