"""What a visitor asks, and the query that follows from it."""

from dataclasses import dataclass

from seesay.errors import ConfigError
from seesay.search.asking.query import QueryArguments
from seesay.search.asking.results import Results
from seesay.search.catalog.filters import Compare, Filter, Not
from seesay.search.collection import Collection
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
    kind: str | None = None
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
    where: list[Filter | str] = [*split_filters(asked.where)]
    query: QueryArguments = {
        "where": where,
        "folders": asked.folders,
        "since": asked.since.strip() or None,
        "until": asked.until.strip() or None,
        "media": asked.kind,
        "count": count + 1,
        "offset": asked.page * count,
        "min_confidence": asked.min_match or None,
    }
    if asked.unit is not None:
        where.append(_in_other_files(collection, asked.unit))
        return collection.search(**query | {"like": asked.unit})
    pictures = () if asked.picture is None else (asked.picture,)
    return collection.search(asked.words, **query | {"images": pictures, "without": asked.without})


def split_filters(text: str) -> list[str]:
    """Splits the metadata field at its commas into conditions."""
    return [one.strip() for one in text.replace("，", ",").split(",") if one.strip()]


def _in_other_files(collection: Collection, unit: int) -> Filter:
    known = collection.store.passages.get([unit])
    if not known:
        raise ConfigError(
            Text(
                f"there is no unit {unit} any more; expected one that is still in the collection; "
                "search again",
                f"条目 {unit} 已不在资料库中；请重新查找",
            )
        )
    return Not(Compare("unit.item", "=", known[0].file))
