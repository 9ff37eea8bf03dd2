"""Filters, and how SQLite evaluates them.

A field is a metadata key, or one of FACTS, which every passage has. A comparison sees only values
of its own type: a number does not find a "year" stored as text.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from seesay.data.spelling import fold, spellings
from seesay.errors import CollectionError
from seesay.search.catalog.database import Database
from seesay.search.catalog.metadata import (
    DATE_KEY,
    RESERVED,
    MetadataTable,
    Value,
    ValueType,
    stored,
    stored_here,
    type_of,
)
from seesay.text import Text

Operator = Literal["=", "<", "<=", ">", ">=", "in", "under", "starts", "contains", "exists"]

CHANGED = "file.modified"  # an instant; dates without a zone are local to this machine

FACTS: Mapping[str, tuple[ValueType, str]] = {
    "file.path": ("text", "i.path"),
    "file.folder": ("text", "i.folder"),
    "file.name": ("text", "i.name"),
    "file.kind": ("text", "i.kind"),
    "file.status": ("text", "i.status"),
    "file.size": ("number", "i.size"),
    CHANGED: ("date", "i.mtime_ns / 1e9"),
    "unit.kind": ("text", "u.kind"),
    "unit.modality": ("text", "u.modality"),
    "unit.item": ("number", "u.item"),
}

_ORDERED = ("<", "<=", ">", ">=")
_SPELLED = ("=", "in", "under", "starts")
_LAST = chr(0x10FFFF)  # sorts after every character that may follow
_TESTS: Mapping[str, str] = {
    "=": "{0} = ?",
    "<": "{0} < ?",
    "<=": "{0} <= ?",
    ">": "{0} > ?",
    ">=": "{0} >= ?",
    "starts": "({0} >= ? AND {0} < ?)",
    "under": "({0} = ? OR {0} >= ? AND {0} < ?)",
    "contains": "instr(fold(CAST({0} AS BLOB)), ?) > 0",
    "exists": "true",
}


@dataclass(frozen=True)
class Compare:
    """Passages whose field compares with a value.

    "in" takes a tuple of values; "under" a folder, with all below it; "contains" ignores case,
    width and whether characters are simplified; "exists" no value.
    """

    field: str
    operator: Operator = "exists"
    value: Value | tuple[Value, ...] | None = None

    def __post_init__(self) -> None:
        values = self.values
        texts = self.operator in ("under", "starts", "contains")
        wrong = (
            not isinstance(self.value, tuple)
            if self.operator == "in"
            else isinstance(self.value, tuple) or (self.value is None) != (not self._takes_value)
        )
        if wrong or (texts and not isinstance(self.value, str)):
            expected = _EXPECTED.get(self.operator, Text("one value", "一个值"))
            raise CollectionError(
                Text(
                    f"the filter {self.field!r} {self.operator} got {self.value!r}, expected "
                    f"{expected}: correct the filter",
                    f"筛选条件 {self.field!r} {self.operator} 的值是 {self.value!r}；"
                    f"应为{expected.zh}；请改正",
                )
            )
        if len({type_of(value) for value in values}) > 1:
            raise CollectionError(
                Text(
                    f"the filter {self.field!r} lists {values!r}, expected values of one type: "
                    "combine one filter for each type with AnyOf",
                    f"筛选条件 {self.field!r} 列出了 {values!r}；各个值的类型应相同；"
                    "请为每种类型各写一个条件，再用 AnyOf 合并",
                )
            )

    @property
    def values(self) -> tuple[Value, ...]:
        """All values to compare with."""
        if self.value is None:
            return ()
        return self.value if isinstance(self.value, tuple) else (self.value,)

    @property
    def _takes_value(self) -> bool:
        return self.operator != "exists"


@dataclass(frozen=True)
class All:
    """Passages that match every part; all passages if there are no parts."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True)
