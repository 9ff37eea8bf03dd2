"""Numbers, dates and names in a text, in a form that different wordings share.

    quantities("收入为 1.2 亿元")    [Quantity(value=120000000, unit="cny", ...)]
    quantities("two thirds")        [Quantity(value=2/3, unit="", ...)]
    days("31 May 2024")             [Day(2024, 5, 31, ...)], as of 2024年5月31日 and 2024-05-31

Claims are checked against evidence with these: a sentence that says 12% is not supported by one
that says 21%, however many other words they share.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from seesay.data.spelling import fold_each
from seesay.rag.lexicon import lexicon

_WORDS_OF = lexicon()
_DIGITS = {one: n for n, one in enumerate("零一二三四五六七八九")} | {"\u3007": 0, "两": 2}
_TENS = {"十": 10, "百": 100, "千": 1000}
_SCALES = {"万": 10**4, "亿": 10**8, "万亿": 10**12, "千万": 10**7, "百万": 10**6, "千": 1000}
_EN_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_EN_SCALES |= {"trillion": 10**12, "dozen": 12}
_EN = {word: n for n, word in enumerate(_WORDS_OF["ones"].split())}
_EN |= {word: 10 * n for n, word in enumerate(_WORDS_OF["tens"].split(), 2)}
_PARTS = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "tenth": 10}
_MONTHS = _WORDS_OF["months"].split()
_UNITS = {
    word: (unit, Fraction(factor))
    for unit, factor, words in _WORDS_OF["units"]
    for word in words.split()
}
_PREFIXES = {"$": "usd", "€": "eur", "£": "gbp", "¥": "cny", "￥": "cny"}
_MEASURES = "".join(_WORDS_OF["measures"].split())
_NUMBER = re.compile(
    r"(?P<sign>[$€£¥￥]\s?)?"
    r"(?P<digits>(?<![a-z\d_.])\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<![\d.])\d+(?:\.\d+)?)"
    r"(?:\s?(?P<scale>万亿|千万|百万|[万亿千]|(?:thousand|million|billion|trillion)\b))?"
)
_NUMERAL = "零\u3007一二两三四五六七八九十百千万亿"
_HUNDREDTHS = re.compile(rf"百分之(?P<of>[\d.]+|[{_NUMERAL}点]+)")
_PARTS_ZH = re.compile(rf"(?P<below>[{_NUMERAL}\d]+)分之(?P<above>[{_NUMERAL}\d]+)")
_CHINESE = re.compile(rf"(?<!第)[{_NUMERAL}]+(?:点[{_NUMERAL}]+)?")
_NO_NUMBER = frozenset(_WORDS_OF["no_number"].split())
_WORDS = "|".join(sorted((*_EN, *_EN_SCALES), key=len, reverse=True))
_ENGLISH = re.compile(
    rf"\b(?:(?:a|an|{_WORDS})(?:[\s-](?:and\s)?(?:{_WORDS}))*|half)\b"
    rf"(?:[\s-](?P<part>half|halves|thirds?|quarters?|fourths?|fifths?|tenths?)\b)?"
)
_UNIT = re.compile(
    r"\s?-?("
    + "|".join(
        sorted(map(re.escape, (u for u in _UNITS if not u.isascii())), key=len, reverse=True)
    )
    + r"|%|per\s?cent\b|[a-z][a-z²2]*)"
)
_DAY_FORMS = (
    re.compile(r"(?P<y>[12]\d{3})\s?年(?:\s?(?P<m>\d{1,2})\s?月(?:\s?(?P<d>\d{1,2})\s?[日号])?)?"),
    re.compile(r"(?P<m>\d{1,2})\s?月(?:\s?(?P<d>\d{1,2})\s?[日号])?"),
    re.compile(r"(?P<y>[12]\d{3})[-/.](?P<m>\d{1,2})(?:[-/.](?P<d>\d{1,2}))?(?!\d)"),
    re.compile(
        rf"(?:(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?)?\b(?P<name>{'|'.join(_MONTHS)})\b"
        r"(?:\s(?P<d2>\d{1,2})(?:st|nd|rd|th)?\b)?(?:,?\s(?P<y>[12]\d{3})\b)?"
    ),
    re.compile(r"(?<![\d.,$€£¥])\b(?P<y>1[5-9]\d\d|20\d\d)\b(?![.,]?\d)"),
)
_CHINESE_YEAR = re.compile("[一二][\u3007零一二三四五六七八九]{3}(?=年)")
_NAME = re.compile(r"\b[A-Z][\w&'\u2019-]*(?:\s(?:of\s|de\s|van\s)?[A-Z][\w&'\u2019-]*)*")
_ORDINARY = frozenset(_WORDS_OF["ordinary"].split())
Span = tuple[int, int]


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, in basic units."""

    value: Fraction
    unit: str
    """Canonical unit; empty for a number without a known one."""
    span: Span

    def agrees(self, other: "Quantity") -> bool:
        """Whether both say the same; a missing unit agrees with any."""
        one, two = self.unit, other.unit
        return self.value == other.value and (one == two or not one or not two)


