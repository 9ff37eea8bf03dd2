"""Multiple choice: how the letter of an option is read from an answer.

Toolkits read the same answer differently: of "A man is walking a dog" with the options "a cat" and
"a dog", some read A, some B. So each way is a reader of its own, and the scorer carries its name.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from seesay.evaluation.scoring import (
    Exchange,
    Judge,
    Tools,
    Truth,
    Values,
    Verdict,
    all_right,
    exchange,
    share,
)
from seesay.evaluation.text_answers import without_signs
from seesay.text import Text, detect_language

Options = Mapping[str, str]
"""The text of each letter."""
NO_LETTER = Text("no option can be read from the answer", "从回答里读不出选项")
DRAWN = Text(
    "no option can be read from the answer, and one was drawn", "从回答里读不出选项，随机取了一个"
)
TRIES = 3
"""Times that a judge is asked."""
_QUESTION = Text(
    "Which option does the answer mean? Reply with its letter alone, or with {none} if it means "
    "none of them.",
    "下面的回答指的是哪个选项？只回复该选项的字母；如果都不是，回复 {none}。",
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An answer is right if the letter that is read from it is. If there is none, a judge is asked,
    and if the judge names none either, a letter is drawn; without a judge, the answer is wrong."""

    read: Callable[[str, Options], str | None]
    none: str = ""
    """The letter by which a judge says that no option fits; empty: no judge is asked."""
    draws: bool = False
    """Whether a letter is drawn where no judge is asked, as MMMU does."""

    def __call__(self, answer: str, truth: Truth, tools: Tools) -> Verdict:
        letter, note = self.read(answer, truth.options), None
        exchanges: tuple[Exchange, ...] = ()
        if letter is None and self.none and tools.judge is not None:
            letter, exchanges = self._judged(answer, truth, tools.judge)
        if letter is None:
            note = NO_LETTER
            letters = [*truth.options, *self.none]
            if self.draws or exchanges:
                letter, note = tools.draw.choice(letters), DRAWN
        score = float(letter in truth.answers)
        return Verdict(parsed=letter, score=score, note=note, exchanges=exchanges)

    def _judged(
        self, answer: str, truth: Truth, judge: Judge
    ) -> tuple[str | None, tuple[Exchange, ...]]:
        """The letter that the judge names, and what was said."""
        prompt = self._prompt(answer, truth, judge)
        exchanges: tuple[Exchange, ...] = ()
        letter = None
        while letter is None and len(exchanges) < TRIES:
            exchanges += (exchange(judge, prompt),)
            letter = self.read(exchanges[-1].reply, truth.options)
        return letter, exchanges

    def _prompt(self, answer: str, truth: Truth, judge: Judge) -> str:
        """An instruction with {question}, {options} and {answer} is filled; any other stands before
        them."""
        options = "".join(f"{letter}. {text}\n" for letter, text in truth.options.items())
        if "{answer}" in judge.instruction:
            filled = judge.instruction.replace("{question}", truth.question)
            return filled.replace("{options}", options).replace("{answer}", answer)
        own = _QUESTION.in_language(detect_language(truth.question)).format(none=self.none)
        return f"{judge.instruction or own}\n\n{truth.question}\n{options}\n{answer}"


# VLMEvalKit

