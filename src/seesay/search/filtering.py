"""Filters as people write them: `width>=1000`, `camera=Canon`, a folder, a span of days, a type.

The terminal and the web door read the same words.
"""

import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from seesay.errors import ConfigError
from seesay.search.store.filters.conditions import (
    FACTS,
    All,
    AnyOf,
    Filter,
    Not,
    Operator,
    Where,
)
from seesay.search.store.records import Value

UnitType = Literal["image", "text", "page", "moment"]

_DATE = "date"  # the key of the day a picture was taken
_CONDITION = re.compile(r"(?P<field>[^=<>!~]+?)\s*(?P<sign>>=|<=|!=|=|>|<|~)\s*(?P<value>.*)", re.S)
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_SIGNS: dict[str, Operator] = {">=": ">=", "<=": "<=", ">": ">", "<": "<"}


def make_filter(
    *,
    where: Sequence[str] = (),
    folders: Sequence[str | Path] = (),
    since: str | None = None,
    until: str | None = None,
    kind: UnitType | None = None,
) -> Filter | None:
    """All of these together; several folders as "one of them". None where nothing is asked.

    `since` and `until` are days, months or years (2024, 2024-05, 2024-05-31), both inclusive. They
    count for the day a picture was taken, or for the last change of a file that does not say.
    Raises ConfigError for what cannot be read."""
    parts = [parse_where(text) for text in where]
    if folders:
        full = (os.path.abspath(os.path.expanduser(folder)) for folder in folders)
        parts.append(AnyOf(tuple(Where("file.folder", "under", folder) for folder in full)))
    if since is not None and until is not None and _period(since)[0] >= _period(until)[1]:
        raise ConfigError(
            f"there is no day from {since} to {until}; expected the earlier one first; "
            "exchange them"
        )
    if since is not None:
        parts.append(_dated(">=", _period(since)[0]))
    if until is not None:
        parts.append(_dated("<", _period(until)[1]))
    if kind is not None:
        parts.append(Where("unit.kind", "=", kind))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def parse_where(text: str) -> Filter:
    """One condition: `key=value`, `key!=value`, `key>value` (also >= < <=), `key~part` (contains),
    or `key` alone (has it at all). A date may be a day, a month or a year."""
    found = _CONDITION.fullmatch(text.strip())
    if found is None:
        if not text.strip() or text.strip()[0] in "=<>!~":
            raise ConfigError(
                f"the condition {text!r} names no key; expected one such as width>=1000, "
                "camera=Canon, name~part, or a key alone; see seesay search --help"
            )
        return Where(text.strip())
    field, sign, value = found["field"], found["sign"], found["value"].strip().strip("\"'")
    if sign == "~":
        return Where(field, "contains", value)
    if sign == "!=":
        return Not(_equal(field, value))
    if sign == "=":
        return _equal(field, value)
    return _compared(field, _SIGNS[sign], value)


def fields_of(condition: Filter) -> Iterable[str]:
    """The name of every field that a filter asks for; but not the date, which `since` and `until`
    ask for whether anything has one or not."""
    match condition:
        case Where():
            if condition.field != _DATE:
                yield condition.field
        case Not(part):
            yield from fields_of(part)
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from fields_of(part)


def as_text(condition: Filter) -> str:
    """A filter in signs that need no language: `date>=2021-05-01 & date<2021-06-01`."""
    match condition:
        case Where(field, operator, value):
            if operator == "exists":
                return field
            if operator == "under":
                return f"{field}={value}/…"
            sign = {"contains": "~", "starts": "^", "in": " in "}.get(operator, operator)
            values = value if isinstance(value, tuple) else (value,)
            return field + sign + ", ".join(_shown(one) for one in values)
        case Not(part):
            return f"!({as_text(part)})"
        case All(parts):
            return " & ".join(map(_bracketed, parts))
        case AnyOf(parts):
            return " | ".join(map(_bracketed, parts))


def _bracketed(part: Filter) -> str:
    text = as_text(part)
    return f"({text})" if isinstance(part, All | AnyOf) else text


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        midnight = (value.hour, value.minute, value.second) == (0, 0, 0)
        return f"{value:%Y-%m-%d}" if midnight else f"{value:%Y-%m-%d %H:%M}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _equal(field: str, value: str) -> Filter:
    """A key has values of one type or another: `2024` may be a number, a text or a year."""
    ways: list[Filter] = []
    if (number := _number(value)) is not None and _may_be(field, "number"):
        ways.append(Where(field, "=", number))
    if _DAY.fullmatch(value) and _may_be(field, "date"):
        first, after = _period(value)
        ways.append(All((Where(field, ">=", first), Where(field, "<", after))))
    if _may_be(field, "text") or not ways:
        ways.append(Where(field, "=", value))
    return ways[0] if len(ways) == 1 else AnyOf(tuple(ways))


def _compared(field: str, sign: Operator, value: str) -> Filter:
    ways: list[Filter] = []
    if (number := _number(value)) is not None and _may_be(field, "number"):
        ways.append(Where(field, sign, number))
    if _DAY.fullmatch(value) and _may_be(field, "date"):
        first, after = _period(value)
        # After a day means after the whole of it, and up to a day includes it.
        edge, way = {">": (after, ">="), "<=": (after, "<")}.get(sign, (first, sign))
        ways.append(Where(field, way, edge))  # type: ignore[arg-type]
    if not ways:
        ways.append(Where(field, sign, value))
    return ways[0] if len(ways) == 1 else AnyOf(tuple(ways))


def _may_be(field: str, kind: str) -> bool:
    """A key of metadata may be of any type; a fact of a file is of one."""
    return field not in FACTS or FACTS[field][0] == kind


def _dated(sign: Operator, moment: datetime) -> Filter:
    changed = Where("file.modified", sign, moment)
    return AnyOf((Where(_DATE, sign, moment), All((Not(Where(_DATE)), changed))))


def _period(text: str) -> tuple[datetime, datetime]:
    """The first moment of a day, month or year, and the first one after it."""
    found = _DAY.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        year, month, day = found.groups()
        first = datetime(int(year), int(month or 1), int(day or 1), tzinfo=UTC)
        if day:
            return first, first + timedelta(days=1)
        after = (first.year, first.month + 1) if month else (first.year + 1, 1)
        return first, datetime(after[0] + (after[1] > 12), (after[1] - 1) % 12 + 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{text!r} is not a date; expected a day, month or year such as 2024-05-31, 2024-05 or "
            "2024; write it like that"
        ) from None


def _number(text: str) -> Value | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number == number else None
