"""Years, quarters and months, as questions and the cells of tables name them."""

import re

from seesay.data.spelling import fold
from seesay.search.catalog.drafts import TableColumn

Period = tuple[int | None, int | None, int | None]
"""Year, quarter and month, as far as they are given."""

YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)\s*年?度?(?!\d)")
QUARTER = re.compile(
    r"(?:第?\s*([一二三四1-4])\s*季度|(?<![a-z])q([1-4])(?!\d)|([1-4])q(?!\w)"
    r"|(first|second|third|fourth|1st|2nd|3rd|4th) quarter)"
)
QUARTERS = {"一": 1, "二": 2, "三": 3, "四": 4, "first": 1, "second": 2, "third": 3, "fourth": 4}
QUARTERS |= {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "1": 1, "2": 2, "3": 3, "4": 4}
MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
MONTH = re.compile(
    r"(?<!\d)(1[0-2]|0?[1-9])\s*月份?|(十[一二]?|[一二三四五六七八九])月份?|(?<![a-z])("
    + "|".join(MONTH_NAMES)
    + r")(?![a-z])"
)
CHINESE_MONTHS = dict(
    zip(
        ["一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二"],
        range(1, 13),
        strict=True,
    )
)


def period_of(value: str | int | float, column: TableColumn) -> Period:
    """Returns the period that a value is, all None if it is something else."""
    name = fold(column.name)
    if isinstance(value, float | int):
        if re.search("年|year", name) and 1900 <= value <= 2100:
            return int(value), None, None
        if re.search("季|quarter", name) and 1 <= value <= 4:
            return None, int(value), None
        is_month = re.search("月|month", name) and 1 <= value <= 12
        return None, None, int(value) if is_month else None
    text = fold(value)
    year = YEAR.search(text) or re.search(r"((?:19|20)\d\d)(?=\D|$)", text)
    rest = text.replace(year[0], " ") if year else text
    quarter = QUARTER.search(rest)
    month = None if quarter else MONTH.search(rest)
    for one in (quarter, month):
        rest = rest.replace(one[0], " ") if one else rest
    if rest.strip(" -_/.年"):
        return None, None, None
    return (
        int(year[1]) if year else None,
        QUARTERS[next(filter(None, quarter.groups()))] if quarter else None,
        month_of(month) if month else None,
    )


def month_of(match: re.Match[str]) -> int:
    digits, chinese, name = match.groups()
    if digits:
        return int(digits)
    return CHINESE_MONTHS[chinese] if chinese else MONTH_NAMES.index(name) + 1


_MONTHS = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in MONTH_NAMES)
_DAY = (
    r"(?P<y>(?:19|20)\d\d)(?:[-/.](?P<m>\d\d?)(?:[-/.](?P<d>\d\d?))?|\s*年(?:\s*(?P<m2>\d\d?)\s*月份?"
    r"(?:\s*(?P<d2>\d\d?)\s*[日号]?)?)?)?|(?P<m3>\d\d?)\s*月(?:\s*(?P<d3>\d\d?)\s*[日号]?|份)?"
    rf"|(?P<d4>\d\d?)(?:st|nd|rd|th)?(?: of)? (?P<m4>{_MONTHS})(?:,? (?P<y4>(?:19|20)\d\d))?"
    rf"|(?P<m5>{_MONTHS})(?: (?P<d5>\d\d?)(?:st|nd|rd|th)?(?!\d))?(?:,? (?P<y5>(?:19|20)\d\d))?"
)
BOUND = (
    re.compile(
        rf"(?<![a-z])(?P<en>before|after|since|until|till|from)\s+(?:{_DAY})(?![\da-z])",
    ),
    re.compile(rf"(?<!\d)(?:{_DAY})\s*(?P<zh>以前|之前|前|以后|之后|后|以来|起)"),
)
"""A day, month or year before or after which something is, in English and Chinese."""
BEFORE = ("before", "until", "till", "以前", "之前", "前")


def bounds_of(match: re.Match[str]) -> tuple[int | None, int, int | None, str]:
    """Returns year, month and day of a BOUND, as far as they are given, and the word for its
    side. The month is 0 for a whole year."""
    found = match.groupdict()
    year = found["y"] or found["y4"] or found["y5"]
    month = next((found[name] for name in ("m", "m2", "m3", "m4", "m5") if found[name]), None)
    day = next((found[name] for name in ("d", "d2", "d3", "d4", "d5") if found[name]), None)
    if month is not None and not month.isdigit():
        month = str(1 + next(at for at, name in enumerate(MONTH_NAMES) if name[:3] == month[:3]))
    side = found.get("en") or found.get("zh") or ""
    return int(year) if year else None, int(month or 0), int(day) if day else None, side
