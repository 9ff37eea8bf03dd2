"""A time named in a query: pictures taken then, where there are any.

It is a guess at what is meant, so it is softer than a filter that was asked for. Texts without a
date are judged by their words, not by the time; and where no picture of that time is left, the
words are searched for as they stand, and the answer says so.
"""

from dataclasses import dataclass, replace

from seesay.search.asking.asking import Part, Query
from seesay.search.asking.reading.dates import Period
from seesay.search.asking.results import Note
from seesay.search.catalog.database import Database
from seesay.search.catalog.filters import All, AnyOf, Filter, Not, Where, matching_units
from seesay.search.catalog.metadata import DATE_KEY


@dataclass(frozen=True, eq=False)
class Timed:
    """A query after its time was looked for."""

    parts: tuple[Part, ...]
    """What vectors are compared with: without the words of a time that is used."""
    within: Filter | None
    listed: Filter | None
    """What is shown where nothing but a filter or a time is asked for."""
    notes: tuple[Note, ...] = ()


def use_period(query: Query, known: set[str], database: Database) -> Timed:
    """`known` are the keys of metadata that the collection has."""
    as_typed = Timed(query.parts, query.filter, query.filter)
    if query.period is None:
        return as_typed
    period = query.period
    if DATE_KEY not in known:
        return replace(as_typed, notes=(_undated(period),))
    taken_then = _both(query.filter, period.as_filter())
    if not len(matching_units(taken_then, database, most=1)):
        return replace(as_typed, notes=(_nothing_then(period),))
    undated_text = All((Where("unit.modality", "=", "text"), Not(Where(DATE_KEY))))
    within = _both(query.filter, AnyOf((period.as_filter(), undated_text)))
    parts = query.parts
    if query.lanes != ("keyword",):
        parts = tuple(part for part in (_without(part, period) for part in parts) if part)
    return Timed(parts, within, taken_then, (_then(period),))


def _both(asked: Filter | None, time: Filter) -> Filter:
    return time if asked is None else All((asked, time))


def _without(part: Part, period: Period) -> Part | None:
    if part.text is None or period.words not in part.text:
        return part
    rest = period.cut_from(part.text)
    return replace(part, text=rest) if rest else None


def _undated(period: Period) -> Note:
    return Note(
        en=f"{period.words!r} may be a time, but nothing in this collection has a date; it was "
        "searched for as words",
        zh=f"“{period.words}”像是时间，但资料库里的内容都没有日期，已按字面查找",
    )


def _nothing_then(period: Period) -> Note:
    return Note(
        en=f"nothing was taken in {period.words!r} ({_days(period, 'to')}); searched without it",
        zh=f"没有“{period.words}”（{_days(period, '至')}）拍摄的内容，已不限时间查找",
    )


def _then(period: Period) -> Note:
    return Note(
        en=f"{period.words!r} was taken for a time: only pictures from {_days(period, 'to')}",
        zh=f"“{period.words}”按时间理解：只找 {_days(period, '至')} 拍摄的图片",
    )


def _days(period: Period, to: str) -> str:
    return f"{period.first} {to} {period.last}" if period.first < period.last else f"{period.first}"
