"""What a scorer sees and gives: the truth about a question, a verdict on an answer, and values.

A rule reads one answer and judges it; an aggregate turns the verdicts on all answers into named
values. A scorer is a pair of both, and `seesay.evaluation.scorers` lists them all.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from seesay.errors import SeesayError
from seesay.text import Text

Values: TypeAlias = dict[str, float]
BINS = 15
"""Of the calibration error, of equal width, as in Guo et al. 2017."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a data set says about a question."""

    answers: tuple[str, ...]
    """All that are right: what people wrote, the letter of an option, yes or no, the names of the
    relevant results."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Of multiple choice, the text of each letter."""
    question: str = ""
    """What was asked."""
    judged_question: str = ""
    """What a judge reads of MathVerse, whose question may be in the picture; else the question."""
    answer_type: str = ""
    """Of MathVista: integer, float, list, or empty with options."""
    precision: int = 0
    """Of a float, the decimal places that count."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """What the values are gathered by, such as category, figure or question."""


@dataclass(frozen=True)
class Exchange:
    """What a judge was asked, and what it answered."""

    prompt: str
    reply: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a scorer says about one answer."""

    parsed: str | None
    """The answer as it counts; None if nothing could be inferred."""
    score: float
    """From 0 to 1, of CIDEr to 10. What only a whole set of answers has a score for, has 0."""
    note: Text | None = None
    """Why nothing was inferred."""
    left_out: bool = False
    """Whether the values are formed without this answer."""
    exchanges: tuple[Exchange, ...] = ()
    """With the judge, in order."""
    confidence: float | None = None
    """Of the model in its answer, from 0 to 1, if it gave one."""


@dataclass(frozen=True)
class Judge:
    """A model that reads answers for a scorer."""

    ask: Callable[[str], str]
    """Prompt to reply. A SeesayError counts as no reply."""
    instruction: str = ""
    """What stands before each question to the judge; empty: the scorer's own words. A published
    figure needs the words of its toolkit, which are not part of this package."""
    second_instruction: str = ""
    """The same before the second question of a scorer that asks two."""


@dataclass(frozen=True)
class Tools:
    """What a rule may use besides the answer and the truth."""

    draw: random.Random
    """For rules that guess when they can read nothing."""
    judge: Judge | None = None


Rule: TypeAlias = Callable[[str, Truth, Tools], Verdict]
Aggregate: TypeAlias = Callable[[Sequence[Verdict], Sequence[Truth]], Values]


@dataclass(frozen=True)
class Scorer:
    """A rule for one answer, and what becomes of all verdicts."""

    rule: Rule
    aggregate: Aggregate
    en: str
    """What it does, in a line."""
    zh: str
    judged: bool = False
    """Whether it needs a judge."""
    draws: bool = False
    """Whether it draws where it can read nothing, so that its values depend on a seed."""
    figure: str = "accuracy"
    """The value that boards show."""
    best: float | None = 1.0
    """The most that it can be, by which boards normalise it; None if nothing bounds it, or less is
    better, so that no average takes it."""
    whole: bool = False
    """Whether only the whole set of answers has a score, and a single one has none."""
    each: Callable[[Sequence[Verdict], Sequence[Truth]], list[float]] | None = None
    """The score of each answer, where it depends on the others."""


NO_JUDGE = Text("this needs a judge, and none was given", "这需要评判模型，但没有给出")


def exchange(judge: Judge, prompt: str) -> Exchange:
    """Asks the judge. A reply that did not come is empty."""
    try:
        return Exchange(prompt, judge.ask(prompt))
    except SeesayError:
        return Exchange(prompt, "")


def share(numbers: Iterable[float]) -> float:
    """The mean; 0 of nothing."""
    values = list(numbers)
    return sum(values) / len(values) if values else 0.0


def accuracy(verdicts: Sequence[Verdict], _: Sequence[Truth]) -> Values:
    """The mean score."""
    return {"accuracy": share(one.score for one in verdicts)}


def accuracy_by(*names: str) -> Aggregate:
    """The mean score, of all and for each value of these groups. A group may name several values,
    with commas between them."""

    def aggregate(verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
        scores: defaultdict[str, list[float]] = defaultdict(list)
        for verdict, truth in zip(verdicts, truths, strict=True):
            for name in names:
                for value in filter(None, truth.groups.get(name, "").split(",")):
                    scores[f"{name}/{value}"].append(verdict.score)
        return accuracy(verdicts, truths) | {
            name: share(of_group) for name, of_group in sorted(scores.items())
        }

    return aggregate


def mean_per_class(verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
    """The mean score, and the mean of those of each right answer, which all weigh the same."""
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for verdict, truth in zip(verdicts, truths, strict=True):
        scores[truth.answers[0]].append(verdict.score)
    return accuracy(verdicts, truths) | {"mean_per_class": share(map(share, scores.values()))}


def all_right(verdicts: Sequence[Verdict], truths: Sequence[Truth], *names: str) -> float:
    """Share of the groups with these names whose every answer is right."""
    groups: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for verdict, truth in zip(verdicts, truths, strict=True):
        groups[tuple(truth.groups.get(name, "") for name in names)].append(verdict.score)
    return share(float(min(scores) == 1.0) for scores in groups.values())


def calibration_error(verdicts: Sequence[Verdict], bins: int = BINS) -> float:
    """Expected calibration error: the mean distance between confidence and accuracy of the answers
    of about the same confidence, weighted by their number."""
    groups: defaultdict[int, list[Verdict]] = defaultdict(list)
    known = [one for one in verdicts if one.confidence is not None]
    for one in known:
        groups[min(int((one.confidence or 0.0) * bins), bins - 1)].append(one)
    distances = (
        abs(sum(one.score for one in some) - sum(one.confidence or 0.0 for one in some))
        for some in groups.values()
    )
    return sum(distances) / len(known) if known else 0.0
