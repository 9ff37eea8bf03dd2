"""Follow-up questions: each is made self-contained before it is searched for.

    self_contained("When did it open?", ["Who designed the Lisbon Library?"])
    "When did Lisbon Library open?"
    self_contained("那波尔图呢？", ["里斯本有多少人上班？"])
    "波尔图有多少人上班？"

By rules: a pronoun stands for the subject of the previous question, and a question without a verb
("And in Porto?") asks the previous one about something else. A model may rewrite it instead.
"""

import re
from collections.abc import Sequence
from itertools import takewhile

from seesay.data.words import EMPTY_WORDS
from seesay.inference.answer import Assistant
from seesay.rag.claims import plain_text
from seesay.rag.facts import names
from seesay.rag.questions import content_words
from seesay.text import Text, detect_language

_PRONOUN_EN = re.compile(
    r"\b(its|their|his|her(?= \w)|it|they|them|he|she|him|her|this one|that one|there)\b", re.I
)
_PRONOUN_ZH = re.compile(r"[它他她]们?|[这那][个座家里儿位]|该[馆校院厂店]|其(?=[是有的在])")
_ABOUT_EN = re.compile(
    r"^(?:and|(?:and )?(?:what|how) about)\s+(?P<to>(?:in |at |on |of |for )?)(?P<new>[^?]+)"
    r"\?*$",
    re.I,
)
_ABOUT_ZH = re.compile(r"^(?:那么?|还有)?(?P<new>[^？?，,]{1,20}?)呢[？?]?$")
_SUBJECT_ZH = re.compile(
    r"^(?:请问|那么|那)?(?:谁|什么时候|哪一?年)?(?:是在|是由|设计了|建造了|写了|在)?(?P<subject>[^，,？?]{2,20}?)"
    r"(?:是|有|在|于|由|的(?!士|确)|什么|多少|几|哪|何时|占|花|建|开|共|一共|谁|为|呢|吗|[？?]|$)"
)
_AUXILIARY = frozenset(("did", "does", "do", "is", "are", "was", "were", "has", "have", "had"))
_PARTICIPLE = re.compile(
    r"^(\w{2,}[^\We]ed|born|bought|built|drawn|found|given|held|kept|known|laid|led|lost|made|paid|"
    r"sent|sold|taken|written)$",
    re.I,
)
_REWRITE = Text(
    "Earlier questions, oldest first:\n{history}\nRewrite this last question so that it can be "
    "understood alone. Write the question and nothing else: {question}",
    "之前的问题（由早到晚）：\n{history}\n请改写最后这个问题，使其单独也能看懂。只写改写后的问题：{question}",
)
_LONGEST = 300  # characters of a rewritten question


def self_contained(question: str, history: Sequence[str]) -> str:
    """Returns the question with what it leaves open taken from the previous question."""
    before = history[-1] if history else ""
    if not before:
        return question
    chinese = detect_language(question) == "zh"
    subject = _subject(before)
    about = (_ABOUT_ZH if chinese else _ABOUT_EN).match(question.strip())
    if about and subject:
        new = about["new"].strip(" ?？")
        at = before.find(subject)
        preposition = not chinese and before[:at].split()[-1:] == about["to"].split()
        keep = new if chinese or preposition or not about["to"] else f"{about['to']}{new}"
        after = before[at + len(subject) :]
        if keep.lower().startswith("the ") and before[:at].lower().endswith("the "):
            keep = keep[4:]
        last = keep.split()[-1]
        if not chinese and re.match(rf"\s+{re.escape(last)}\b", after):
            after = re.sub(rf"^\s+{re.escape(last)}\b", "", after)
        return before[:at] + keep + after
    pronoun = (_PRONOUN_ZH if chinese else _PRONOUN_EN).search(question)
    if pronoun is None or not subject or names_something(question):
        return question
    possessive = pronoun.group().lower() in ("its", "their", "his", "her")
    filled = f"{subject}'s" if possessive else subject
    if pronoun.group().lower() == "there":
        filled = f"in {subject}"
    return question[: pronoun.start()] + filled + question[pronoun.end() :]


def names_something(question: str) -> bool:
    """Whether a question contains a name that its pronoun may refer to."""
    pronoun = _PRONOUN_EN.search(question)
    return pronoun is not None and any(span[1] <= pronoun.start() for _, span in names(question))


def rewritten(assistant: Assistant, question: str, history: Sequence[str]) -> str:
    """Returns the question as a model completes it, or as the rules do if it writes no question."""
    if not history:
        return question
    asked = _REWRITE.format(history="\n".join(history[-4:]), question=question)
    answer = assistant.ask(None, asked.in_language(detect_language(question)), max_tokens=100)
    lines = [line for one in answer.text.splitlines() if (line := plain_text(one).strip('"“”'))]
    written = lines[0] if lines else ""
    if len(written) > _LONGEST or not content_words(written):
        return self_contained(question, history)
    return written


def _subject(question: str) -> str:
    """Returns what a question is about: its last name, or else its first noun with an article."""
    if detect_language(question) == "zh":
        found = _SUBJECT_ZH.match(question)
        return found["subject"] if found else ""
    named = [name for name, _ in names(question)]
    return named[-1] if named else _noun(re.findall(r"[\w'-]+", question))


def _noun(words: Sequence[str]) -> str:
    """Returns the words after the first article, up to a word of grammar."""
    folded = [word.lower() for word in words]
    at = next((n for n, word in enumerate(folded) if word in ("the", "a", "an", "our")), None)
    if at is None:
        return ""
    ends = EMPTY_WORDS | _AUXILIARY
    phrase = list(takewhile(lambda word: word.lower() not in ends, words[at + 1 : at + 5]))
    last = at + 1 + len(phrase) == len(words)
    asks = bool({"did", "does", "do"} & set(folded[:at]))
    if last and len(phrase) > 1 and (asks or _PARTICIPLE.search(phrase[-1])):
        phrase.pop()  # the verb
    return " ".join((words[at], *phrase)) if phrase else ""
