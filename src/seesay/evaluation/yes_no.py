"""Questions with yes or no: how an answer is read, and the values of POPE and HallusionBench.

Only a bare "Yes" or "No" is read the same by all toolkits; "NO" is yes to the original of POPE, and
"yes." is wrong to lmms-eval.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence

from seesay.evaluation.scoring import Rule, Tools, Truth, Values, Verdict, all_right, share
from seesay.evaluation.text_answers import without_punctuation
from seesay.text import Text

NEITHER = Text(
    "neither yes nor no can be read from the answer, or both",
    "从回答里读不出“是”或“否”，或两者都有",
)


def _rule(read: Callable[[str], str | None]) -> Rule:
    """A rule by which an answer is right if what is read from it is the truth."""

    def rule(answer: str, truth: Truth, _: Tools) -> Verdict:
        parsed = read(answer)
        right = parsed == truth.answers[0].strip().lower()
        note = None if parsed in ("yes", "no") else NEITHER
        return Verdict(parsed=parsed, score=float(right), note=note)

    return rule


def read_official(answer: str) -> str:
    """No, if "No", "no" or "not" is a word before the first full stop; else yes."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def read_vlmevalkit(answer: str) -> str | None:
    """The one of yes and no that is a word, without case and punctuation; none if both are."""
    words = without_punctuation(answer.lower()).split()
    readings = [word for word in ("yes", "no") if word in words]
    return readings[0] if len(readings) == 1 else None


def read_lmms(answer: str) -> str:
    """The whole answer, without case; anything but yes or no is wrong."""
    return answer.lower().strip()


# Chinese. Questions that an answer repeats hold both readings, and "not bad" holds a negation.
_REPEATED = re.compile(r"(.)不\1|有没有|是否|能否|可否|有无")
_UNSURE = re.compile(r"不确定|不清楚|不知道|不好说|看不清|说不准|无法|不能(?:确定|判断|确认)|未知")
_NO_ERROR = re.compile(r"没错|不错|没问题|没有错|无误")
_NO = re.compile(r"[不没无未否非]|错误|^错|(?<![a-z])(?:no|not)(?![a-z])|n't(?![a-z])")
_YES = re.compile(r"[是有对]|正确|存在|可以|确实|当然|没错|(?<![a-z])(?:yes|yeah)(?![a-z])")
_CLAUSES = re.compile(r"[,，。.;；!！?？\n]+")


def read_seesay_zh(answer: str) -> str | None:
    """Reads Chinese and English. The first clause that says yes or no counts, and a negation means
    no. "无法确定" and the like are neither, and 没错 is yes."""
    text = unicodedata.normalize("NFKC", answer).lower().replace("\u2019", "'")
    for clause in map(str.strip, _CLAUSES.split(_REPEATED.sub("", text))):
        if _UNSURE.search(clause):
            return None
        clause = _NO_ERROR.sub("对", clause)
        if _NO.search(clause):
            both = re.search(r"(?<![a-z])yes(?![a-z])", clause)
            return None if both else "no"
        if _YES.search(clause):
            return "yes"
    return None


official: Rule = _rule(read_official)
vlmevalkit: Rule = _rule(read_vlmevalkit)
lmms: Rule = _rule(read_lmms)
seesay_zh: Rule = _rule(read_seesay_zh)


# POPE


def _f1(pairs: Sequence[tuple[str, str | None]], *, only_no: bool = False) -> Values:
    """Precision, recall and F1 of pairs of truth and reading; yes is what is looked for. What is
    neither counts as no, or with `only_no` as nothing."""
    hits = sum(pair == ("yes", "yes") for pair in pairs)
    claimed = sum(reading == "yes" for _, reading in pairs)
    present = sum(t == "yes" and (r in ("yes", "no") or not only_no) for t, r in pairs)
    precision = hits / claimed if claimed else 0.0
    recall = hits / present if present else 0.0
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def pope(verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
    """Accuracy, precision, recall, F1 and share of yes, where what is neither is no. With the
    group `category` (random, popular, adversarial; several with commas), an answer counts once for
    each of its categories, and there is the F1 of each and their mean. LLaVA publishes the mean,
    VLMEvalKit that of all answers together."""
    rows = [
        (category.strip(), (truth.answers[0].strip().lower(), verdict.parsed), verdict.score)
        for verdict, truth in zip(verdicts, truths, strict=True)
        for category in truth.groups.get("category", "").split(",")
    ]
    pairs = [pair for _, pair, _ in rows]
    values = {"accuracy": share(score for _, _, score in rows), **_f1(pairs)}
    values["yes_ratio"] = share(float(reading == "yes") for _, reading in pairs)
    categories: defaultdict[str, list[tuple[str, str | None]]] = defaultdict(list)
    for category, pair, _ in rows:
        categories[category].append(pair)
    by_category = {
        f"f1/{name}": _f1(some)["f1"] for name, some in sorted(categories.items()) if name
    }
    return values | by_category | ({"mean_f1": share(by_category.values())} if by_category else {})


def pope_lmms(verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
    """As lmms-eval counts: an answer that is neither is left out of the recall, and `yes_ratio` is
    the share of yes in the truth, not in the answers."""
    rights = [truth.answers[0].strip().lower() for truth in truths]
    pairs = [(right, one.parsed) for right, one in zip(rights, verdicts, strict=True)]
    values = {"accuracy": share(one.score for one in verdicts), **_f1(pairs, only_no=True)}
    return values | {"yes_ratio": share(float(right == "yes") for right in rights)}


# HallusionBench


def hallusionbench(verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
    """Share of right answers (aAcc), of figures all of whose questions are right (fAcc), of
    questions that are right of all their figures (qAcc), and the mean of the three, which the board
    of OpenCompass shows. Groups: category, set, figure, question."""
    values = {"aAcc": share(one.score for one in verdicts)}
    for name, part in (("fAcc", "figure"), ("qAcc", "question")):
        values[name] = all_right(verdicts, truths, "category", "set", part)
    return values | {"mean": share(values.values())}