class AnyOf:
    """Passages that match at least one part."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True)
class Not:
    """Passages that do not match the part, including those without the field."""

    part: "Filter"


Filter = Compare | All | AnyOf | Not

_EXPECTED = {
    "in": Text("a tuple of values", "由值组成的元组"),
    "under": Text("a folder", "文件夹"),
    "starts": Text("a text", "文字"),
    "contains": Text("a text", "文字"),
    "exists": Text("no value", "空，不带值"),
}


class Source(NamedTuple):
    """Where SQLite finds the pairs of passage and value of a field."""

    passage: str
    value: str
    tables: str
    test: str
    values: tuple[object, ...]


def source_of(compare: Compare, database: Database) -> Source:
    """Raises CollectionError for a fact that does not exist or has another type."""
    kind = type_of(compare.values[0]) if compare.values else None
    if compare.field == DATE_KEY and kind is None:
        kind = "date"  # in older collections it may also hold text
    if compare.field.startswith(RESERVED):
        return _fact(compare, kind)
    keys = MetadataTable(database).keys()
    numbers = [n for (name, of), n in keys.items() if name == compare.field and kind in (None, of)]
    marks = ", ".join("?" * len(numbers))
    return Source("unit", "value", "metadata", f"key IN ({marks})", tuple(numbers))


def compile_filter(filter: Filter, database: Database) -> tuple[str, tuple[object, ...]]:
    """Returns a query for the numbers of the passages that match a filter, and its values."""
    match filter:
        case Compare():
            compiled = [_compile_one(compare, database) for compare in spelled(filter)]
            tests = " UNION ALL ".join(sql for sql, _ in compiled)
            return tests, tuple(value for _, own in compiled for value in own)
        case Not(part):
            sql, values = compile_filter(part, database)
            return f"SELECT id FROM units WHERE id NOT IN ({sql})", values
        case All(parts) | AnyOf(parts):
            compiled = [compile_filter(part, database) for part in parts]
            word = " AND " if isinstance(filter, All) else " OR "
            tests = word.join(f"id IN ({sql})" for sql, _ in compiled)
            values = tuple(value for _, own in compiled for value in own)
            return f"SELECT id FROM units WHERE {tests or isinstance(filter, All)}", values


def spelled(compare: Compare) -> list[Compare]:
    """Returns the comparison in every Unicode spelling of its text: macOS spells file names
    differently from text typed on Linux."""
    if compare.operator not in _SPELLED or not any(isinstance(one, str) for one in compare.values):
        return [compare]
    forms = [spellings(one) if isinstance(one, str) else (one,) for one in compare.values]
    if compare.operator == "in":
        return [replace(compare, value=tuple(form for some in forms for form in some))]
    return [replace(compare, value=form) for form in forms[0]]


def _compile_one(compare: Compare, database: Database) -> tuple[str, tuple[object, ...]]:
    source = source_of(compare, database)
    test, compared = _test(compare, source.value)
    sql = f"SELECT {source.passage} FROM {source.tables} WHERE {source.test} AND {test}"
    return sql, (*source.values, *compared)


def matching_passages(
    filter: Filter, database: Database, most: int | None = None
) -> Int[np.ndarray, " passages"]:
    """Returns at most `most` passages that match a filter, in no order."""
    sql, values = compile_filter(filter, database)
    limit = -1 if most is None else most
    rows = database.rows(f"SELECT DISTINCT * FROM ({sql}) LIMIT ?", (*values, limit))
    return np.fromiter((passage for (passage,) in rows), np.int64, len(rows))


def operands(compare: Compare) -> tuple[str | float, ...]:
    """Returns the values of a comparison in stored form, with the ends of ranges."""
    read = stored_here if compare.field == CHANGED else stored
    values = tuple(read(value) for value in compare.values)
    if compare.operator == "starts":
        return (values[0], f"{values[0]}{_LAST}")
    if compare.operator == "under":
        folder = str(values[0]).rstrip(os.sep) or os.sep
        below = folder if folder == os.sep else folder + os.sep
        return (folder, below, below + _LAST)
    if compare.operator == "contains":
        return (fold(str(values[0])),)
    return values


def _test(compare: Compare, value: str) -> tuple[str, tuple[str | float, ...]]:
    values = operands(compare)
    if compare.operator == "in":
        return f"{value} IN ({', '.join('?' * len(values))})", values
    test = _TESTS[compare.operator].format(value)
    if compare.operator in _ORDERED:  # in SQLite every text is greater than every number
        bound = "<" if isinstance(values[0], float) else ">="
        test = f"({test} AND {value} {bound} '')"
    return test, values


def _fact(compare: Compare, kind: ValueType | None) -> Source:
    expected, value = FACTS.get(compare.field, ("", ""))
    if not value or kind not in (None, expected):
        known = ", ".join(f"{name} ({of})" for name, (of, _) in FACTS.items())
        raise CollectionError(
            Text(
                f"the filter {compare.field!r} {compare.operator} {compare.value!r} names no such "
                f"fact, expected one of {known}: correct the name, or the type of the value",
                f"筛选条件 {compare.field!r} {compare.operator} {compare.value!r} "
                f"没有对应的文件信息；应为以下之一：{known}；请改正名称，或值的类型",
            )
        )
    tables = "units u" if value.startswith("u.") else "units u JOIN items i ON i.id = u.item"
    return Source("u.id", value, tables, "true", ())
