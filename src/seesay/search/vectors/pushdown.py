"""Filters that an engine applies itself: the columns sent with each vector, and the expressions.

Engines differ in what they compare, so everything is reduced to what all of them can: whether a
passage has a token, and whether a number is below or above another. A token stands for "this field
has this value": a hash, so any text fits and needs no escaping. For each number or date field the
lowest and the highest value are sent too.

A passage with too many values is sent with only the token EVERY, and every query returns it. So a
result may contain passages that the filter excludes, but never lacks one that it keeps; the caller
checks each with the filter's mask.
"""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from seesay.search.catalog.database import ANY_OF, Database, as_list, text_to_path
from seesay.search.catalog.filters import (
    FACTS,
    All,
    AnyOf,
    Compare,
    Filter,
    Not,
    Operator,
    operands,
    spelled,
)
from seesay.search.catalog.metadata import DATE_KEY, READABLE, type_of

EVERY = "*"
OPERATORS: frozenset[Operator] = frozenset(("=", "in", "<", "<=", ">", ">=", "under", "exists"))
"""All operators that can be reduced. The four ordering operators cannot be reduced for text."""
_MOST_TOKENS = 600  # of a passage: with its numbers, Milvus takes 64 KB in a JSON field
_FOLDER = "file.folder"
_TYPES = ("text", "number", "date")
_INVERSE: Mapping[str, Literal["<", "<=", ">", ">="]] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


@dataclass(frozen=True)
class Token:
    """Passages that have this token, or those that lack it."""

    token: str
    has: bool = True


@dataclass(frozen=True)
class Number:
    """Passages that have this number and satisfy the comparison."""

    name: str
    operator: Literal["<", "<=", ">", ">="]
    value: float


@dataclass(frozen=True)
class Every:
    """Passages that match all parts."""

    parts: "tuple[Expression, ...]"


@dataclass(frozen=True)
class Some:
    """Passages that match at least one part."""

    parts: "tuple[Expression, ...]"


Expression = Token | Number | Every | Some


@dataclass(frozen=True)
class FilterColumns:
    """The columns sent with the vector of one passage."""

    tokens: set[str] = field(default_factory=set)
    numbers: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, of: str, value: Any) -> None:
        """Add a value of a field."""
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if of != "text" and isinstance(value, int):
            value = float(value)
        sound = isinstance(value, str) if of == "text" else isinstance(value, float)
        if not sound or value in (math.inf, -math.inf):
            self.tokens.add(EVERY)
            return
        self.tokens.update((_token(name, of), _token(name, of, value)))
        if of != "text":
            low, high = _hash(name, of, "low"), _hash(name, of, "high")
            self.numbers[low] = min(self.numbers.get(low, math.inf), value)
            self.numbers[high] = max(self.numbers.get(high, -math.inf), value)

    def fitting(self) -> "FilterColumns":
        """Returns the same, or only EVERY if that is too much for an engine."""
        if EVERY in self.tokens or len(self.tokens) > _MOST_TOKENS:
            return FilterColumns({EVERY})
        return self


def filter_columns(database: Database, units: Sequence[int]) -> list[FilterColumns]:
    """Returns the columns to send for each of these passages."""
    columns = {unit: FilterColumns() for unit in units}
    facts = ", ".join(value for _, value in FACTS.values())
    for unit, *values in database.rows(
        f"SELECT u.id, {facts} FROM units u JOIN items i ON i.id = u.item WHERE u.id IN {ANY_OF}",
        (as_list(units),),
    ):
        for (name, (of, _)), value in zip(FACTS.items(), values, strict=True):
            columns[unit].add(name, of, value)
            if name == _FOLDER:
                columns[unit].tokens.update(_token(name, "under", one) for one in _above(value))
    for unit, name, of, value in database.rows(
        f"SELECT m.unit, k.name, k.type, {READABLE.format('m.value')} FROM metadata m"
        f" JOIN metadata_keys k ON k.id = m.key WHERE m.unit IN {ANY_OF}",
        (as_list(units),),
    ):
        columns[unit].add(text_to_path(name), of, value)
    return [columns[unit].fitting() for unit in units]


def pushed_down(filter: Filter, operators: Collection[Operator]) -> Expression | None:
    """Returns the expression for an engine with these operators; None if it cannot express the
    filter."""
    expression = _reduced(filter, operators, True)
    return expression and Some((expression, Token(EVERY)))


def _reduced(filter: Filter, operators: Collection[Operator], wanted: bool) -> Expression | None:
    """Reduce a filter to an expression for the passages that it keeps, or for those that it
    excludes."""
    match filter:
        case Not(part):
            return _reduced(part, operators, not wanted)
        case Compare():
            if filter.operator not in operators:
                return None
            parts = [_compared(where, wanted) for where in spelled(filter)]
            every = not wanted
        case All(parts) | AnyOf(parts):
            parts = [_reduced(part, operators, wanted) for part in parts]
            every = isinstance(filter, All) == wanted
    known = tuple(part for part in parts if part is not None)
    if len(known) < len(parts):
        return None
    return known[0] if len(known) == 1 else Every(known) if every else Some(known)


def _compared(where: Compare, wanted: bool) -> Expression | None:
    name = where.field
    of = FACTS[name][0] if name in FACTS else type_of(where.values[0]) if where.values else ""
    values = operands(where)
    if where.operator == "exists":
        types = (of,) if of else ("date",) if name == DATE_KEY else _TYPES
        return _any_token([_token(name, one) for one in types], wanted)
    if where.operator == "under":
        return Token(_token(name, "under", values[0]), wanted) if name == _FOLDER else None
    if where.operator in ("=", "in"):
        return _any_token([_token(name, of, value) for value in values], wanted)
    if isinstance(values[0], str) or not math.isfinite(values[0]):
        return None
    column = _hash(name, of, "low" if where.operator in ("<", "<=") else "high")
    if wanted:
        return Number(column, where.operator, values[0])  # type: ignore[arg-type]
    inverse = Number(column, _INVERSE[where.operator], values[0])
    return Some((Token(_token(name, of), False), inverse))


def _any_token(tokens: list[str], wanted: bool) -> Expression:
    parts = tuple(Token(token, wanted) for token in tokens)
    return parts[0] if len(parts) == 1 else Some(parts) if wanted else Every(parts)


def _token(name: str, of: str, value: str | float | None = None) -> str:
    """Returns the token for a field with this value, or with any value."""
    if value is None:
        return _hash(name, of, "any")
    return _hash(name, of, f"={value if isinstance(value, str) else float(value) + 0.0!r}")


def _hash(name: str, of: str, what: str) -> str:
    whole = "\0".join((of, what, name)).encode("utf-8", "surrogatepass")
    return "f" + blake2b(whole, digest_size=10).hexdigest()


def _above(folder: str) -> set[str]:
    """Returns a folder and its parents, as `operands` writes them."""
    parts = folder.split(os.sep)
    above = (os.sep.join(parts[:count]) for count in range(1, len(parts) + 1))
    return {folder, *(one or os.sep for one in above)}
