"""Scorers of short answers in words: VQA accuracy, ANLS, relaxed accuracy, GQA, OCRBench and the
open questions of MMMU.

Each follows the code that published figures come from, its slips included, since a figure means
something only beside others that were made in the same way.
"""

import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from seesay.evaluation.answers import normalized
from seesay.evaluation.scoring import Rule, Tools, Truth, Verdict, share

# VQA accuracy

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIODS = 32  # as many are removed at most: the original passes a flag where the count belongs
_DIGITS = "zero one two three four five six seven eight nine ten"
NUMBERS = {"none": "0"} | {word: str(at) for at, word in enumerate(_DIGITS.split())}
ARTICLES = ("a", "an", "the")


def _contractions() -> Iterator[tuple[str, str]]:
    """Words that were written without their apostrophe, and the same with it."""
    endings = {
        "n't": "ai are ca could did does do had has have is might must need ought sha should was "
        "were wo would",
        "'ve": "could might must not should they we what where who would you",
        "'d": "he how it someone something there they where who you",
        "'ll": "how it somebody someone something they what who why you",
        "'re": "there they what why you",
        "'s": "he how somebody someone that there what when where who why",
    }
    for ending, words in endings.items():
        for word in words.split():
            yield word + ending.replace("'", ""), word + ending
    doubled = "he it she somebody someone something there they we who you"
    for word in [*(f"{word}'d" for word in doubled.split()), *_NEGATED]:
        yield word.replace("'", "") + "'ve", word + "'ve"
        yield word + "ve", word + "'ve"
    for word in ("ma'am", "o'clock", "'twas", "y'all"):
        yield word.replace("'", ""), word
    for word in ("yall'd've", "y'alld've", "y'all'dve"):
        yield word, "y'all'd've"
    for word in ("yall'll", "y'allll"):
        yield word, "y'all'll"
    for word in ("ow's'at", "'ows'at", "'ow'sat"):
        yield word, "'ow's'at"
    yield "somebody'd", "somebodyd"  # a slip of the original


_NEGATED = ("couldn't", "hadn't", "mightn't", "shouldn't", "wouldn't")
CONTRACTIONS = dict(_contractions())


@dataclass(frozen=True, kw_only=True)
class VqaAccuracy:
    """VQA accuracy (Antol et al. 2015): with ten people asked, an answer is right if three others
    gave it too; each of the ten is left out once, and the mean counts."""

    period: str = r"\.(?!\d)"
    """Pattern of the full stops to remove."""
    comma: str = r"\d,\d"
    """Pattern of a comma inside a number. If a text has one, its punctuation is removed; otherwise
    each mark becomes a space."""
    unanimous_as_is: bool = False
    """Whether nothing is normalised if all people gave the same answer, as the original has it."""
    words_first: bool = False
    """Whether to handle question marks, commas and 's before everything else, as EvalAI does."""

    def __call__(self, answer: str, truth: Truth, _: Tools) -> Verdict:
        answer, given = _one_line(answer), [_one_line(one) for one in truth.answers]
        if not (self.unanimous_as_is and len(set(given)) == 1):
            answer, given = self.normalize(answer), [self.normalize(one) for one in given]
        others = (given[:at] + given[at + 1 :] for at in range(len(given)))
        return Verdict(parsed=answer, score=share(min(1, o.count(answer) / 3) for o in others))

    def normalize(self, answer: str) -> str:
        """The answer as it is compared."""
        if self.words_first:
            answer = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's")
            answer = _one_line(answer.strip())
        words = without_punctuation(answer, self.period, self.comma).lower().split()
        numbers = (NUMBERS.get(word, word) for word in words)
        kept = (word for word in numbers if word not in ARTICLES)
        return " ".join(CONTRACTIONS.get(word, word) for word in kept)


def without_punctuation(
    text: str, period: str = r"(?<!\d)\.(?!\d)", comma: str = VqaAccuracy.comma
) -> str:
    """Removes punctuation beside a blank and replaces the rest by blanks."""
    result = text
    numbers = re.search(comma, text) is not None
    for sign in PUNCTUATION:
        beside = f"{sign} " in text or f" {sign}" in text
        result = result.replace(sign, "" if beside or numbers else " ")
    return re.sub(period, "", result, count=_PERIODS)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


# ANLS


def anls(answer: str, truth: Truth, _: Tools, *, stripped: bool = False) -> Verdict:
    """Average normalised Levenshtein similarity (Biten et al. 2019): 1 less the edit distance to
    the nearest answer, as a share of the length; 0 below one half. The length is that of the texts
    as they were written, while the distance is between them without case and doubled blanks."""
    answer = answer.strip() if stripped else answer
    similarity = 1 - min(_relative_distance(one, answer) for one in truth.answers)
    return Verdict(parsed=answer, score=similarity if similarity >= 0.5 else 0.0)


def _relative_distance(one: str, other: str) -> float:
    length = max(len(one.upper()), len(other.upper()))
    first, second = (" ".join(text.lower().split()) for text in (one, other))
    return edit_distance(first, second) / length if length else 0.0


