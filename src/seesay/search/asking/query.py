"""A query: wanted and unwanted words and pictures, a filter, and which hits to show."""

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
    """One wanted thing, or with a negative weight an unwanted one: a text, a picture, or a passage
    of the collection by its number."""

    text: str | None = None
    image: ImageSource | None = None
    unit: int | None = None
    weight: float = 1.0
    phrases: tuple[str, ...] = ()
    """The quoted parts of the text: keywords must match them word for word."""

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
    """A search request. `Query.of` builds one from words, pictures and a filter. Shows `count` hits
    after the first `offset`."""

    parts: tuple[Part, ...] = ()
    like: tuple[Example, ...] = ()
    """Find more like these; they are not among the hits themselves."""
    unlike: tuple[Example, ...] = ()
    """Rank passages like these lower; they are not among the hits either."""
    filter: Filter | None = None
    count: int = 20
    offset: int = 0
    min_confidence: float | None = None
    """Leave out hits below this confidence (0-100)."""
    retrievers: tuple[RetrieverName, ...] | None = None
    """Search only by pictures ("image"), by the meaning of texts ("text") or by keywords; None for
    all of them."""
    rerank: str | None = None
    """The name of a model that scores the first results again: a reranker, which reads texts with
    the query, or one of late interaction, which compares pages; see `second_stage`."""
    period: Period | None = None
    """A time named in the words: used if the collection has pictures taken then."""

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
        if self.retrievers is not None and (
            not self.retrievers or set(self.retrievers) - set(RETRIEVERS)
        ):
            names = ", ".join(RETRIEVERS)
            raise ConfigError(
                Text(
                    f"the retrievers are {self.retrievers!r}; expected some of {names}; "
                    "leave them out to search all",
                    f"retrievers 为 {self.retrievers!r}；应取自 {names}；不填则全部查找",
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
        retrievers: Sequence[RetrieverName] | None = None,
        rerank: str | None = None,
        today: date | None = None,
    ) -> "Query":
        """Build a query from what people type and choose.

        `words` may name a time and unwanted things, and contain quotes and weights; see `words`.
        `images` count as much as the words; `without` is unwanted. `like` asks for more of the
        same, `unlike` for less: passage numbers, files of the collection, or any pictures. None of
        these are among the hits, and unless there are words or `images` too, pictures find pictures
        and texts find texts. For `where`, `folders`, `since`, `until` and `media` see
        `make_filter`. `rerank` names a reranker for texts, such as bge-reranker-v2-m3, or a model
        that compares pages, such as colqwen2. `today` is the day that "last year" is relative
        to.

        Raises ConfigError for an empty query, and for conditions that cannot be parsed.
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
            retrievers=None if retrievers is None else tuple(dict.fromkeys(retrievers)),
            rerank=rerank,
            period=find_period(words, today or date.today()),
        )

    def among(self, store: Store) -> "Query":
        """Returns the query with `like` and `unlike` turned into parts, looked up in this
        collection."""
        wanted = tuple(_parts_like(self.like, store))
        unwanted = tuple(_parts_like(self.unlike, store, NEGATIVE_WEIGHT))
        retrievers = self.retrievers
        if wanted and retrievers is None and not any(part.weight > 0 for part in self.parts):
            numbers = [part.unit for part in wanted if part.unit is not None]
            modalities = {passage.modality for passage in store.passages.get(numbers)}
            modalities |= {"image" for part in wanted if part.unit is None}
            retrievers = cast(tuple[RetrieverName, ...], tuple(sorted(modalities))) or None
        return replace(self, parts=(*wanted, *self.parts, *unwanted), retrievers=retrievers)


class QueryArguments(TypedDict, total=False):
    """The arguments of `Query.of` except the words."""

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
    retrievers: Sequence[RetrieverName] | None
    rerank: str | None
    today: date | None


def spelled_out(search: Searching) -> Searching:
    """Make `help` show each argument of `Query.of` for a function that takes them as `**asked`."""
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
    """A file of the collection stands for all its passages; anything else that is not a number is a
    picture."""
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
    """What a query searches for, and among which passages, after its time is checked against the
    collection.

    A time in the words is only a guess, so it is softer than a filter. Texts without a date are
    judged by their words; and if there is no picture of that time, the search uses the words as
    they are and adds a note.
    """

    parts: tuple[Part, ...]
    """The parts compared with vectors, without the words of a time that is used."""
    filter: Filter | None
    listed: Filter | None
    """The passages to list if the query is only a filter or a time."""
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
        if query.retrievers != ("keyword",):
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
