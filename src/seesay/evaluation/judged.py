"""Scorers that a judge model helps: MM-Vet, MathVista and MathVerse.

A judge is a function from a text to a text, such as an endpoint. What it was asked and what it
answered stays in the verdict. The words that toolkits put before each question are theirs and not
part of this package: a figure comparable with a published one needs them as `Judge.instruction`,
and the judge that was used there.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from seesay.evaluation.choice import vlmevalkit
from seesay.evaluation.scoring import (
    NO_JUDGE,
    Exchange,
    Judge,
    Tools,
    Truth,
    Values,
    Verdict,
    accuracy,
    exchange,
    share,
)
from seesay.evaluation.text_answers import edit_distance
from seesay.text import Text

# MM-Vet

NO_GRADE = Text(
    "the judge gave no number from 0 to 1 in {tries} tries; its last reply: {reply}",
    "评判模型 {tries} 次都没有给出 0 到 1 的数；最后一次回复：{reply}",
)
_GRADE = """\
Grade a prediction against the ground truth, from 0.0 (all wrong) to 1.0 (all right) in steps of \
0.1. Where parts of the ground truth are joined by <AND>, all of them are needed; by <OR>, any one \
is enough. Reply with the number alone.

Question | Ground truth | Prediction | Correctness
--- | --- | --- | ---"""


@dataclass(frozen=True, kw_only=True)
class Grade:
    """A judge grades the answer from 0 to 1. It is asked again if it gives no such number."""

    tries: int
    end: str = " | "
    """What stands after the prediction."""
    first_word: bool = False
    """Whether only the first word of the reply has to be a number."""
    zero: bool = True
    """Whether an answer without a grade counts 0, as in the toolkits, instead of being left out."""

    def __call__(self, answer: str, truth: Truth, tools: Tools) -> Verdict:
        if tools.judge is None:
            return Verdict(parsed=None, score=0.0, note=NO_JUDGE, left_out=True)
        right = truth.answers[0].replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
        row = " | ".join((truth.question, right, answer)) + self.end
        prompt = f"{tools.judge.instruction or _GRADE}\n{row}"
        exchanges: tuple[Exchange, ...] = ()
        while len(exchanges) < self.tries:
            exchanges += (exchange(tools.judge, prompt),)
            grade = self.read(exchanges[-1].reply)
            if grade is not None:
                return Verdict(parsed=str(grade), score=grade, exchanges=exchanges)
        note = NO_GRADE.format(tries=self.tries, reply=repr(exchanges[-1].reply[:60]))
        return Verdict(
            parsed=None, score=0.0, note=note, left_out=not self.zero, exchanges=exchanges
        )

    def read(self, reply: str) -> float | None:
        """The grade; None if there is none from 0 to 1."""
        reply = reply.strip().split(" ")[0] if self.first_word else reply
        with suppress(ValueError):
            if 0 <= (grade := float(reply)) <= 1:
                return grade
        return None


def mmvet(verdicts: Sequence[Verdict], truths: Sequence[Truth], *, shared: bool = False) -> Values:
    """Mean grade of all answers, for each capability (the group `capability`, several with commas)
    and for each combination of them. With `shared`, as in VLMEvalKit, a capability and the
    combination of it alone are one table, to which an answer that needs nothing else adds twice."""
    grades: defaultdict[str, list[float]] = defaultdict(list)
    for verdict, truth in zip(verdicts, truths, strict=True):
        capabilities = sorted(filter(None, truth.groups.get("capability", "").split(",")))
        alone = shared and len(capabilities) == 1
        names = [f"capability/{one}" for one in capabilities] * (2 if alone else 1)
        if capabilities:
            names.append("combined/" + "_".join(capabilities))
        for name in names:
            grades[name].append(verdict.score)
    if shared:
        for name in [one for one in grades if one.startswith("combined/") and "_" not in one]:
            grades[name] = grades[name.replace("combined", "capability")]
    return accuracy(verdicts, truths) | {n: share(some) for n, some in sorted(grades.items())}


# MathVista

TRIES = 5
"""Times that a judge is asked to extract an answer."""
NO_EXTRACT = Text(
    "the judge extracted no answer in {tries} tries", "评判模型 {tries} 次都没有提取出答案"
)
_EXTRACT = "Extract the final answer from the response below. Reply with the answer alone."


def _extracted(
    prompt: str, tools: Tools, tries: int, rejects: Callable[[str], bool]
) -> tuple[str, tuple[Exchange, ...]]:
    """The judge's reply, empty if all were rejected."""
    exchanges: tuple[Exchange, ...] = ()
    while tools.judge is not None and len(exchanges) < tries:
        exchanges += (exchange(tools.judge, prompt),)
        if not rejects(exchanges[-1].reply):
            return exchanges[-1].reply, exchanges
    return "", exchanges