@dataclass(frozen=True)
class Day:
    """A date, of which parts may be unknown."""

    year: int | None
    month: int | None
    day: int | None
    span: Span

    def is_covered_by(self, other: "Day") -> bool:
        """Whether each part of this date is also in the other one."""
        own, others = (self.year, self.month, self.day), (other.year, other.month, other.day)
        return all(a is None or a == b for a, b in zip(own, others, strict=True))


def days(text: str) -> list[Day]:
    """Returns the dates in a text, in order; a number such as 1987 is a year."""
    text, taken, found = _folded(text), list[Span](), list[Day]()
    for form in _DAY_FORMS:
        for match in form.finditer(text):
            if any(a < match.end() and match.start() < b for a, b in taken):
                continue
            parts = match.groupdict()
            name = parts.get("name")
            if name == "may" and not (parts["d"] or parts["d2"] or parts["y"]):
                continue  # the verb
            if match.re is _DAY_FORMS[-1] and _unit_after(text, match.end()):
                continue  # 1500 grams
            month = _MONTHS.index(name) + 1 if name else int(parts.get("m") or 0) or None
            day = int(parts.get("d") or parts.get("d2") or 0) or None
            if (month or 1) > 12 or (day or 1) > 31:
                continue
            year = int(parts["y"]) if parts.get("y") else None
            taken.append(match.span())
            found.append(Day(year, month, day, match.span()))
    return sorted(found, key=lambda one: one.span)


def quantities(text: str) -> list[Quantity]:
    """Returns the numbers in a text that are not dates, in order."""
    text, found = _folded(text), list[Quantity]()
    taken = [day.span for day in days(text)]
    for value, span, unit in _numbers(text):
        if value is None or any(a < span[1] and span[0] < b for a, b in taken):
            continue
        factor = Fraction(1)
        if unit is None and (following := _unit_after(text, span[1])):
            unit, factor, end = following
            span = span[0], end
        taken.append(span)
        found.append(Quantity(value * factor, unit or "", span))
    return sorted(found, key=lambda one: one.span)


def _numbers(text: str) -> Iterator[tuple[Fraction | None, Span, str | None]]:
    """Yields numbers with the unit that is part of them; those of fractions and percentages first,
    since they hold other numbers."""
    for match in _HUNDREDTHS.finditer(text):
        number = _value(match["of"])
        yield None if number is None else number / 100, match.span(), "%"
    for match in _PARTS_ZH.finditer(text):
        above, below = _value(match["above"]), _value(match["below"])
        yield above / below if above and below else None, match.span(), ""
    for match in _NUMBER.finditer(text):
        scale = match["scale"] or ""
        factor = _SCALES.get(scale) or _EN_SCALES.get(scale) or 1
        sign = _PREFIXES.get((match["sign"] or "").strip())
        yield Fraction(match["digits"].replace(",", "")) * factor, match.span(), sign
    for match in _CHINESE.finditer(text):
        word, after = match.group(), text[match.end() : match.end() + 1]
        if {word, word + after} & _NO_NUMBER:
            continue
        if len(word) > 1 or (after and after in _MEASURES):
            yield _value(word), match.span(), None
    for match in _ENGLISH.finditer(text):
        yield _english(match.group(), match["part"]), match.span(), "" if match["part"] else None


