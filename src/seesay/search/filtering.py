"""Filters as people write them: `width>=1000`, `camera=Canon`, a folder, a span of days, a type.

The commands and the web server read the same syntax.
"""

import difflib
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from seesay.data.images import several
from seesay.errors import CollectionError, ConfigError
from seesay.search.catalog.filters import CHANGED, FACTS, All, AnyOf, Compare, Filter, Not, Operator
from seesay.search.catalog.metadata import DATE_KEY, Value, ValueType, type_of
from seesay.text import Text

_OF_TEXT = ("contains", "starts", "under")
_TYPES = {
    "text": Text("texts", "文字"),
    "number": Text("numbers such as 640", "数字（如 640）"),
    "date": Text("dates such as 2024-05-31", "日期（如 2024-05-31）"),
}
_MOST_NAMED = 50

Where = Filter | str | Sequence[Filter | str]
"""A filter, a condition as in "width>=1000", or several of either, all of which must hold."""

_CONDITION = re.compile(r"(?P<field>[^=<>!~]+?)\s*(?P<sign>>=|<=|!=|=|>|<|~)\s*(?P<value>.*)", re.S)
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_SIGN_MARKS = ("=", "<", ">", "!", "~")
_SIGNS: dict[str, Operator] = {">=": ">=", "<=": "<=", ">": ">", "<": "<"}


def make_filter(
    *,
    where: Where = (),
    folders: str | Path | Sequence[str | Path] = (),
    since: str | None = None,
    until: str | None = None,
    media: str | None = None,
) -> Filter | None:
    """Combine all of these with "and", several folders with "or". Returns None if nothing is given.
    `where` holds filters, or conditions for `parse_filter`. `media` is a type of passage: "image",
    "text", or another that a reader produces, such as "page" or "moment".

    `since` and `until` are days, months or years (2024, 2024-05, 2024-05-31), both inclusive. They
    apply to the day a picture was taken, or if that is unknown, to the last change of the file.
    Raises ConfigError for conditions and dates that cannot be parsed."""
    conditions = [where] if isinstance(where, Filter | str) else where
    parts = [one if isinstance(one, Filter) else parse_filter(one) for one in conditions]
    if folders:
        full = (os.path.abspath(os.path.expanduser(folder)) for folder in several(folders))
        parts.append(AnyOf(tuple(Compare("file.folder", "under", folder) for folder in full)))
    if since is not None and until is not None and _period(since)[0] >= _period(until)[1]:
        raise ConfigError(
            Text(
                f"there is no day from {since} to {until}; expected the earlier one first; "
                "exchange them",
                f"从 {since} 到 {until} 没有任何一天；起始应不晚于结束；请把两者对调",
            )
        )
    if since is not None:
        parts.append(_dated(">=", _period(since)[0]))
    if until is not None:
        parts.append(_dated("<", _period(until)[1]))
    if media is not None:
        parts.append(Compare("unit.kind", "=", media))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def days_of(text: str) -> tuple[date, date]:
    """Returns the first and the last day of a day, month or year. Raises ConfigError for anything
    else."""
    first, after = _period(text)
    return first.date(), (after - timedelta(days=1)).date()


def parse_filter(text: str) -> Filter:
    """Parse one condition: `key=value`, `key!=value`, `key>value` (also >= < <=), `key~part`
    (contains), or `key` alone (has any value). A date may be a day, a month or a year."""
    found = _CONDITION.fullmatch(text.strip())
    if found is None:
        if not text.strip() or text.strip()[0] in "=<>!~":
            raise ConfigError(
                Text(
                    f"the condition {text!r} names no key; expected one such as width>=1000, "
                    "camera=Canon, name~part, or a key alone; see seesay search --help",
                    f"条件 {text!r} 没有写键名；应如 width>=1000、camera=Canon、name~片段，"
                    "或只写键名；参见 seesay search --help",
                )
            )
        return Compare(text.strip())
    field, sign, value = found["field"], found["sign"], found["value"].strip()
    if value[:1] in _SIGN_MARKS or (not value and sign in _SIGNS):
        raise ConfigError(
            Text(
                f"the condition {text!r} compares {field} with {value!r}; expected one sign of = "
                "!= > >= < <= ~ and then a value; correct it, or put the value in quotes",
                f"条件 {text!r} 用 {value!r} 与 {field} 比较；应为 = != > >= < <= ~ 之一，"
                "后面接一个值；请改正，或给值加上引号",
            )
        )
    value = value.strip("\"'")
    if sign == "~":
        return Compare(field, "contains", value)
    if sign == "!=":
        return Not(_equal(field, value))
    if sign == "=":
        return _equal(field, value)
    return _compared(field, _SIGNS[sign], value)


