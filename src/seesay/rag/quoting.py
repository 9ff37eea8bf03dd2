"""Answers with the sentences of the evidence that answer, without a language model.

Each sentence is scored by the words it shares with the question, weighted by rarity, by whether it
has what the question asks for, such as a date, and by the words around it. A logistic model
combines these; sentences below its threshold are not quoted.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float

from seesay.data.spelling import fold
from seesay.rag.claims import Claim, Quote, plain_text
from seesay.rag.evidence import Evidence, Rarity
from seesay.rag.facts import days, is_number, names, quantities
from seesay.rag.lexicon import lexicon
from seesay.rag.questions import Question, stems, tokens, words_in
from seesay.rag.sentences import Span, stating_sentences
from seesay.rag.subjects import is_of_another, points_back, subjects
from seesay.text import HAN

FEATURES = ("bias", "coverage", "around", "missing", "names", "fits", "both", "rank")
# A logistic model of which sentence answers, fitted as `benchmarks/rag.py --fit` does to 100
# questions about 80 development pages in each language, found by keywords alone. The weight of the
# rank is set by hand, as the right page is nearly always the first there; the threshold lies above
# the best sentence of every development question without an answer.
WEIGHTS = (-6.4, 3.6, -0.6, -4.4, 0.4, 0.6, 5.8, 0.5)
THRESHOLD = 0.3
MOST = 3
"""Most sentences of an answer."""
_ENDS = frozenset(".!?。！？；;")
_CLOSE = 0.5  # how far below the best in log-odds another sentence may be to be given too
_UNITS = {
    "length": {"m"},
    "weight": {"g"},
    "time": {"s", "day", "month"},
    "degree": {"degree"},
    "part": {"%", ""},
    "money": {"cny", "usd", "eur", "gbp", "hkd", "jpy"},
    "amount": {"cny", "usd", "eur", "%", "", "person", "age", "m2", "litre", "g", "m"},
}
_SURNAMES = frozenset(lexicon()["surnames"]) - {"\n"}
_ORDINARY = frozenset("于曾向高金白黄江马石龙雷夏万余方段顾严成关")
"""Surnames that are also everyday words, so they prove nothing on their own."""
_PERSON_ZH = re.compile(
    r"先生|女士|老师|教授|博士|医生|师傅|经理|主任|馆长|校长|队长|院长|市长|工程师|建筑师|设计师|画家|诗人|"
    r"作家|公司|学院|团队|小组|男人|女人|男孩|女孩|男子|女子|孩子"
)
_PERSON_EN = re.compile(
    r"\b(mr|mrs|ms|dr|prof|man|woman|boy|girl|people|person|company|team|by)\b", re.I
)
_PLACED_ZH = re.compile(
    r"位于|坐落|地处|设在|建在|在.{1,12}(街|路|巷|道|市|县|区|镇|村|广场|[旁边附近东西南北]侧?)"
)
_PLACE_ZH = re.compile(r"在|于|[市省县区镇村路街道楼室馆山河湖海岛国洲站院港园]")
_PLACED_EN = re.compile(
    r"\b(located|situated|stands?|lies|found|find|based) (\w+ ){0,6}"
    r"(in|at|on|near|by|beside|behind|opposite)\b|"
    r"\b(in|at|on|near|beside|behind|opposite) (the )?(?P<name>[A-Z]\w+)"
)
_PLACE_EN = re.compile(
    r"\b(in|at|on|near|by|beside|behind|under|opposite|inside|outside|from) (?!\d)", re.I
)
_WHY = re.compile(
    r"\bwhy\b|\bhow come\b|\bfor what reason\b|为什么|为何|为啥|怎么会|什么原因|原因是什么"
)
_STREETS = frozenset(["street", "road", "avenue", "lane", "square", "hill", "river", "lake"])
_COLOURS = re.compile(
    "|".join(rf"\b{one}\b" if one.isascii() else one for one in lexicon()["colours"].split())
)
_TIME = re.compile(
    r"\b(mon|tues|wednes|thurs|fri|satur|sun)days?\b|\b(today|yesterday|spring|summer|autumn|winter|"
    r"century|noon|midnight)\b|\b\d{1,2}(:\d{2})?\s?(am|pm|a\.m|p\.m)\b|\d{1,2}:\d{2}|"
    r"星期|周[一二三四五六日]|[春夏秋冬][天季]|世纪|[上下中]午|早上|晚上|夜[里晚间]|傍晚|清晨|凌晨|白天|"
    r"\d{1,2}点|去年|今年|昨天|今天",
    re.I,
)
_DEFINES = re.compile(r"\b(is|are|was|were|means|refers to|called)\b|是|指|叫做|称为|即")


@dataclass(frozen=True, eq=False)
class Sentence:
    """A sentence that may answer, with its features in the order of FEATURES."""

    evidence: Evidence
    span: Span
    features: Float[np.ndarray, " features"]

    @property
    def text(self) -> str:
        return self.evidence.text[slice(*self.span)]

    @property
    def score(self) -> float:
        """The log-odds that it answers the question."""
        return float(self.features @ np.array(WEIGHTS))


def quote(question: Question, evidence: Sequence[Evidence], rarity: Rarity) -> list[Claim]:
    """Returns claims that quote the answering sentences, best first. A question that asks why has
    none: a sentence that says the same gives no reason."""
    if _WHY.search(fold(question.text)):
        return []
    ranked = candidates(question, evidence, rarity)
    claims: list[Claim] = []
    texts: set[str] = set()
    least = math.log(THRESHOLD / (1 - THRESHOLD))
    for one in ranked:
        enough = one.score >= max(least, ranked[0].score - _CLOSE)
        key = "".join(tokens(one.text))
        if not enough or len(claims) == MOST:
            break
        if key in texts:
            continue
        texts.add(key)
        text = plain_text(one.text)
        if text:
            cited = Quote.of(one.evidence, *one.span)
            claims.append(Claim(text=text, evidence=(cited.evidence,), quotes=(cited,)))
    return claims


def candidates(question: Question, evidence: Sequence[Evidence], rarity: Rarity) -> list[Sentence]:
    """Returns the statements in the evidence that may answer, with their features, best first."""
    wanted = question.wanted
    total = sum(map(rarity.of, wanted)) or 1.0
    named = wanted & stems(word for name, _ in names(question.text) for word in tokens(name))
    things = "".join(f"{one.own} {one.kind} " for one in subjects(question.text))
    telling = {word for word in wanted - named if word not in things and not is_number(word)}
    found = []
    for one in evidence:
        if named and not words_in(f"{Path(one.path).stem}\n{one.text}", named):
            continue  # of something else
        for span, own, around, heading in _with_surroundings(one.text, wanted):
            near, sentence = own | around, one.text[slice(*span)]
            # One that shares no word must point back, or stand below a heading that has them all.
            if not own and not points_back(sentence) and not (telling and heading == wanted):
                continue
            # A ticket's price is none of a building, whatever else both sentences share.
            told = near if points_back(sentence) or heading == wanted else own
            if is_of_another(question, sentence) or (telling and not telling & told):
                continue
            # Without addresses: their numbers are no dates.
            fits = fit(question, plain_text(sentence)) if near else 0.0
            if not fits:
                continue
            covered = sum(map(rarity.of, near)) / total
            features = (
                1.0,
                sum(map(rarity.of, own)) / total,
                covered,
                max(map(rarity.of, wanted - near), default=0.0) / max(map(rarity.of, wanted)),
                float(named <= near),
                fits,
                fits * covered,
                1 / (1 + one.id),
            )
            found.append(Sentence(one, span, np.array(features)))
    return sorted(found, key=lambda s: -s.score)


def _with_surroundings(
    text: str, wanted: frozenset[str]
) -> Iterator[tuple[Span, frozenset[str], frozenset[str], frozenset[str]]]:
    """Yields each statement with the wanted words in it; those in the first statement, which may
    be a heading, and in the two before: what "it" means; and those of a heading alone."""
    spans = stating_sentences(text)
    own = [words_in(text[slice(*span)], wanted) for span in spans]
    headed = bool(spans) and text[slice(*spans[0])].strip()[-1:] not in _ENDS
    for n, span in enumerate(spans):
        first = frozenset[str]().union(*own[: min(n, 1)])
        yield span, own[n], first.union(*own[max(0, n - 2) : n]), first if headed else frozenset()


def fit(question: Question, sentence: str) -> float:
    """Returns how well a sentence has what the question asks for, from 0 to 1. What the question
    itself already says is no answer."""
    expects = question.expects
    if expects == "when":
        return _dated(question, sentence)
    if expects == "count":
        return _counts(question, sentence)
    if expects in _UNITS:
        known = quantities(question.text)
        units = {q.unit for q in quantities(sentence) if not any(q.agrees(k) for k in known)}
        return 1.0 if units & _UNITS[expects] else 0.2 * bool(units)
    if expects == "who":
        return _person(question, sentence)
    if expects == "where":
        return _placed(question, sentence)
    if expects == "colour":
        colours = set(_COLOURS.findall(fold(sentence)))
        return float(bool(colours - set(_COLOURS.findall(fold(question.text)))))
    if expects == "definition":
        return float(bool(_DEFINES.search(sentence)))
    return 1.0 if set(tokens(sentence)) - set(tokens(question.text)) else 0.0


def _dated(question: Question, sentence: str) -> float:
    known = days(question.text)
    if any(not any(day.is_covered_by(one) for one in known) for day in days(sentence)):
        return 1.0
    return 0.7 * bool(_TIME.search(sentence))


def _placed(question: Question, sentence: str) -> float:
    if question.language == "zh":
        return 1.0 if _PLACED_ZH.search(sentence) else 0.2 * bool(_PLACE_ZH.search(sentence))
    named = (match["name"] for match in _PLACED_EN.finditer(sentence))
    if any(name is None or name not in question.text for name in named):
        return 1.0
    return 0.2 * bool(_PLACE_EN.search(sentence))


def _person(question: Question, sentence: str) -> float:
    text = fold(question.text)
    if question.language == "zh":
        return 1.0 if _PERSON_ZH.search(sentence) or _surname(sentence, text) else 0.3
    others = [
        name
        for name, _ in names(sentence)
        if fold(name) not in text and fold(name).split()[-1] not in _STREETS
    ]
    return 1.0 if others else 0.5 * bool(_PERSON_EN.search(sentence))


def _counts(question: Question, sentence: str) -> float:
    """Returns how close a number stands to the thing to count; right before it is best."""
    known = quantities(question.text)
    best = 0.0
    for one in quantities(sentence):
        if any(one.agrees(k) for k in known) and one.unit in ("", "person"):
            continue
        if one.unit not in ("", "person"):
            best = max(best, 0.1)
            continue
        after = sentence[one.span[1] - (one.unit == "person") : one.span[1] + 24]
        following = stems(tokens(sentence[one.span[0] : one.span[1]])) | stems(tokens(after))
        near = bool(set(question.counted) & following) or one.unit == "person"
        best = max(best, 1.0 if near else 0.5)
    return best


def _surname(sentence: str, question: str) -> bool:
    """Whether the sentence seems to hold a Chinese name: a word of two or three characters that
    starts with a common surname, or a surname followed by a given name, since the segmenter may
    split 吴建国 into 吴 and 建国."""
    words = [word for word in tokens(sentence) if word not in question and not is_number(word)]
    if any(2 <= len(word) <= 3 and word[0] in _SURNAMES for word in words):
        return True
    return any(
        surname in _SURNAMES - _ORDINARY and HAN.match(given) and len(given) <= 2
        for surname, given in pairwise(words)
    )