def names(text: str) -> list[tuple[str, Span]]:
    """Returns the names in a text by their capitals, without a first word that is ordinary. Chinese
    has no capitals, so only its Latin words are returned."""
    found = []
    for match in _NAME.finditer(text):
        start, name = match.start(), match.group()
        first = not text[:start].strip() or text[:start].rstrip()[-1] in ".!?:。！？：\n"
        if first and name.split()[0].lower() in _ORDINARY:
            start += len(name.split()[0]) + 1
            name = text[start : match.end()]
        elif first and " " not in name and re.match(r"\s*[a-z\d]", text[match.end() :]):
            continue  # any sentence begins with a capital
        if name.strip():
            found.append((name, (start, match.end())))
    return found


def is_number(word: str) -> bool:
    """Whether a word is a number, in digits or letters of either language."""
    bare = word[:1] + word[1:].rstrip(_MEASURES)  # 三十六名
    return word in _EN or word in _EN_SCALES or all(c.isdigit() or c in _NUMERAL for c in bare)


def unsupported_fact(claim: str, evidence: str) -> Literal["number", "date", "name"] | None:
    """Returns the kind of fact in the claim that the evidence lacks; None if it lacks none."""
    known = quantities(evidence)
    for one in quantities(claim):
        if not any(one.agrees(other) for other in known):
            return "number"
    dates = days(evidence)
    for day in days(claim):
        if not any(day.is_covered_by(other) for other in dates):
            return "date"
    folded = fold_each(evidence)
    for name, _ in names(claim):
        if not all(word in folded for word in re.findall(r"\w+", fold_each(name))):
            return "name"
    return None


def _folded(text: str) -> str:
    """Folds a text, with years such as 二〇二四年 in digits, at the same positions."""

    def in_digits(match: re.Match[str]) -> str:
        return "".join(str(_DIGITS[one]) for one in match.group())

    return _CHINESE_YEAR.sub(in_digits, fold_each(text))


def _unit_after(text: str, at: int) -> tuple[str, Fraction, int] | None:
    match = _UNIT.match(text, at)
    if match is None:
        return None
    word = re.sub(r"per\s?cent", "percent", match[1])
    for form in (word, word.removesuffix("s"), word.removesuffix("es")):
        if form in _UNITS:
            return *_UNITS[form], match.end()
    return None


def _value(text: str) -> Fraction | None:
    """Returns the value of digits or of a Chinese numeral such as 一千零五 or 三点五."""
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return Fraction(text)
    whole, _, rest = text.partition("点")
    number = _whole(whole)
    if number is None or any(one not in _DIGITS for one in rest):
        return None
    places = "".join(str(_DIGITS[one]) for one in rest)
    return Fraction(f"{number}.{places}") if places else Fraction(number)


def _whole(text: str) -> int | None:
    if text and all(one in _DIGITS for one in text):
        return int("".join(str(_DIGITS[one]) for one in text))  # 二〇二四
    total = section = digit = 0
    for one in text:
        if one in _DIGITS:
            digit = _DIGITS[one]
        elif one in _TENS:
            section += (digit or 1) * _TENS[one]
            digit = 0
        elif one in _SCALES:
            total = (total + section + digit) * _SCALES[one]
            section = digit = 0
        else:
            return None
    return (total + section + digit) if text else None


def _english(text: str, part: str | None) -> Fraction | None:
    words = re.findall(r"[a-z]+", text)
    if words == ["half"]:
        return Fraction(1, 2)
    if part is not None:
        words = words[:-1]
    total = current = 0
    for word in words:
        if word in _EN:
            current += _EN[word]
        elif word in ("hundred", "dozen"):
            current = (current or 1) * _EN_SCALES[word]
        elif word in _EN_SCALES:
            total, current = total + (current or 1) * _EN_SCALES[word], 0
    number = Fraction(total + current)
    if part is not None:
        return (number or Fraction(1)) / _PARTS[part if part in _PARTS else part.removesuffix("s")]
    return number if words not in (["a"], ["an"]) else None
