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
