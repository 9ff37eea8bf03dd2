"""A time named in a query: "last summer", "in May 2021", 去年夏天, 2023年, 2019年到2021年.

Only what can be read in one way: a number alone is no year, and a month needs one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from seesay.data.spelling import fold_each
from seesay.search.asking.reading.wording import hide_quotes
from seesay.search.catalog.filters import All, Filter, Where
from seesay.search.catalog.metadata import DATE_KEY

_MONTHS = "january february march april may june july august september october november december"
_MONTH = {name: number for number, name in enumerate(_MONTHS.split(), 1)}
_MONTH |= {name[:3]: number for name, number in _MONTH.items()}
_SEASON = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
_SEASON |= {
    "春天": 3,
    "夏天": 6,
    "秋天": 9,
    "冬天": 12,
    "春季": 3,
    "夏季": 6,
    "秋季": 9,
    "冬季": 12,
}
_YEARS_AGO = {"this": 0, "last": 1, "今年": 0, "去年": 1, "前年": 2}
_YEAR = r"(?:19|20)\d\d"


@dataclass(frozen=True, kw_only=True)
class Period:
    """Days from `first` up to, but without, `end`."""

    words: str
    """As it was said."""
    first: date
    end: date

    @property
    def last(self) -> date:
        """The last day of it."""
        return self.end - timedelta(days=1)

    def as_filter(self) -> Filter:
        """Units taken within it."""
        return All((Where(DATE_KEY, ">=", self.first), Where(DATE_KEY, "<", self.end)))

    def cut_from(self, text: str) -> str:
        """The text without the words of the time; empty where it only asks for pictures then."""
        before, words, after = text.partition(self.words)
        if not words:
            return text
        rest = f"{before.rstrip()} {after.lstrip()}".strip(_MARKS)
        return "" if _ONLY_PICTURES.fullmatch(rest) else rest


_MARKS = " ,.;:!?，。；：！？、"
_ONLY_PICTURES = re.compile(
    r"(?:(?:all|my|the|any|of)\s+)*(?:photo(?:graph)?s?|pictures?|images?|pics?)(?:\s+taken)?"
    r"|(?:所有|全部|我)?(?:拍摄?)?的?(?:照片|相片|图片|照)",
    re.I,
)


def find_period(text: str, today: date) -> Period | None:
    """The first time that the text names outside of quotes."""
    folded = hide_quotes(fold_each(text))
    for pattern, read in _PATTERNS:
        for found in pattern.finditer(folded):
            days = read(found, today)
            if days is not None:
                words = text[found.start() : found.end()].strip()
                return Period(words=words, first=days[0], end=days[1])
    return None


Days = tuple[date, date]


def _month(year: int, month: int) -> Days | None:
    if not 1 <= month <= 12:
        return None
    return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)


def _year(year: int) -> Days:
    return date(year, 1, 1), date(year + 1, 1, 1)


def _season(year: int, month: int) -> Days:
    """Three months; winter is that which begins in the year."""
    end = month + 3
    return date(year, month, 1), date(year + (end > 12), (end - 1) % 12 + 1, 1)


def _range(found: re.Match[str], today: date) -> Days | None:
    first, last = _year(int(found["first"])), _year(int(found["last"]))
    return (first[0], last[1]) if first < last else None


def _dated_english(found: re.Match[str], today: date) -> Days | None:
    name, year = found["month"], int(found["year"])
    return _month(year, _MONTH[name.lower()]) if name else _year(year)


def _dated_chinese(found: re.Match[str], today: date) -> Days | None:
    if found["season"]:
        return _season(int(found["year"]), _SEASON[found["season"]])
    year, month, day = int(found["year"]), found["month"], found["day"]
    if day:
        try:
            first = date(year, int(month), int(day))
        except ValueError:
            return None
        return first, first + timedelta(days=1)
    return _month(year, int(month)) if month else _year(year)


def _relative(found: re.Match[str], today: date) -> Days | None:
    year = today.year - _YEARS_AGO[found["which"].lower()]
    name = (found["season"] or "").lower()
    if not name:
        return _year(year)
    days = _season(year, _SEASON[name])
    if found["which"].lower() == "last" and _season(today.year, _SEASON[name])[1] <= today:
        days = _season(today.year, _SEASON[name])  # said in autumn, it is this year's summer
    return days


def _last_month(found: re.Match[str], today: date) -> Days | None:
    before = today.replace(day=1) - timedelta(days=1)
    return _month(before.year, before.month)


def _yesterday(found: re.Match[str], today: date) -> Days | None:
    return today - timedelta(days=1), today


_ENGLISH_SEASONS = "spring|summer|autumn|fall|winter"
_CHINESE_SEASONS = "[春夏秋冬][天季]"
_MONTH_NAMES = "|".join(sorted(_MONTH, key=len, reverse=True))

_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], date], Days | None]], ...] = (
    (
        re.compile(
            rf"\b(?:from|between)\s+(?P<first>{_YEAR})\s*(?:to|until|till|and|-)\s*"
            rf"(?P<last>{_YEAR})\b(?![-/.]\d)",
            re.I,
        ),
        _range,
    ),
    (
        re.compile(
            rf"(?<!\d)(?P<first>{_YEAR})\s*年?\s*(?:到|至|[-~])\s*(?P<last>{_YEAR})"
            r"\s*年(?!\s*\d)的?"
        ),
        _range,
    ),
    (
        re.compile(
            rf"\b(?:in|from|during)\s+(?:(?P<month>{_MONTH_NAMES})\.?\s+)?"
            rf"(?P<year>{_YEAR})\b(?![-/.]\d)",
            re.I,
        ),
        _dated_english,
    ),
    (
        re.compile(
            rf"(?<!\d)(?P<year>{_YEAR})\s*年(?:(?P<season>{_CHINESE_SEASONS})|"
            r"\s*(?P<month>\d\d?)\s*月(?:份|\s*(?P<day>\d\d?)\s*[日号])?)?的?"
        ),
        _dated_chinese,
    ),
    (
        re.compile(rf"\b(?P<which>last|this)\s+(?:year|(?P<season>{_ENGLISH_SEASONS}))\b", re.I),
        _relative,
    ),
    (re.compile(rf"(?P<which>去年|今年|前年)(?P<season>{_CHINESE_SEASONS})?的?"), _relative),
    (re.compile(r"\blast\s+month\b|上个?月的?", re.I), _last_month),
    (re.compile(r"\byesterday\b|昨天的?", re.I), _yesterday),
)
