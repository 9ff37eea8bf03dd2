"""Answers with sentences that the built-in reader finds: those in other words than the question,
which the rules of `quoting` miss.

The reader scores every sentence of the evidence. What it is sure of is quoted, unless it has
nothing of the kind that is asked for, such as a date.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seesay.data.spelling import visible
from seesay.inference.reader import Page, load_reader
from seesay.rag.claims import NEAREST, Claim, Quote, plain_text
from seesay.rag.evidence import Evidence
from seesay.rag.questions import Question, words_in
from seesay.rag.quoting import MOST, fit
from seesay.rag.sentences import Span, stating_sentences, table_rows
from seesay.text import detect_language

CERTAIN = 4.5
"""Score from which a sentence is quoted: it lets 3 of the 80 unanswerable questions of "knowledge"
and "mixed" in benchmarks/reading through."""
_RANK = 1.0  # what each passage before its own takes from the score of a sentence
_TABLES = 3  # passages of tables that are read: rows take long, and the first mostly do
_CLOSE = 1.5  # how far below the best another sentence may score to be quoted too


@dataclass(frozen=True)
class ReadSentence:
    """A statement of the evidence, and how surely it answers."""

    evidence: Evidence
    span: Span
    text: str
    """What it says, as the reader sees it."""
    score: float
    """Log-odds that it answers (see `Reader.scores`), less 1 for each passage found before."""

    @property
    def quote(self) -> Quote:
        return Quote.of(self.evidence, *self.span)


def read(question: Question, evidence: Sequence[Evidence]) -> list[ReadSentence]:
    """Returns the statements of the evidence, the likeliest answer first."""
    tables = [one for one in evidence if one.kind == "table"][_TABLES:]
    texts = [one for one in evidence if one.text and one not in tables]
    stated = [sentences_of(one.text, is_table=one.kind == "table") for one in texts]
    pages = [
        Page(title=visible(Path(one.path).stem), sentences=[text for _, text in some])
        for one, some in zip(texts, stated, strict=True)
    ]
    found = [
        ReadSentence(one, span, text, score - _RANK * rank)
        for rank, (one, some, scores) in enumerate(
            zip(texts, stated, load_reader().scores(question.text, pages), strict=True)
        )
        for (span, text), score in zip(some, scores.tolist(), strict=True)
    ]
    return sorted(found, key=lambda one: -one.score)


def sentences_of(text: str, *, is_table: bool = False) -> list[tuple[Span, str]]:
    """Returns what the reader sees of a text, with its place: sentences, or the rows of a table
    with the names of their columns."""
    if is_table:
        return [(span, plain_text(row)) for span, row in table_rows(text)]
    return [(span, plain_text(text[slice(*span)])) for span in _whole_sentences(text)]


def _whole_sentences(text: str) -> Iterator[Span]:
    """Yields the statements of a text. What follows a semicolon belongs to what stands before:
    alone, "Dogs are not allowed; cats are." would end with "cats are."."""
    start = None
    for begin, end in stating_sentences(text):
        start = begin if start is None else start
        if text[end - 1] not in ";；":
            yield start, end
            start = None
    if start is not None:
        yield start, end


def certain(question: Question, ranked: Sequence[ReadSentence]) -> Iterator[Claim]:
    """Yields the sentences that the reader is certain of as claims, best first."""
    answering = [one for one in ranked if one.score >= CERTAIN and _fits(question, one)]
    texts: set[str] = set()
    for one in answering:
        text = one.text
        if one.score < answering[0].score - _CLOSE or len(texts) == MOST:
            return
        if text not in texts:
            texts.add(text)
            yield Claim(text=text, evidence=(one.evidence.id,), quotes=(one.quote,))


def nearest(ranked: Sequence[ReadSentence]) -> tuple[Quote, ...]:
    """Returns the sentences that come nearest to an answer, best first, without duplicates."""
    quotes: dict[str, Quote] = {}
    for one in ranked:
        quotes.setdefault(plain_text(one.quote.text), one.quote)
    return tuple(quotes.values())[:NEAREST]


def _fits(question: Question, one: ReadSentence) -> bool:
    """Whether a sentence is in the language of the question and has the kind of answer that it asks
    for, such as a date. A row of a table must share a word with the question, since the reader
    confuses rows."""
    if one.evidence.kind == "table" and not words_in(one.quote.text, question.wanted):
        return False
    return detect_language(one.text) == question.language and fit(question, one.text) > 0