_REFUSALS = (  # what the toolkit looks for
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_NO_REPLY = "Failed to obtain answer via API"
_SIGNS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_ANSWER_IS = re.compile(r"(?i)answer\s+is\s+\**([ABCD])\**")


def vlmevalkit(answer: str, options: Options) -> str | None:
    """The only letter that is a word, if it is one of the last four; else the letter after "answer
    is"; else the only option whose text occurs, unless the answer is long. Z stands for none."""
    letter = None if _NO_REPLY in answer else _vlmevalkit_letter(answer, options)
    if letter is not None or len(answer.lower()) > 2 * sum(map(len, options.values())):
        return letter
    return option_named(answer, options)


def _vlmevalkit_letter(answer: str, options: Options) -> str | None:
    if any(refusal in answer for refusal in _REFUSALS):
        return "Z"
    words = answer.translate(_SIGNS).split()
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1 and words.index(letters[0]) > len(words) - 5:
        return letters[0]
    if not letters and "Z" in words:
        return "Z"
    match = _ANSWER_IS.search(answer)
    return match.group(1).upper() if match and match.group(1).upper() in options else None


def option_named(answer: str, options: Options) -> str | None:
    """The letter of the only option whose text occurs in the answer, without case."""
    answer = answer.lower()
    letters = [letter for letter, text in options.items() if text.lower() in answer]
    return letters[0] if len(letters) == 1 else None


# lmms-eval

_AROUND = [("", ""), ("", "."), ("", ","), ("", ":"), ("", ")"), ("", ")."), ("(", ")")]
_AROUND += [("(", ")."), (":", ""), (":", ","), (":", "."), (":", ")"), (":", ").")]


def lmms_mmbench(answer: str, options: Options) -> str | None:
    """The only letter from A to E that is a word, alone or as in "B." and "(B)"; else the only
    option whose text occurs. A lone A is no letter in an answer of more than three words."""
    if _NO_REPLY in answer:
        return option_named(answer, options)
    words = answer.split()
    for before, after in _AROUND:
        letters = [letter for letter in "ABCDE" if before + letter + after in words]
        article = not (before or after) and "A" in words and len(words) > 3
        if len(letters) == 1 and not article:
            return letters[0]
    return option_named(answer, options)


_PHRASES = (  # after which an answer names its letter
    *(
        f"{the}{good}{choice} is"
        for the in ("", "the ")
        for good in ("", "correct ", "best ")
        for choice in ("answer", "option", "choice")
        if (good, choice) not in (("", "option"), ("best ", "choice"))
    ),
    *("i choose", "i select", "i pick", "my answer is", "my choice is"),
    *("옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"),
)


def lmms_static(answer: str, options: Options) -> str | None:
    """Of all places where a letter stands, the likeliest and, among those, the last: at the start,
    at the end, after a phrase such as "the answer is", in "(B)", "B.", "B:", "B)", before a blank.
    If there is none, any capital of that name counts, even within a word."""
    text = answer.strip()
    for sign in ",.!?;:'\"":
        text = text.strip(sign)
    if not answer.strip():
        return None
    text = f" {text} "
    places = [place for letter in options for place in _places(text, letter)]
    if not places:
        places = [(0, text.rfind(letter), letter) for letter in options if letter in text]
    return max(places, key=lambda place: place[:2])[2] if places else None


def _places(text: str, letter: str) -> Iterator[tuple[int, int, str]]:
    """How likely and where in the text the letter stands for an option."""
    for likely, form in ((6, "({})"), (5, "{}."), (4, "{}:"), (3, "{})"), (2, "{} ")):
        if (at := text.rfind(form.format(letter))) >= 0:
            yield likely, at, letter
    lower = text.lower()
    for phrase in _PHRASES:
        start = lower.find(phrase)
        if start >= 0 and (at := text.find(letter, start + len(phrase))) >= 0:
            yield 7, at, letter
    inner = text.strip()
    if inner.startswith(letter) and not inner[1:2].isalpha():
        yield 10, 0, letter
    if inner.endswith(letter) and not inner[-2:-1].isalpha():
        yield 9, len(text) - 1, letter


def lmms_mmbench_static(answer: str, options: Options) -> str | None:
    """What lmms-eval reads for MMBench where it may ask no judge."""
    return lmms_mmbench(answer, options) or lmms_static(answer, dict(sorted(options.items())))


def lmms_seed(answer: str, _: Options) -> str | None:
    """The first character, whatever it is; case does not count."""
    return answer.strip()[:1].upper() or None


_LETTER_FIRST = re.compile(r"\s*([A-Z])\.")


def lmms_ai2d(answer: str, _: Options) -> str | None:
    """The letter before a full stop at the start, else all of the answer without punctuation."""
    match = _LETTER_FIRST.match(answer)
    return without_signs(match.group(1) if match else answer).upper() or None


# MMMU


def mmmu(answer: str, options: Options) -> str | None:
    """The last letter in brackets, else the last between blanks, else, in more than five words, the
    option whose text comes last."""
    text = answer
    for sign in ",.!?;:'":
        text = text.strip(sign)
    text = f" {text} "
    for form in ("({})", " {} "):
        if letter := _last(text, {letter: form.format(letter) for letter in options}):
            return letter
    lower = {letter: option.lower() for letter, option in options.items()}
    return _last(text.lower(), lower) if len(text.split()) > 5 else None


def _last(text: str, forms: Mapping[str, str]) -> str | None:
    """The letter whose form occurs last in the text; the first of those in the same place."""
    places = [(text.rfind(form), letter) for letter, form in forms.items() if form in text]
    return max(places, key=lambda place: place[0])[1] if places else None


# Chinese

_WHOLE = re.compile(r"\W*([A-Z])\W*")
_NAMED = re.compile(
    r"(?:答案|正确选项|(?<![不没未])选(?!项)|(?i:answer|boxed))"
    r"(?:应该|应当|应|就|是|为|选|择|项|(?i:is)|\W)*"
    r"([A-Z](?![A-Za-z])|[a-z](?=\W*$|[^\w\s]))"
)
_ALONE = re.compile(r"(?<![A-Za-z])([A-Z])(?![A-Za-z])")


def seesay_zh(answer: str, options: Options) -> str | None:
    """Reads Chinese as people write it, and English as well: a letter by itself; the last letter
    after a word such as 答案是 or 选; the only letter that stands alone; the only option whose text
    occurs. Full-width letters are letters. An answer that names several options gives none."""
    text = unicodedata.normalize("NFKC", answer).strip()
    if match := _WHOLE.fullmatch(text.upper()):
        return _known(match.group(1), options)
    if named := [letter.upper() for letter in _NAMED.findall(text)]:
        return _known(named[-1], options)
    alone = {letter for letter in _ALONE.findall(text) if letter in options}
    if "A" in alone and re.search(r"\bA [a-z]", text):
        alone.discard("A")  # an article
    if alone:
        return alone.pop() if len(alone) == 1 else None
    folded = {letter: unicodedata.normalize("NFKC", one) for letter, one in options.items()}
    return option_named(text, {letter: one for letter, one in folded.items() if one.strip()})


def _known(letter: str, options: Options) -> str | None:
    return letter if letter in options else None


# Circular evaluation


def circular(verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
    """As MMBench counts: each question is asked once for each rotation of its options, and is right
    if all rotations are. The group `question` names what belongs together. Also gives the accuracy
    of the single rotations, which is no figure of MMBench."""
    return {
        "accuracy": all_right(verdicts, truths, "question"),
        "single": share(one.score for one in verdicts),
    }


def rotations(truth: Truth) -> list[Truth]:
    """The question with its options in each rotated order, the given one first. The text of the
    right option moves to another letter in each."""
    letters, texts = list(truth.options), list(truth.options.values())
    right = [letters.index(letter) for letter in truth.answers]
    return [
        Truth(
            answers=tuple(letters[(at - shift) % len(letters)] for at in right),
            options=dict(zip(letters, texts[shift:] + texts[:shift], strict=True)),
            question=truth.question,
            groups=truth.groups,
        )
        for shift in range(len(letters))
    ]
