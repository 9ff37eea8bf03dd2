"""What a visitor asks, and the query that follows from it."""

from dataclasses import dataclass, replace
from typing import cast

from seesay.errors import ConfigError
from seesay.search.asking.query import Part, Query, RetrieverName
from seesay.search.asking.results import Results
from seesay.search.catalog.filters import All, Compare, Filter, Not
from seesay.search.collection import Collection
from seesay.search.filtering import PassageType, make_filter
from seesay.text import Text

PAGE = 24
"""Hits on one page."""
MOST_CHARACTERS = 4000
"""Of one field, the picture aside."""


@dataclass(frozen=True, kw_only=True)
class SearchForm:
    """All that is on the form. A picture is there as its bytes: no field names a file."""

    collection: str | None = None
    words: str = ""
    without: str = ""
    picture: bytes | None = None
    picture_name: str = ""
    """Of the file that the picture came from."""
    unit: int | None = None
    """Look for what is like this one."""
    min_match: float = 0.0
    kind: PassageType | None = None
    folders: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    where: str = ""
    page: int = 0

    @property
    def nothing(self) -> bool:
        """Whether neither a query nor a filter was given."""
        given = (self.words.strip(), self.without.strip(), self.picture, self.unit)
        return not any(value not in ("", None) for value in given) and not self.filtered

    @property
    def filtered(self) -> bool:
        """Whether there is a filter."""
        return any((self.kind, self.folders, self.since, self.until, self.where))


def search(collection: Collection, asked: SearchForm, *, count: int = PAGE) -> Results:
    """The page of hits that is asked for, and one more where there are further ones.

    Raises what `Collection.search` does."""
    texts = (asked.words, asked.without, asked.where, asked.since, asked.until, *asked.folders)
    if (longest := max(map(len, texts))) > MOST_CHARACTERS:
        raise ConfigError(
            Text(
                f"the longest field has {longest} characters; expected at most {MOST_CHARACTERS}; "
                "shorten it",
                f"最长的一栏有 {longest} 个字符，最多 {MOST_CHARACTERS} 个；请缩短",
            )
        )
    query = _query(collection, asked)
    return collection.search(
        replace(
            query,
            count=count + 1,
            offset=asked.page * count,
            min_confidence=asked.min_match or None,
        )
    )


def split_filters(text: str) -> list[str]:
    """Splits the metadata field at its commas into conditions."""
    return [one.strip() for one in text.replace("，", ",").split(",") if one.strip()]


def _query(collection: Collection, asked: SearchForm) -> Query:
    condition = _condition(asked)
    if asked.unit is not None:
        return _similar(collection, asked.unit, condition)
    return Query.of(
        asked.words,
        images=() if asked.picture is None else (asked.picture,),
        without=asked.without,
        where=condition or (),
    )


def _similar(collection: Collection, unit: int, condition: Filter | None) -> Query:
    """What is like a unit, in other files; pictures bring pictures, texts bring texts."""
    known = collection.store.passages.get([unit])
    if not known:
        raise ConfigError(
            Text(
                f"there is no unit {unit} any more; expected one that is still in the collection; "
                "search again",
                f"条目 {unit} 已不在资料库中；请重新查找",
            )
        )
    others = Not(Compare("unit.item", "=", known[0].file))
    return Query(
        parts=(Part(unit=unit),),
        filter=others if condition is None else All((others, condition)),
        lanes=(cast(RetrieverName, known[0].modality),),
    )


def _condition(asked: SearchForm) -> Filter | None:
    return make_filter(
        where=split_filters(asked.where),
        folders=asked.folders,
        since=asked.since.strip() or None,
        until=asked.until.strip() or None,
        kind=asked.kind,
    )
