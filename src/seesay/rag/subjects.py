"""Whether a sentence is about the thing that a question names, or about another of its kind: what
is said of Kingfield Mill does not answer a question about Kingfield Hospital.

Such names are told by their last word, as hospital or 图书馆; those of people are not.
"""

import re
from typing import NamedTuple

from seesay.data.spelling import fold
from seesay.rag.facts import names
from seesay.rag.lexicon import lexicon
from seesay.rag.questions import Question

_ENGLISH = frozenset(lexicon()["kinds"]["en"].split())
_CHINESE = re.compile(
    # Two characters suffice to tell one from another; where the whole name begins is not written.
    rf"(?P<own>[\u4e00-\u9fff]{{2}})(?P<kind>{'|'.join(lexicon()['kinds']['zh'].split())})"
)
_NO_NAME = re.compile(
    "[的该本这那一两三几每各家座所个此其在和与及对到从由为于是了有被把将向给叫做位]"
)
_POINTS_BACK = re.compile(
    r"\b(it|its|this|he|she|his|her)\b|[它其该此]|[这那本][座家所个馆院校店]",
    re.IGNORECASE,
)


class Subject(NamedTuple):
    """A named place or organization, such as Kingfield Hospital."""

    own: str
    """The distinguishing part, folded: kingfield."""
    kind: str
    """The noun at the end: hospital."""

    def may_be(self, other: "Subject") -> bool:
        """Whether both may be the same: one name may be longer, as that of Old Kingfield Hospital,
        or follow the first word of a sentence, which has a capital too."""
        longer, shorter = sorted((self.own, other.own), key=len, reverse=True)
        return self.kind == other.kind and (longer == shorter or longer.endswith(f" {shorter}"))


def subjects(text: str) -> frozenset[Subject]:
    """Returns the things that a text names."""
    english = (fold(name).split() for name, _ in names(text))
    found = {
        Subject(" ".join(words[:-1]), words[-1])
        for words in english
        if len(words) > 1 and words[-1] in _ENGLISH
    }
    for match in _CHINESE.finditer(text):
        if not _NO_NAME.search(match["own"]):
            found.add(Subject(match["own"], match["kind"]))
    return frozenset(found)


def is_of_another(question: Question, sentence: str) -> bool:
    """Whether a sentence is about a different place or organization than the question. An answer
    to "who" or "where" may well name another one, unless the names are confusingly similar."""
    asked, there = subjects(question.text), subjects(sentence)
    if not asked or not there or any(one.may_be(other) for one in asked for other in there):
        return False
    if any(one.own == other.own for one in asked for other in there):
        return True
    return question.expects not in ("who", "where") and not points_back(sentence)


def points_back(sentence: str) -> bool:
    """Whether a sentence refers back to something mentioned earlier, as "it" does."""
    return _POINTS_BACK.search(sentence) is not None