def _note(reply: str, tools: Tools, tries: int) -> Text | None:
    if reply:
        return None
    return NO_JUDGE if tools.judge is None else NO_EXTRACT.format(tries=tries)


def mathvista_vlmevalkit(answer: str, truth: Truth, tools: Tools) -> Verdict:
    """The judge is asked only if the answer is no right number and names no option. Numbers are
    read as they stand, so that 3.0 is no integer, and a list is never right."""
    if _right_vlmevalkit(answer, truth, reading=True):
        parsed = vlmevalkit(answer, truth.options) if truth.options else answer
        return Verdict(parsed=parsed, score=float(_right_vlmevalkit(answer, truth)))
    instruction = (tools.judge.instruction if tools.judge else "") or _EXTRACT
    prompt = f"{instruction}\n{truth.question}\nModel respone: {answer}Extracted answer:"
    failed = "Failed to obtain answer via API."
    reply, exchanges = _extracted(prompt, tools, TRIES, lambda one: failed in one or not one)
    score = float(_right_vlmevalkit(reply, truth))
    note = _note(reply, tools, TRIES)
    return Verdict(parsed=reply or None, score=score, note=note, exchanges=exchanges)


def _right_vlmevalkit(text: str, truth: Truth, *, reading: bool = False) -> bool:
    """Whether the text is the right answer; with `reading`, whether no judge is needed."""
    right = truth.answers[0]
    if truth.options:
        letter = vlmevalkit(text, truth.options)
        return letter is not None if reading else truth.options.get(letter or "") == right
    number: Callable[[str], float] | None = {"integer": int, "float": float}.get(truth.answer_type)
    with suppress(ValueError):
        # A right answer of 0 is taken for none.
        return bool(number and (value := number(text)) == number(right) and (value or not reading))
    return False


@dataclass(frozen=True, kw_only=True)
class MathVista:
    """An answer that is a number or an option as it stands needs no judge; from any other it
    extracts one. Integers and floats are rounded as the truth is; of multiple choice, the option
    that is nearest by edit distance counts."""

    stripped: bool
    """Whether blanks around the answer, the reply and what is compared do not count."""
    zero: bool = True
    """Whether an answer from which the judge extracts nothing is wrong, as in the toolkits, instead
    of being left out."""

    def __call__(self, answer: str, truth: Truth, tools: Tools) -> Verdict:
        answer = answer.strip() if self.stripped else answer
        exchanges: tuple[Exchange, ...] = ()
        note = None
        extract = _as_it_stands(answer, truth)
        if extract is None:
            instruction = (tools.judge.instruction if tools.judge else "") or _EXTRACT
            prompt = f"{instruction}\n\n{truth.question}\n\n{answer}\n\nExtracted answer: "
            extract, exchanges = _extracted(prompt, tools, TRIES, lambda one: not one.strip())
            note = _note(extract, tools, TRIES)
            extract = extract.strip() if self.stripped else extract
        parsed = _nearest(extract, truth) if truth.options else _rounded(extract, truth)
        right = parsed == truth.answers[0]
        if self.stripped:
            right = str(parsed).strip() == truth.answers[0].strip()
        out = note is not None and (not self.zero or tools.judge is None)
        return Verdict(
            parsed=parsed, score=float(right), note=note, left_out=out, exchanges=exchanges
        )


def _as_it_stands(answer: str, truth: Truth) -> str | None:
    """The answer, if no judge is needed."""
    if not answer or (truth.options and answer in truth.options.values()):
        return answer
    number: Callable[[str], float] | None = {"integer": int, "float": float}.get(truth.answer_type)
    with suppress(ValueError):
        return str(number(answer)) if number else None
    return None


