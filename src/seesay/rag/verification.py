"""Checks claims against their evidence, in a step that does not see the question.

First come the facts: one place in the evidence must contain every number, date and name of the
claim. Then the words: most of them must be there too, and neither side may have a negation or an
opposite that the other lacks. That place becomes the quote. A further verifier, a model of
entailment or a model's yes or no, can only reject what these rules accept: no document can talk the
rules into anything.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from seesay.data.images import ImageSource
from seesay.data.spelling import fold, fold_each
from seesay.data.words import singulars
from seesay.inference.answer import Assistant
from seesay.rag.claims import Claim, Quote, Verdict, as_data
from seesay.rag.evidence import Evidence
from seesay.rag.facts import is_number, quantities, unsupported_fact
from seesay.rag.lexicon import lexicon
from seesay.rag.questions import content_words, stem, stems, tokens
from seesay.rag.sentences import Span, stating_sentences, table_rows
from seesay.text import Text, detect_language

if TYPE_CHECKING:
    from seesay.inference.reranker import Entailment

COVERAGE = 0.75
"""Share of a claim's words that its quote must contain; chosen, not measured."""
LIKELY = 0.5
"""Probability from which a model of entailment is believed: more likely than all else; chosen, not
measured."""
_WINDOW = 2  # sentences in a row that may bear a claim together
_NEGATIONS = re.compile(
    r"\b(not|no|never|none|nobody|nothing|neither|nor|without|cannot)\b|n['\u2019]t\b|"
    r"不|没|未|无(?!论|线|锡|人机)|非(?!常|洲)|别(?!的|人|墅)|从未"
)
_NOT_NEGATION = re.compile(
    r"\bno(?:\.|t only)|不仅|不但|不过|不断|不同|不少|不久|无论|不论|不锈钢|不得不|差不多|对不起"
)
_OPPOSITES = tuple(
    sides
    for one, other in (pair.split(":") for pair in lexicon()["opposites"])
    for sides in (
        (stems(one.split()), stems(other.split())),
        (stems(other.split()), stems(one.split())),
    )
)


Look = Callable[[Evidence], ImageSource | None]
"""Returns the picture of a passage, or None."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verifier's verdict on a claim."""

    verdict: Verdict
    quotes: tuple[Quote, ...] = ()
    reason: Text | None = None


@runtime_checkable
class Verifier(Protocol):
    """Judges a claim by its evidence alone."""

    def judge(self, claim: str, evidence: Sequence[Evidence]) -> Judgement: ...


class RuleVerifier:
    """Compares facts and words. Works offline, for claims in the language of their evidence."""

    def judge(self, claim: str, evidence: Sequence[Evidence]) -> Judgement:
        best: Judgement | None = None
        for one in evidence:
            found = _judged_by(claim, one)
            if found.verdict == "supported":
                return found
            if best is None or (best.verdict, found.verdict) == ("not found", "contradicted"):
                best = found
        return best or Judgement(verdict="not found", reason=_NO_PLACE)


class AssistantVerifier:
    """Asks a model for yes or no, once for each claim. `look` returns a passage's picture."""

    def __init__(self, assistant: Assistant, look: Look = lambda _: None) -> None:
        self._assistant, self._look = assistant, look

    def judge(self, claim: str, evidence: Sequence[Evidence]) -> Judgement:
        pictures = _pictures(evidence, self._look)
        texts = as_data(one for one in evidence if one.text and not (pictures and one.is_picture))
        asked = _YES_NO.format(claim=claim).in_language(detect_language(claim))
        answer = self._assistant.ask(
            pictures or None, f"{texts}\n{asked}" if texts else asked, max_tokens=8
        )
        if _YES.match(fold(answer.text)) and answer.doubt is None:
            return Judgement(verdict="supported")
        contradicted = _NO.match(fold(answer.text)) is not None and answer.doubt is None
        verdict: Verdict = "contradicted" if contradicted else "not found"
        return Judgement(verdict=verdict, reason=_MODEL_SAYS_NO)


class EntailmentVerifier:
    """Asks a model of entailment whether a claim follows from its evidence, sentence by sentence
    and from two in a row: such models are trained on single sentences. The claim is supported if it
    follows from one of them; contradicted if the one that says most about it contradicts it."""

    def __init__(self, model: "Entailment") -> None:
        self._model = model

    def judge(self, claim: str, evidence: Sequence[Evidence]) -> Judgement:
        places = [(one, span) for one in evidence for span in _windows(one.text)]
        texts = [one.text[start:end] for one, (start, end) in places]
        shares = self._model.probabilities(texts, claim).tolist()
        if not shares:
            return Judgement(verdict="not found", reason=_NO_PLACE)
        best = max(range(len(shares)), key=lambda at: shares[at][0])
        if shares[best][0] >= LIKELY:
            one, (start, end) = places[best]
            quote = Quote(evidence=one.id, start=start, end=end, text=texts[best])
            return Judgement(verdict="supported", quotes=(quote,))
        _, _, against = min(shares, key=lambda share: share[1])
        if against >= LIKELY:
            return Judgement(verdict="contradicted", reason=_CONTRADICTED)
        return Judgement(verdict="not found", reason=_DOES_NOT_FOLLOW)


