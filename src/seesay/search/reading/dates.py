"""Parses dates as cameras, programs and people write them: EXIF, XMP, tables.

    2021:05:04 10:11:12     2021-05-04T10:11:12.5+08:00     2021/5/4 10:11     2021年5月4日

A date is local time: a time zone after it is ignored, since the day at the place of the picture
counts. An ambiguous text such as 4/5/2021 is not a date.
"""

import re
import unicodedata
from datetime import datetime, timedelta

_DAY = r"(?P<year>\d{4})(?:(?P<part>[-:/.])(?P<month>\d\d?)(?P=part)(?P<day>\d\d?)"
_DAY += r"|\s*年\s*(?P<month_zh>\d\d?)\s*月\s*(?P<day_zh>\d\d?)\s*[日号]?)"
_CLOCK = r"(?P<hour>\d\d?)(?::|\s*[时点]\s*)(?P<minute>\d\d?)?"
_CLOCK += r"(?:(?::|\s*分\s*)(?P<second>\d\d?)?(?:[.,](?P<share>\d+))?\s*秒?)?"
_ZONE = r"(?:Z|UTC|GMT|[-+]\d\d?(?::?\d\d)?)"
_HALF = r"(?P<half>[AP]\.?M\.?|上午|下午|凌晨|早上|中午|晚上)"
_DATE = re.compile(
    rf"{_DAY}(?:(?:[T\s]\s*|(?<=[日号]))(?:{_HALF}\s*)?{_CLOCK}"
    rf"(?:\s*{_HALF.replace('half', 'half_after')})?\s*{_ZONE}?)?",
    re.I,
)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:[T_-]?(\d\d)(\d\d)(\d\d)?)?")
_BEGINNING = re.compile(r"(\d{4})(?:\s*年|(?:[-/.:]|\s*年\s*)(\d\d?)\s*月?)?")
_LIKE_DATE = re.compile(r"\d{1,5}\s*(?:[-:/.]|年)\s*\d{1,2}\s*(?:[-:/.]|月)\s*\d{1,4}(?!\d).*")
_AFTERNOON = ("p", "下", "晚")
_LONGEST = 64


def read_date(text: str) -> datetime | None:
    """Returns the date and time in a text, without a time zone; None if no calendar has it. A day
    alone means midnight; 24:08:19 belongs to the next day."""
    plain = _plain(text)
    found = _DATE.fullmatch(plain)
    if found is None:
        return _in_iso_format(plain)
    part = found.groupdict()
    day = (part["year"], part["month"] or part["month_zh"], part["day"] or part["day_zh"])
    half = (part["half"] or part["half_after"] or "").lower()
    hour = int(part["hour"] or 0)
    if half.startswith(_AFTERNOON) and hour < 12:
        hour += 12
    if half.startswith(("a", "上", "凌")) and hour == 12:
        hour = 0
    micro = int((part["share"] or "0")[:6].ljust(6, "0"))
    return _moment(day, (hour, part["minute"] or 0, part["second"] or 0), micro)


def read_day(text: str) -> datetime | None:
    """Like `read_date`, for places that contain only dates: also accepts a year, a month, 20210504
    or 20210504_101112."""
    plain = _plain(text)
    if found := _COMPACT.fullmatch(plain):
        year, month, day, *clock = found.groups("0")
        return _moment((year, month, day), tuple(clock), 0)
    if found := _BEGINNING.fullmatch(plain):
        return _moment((found[1], found[2] or 1, 1), (0, 0, 0), 0)
    return read_date(plain)


def is_like_date(text: str) -> bool:
    """Whether a text is written like a date, even an impossible one: 0000:00:00 00:00:00."""
    return _LIKE_DATE.fullmatch(_plain(text)) is not None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:_LONGEST]).strip().rstrip("\0 ")


def _in_iso_format(text: str) -> datetime | None:
    """Parse other ISO 8601 dates, such as weeks."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _moment(
    day: tuple[str | int, ...], clock: tuple[str | int, ...], micro: int
) -> datetime | None:
    hour, minute, second = map(int, clock)
    if hour > 24 or minute > 59 or second > 60:
        return None
    passed = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micro)
    try:
        return datetime(*map(int, day)) + passed  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
