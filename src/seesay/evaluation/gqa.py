"""GQA (Hudson & Manning 2019): accuracy and what its authors measure beside it."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from seesay.evaluation.scoring import Tools, Truth, Values, Verdict, share


def official(answer: str, truth: Truth, _: Tools) -> Verdict:
    """The answer is right if it is the truth to the letter."""
    return Verdict(parsed=answer, score=float(answer == truth.answers[0]))


def second_table(verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
    """The values of the authors' eval.py that need no attention maps: accuracy, of yes/no and other
    closed questions (`binary`) and of open ones; consistency; validity and plausibility, if the
    file of choices is there; and the distance between the distributions of answers and truths
    (`distribution`; less is better, and nothing bounds it). Only balanced questions count; all
    others are there for the consistency. Groups: id, entailed, structural, semantic, global,
    unbalanced, valid and plausible."""
    balanced = [
        (verdict, truth)
        for verdict, truth in zip(verdicts, truths, strict=True)
        if not truth.groups.get("unbalanced")
    ]
    values = {"accuracy": share(verdict.score for verdict, _ in balanced)}
    names = {"query": "open"}
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for verdict, truth in balanced:
        structural = truth.groups.get("structural", "")
        scores[names.get(structural, "binary")].append(verdict.score)
        scores[f"structural/{structural}"].append(verdict.score)
        scores[f"semantic/{truth.groups.get('semantic', '')}"].append(verdict.score)
        for group, name in (("valid", "validity"), ("plausible", "plausibility")):
            if group in truth.groups:
                inside = verdict.parsed in truth.groups[group].split(",")
                scores[name].append(float(inside))
    for name in ("binary", "open", "validity", "plausibility"):
        if name in scores:
            values[name] = share(scores.pop(name))
    right = {
        truth.groups.get("id", ""): one.score for one, truth in zip(verdicts, truths, strict=True)
    }
    if consistent := [one for pair in balanced if (one := _entailed(*pair, right)) is not None]:
        values["consistency"] = share(consistent)
    values["distribution"] = _distance(balanced)
    return values | {name: share(some) for name, some in sorted(scores.items())}


def _entailed(verdict: Verdict, truth: Truth, right: dict[str, float]) -> float | None:
    """Share of the questions whose answers follow from a right answer that are answered rightly
    too. None if the answer is wrong, or none of these questions was asked."""
    follow = truth.groups.get("entailed", "").split(",")
    scores = [right[one] for one in follow if one in right and one != truth.groups.get("id")]
    return share(scores) if verdict.score and scores else None


def _distance(pairs: Sequence[tuple[Verdict, Truth]]) -> float:
    """A hundredth of the chi-square statistic of the answers against the truths, the mean over the
    groups `global`, weighted by their questions."""
    truths: defaultdict[str, Counter[str]] = defaultdict(Counter)
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for verdict, truth in pairs:
        if group := truth.groups.get("global"):
            truths[group][truth.answers[0]] += 1
            answers[group][verdict.parsed or ""] += 1
    total = sum(counts.total() for counts in truths.values())
    weighted = sum(
        counts.total()
        * sum((answers[group][one] - count) ** 2 / count for one, count in counts.items())
        for group, counts in truths.items()
    )
    return weighted / total / 100 if total else 0.0