def edit_distance(one: str, other: str) -> int:
    """The fewest insertions, deletions and replacements that make one text the other."""
    row = list(range(len(other) + 1))
    for line, character in enumerate(one, 1):
        before, row[0] = row[0], line
        for at, second in enumerate(other, 1):
            replaced = before + (character != second)
            before, row[at] = row[at], min(replaced, row[at] + 1, row[at - 1] + 1)
    return row[-1]


# Relaxed accuracy


def relaxed(answer: str, truth: Truth, _: Tools, *, stripped: bool) -> Verdict:
    """Relaxed accuracy (ChartQA, Masry et al. 2022): a number may differ by 5 percent; anything
    else, and a truth of 0, has to be the same but for case."""
    answer = answer.strip() if stripped else answer
    return Verdict(parsed=answer, score=float(any(_close(answer, one) for one in truth.answers)))


def _close(answer: str, target: str) -> bool:
    number, wanted = _number(answer), _number(target)
    if number is None or not wanted:
        return answer.lower() == target.lower()
    return abs(number - wanted) / abs(wanted) <= 0.05


def _number(text: str) -> float | None:
    """The number that a text is; of percent, the share."""
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


# Equal but for what does not count


def _equal(read: Callable[[str], str]) -> Rule:
    """A rule by which an answer is right if it is one of the truth's, both read in this way."""

    def rule(answer: str, truth: Truth, _: Tools) -> Verdict:
        parsed = read(answer)
        return Verdict(parsed=parsed, score=float(parsed in map(read, truth.answers)))

    return rule


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def without_signs(text: str) -> str:
    """As lmms-eval compares: without case, and without the punctuation of ASCII."""
    return text.strip().lower().translate(_NO_PUNCTUATION)


exact: Rule = _equal(normalized)
gqa_lmms: Rule = _equal(without_signs)
gqa_vlmevalkit: Rule = _equal(lambda text: text.strip().lower())

# OCRBench

FORMULAS = ("Handwritten Mathematical Expression Recognition", "HME100k")
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}


def ocrbench(answer: str, truth: Truth, _: Tools, *, folded: bool) -> Verdict:
    """Whether the answer contains one of the truth's. Blanks do not count in a formula, and case
    does not in anything else. The group `category` tells what a question is."""
    formula = truth.groups.get("category") in FORMULAS or truth.groups.get("dataset") in FORMULAS

    def read(text: str) -> str:
        if formula:
            return text.strip().replace("\n", " ").replace(" ", "")
        text = text.translate(_HALF_WIDTH) if folded else text
        return text.lower().strip().replace("\n", " ")

    parsed = read(answer.strip() if folded else answer)
    return Verdict(parsed=parsed, score=float(any(read(one) in parsed for one in truth.answers)))


# The open questions of MMMU

_CONCLUDING = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    r"-?\b\d{1,3}(?:,\d{3})+\b",  # with commas between thousands
    r"-?\d+(?:\.\d+)?[eE][+-]?\d+",
    r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",
)


def mmmu_open(answer: str, truth: Truth, _: Tools) -> Verdict:
    """MMMU's rule for open questions: what follows the last concluding word of each line, and each
    number in it, are candidates. One of them has to contain the right text, or be the right number
    to two decimal places."""
    candidates = _candidates(answer)
    wanted = [one for text in truth.answers for one in _text_or_number(text)]
    words = [one for one in wanted if isinstance(one, str)]
    right = any(
        any(word in one for word in words) if isinstance(one, str) else one in wanted
        for one in candidates
    )
    return Verdict(parsed=" | ".join(dict.fromkeys(map(str, candidates))), score=float(right))


def _candidates(answer: str) -> list[str | float]:
    answer = answer.strip().strip(".").lower()
    lines = answer.split("\n")  # sentences would be split before a capital, but there is none left
    tails = [_tail(line, last=at == len(lines) - 1) for at, line in enumerate(lines)]
    texts = [tail for tail in tails if tail and tail not in [*":,.!?;'"]] or [answer]
    numbers = [one for text in texts for form in _NUMBERS for one in re.findall(form, text)]
    return [one for text in [*texts, *numbers] for one in _text_or_number(text)]


def _tail(line: str, last: bool) -> str | None:
    """Returns the shortest text after a word such as "therefore"; in the last line, an equals sign
    counts as one too."""
    words = [word for word in (*_CONCLUDING, *(["="] if last else [])) if word in line]
    tails = [line.split(word)[-1].strip() for word in words]
    shortest = None
    for tail in tails:  # an empty one gives way to the next, however long that is
        if not shortest or len(tail) < len(shortest):
            shortest = tail
    return shortest


def _text_or_number(text: str) -> list[str | float]:
    """A number to two decimal places, or the text in lower case. A single character has to stand
    beside a blank, since it would occur anywhere."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]


vqa_official: Rule = VqaAccuracy(unanimous_as_is=True)
vqa_vlmevalkit: Rule = VqaAccuracy(period=r"(?<!\d)\.(?!\d)")
vqa_lmms: Rule = VqaAccuracy(comma=r"(?<=\d),+(?=\d)")
textvqa_lmms: Rule = VqaAccuracy(comma=r"(?<=\d),+(?=\d)", words_first=True)
anls_stripped: Rule = partial(anls, stripped=True)
relaxed_as_is: Rule = partial(relaxed, stripped=False)
relaxed_stripped: Rule = partial(relaxed, stripped=True)