@lru_cache(maxsize=1)
def open_verifier(name: str) -> EntailmentVerifier:
    """Loads a model of entailment by its name. Raises UnknownModelError, DownloadError or
    WeightsError."""
    from seesay.inference.reranker import load_entailment_model  # torch

    return EntailmentVerifier(load_entailment_model(name))


def _pictures(evidence: Sequence[Evidence], look: Look) -> list[ImageSource]:
    pictures = (look(one) for one in evidence if one.is_picture)
    return [one for one in pictures if one is not None]


class PresenceVerifier:
    """Asks a small model, which knows no other checks, whether each thing that a claim names is in
    the picture. A short claim that names none stands by the model's certainty, which is measured;
    a sentence that names none cannot be checked."""

    def __init__(self, assistant: Assistant, look: Look) -> None:
        self._assistant, self._look = assistant, look

    def judge(self, claim: str, evidence: Sequence[Evidence]) -> Judgement:
        pictures = _pictures(evidence, self._look)
        things = things_of(claim)
        short = len(content_words(claim)) <= _SHORT
        if not pictures or (not things and not short):
            return Judgement(verdict="not found", reason=_NO_PLACE)
        for thing in things:
            asked = _IS_THERE.format(thing=thing).in_language(detect_language(claim))
            answer = self._assistant.ask(pictures, asked, max_tokens=4)
            if not _YES.match(fold(answer.text)):
                contradicted = _NO.match(fold(answer.text)) is not None
                verdict: Verdict = "contradicted" if contradicted else "not found"
                return Judgement(verdict=verdict, reason=_MODEL_SAYS_NO)
        return Judgement(verdict="supported")


def things_of(claim: str) -> tuple[str, ...]:
    """Returns the things that a claim names with an article or a number, in the singular; of a
    question with its answer only those of the answer."""
    said = re.split("[?？]", claim)[-1]
    if detect_language(claim) == "zh":
        return tuple(dict.fromkeys(match[1] for match in _THINGS_ZH.finditer(said)))[:_THINGS]
    nouns = (match[1].lower() for match in _THINGS_EN.finditer(said))
    return tuple(dict.fromkeys((singulars(noun) or (noun,))[-1] for noun in nouns))[:_THINGS]


_THINGS = 3  # things of a claim that are asked for
_SHORT = 8  # words
_COUNTS_EN = "|".join((*lexicon()["ones"].split(), "a", "an", r"\d+"))
_THINGS_EN = re.compile(rf"\b(?:{_COUNTS_EN})\s([a-z]+)\b", re.IGNORECASE)
_THINGS_ZH = re.compile(
    "[一二两三四五六七八九十0-9]+[个只名位条张本辆台间座匹头艘件块幅棵群]([\u4e00-\u9fff]{1,4}?)"
    "(?=[在正和与，,。.、的站坐跑走躺]|$)"
)
_IS_THERE = Text("Is there a {thing} in the picture?", "图中有{thing}吗？")
_YES_NO = Text(
    "Is this statement true of what is given, and nothing else? Statement: {claim} Answer yes or "
    "no.",
    "仅根据给出的内容，下面的说法对吗？说法：{claim} 请回答“是”或“否”。",
)
_YES = re.compile(r"\W*(yes|true|是|对|正确|有)")
_NO = re.compile(r"\W*(no|false|否|不|没|错)")
_MODEL_SAYS_NO = Text("the model that checks does not agree", "负责核查的模型不同意")
_NO_PLACE = Text("no place in the evidence says so", "依据里没有这样的说法")
_DOES_NOT_FOLLOW = Text("it does not follow from the evidence", "依据推不出这一论断")
_CONTRADICTED = Text("the evidence contradicts it", "与依据矛盾")


def verify(
    claims: Sequence[Claim], evidence: Sequence[Evidence], verifiers: Sequence[Verifier]
) -> Iterator[Claim]:
    """Yields each claim with its verdict and quotes: supported only if every verifier says so."""
    known = {one.id: one for one in evidence}
    for claim in claims:
        cited = [known[number] for number in claim.evidence if number in known]
        judged = Judgement(verdict="not found", reason=_NO_PLACE)
        quotes: tuple[Quote, ...] = ()
        for verifier in verifiers if cited else ():
            judged = verifier.judge(claim.text, cited)
            quotes = quotes or judged.quotes
            if judged.verdict != "supported":
                break
        supported = judged.verdict == "supported"
        # A citation stays only where a quote is aligned, or where a picture was looked at.
        numbers = {quote.evidence for quote in quotes}
        kept = tuple(
            one.id for one in cited if one.id in numbers or (not quotes and one.is_picture)
        )
        if supported and not kept:
            judged, supported = Judgement(verdict="not found", reason=_NO_PLACE), False
        yield replace(
            claim,
            verdict=judged.verdict,
            quotes=quotes if supported else (),
            evidence=kept if supported else claim.evidence,
            reason=judged.reason,
        )


