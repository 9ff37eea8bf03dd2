"""What the columns of tables hold, in everyday words: the concepts of lexicon.toml.

concepts_of(TableColumn(name="Distance (km)", type="number", unit="km"))   distance, and others
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, Literal

from seesay.data.spelling import fold
from seesay.rag.lexicon import lexicon
from seesay.rag.questions import stem
from seesay.search.catalog.drafts import TableColumn

_PERSON = re.compile(r"^(?:(?:full|first|last) )?names?$|谁|\bwho\b|\bby$")
Role = Literal["word", "high", "low"]
"""How a phrase asks for a column: by what it holds, or for its largest or smallest value."""


PEOPLE = frozenset({"person", "customer", "donor", "keeper"})
"""Concepts whose columns answer "who"."""


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """Words in a question that may refer to the columns of a concept."""

    text: str
    concept: str
    role: Role
    flows: bool = False
    """Whether it asks for a total if several rows fit, as "spent" does."""
    compares: bool = False
    """Whether it compares two, as "older" does."""

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """The stems of an English phrase; of a Chinese one its text."""
        return tuple(map(stem, _words(self.text))) or (self.text,)


@cache
def phrases() -> tuple[Phrase, ...]:
    """Returns the phrases of all concepts, the longest first."""
    found: list[Phrase] = []
    for one in lexicon()["concepts"]:
        flows = set(_listed(one, "flow"))
        for text in dict.fromkeys((*_listed(one, "en", "zh"), *flows)):
            found.append(Phrase(text=text, concept=one["name"], role="word", flows=text in flows))
        roles: tuple[Role, Role] = ("high", "low")
        for role in roles:
            for text in _listed(one, role):
                found.append(Phrase(text=text, concept=one["name"], role=role))
                if other := _comparative(text):
                    found.append(Phrase(text=other, concept=one["name"], role=role, compares=True))
    return tuple(sorted(found, key=lambda one: -len(one.text)))


def _listed(concept: Mapping[str, Any], *names: str) -> Iterator[str]:
    for name in names:
        yield from filter(None, map(str.strip, re.split(r"[,\n]", concept.get(name, ""))))


def _comparative(superlative: str) -> str:
    """Returns "older" for "oldest", 贵 for 最贵; "" if there is none."""
    irregular = {"best": "better", "worst": "worse", "farthest": "farther", "furthest": "further"}
    if superlative in irregular:
        return irregular[superlative]
    for ending, other in (("most ", "more "), ("least ", "less "), ("最", "")):
        if superlative.startswith(ending):
            return other + superlative.removeprefix(ending)
    return f"{superlative[:-3]}er" if re.fullmatch("[a-z]+est", superlative) else ""


@lru_cache(maxsize=10_000)
def concepts_of(column: TableColumn) -> frozenset[str]:
    """Returns the names of the concepts that a column may hold, by its name or else its unit."""
    name = fold(column.name)
    own = [*map(stem, _words(name))]
    bare = re.sub(r"[(\[（].*|[\s?？]", "", name)
    found = {"date"} if column.type == "date" else set()
    for one in phrases():
        if one.role != "word" or not _fits(column, one.concept):
            continue
        if one.text.isascii():
            size = len(one.stems)
            is_named = any(
                tuple(own[at : at + size]) == one.stems for at in range(len(own) - size + 1)
            )
        else:
            is_named = one.text in bare if len(one.text) > 1 else one.text == bare
        if is_named:
            found.add(one.concept)
    if _PERSON.search(name):
        found.add("person")
    by_unit = (one for one in _units().get(fold(column.unit).strip(), ()) if _fits(column, one))
    return frozenset(found or by_unit)


def _fits(column: TableColumn, concept: str) -> bool:
    """Whether a column has the type of a concept. A number is a time if it is a year."""
    known = _known()[concept]
    if known.get("is_time"):
        is_year = re.search(r"(?<![a-z])year(?!s)|年(?!龄|限|数)", fold(column.name)) is not None
        return column.type == "date" or (column.type == "number" and is_year)
    return column.type == "number" or not known.get("high")


@cache
def _known() -> Mapping[str, Mapping[str, Any]]:
    return {one["name"]: one for one in lexicon()["concepts"]}


@cache
def _units() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for one in lexicon()["concepts"]:
        for unit in one.get("units", "").split():
            found[fold(unit)] = (*found.get(fold(unit), ()), one["name"])
    return found


def _words(text: str) -> list[str]:
    return re.findall("[a-z]+", text)