def _nearest(extract: str, truth: Truth) -> str:
    """The text of the option that the extract means."""
    extract = extract.strip()
    if letters := re.findall(r"\(([a-zA-Z])\)", extract):
        extract = letters[0].upper()
    texts = list(truth.options.values())
    # As many letters as there are options.
    by_place = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", texts, strict=False))
    return by_place.get(extract) or min(texts, key=lambda text: edit_distance(extract, text))


def _rounded(extract: str, truth: Truth) -> str | None:
    """The extract as the truth is written; None if it is no number where one is wanted."""
    if truth.answer_type not in ("integer", "float"):
        return extract
    with suppress(ValueError, OverflowError):
        number = float(extract)
        if truth.answer_type == "integer":
            return str(int(number))
        return str(round(number, truth.precision))
    return None


def mathvista(verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
    """Accuracy of all answers and for each task and each skill (the groups `task` and `skills`;
    skills as a Python list, as in the published file, or with commas)."""
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for verdict, truth in zip(verdicts, truths, strict=True):
        names = [f"task/{truth.groups['task']}"] if "task" in truth.groups else []
        names += [f"skill/{skill}" for skill in _skills(truth.groups.get("skills", ""))]
        for name in names:
            scores[name].append(verdict.score)
    return accuracy(verdicts, truths) | {n: share(some) for n, some in sorted(scores.items())}


def _skills(text: str) -> list[str]:
    with suppress(ValueError, SyntaxError):
        if isinstance(listed := ast.literal_eval(text), list):
            return [str(one) for one in listed]
    return [one.strip() for one in text.split(",") if one.strip()]


# MathVerse

NO_JUDGEMENT = Text(
    "the judge said neither 0 nor 1 in {tries} tries; its last reply: {reply}",
    "评判模型 {tries} 次都没有回答 0 或 1；最后一次回复：{reply}",
)
_COMPARE = """\
Does the answer below agree with the standard answer to the question? Values that mean the same, \
such as 0.5 m and 50 cm, agree. Reply with 1 if it does and with 0 if it does not."""


@dataclass(frozen=True, kw_only=True)
class MathVerse:
    """A judge extracts the answer, and is then asked whether it agrees with the truth."""

    prefix: str = ""
    """What is taken from the extract if the judge repeats it."""
    label: str = ""
    """The same of the second reply."""
    equal: bool = False
    """Whether an extract that is the truth to the letter needs no second question."""
    zero: bool = True
    """Whether an answer that the judge could not read is wrong, as in VLMEvalKit, instead of being
    left out."""

    def __call__(self, answer: str, truth: Truth, tools: Tools) -> Verdict:
        if tools.judge is None:
            return Verdict(parsed=None, score=0.0, note=NO_JUDGE, left_out=True)
        instruction = tools.judge.instruction or _EXTRACT
        prompt = f"{instruction}\n\nModel response: '{answer}'\nExtracted Answer: "
        reply, exchanges = _extracted(prompt, tools, TRIES, lambda one: not one.strip())
        extract = reply.replace(self.prefix, "").strip() if self.prefix else reply
        if not reply and not self.zero:
            note = NO_EXTRACT.format(tries=TRIES)
            return Verdict(parsed=None, score=0.0, note=note, left_out=True, exchanges=exchanges)
        if self.equal and extract.strip() and extract.strip() == truth.answers[0].strip():
            return Verdict(parsed=extract, score=1.0, exchanges=exchanges)
        last, others = _extracted(
            self._question(extract, truth, tools.judge),
            tools,
            TRIES,
            lambda one: self._read(one) not in ("0", "1"),
        )
        exchanges += others
        if last:
            return Verdict(parsed=extract, score=float(self._read(last)), exchanges=exchanges)
        note = NO_JUDGEMENT.format(tries=TRIES, reply=repr(exchanges[-1].reply[:60]))
        return Verdict(
            parsed=extract or None,
            score=0.0,
            note=note,
            left_out=not self.zero,
            exchanges=exchanges,
        )

    def _question(self, extract: str, truth: Truth, judge: Judge) -> str:
        question = truth.judged_question or truth.question
        return (
            f"{judge.second_instruction or _COMPARE}\n\n[Question]: {question}\n"
            f"[Standard Answer]: {truth.answers[0]}\n[Model_answer] : {extract}\nJudgement: "
        )

    def _read(self, reply: str) -> str:
        return (reply.replace(self.label, "") if self.label else reply).strip()