def aligned(quote: Quote, evidence: Sequence[Evidence]) -> bool:
    """Whether the evidence has exactly these characters at this place."""
    texts = {one.id: one.text for one in evidence}
    return bool(quote.text) and (
        texts.get(quote.evidence, "")[quote.start : quote.end] == quote.text
    )


def _judged_by(claim: str, evidence: Evidence) -> Judgement:
    # Numbers are compared as such, however they are written.
    wanted = stems(word for word in content_words(claim) if not is_number(word))
    wanted = wanted or stems(tokens(claim))
    if not wanted or detect_language(claim) != detect_language(evidence.text or "a"):
        return Judgement(verdict="not found", reason=_NO_PLACE)
    best, place, window = 0.0, (0, 0), ""
    for span, said in _places(evidence):
        share = len(wanted & _with_opposites(stems(tokens(said)))) / len(wanted)
        share -= 1e-6 * (span[1] - span[0])
        if share > best:
            best, place, window = share, span, said
    if best < COVERAGE - 0.01:
        return Judgement(verdict="not found", reason=_NO_PLACE)
    if problem := _conflict(claim, window):
        return problem
    return Judgement(verdict="supported", quotes=(Quote.of(evidence, *place),))


def _places(evidence: Evidence) -> Iterator[tuple[Span, str]]:
    """Yields places of the evidence and what they say: of a table also rows with the names of their
    columns."""
    yield from ((span, evidence.text[slice(*span)]) for span in _windows(evidence.text))
    if evidence.kind == "table":
        yield from table_rows(evidence.text)


def _windows(text: str) -> Iterator[Span]:
    spans = stating_sentences(text)
    yield from spans
    for one, other in pairwise(spans):
        if _WINDOW > 1 and not text[one[1] : other[0]].strip():
            yield one[0], other[1]


def _conflict(claim: str, window: str) -> Judgement | None:
    """Returns how the facts or the sense of a claim differ from a place that shares its words."""
    missing = unsupported_fact(claim, window)
    if missing is not None:
        kinds = {
            "number": ("a number", "数字"),
            "date": ("a date", "日期"),
            "name": ("a name", "名称"),
        }
        en, zh = kinds[missing]
        reason = Text(f"{en} differs from the evidence", f"{zh}与依据不符")
        return Judgement(
            verdict="not found" if missing == "name" else "contradicted", reason=reason
        )
    if _bound_elsewhere(claim, window):
        reason = Text(
            "the number belongs to something else there", "这个数字在依据里说的是别的事物"
        )
        return Judgement(verdict="contradicted", reason=reason)
    if _negated(claim) != _negated(_nearest_clause(claim, window)):
        reason = Text("only one of the two has a negation", "只有一方带否定")
        return Judgement(verdict="contradicted", reason=reason)
    own, others = stems(tokens(claim)), stems(tokens(window))
    for one, other in _OPPOSITES:
        if own & one and others & other and not others & one and not own & other:
            reason = Text("the evidence says the opposite", "依据的说法相反")
            return Judgement(verdict="contradicted", reason=reason)
    return None


def _with_opposites(words: frozenset[str]) -> frozenset[str]:
    """Adds the opposites of words: a place that says the opposite is about the same."""
    return words.union(*(other for one, other in _OPPOSITES if words & one))


def _clauses(text: str) -> list[str]:
    parts = re.split(r"[,，、;；。.!！?？](?!\d)|\b(?:and|but|while|whereas)\b|而|但", text)
    return [part for part in parts if part.strip()]


def _nearest_clause(claim: str, window: str) -> str:
    """Returns the clauses of a window that share words with the claim."""
    wanted = stems(content_words(claim))
    return " ".join(one for one in _clauses(window) if wanted & stems(tokens(one))) or window


def _bound_elsewhere(claim: str, window: str) -> bool:
    """Whether a word of the claim stands only beside other numbers than the claim's: of "Lisbon has
    12 people, Porto 30", Porto has not 12."""
    own = quantities(claim)
    clauses = [(stems(tokens(one)), quantities(one)) for one in _clauses(window)]
    if not own or sum(bool(numbers) for _, numbers in clauses) < 2:
        return False
    for word in map(stem, content_words(claim)):
        beside = [numbers for words, numbers in clauses if word in words]
        if word.isdigit() or not beside or not all(beside):
            continue
        if not any(one.agrees(other) for numbers in beside for one in numbers for other in own):
            return True
    return False


def _negated(text: str) -> bool:
    text = _NOT_NEGATION.sub(" ", fold_each(text))
    return len(_NEGATIONS.findall(text)) % 2 == 1
