"""Filters over a million passages in a millisecond: the values of a field as an array.

SQLite finds the few passages of a narrow filter at once, but returns a broad one row by row. So the
first broad filter on a field reads all its values into an array, and later changes amend it.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from seesay.data.spelling import fold
from seesay.search.catalog.database import Database
from seesay.search.catalog.filters import (
    All,
    AnyOf,
    Compare,
    Filter,
    Not,
    Source,
    matching_passages,
    operands,
    source_of,
    spelled,
)
from seesay.search.catalog.metadata import READABLE
from seesay.search.catalog.store import START, Ledger, Position

NARROW = 10_000  # passages that SQLite returns in a few milliseconds
REMEMBERED = 32

PassageMask = Bool[np.ndarray, " passages"]


class FilterMasks:
    """Evaluates filters; knows of every change up to `position`. For one thread at a time."""

    def __init__(self, database: Database) -> None:
        self.position = START
        self._database = database
        self._size = 0
        self._loaded: dict[Source, _Column] = {}
        self._masks: OrderedDict[Filter, PassageMask] = OrderedDict()

    def mask(self, filter: Filter) -> Bool[np.ndarray, " passages"]:
        """Returns which passages match a filter, indexed by passage number; do not write to this
        array. Values at the numbers of removed passages mean nothing."""
        if filter in self._masks:
            self._masks.move_to_end(filter)
            return self._masks[filter]
        with self._database.snapshot():
            self.follow(Ledger(self._database).position())
            mask = self._evaluate(filter)
        mask.flags.writeable = False
        self._masks[filter] = mask
        if len(self._masks) > REMEMBERED:
            self._masks.popitem(last=False)
        return mask

    def follow(self, position: Position) -> None:
        """Take in every change up to `position`, which the open snapshot shows. Starts over if the
        snapshot does not continue the known history: a backup may have been restored."""
        if position == self.position:
            return
        if not Ledger(self._database).has_passed(self.position):
            self._loaded.clear()
            self.position = START
        since = self.position.seq
        self._masks.clear()
        self._size = self._database.next_number("units")  # includes removed passages
        if self._loaded:  # else a million passages would be listed for nothing
            rows = self._database.rows("SELECT id FROM units WHERE seq > ?", (since,))
            changed = np.fromiter((passage for (passage,) in rows), np.int64, len(rows))
            for source, column in self._loaded.items():
                column.forget(changed, self._size)
                self._read(source, column, since=since)
        self.position = position

    def _evaluate(self, filter: Filter) -> PassageMask:
        match filter:
            case Compare():
                masks = [self._compare(compare) for compare in spelled(filter)]
                return masks[0] if len(masks) == 1 else np.logical_or.reduce(masks)
            case Not(part):
                return ~self._evaluate(part)
            case All(parts):
                return self._combined(np.logical_and, parts, True)
            case AnyOf(parts):
                return self._combined(np.logical_or, parts, False)

    def _combined(self, combine: np.ufunc, parts: Iterable[Filter], start: bool) -> PassageMask:
        mask = np.full(self._size, start)
        for part in parts:
            combine(mask, self._evaluate(part), out=mask)
        return mask

    def _compare(self, compare: Compare) -> PassageMask:
        source = source_of(compare, self._database)
        if source not in self._loaded:
            few = matching_passages(compare, self._database, most=NARROW + 1)
            if len(few) <= NARROW:
                mask = np.zeros(self._size, bool)
                mask[few] = True
                return mask
            column = _Column(self._size)
            self._read(source, column, since=0)
            self._loaded[source] = column
        return self._loaded[source].compare(compare)

    def _read(self, source: Source, column: "_Column", since: int) -> None:
        of_changed = (
            f" AND {source.passage} IN (SELECT id FROM units WHERE seq > ?)" if since else ""
        )
        value = READABLE.format(source.value) if source.tables == "metadata" else source.value
        sql = (
            f"SELECT {source.passage}, {value} FROM {source.tables} WHERE {source.test}{of_changed}"
        )
        for page in self._database.pages(sql, (*source.values, *((since,) if since else ()))):
            passages, values = zip(*page, strict=True)
            column.add(np.array(passages, np.int64), map(_readable, values))


class _Column:
    """The values of one field: a code for each passage, and what each code stands for.

    Code 0 means that a passage has no value. If it has several, the first is in the array and the
    others are stored separately.
    """

    def __init__(self, size: int) -> None:
        self._codes = np.zeros(size, np.int32)
        self._code_of: dict[str | float | int, int] = {}
        self._values: list[str | float | int] = []
        self._more: list[tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]] = []
        self._numbers = np.empty(0)

    def add(self, passages: Int[np.ndarray, " pairs"], values: Iterable[str | float | int]) -> None:
        """Add pairs of passage and value."""
        codes = np.fromiter((self._code(value) for value in values), np.int32, len(passages))
        _, at = np.unique(passages, return_index=True)
        first = np.zeros(len(passages), bool)
        first[at] = True
        first &= self._codes[passages] == 0
        self._codes[passages[first]] = codes[first]
        if not first.all():
            self._more.append((passages[~first], codes[~first]))

    def forget(self, passages: Int[np.ndarray, " passages"], size: int) -> None:
        """Remove the values of these passages, and make room for numbers below `size`."""
        self._codes = np.concatenate([self._codes, np.zeros(size - len(self._codes), np.int32)])
        gone = np.zeros(size, bool)
        gone[passages] = True
        self._codes[gone] = 0
        self._more = [(u[~gone[u]], codes[~gone[u]]) for u, codes in self._more]

    def compare(self, compare: Compare) -> PassageMask:
        """Returns which passages have a value that satisfies the comparison."""
        hit = np.zeros(len(self._values) + 1, bool)
        if compare.operator in ("=", "in"):
            hit[[self._code_of.get(value, 0) for value in operands(compare)]] = True
        else:
            hit[1:] = self._satisfying(compare)
        hit[0] = False
        mask = hit[self._codes]
        for passages, codes in self._more:
            mask[passages[hit[codes]]] = True
        return mask

    def _satisfying(self, compare: Compare) -> Bool[np.ndarray, " values"] | bool:
        """Returns which values satisfy the comparison."""
        if compare.operator == "exists":
            return True
        given = operands(compare)
        if isinstance(given[0], float):
            if len(self._numbers) < len(self._values):
                numbers = (np.nan if isinstance(v, str) else float(v) for v in self._values)
                self._numbers = np.fromiter(numbers, np.float64, len(self._values))
            return _NUMBERS[compare.operator](self._numbers, given[0])
        return np.fromiter(_texts(compare, given, self._values), bool, len(self._values))

    def _code(self, value: str | float | int) -> int:
        code = self._code_of.get(value)
        if code is None:
            self._values.append(value)
            code = self._code_of[value] = len(self._values)
        return code


_NUMBERS = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}


def _readable(value: Any) -> str | float | int:
    """Returns a stored value even if it is damaged: a value that is not a number matches
    no number."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _texts(compare: Compare, given: tuple[str | float, ...], values: list[Any]) -> Iterator[bool]:
    first, values = str(given[0]), [str(value) for value in values]
    match compare.operator:
        case "<":
            return (value < first for value in values)
        case "<=":
            return (value <= first for value in values)
        case ">":
            return (value > first for value in values)
        case ">=":
            return (value >= first for value in values)
        case "starts":
            return (value.startswith(first) for value in values)
        case "under":
            return (value == first or value.startswith(given[1]) for value in values)
        case _:
            return (first in fold(value) for value in values)
