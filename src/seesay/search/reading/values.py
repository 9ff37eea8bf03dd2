"""Parses the numbers and dates that people write in the cells of a table.

1,234.50   (1,234)   ¥1.2亿   3万   三千五百   12.5%   2024年5月   2024-05-31
"""

import re
import unicodedata
from datetime import datetime
from typing import NamedTuple

from seesay.search.reading.dates import read_date

MISSING = frozenset(
    ("", "-", "--", "—", "——", "/", "n/a", "na", "#n/a", "nan", "null", "none", "无", "暂无", "缺")
)
"""What stands in a cell that has no value, in lower case."""
CURRENCIES = ("¥", "$", "€", "£", "元", "rmb", "cny", "usd", "eur", "gbp", "hk$", "us$")

_SCALES = {"百": 2, "千": 3, "万": 4, "萬": 4, "百万": 6, "千万": 7, "亿": 8, "億": 8, "万亿": 12}
_SCALES |= {"k": 3, "thousand": 3, "million": 6, "mn": 6, "billion": 9, "bn": 9}
_NUMBER = re.compile(
    r"(?P<sign>[-+])?\s*(?P<before>hk\$|us\$|[¥$€£]|rmb|cny|usd|eur|gbp)?\s*(?P<sign2>[-+])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+|\d+)(?P<part>\.\d+)?(?P<power>e[-+]?\d{1,2})?\s*"
    r"(?P<scale>百万|千万|万亿|[百千万萬亿億]|thousand|million|billion|bn|mn|k)?\s*"
    r"(?P<after>%|元|rmb|cny|usd|eur|gbp|[¥$€£])?",
)
_DIGITS = {one: at for at, one in enumerate("零一二三四五六七八九")} | {
    "\u3007": 0,
    "两": 2,
    "兩": 2,
}
_PLACES = {"十": 10, "百": 100, "千": 1000}
_CHINESE = re.compile(
    "(?=[十百千万萬亿億]|.{1,3}[十百千万萬亿億])[零\u3007一二三四五六七八九十两兩]"
    "[零\u3007一二三四五六七八九十百千万萬亿億两兩]*"
)
_SCALE_OF_UNIT = re.compile(
    r"万亿|千万|百万|[万萬亿億]|[百千](?=元|美元|欧元|人|$)|"
    r"(?<![a-z])(?:thousand|million|billion|bn|mn|k)(?![a-z])"
)
_OWN_UNIT = re.compile(
    r"[万萬亿億元]|\d\s*(?:[百千]|thousand|million|billion|bn|mn|k|rmb|cny|yuan)"
)
_MONTH = re.compile(r"(\d{4})\s*(?:年|[-/.])\s*(\d{1,2})\s*月?")
_MOST_DIGITS = 15  # what is longer is a number of something, such as a card


class Number(NamedTuple):
    """A number with the unit that it is written with."""

    value: float
    unit: str = ""
    """"%", or a sign of money."""


def read_number(text: str) -> Number | None:
    """Returns the number in a text, whole as it is; None for everything else, and for names made
    of digits such as 00123 or a card number."""
    plain = unicodedata.normalize("NFKC", text).strip().lower().replace("\u2212", "-")
    if plain.startswith("(") and plain.endswith(")"):  # as accountants write what is negative
        found = read_number(plain[1:-1])
        return None if found is None or found.value < 0 else Number(-found.value, found.unit)
    match = _NUMBER.fullmatch(plain)
    if match is None:
        return _chinese(plain)
    part = match.groupdict()
    digits = part["digits"].replace(",", "")
    if len(digits) > _MOST_DIGITS or (len(digits) > 1 and digits[0] == "0"):
        return None
    sign = "-" if "-" in (part["sign"], part["sign2"]) else ""
    power = _SCALES.get(part["scale"] or "", 0) + int((part["power"] or "e0")[1:])
    # From one decimal text, so that 1.2亿 is 120000000 and not 1.2 times a power.
    value = float(f"{sign}{digits}{part['part'] or ''}e{power}")
    return Number(value, part["before"] or part["after"] or "")


def scaled_to(number: Number, text: str, unit: str) -> float:
    """Returns a number in the unit of its column: 1.2亿 is 12,000 in a column of 万元. What is
    written without a scale or 元 of its own, such as 1,200 or 三千五百, is in that unit already."""
    has_own_unit = _OWN_UNIT.search(_plain(text)) is not None
    return number.value / scale_of(unit) if has_own_unit else number.value


def scale_of(unit: str) -> int:
    """Returns what a unit multiplies by: 10,000 for 万元, 1 for 元, kg and 千克."""
    match = _SCALE_OF_UNIT.search(_plain(unit))
    return 10 ** _SCALES[match[0]] if match else 1


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().lower()


def read_day(text: str) -> datetime | None:
    """Returns a date as tables have them; a month counts as its first day."""
    plain = unicodedata.normalize("NFKC", text).strip()
    if match := _MONTH.fullmatch(plain):
        year, month = map(int, match.groups())
        return datetime(year, month, 1) if 1 <= month <= 12 and year else None
    return read_date(plain) if re.match(r"\d{4}\s*[-/.年]", plain) else None


def _chinese(text: str) -> Number | None:
    """Parses numbers in characters: 三千五百, 两万, 一百二十. A digit alone may be a name."""
    if not _CHINESE.fullmatch(text) or not text[1:]:
        return None
    total = section = digit = 0
    for one in text:
        if one in _DIGITS:
            digit = _DIGITS[one]
        elif one in _PLACES:
            section, digit = section + (digit or 1) * _PLACES[one], 0
        elif one in "万萬":
            total, section, digit = total + (section + digit) * 10_000, 0, 0
        else:
            total, section, digit = (total + section + digit) * 10**8, 0, 0
    return Number(float(total + section + digit))
