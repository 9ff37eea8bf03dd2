"""MME (Fu et al. 2023): two questions with yes or no about each picture, in fourteen categories.

A category has up to 200 points: 100 times the share of right answers, and 100 times the share of
pictures with both answers right. Ten categories are perception, four are cognition.
"""

from collections import defaultdict
from collections.abc import Sequence

from seesay.evaluation.scoring import Tools, Truth, Values, Verdict, share
from seesay.evaluation.yes_no import NEITHER

PERCEPTION = (
    *("existence", "count", "position", "color", "posters"),
    *("celebrity", "scene", "landmark", "artwork", "OCR"),
)
COGNITION = (
    *("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"),
)
POINTS = 200.0 * (len(PERCEPTION) + len(COGNITION))
"""The most that there are."""


def official(answer: str, truth: Truth, _: Tools) -> Verdict:
    """Yes or no if it is in the first four characters, yes first, without case."""
    return _verdict(_first_four(answer.lower()), truth)


def lmms(answer: str, truth: Truth, _: Tools) -> Verdict:
    """The same without full stops and blanks around; y and n alone are yes and no."""
    text = answer.lower().strip().replace(".", "")
    alone = {"y": "yes", "n": "no"}
    if len(text) == 1:
        return _verdict(alone.get(text, "other"), truth)
    return _verdict(_first_four(text), truth)


def _first_four(text: str) -> str:
    return next((one for one in ("yes", "no") if one in text[:4]), "other")


def _verdict(parsed: str, truth: Truth) -> Verdict:
    right = parsed == truth.answers[0].lower().strip().replace(".", "")
    note = NEITHER if parsed == "other" else None
    return Verdict(parsed=parsed, score=float(right), note=note)


def points(verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
    """Points of each category, of perception, of cognition, and of both. The answers about a
    picture are those with the same `image_path`, as in VLMEvalKit's file, or `question_id`, as in
    that of lmms-eval."""
    scores: defaultdict[str, defaultdict[str, list[float]]]
    scores = defaultdict(lambda: defaultdict(list))
    for verdict, truth in zip(verdicts, truths, strict=True):
        groups = truth.groups
        picture = groups.get("image_path") or groups.get("question_id", "")
        scores[groups.get("category", "")][picture].append(verdict.score)
    values = {}
    for category, pictures in sorted(scores.items()):
        right = share(one for some in pictures.values() for one in some)
        both = share(float(min(some) == 1.0) for some in pictures.values())
        values[f"category/{category}"] = 100 * right + 100 * both
    of = {
        name: sum(values.get(f"category/{one}", 0.0) for one in categories)
        for name, categories in (("perception", PERCEPTION), ("cognition", COGNITION))
    }
    return {"total": sum(of.values()), **of, **values}