def check_filter(filter: Filter, types: Mapping[str, Collection[ValueType]]) -> None:
    """`types` maps the keys of a collection to the types of their values. Raises CollectionError
    for a key that nothing has, and for a value whose type the key never has."""
    known = {**types, **{name: (kind,) for name, (kind, _) in FACTS.items()}}
    unknown = sorted(set(fields_of(filter)) - known.keys())
    if unknown:
        some = sorted(known)
        near = difflib.get_close_matches(unknown[0], some, n=1)
        names = ", ".join(some[:_MOST_NAMED]) + (", …" if len(some) > _MOST_NAMED else "")
        raise CollectionError(
            Text(
                f"the filter asks for {', '.join(unknown)}, which nothing in the collection has; "
                f"expected some of {names}; "
                + (f"did you mean {near[0]}?" if near else "correct the name"),
                f"筛选条件用了 {', '.join(unknown)}，资料库里没有这一项；应为以下之一：{names}；"
                + (f"是不是想用 {near[0]}？" if near else "请改正名称"),
            )
        )
    if problem := _mismatch(filter, known):
        raise CollectionError(problem)


def _mismatch(filter: Filter, known: Mapping[str, Collection[ValueType]]) -> Text | None:
    """Returns why a condition can never hold. For alternatives, every one of them must fail."""
    match filter:
        case Compare(field, operator, _):
            of = known.get(field, ())
            asked = {"text"} if operator in _OF_TEXT else {*map(type_of, filter.values)}
            if not of or not asked or asked.intersection(of):
                return None
            held = [_TYPES[kind] for kind in sorted(of)]
            return Text(
                f"the condition {as_text(filter)} can hold for nothing, since {field} holds "
                f"{' or holds '.join(one.en for one in held)}; expected one of these; correct the "
                "value",
                f"条件 {as_text(filter)} 不可能成立：{field} 的值是"
                f"{'或'.join(one.zh for one in held)}；应与这样的值比较；请改正条件里的值",
            )
        case Not(part):
            return _mismatch(part, known)
        case All(parts) | AnyOf(parts):
            problems = [problem for part in parts if (problem := _mismatch(part, known))]
            enough = 1 if isinstance(filter, All) else max(len(parts), 1)
            return problems[0] if len(problems) >= enough else None


def fields_of(filter: Filter) -> Iterable[str]:
    """Returns the name of every field that a filter uses, except the date, which `since` and
    `until` use whether or not anything has one."""
    match filter:
        case Compare():
            if filter.field != DATE_KEY:
                yield filter.field
        case Not(part):
            yield from fields_of(part)
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from fields_of(part)


def as_text(filter: Filter) -> str:
    """Write a filter in symbols, the same in every language: `date>=2021-05-01 &
    date<2021-06-01`."""
    match filter:
        case Compare(field, operator, value):
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
    """Compare with every type that a value may have: `2024` may be a number, a text or a year."""
    ways: list[Filter] = []
    if (number := _number(value)) is not None and _may_be(field, "number"):
        ways.append(Compare(field, "=", number))
    if _DAY.fullmatch(value) and _may_be(field, "date"):
        first, after = _period(value)
        ways.append(All((Compare(field, ">=", first), Compare(field, "<", after))))
    if _may_be(field, "text") or not ways:
        ways.append(Compare(field, "=", value))
    return ways[0] if len(ways) == 1 else AnyOf(tuple(ways))


def _compared(field: str, sign: Operator, value: str) -> Filter:
    ways: list[Filter] = []
    if (number := _number(value)) is not None and _may_be(field, "number"):
        ways.append(Compare(field, sign, number))
    if _DAY.fullmatch(value) and _may_be(field, "date"):
        first, after = _period(value)
        # After a day means after all of it, and up to a day includes it.
        edge, way = {">": (after, ">="), "<=": (after, "<")}.get(sign, (first, sign))
        ways.append(Compare(field, way, edge))  # type: ignore[arg-type]
    if not ways:
        ways.append(Compare(field, sign, value))
    return ways[0] if len(ways) == 1 else AnyOf(tuple(ways))


def _may_be(field: str, kind: str) -> bool:
    """A metadata key may have any type; a file's own field has exactly one."""
    return field not in FACTS or FACTS[field][0] == kind


def _dated(sign: Operator, moment: datetime) -> Filter:
    """Where no date is known, the file's last change counts."""
    changed = Compare(CHANGED, sign, moment)
    return AnyOf((Compare(DATE_KEY, sign, moment), All((Not(Compare(DATE_KEY)), changed))))


def _period(text: str) -> tuple[datetime, datetime]:
    """Returns the first moment of a day, month or year and the first moment after it, in local
    time: the camera's, or for file times this machine's."""
    found = _DAY.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        year, month, day = found.groups()
        first = datetime(int(year), int(month or 1), int(day or 1))
        if day:
            return first, first + timedelta(days=1)
        after = (first.year, first.month + 1) if month else (first.year + 1, 1)
        return first, datetime(after[0] + (after[1] > 12), (after[1] - 1) % 12 + 1, 1)
    except (ValueError, OverflowError):
        raise ConfigError(
            Text(
                f"{text!r} is not a date; expected a day, month or year such as 2024-05-31, "
                "2024-05 or 2024; write it like that",
                f"{text!r} 不是日期；应为某日、某月或某年；请写成 2024-05-31、2024-05 或 2024",
            )
        ) from None


def _number(text: str) -> Value | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
