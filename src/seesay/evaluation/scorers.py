"""All scorers by name and version, and how to score answers with them.

    truths = [Truth(answers=("yes",)), Truth(answers=("no",))]
    result = score("pope/official@1", ["Yes, there is.", "NO"], truths)
    result.values["f1"]

Different toolkits score the same answers differently, so a scorer is named after the code whose
figures it reproduces: `pope/vlmevalkit@2026-08-18` scores as VLMEvalKit did on that day. A version
never changes its results; `seesay` marks our own rules. Every result names its scorer. A new scorer
is a rule and a line in SCORERS.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from seesay.errors import ConfigError, DataError
from seesay.evaluation import (
    caption_scores,
    chair,
    choice,
    gqa,
    judged,
    mme,
    set_scores,
    text_answers,
    yes_no,
)
from seesay.evaluation.caption_tokens import TOKENIZERS
from seesay.evaluation.scoring import (
    Judge,
    Scorer,
    Tools,
    Truth,
    Values,
    Verdict,
    accuracy,
    accuracy_by,
    calibration_error,
    mean_per_class,
)
from seesay.text import Text

VLMEVALKIT = "vlmevalkit@2026-08-18"  # at e8e78f05
LMMS = "lmms@2026-08-06"  # at 75571cfe
SEED = 42
"""Of what is drawn; the one of MMMU, whose draws are reproduced."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Values, and the scorer that they belong to. Raises ConfigError if there is none of its name,
    so that no figure goes without."""

    scorer: str
    values: Values
    """By name; from 0 to 1 if not said otherwise."""
    verdicts: tuple[Verdict, ...]
    """On each answer, in order."""
    seed: int | None
    """Of what was drawn; None if the scorer draws nothing."""

    def __post_init__(self) -> None:
        find_scorer(self.scorer)

    @property
    def left_out(self) -> int:
        """Answers that the values are formed without."""
        return sum(one.left_out for one in self.verdicts)

    @property
    def notes(self) -> dict[Text, int]:
        """Why nothing was inferred from an answer, and from how many."""
        return dict(Counter(one.note for one in self.verdicts if one.note is not None))


# The table


_mean = accuracy
_by_version = accuracy_by("problem_version", "subject", "subfield")
SCORERS: dict[str, Scorer] = {
    "exact/seesay@1": Scorer(
        text_answers.exact,
        mean_per_class,
        "the same text, ignoring case and surrounding punctuation; also the mean over classes",
        "文字相同即对，不计大小写与首尾标点；另给各类平均",
    ),
    "vqa/official@1": Scorer(
        text_answers.vqa_official,
        _mean,
        "VQA accuracy; not normalised if all annotators agree",
        "VQA 准确率；标注者意见一致时不做归一化",
    ),
    f"vqa/{VLMEVALKIT}": Scorer(
        text_answers.vqa_vlmevalkit,
        _mean,
        "VQA accuracy, always normalised; a full stop after a digit stays",
        "VQA 准确率，一律归一化；数字后的句点保留",
    ),
    f"vqa/{LMMS}": Scorer(
        text_answers.vqa_lmms,
        _mean,
        "VQA accuracy, always normalised",
        "VQA 准确率，一律归一化",
    ),
    f"textvqa/{LMMS}": Scorer(
        text_answers.textvqa_lmms,
        _mean,
        "VQA accuracy, normalised as by EvalAI: no commas, 's as its own word",
        "VQA 准确率，按 EvalAI 归一化：去掉逗号，'s 单独成词",
    ),
    "anls/official@1": Scorer(
        text_answers.anls,
        _mean,
        "edit similarity (DocVQA, InfographicVQA), 0 below one half",
        "DocVQA、InfographicVQA 的编辑相似度，低于一半记 0",
    ),
    f"anls/{VLMEVALKIT}": Scorer(
        text_answers.anls,
        _mean,
        "the same as official",
        "与官方相同",
    ),
    f"anls/{LMMS}": Scorer(
        text_answers.anls_stripped,
        _mean,
        "the same, after stripping whitespace around the answer",
        "同上，但先去掉回答首尾空白",
    ),
    "relaxed/pix2struct@2025-02-28": Scorer(
        text_answers.relaxed_as_is,
        _mean,
        "ChartQA: a number within 5 percent, otherwise the same text",
        "ChartQA：数字允许 5% 误差，否则文字须相同",
    ),
    f"relaxed/{VLMEVALKIT}": Scorer(
        text_answers.relaxed_stripped,
        _mean,
        "the same, after stripping whitespace around the answer",
        "同上，但先去掉回答首尾空白",
    ),
    f"relaxed/{LMMS}": Scorer(
        text_answers.relaxed_as_is,
        accuracy_by("split"),
        "the same, on the raw answer; also per split",
        "同上，回答保持原样；另给各部分的值",
    ),
    "gqa/official@1": Scorer(
        gqa.official,
        gqa.second_table,
        "the same text; also consistency, validity, plausibility and distribution",
        "文字完全相同即对；另给一致性、有效性、合理性和分布",
    ),
    f"gqa/{VLMEVALKIT}": Scorer(
        text_answers.gqa_vlmevalkit,
        _mean,
        "the same text, ignoring case",
        "文字相同即对，不计大小写",
    ),
    f"gqa/{LMMS}": Scorer(
        text_answers.gqa_lmms,
        _mean,
        "the same text, ignoring case and punctuation",
        "文字相同即对，不计大小写与标点",
    ),
    f"ocrbench/{VLMEVALKIT}": Scorer(
        partial(text_answers.ocrbench, folded=False),
        accuracy_by("category"),
        "the answer contains the reference answer; formulas ignore whitespace",
        "回答包含标准答案即对；公式不计空格",
    ),
    f"ocrbench/{LMMS}": Scorer(
        partial(text_answers.ocrbench, folded=True),
        accuracy_by("category"),
        "the same; full-width characters are read as half-width",
        "同上；全角字符按半角读",
    ),
    "open/mmmu@1": Scorer(
        text_answers.mmmu_open,
        _mean,
        "MMMU's open questions: text or number after a concluding word",
        "MMMU 开放题：取结论词之后的文字或数字",
    ),
    f"choice/{VLMEVALKIT}": Scorer(
        choice.Choice(read=choice.vlmevalkit, none="Z"),
        _mean,
        "a letter near the end, or the only option named; else a judge, then a guess",
        "靠近结尾的字母，或唯一出现的选项；否则问评判模型，再随机猜",
        draws=True,
    ),
    "choice/lmms-mmbench@2026-08-06": Scorer(
        choice.Choice(read=choice.lmms_mmbench, none="E"),
        _mean,
        "a letter as a word, or the only option named; else a judge, then a guess",
        "独立成词的字母，或唯一出现的选项；否则问评判模型，再随机猜",
        draws=True,
    ),
    "choice/lmms-static@2026-08-06": Scorer(
        choice.Choice(read=choice.lmms_static),
        _mean,
        "the most likely of the letters in the answer; no judge",
        "回答里最像答案的字母；不用评判模型",
    ),
    "choice/lmms-ai2d@2026-08-06": Scorer(
        choice.Choice(read=choice.lmms_ai2d),
        _mean,
        "the letter before a full stop at the start, else the whole answer",
        "开头带句点的字母，否则取整个回答",
    ),
    "choice/mmmu@1": Scorer(
        choice.Choice(read=choice.mmmu, draws=True),
        _mean,
        "the last letter, or in a long answer the last option text; else a guess",
        "最后的字母，长回答取最后的选项文字；否则随机猜",
        draws=True,
    ),
    "choice/seed-lmms@2026-08-06": Scorer(
        choice.Choice(read=choice.lmms_seed),
        _mean,
        "the first character",
        "第一个字符",
    ),
    "choice/seesay-zh@1": Scorer(
        choice.Choice(read=choice.seesay_zh),
        _mean,
        "Chinese and English: 答案是B, 选B, full-width letters, or the only option named",
        "中英文：答案是B、选B、全角字母，或唯一出现的选项",
    ),
    f"circular/{VLMEVALKIT}": Scorer(
        choice.Choice(read=choice.vlmevalkit, none="Z"),
        choice.circular,
        "MMBench: right if all rotations are right, read as by VLMEvalKit",
        "MMBench：各轮换都对才算对，读法同 VLMEvalKit",
        draws=True,
    ),
    "circular/lmms-mmbench@2026-08-06": Scorer(
        choice.Choice(read=choice.lmms_mmbench, none="E"),
        choice.circular,
        "MMBench: right if all rotations are right, read as by lmms-eval",
        "MMBench：各轮换都对才算对，读法同 lmms-eval",
        draws=True,
    ),
    "circular/lmms-static@2026-08-06": Scorer(
        choice.Choice(read=choice.lmms_mmbench_static),
        choice.circular,
        "the same, without a judge",
        "同上，不用评判模型",
    ),
    "circular/seesay-zh@1": Scorer(
        choice.Choice(read=choice.seesay_zh),
        choice.circular,
        "MMBench: right if all rotations are right, read as Chinese and English",
        "MMBench：各轮换都对才算对，按中英文读",
    ),
    "pope/official@1": Scorer(
        yes_no.official,
        yes_no.pope,
        "no if the first sentence has no or not, else yes",
        "第一句里有 no 或 not 即为否，其余为是",
        figure="f1",
    ),
    f"pope/{VLMEVALKIT}": Scorer(
        yes_no.vlmevalkit,
        yes_no.pope,
        "whichever of yes and no is the only one present as a word, else wrong",
        "yes 与 no 只出现一个时以它为准；否则算错",
        figure="f1",
    ),
    f"pope/{LMMS}": Scorer(
        yes_no.lmms,
        yes_no.pope_lmms,
        "the whole answer must be yes or no, else wrong",
        "整个回答须为 yes 或 no，否则算错",
        figure="f1",
    ),
    "pope/seesay-zh@1": Scorer(
        yes_no.seesay_zh,
        yes_no.pope,
        "Chinese and English: the first clause that says yes or no",
        "中英文：第一个表明是或否的分句",
        figure="f1",
    ),
    f"hallusionbench/{VLMEVALKIT}": Scorer(
        yes_no.vlmevalkit,
        yes_no.hallusionbench,
        "aAcc, fAcc, qAcc and their mean",
        "aAcc、fAcc、qAcc 及三者平均",
        figure="mean",
    ),
    "hallusionbench/seesay-zh@1": Scorer(
        yes_no.seesay_zh,
        yes_no.hallusionbench,
        "the same, read as Chinese and English",
        "同上，按中英文读",
        figure="mean",
    ),
    "mme/official@1": Scorer(
        mme.official,
        mme.points,
        "yes or no in the first four characters; up to 2000 points for perception, 800 for "
        "cognition",
        "前四个字符里的 yes 或 no；给出分数，感知满分 2000，认知满分 800",
        figure="total",
        best=mme.POINTS,
    ),
    f"mme/{VLMEVALKIT}": Scorer(
        yes_no.vlmevalkit,
        mme.points,
        "whichever of yes and no is the only one present as a word; points",
        "yes 与 no 只出现一个时以它为准；给出分数",
        figure="total",
        best=mme.POINTS,
    ),
    f"mme/{LMMS}": Scorer(
        mme.lmms,
        mme.points,
        "as official, without full stops; a lone y or n counts",
        "同官方，去掉句点；单独的 y、n 也算",
        figure="total",
        best=mme.POINTS,
    ),
    "mme/seesay-zh@1": Scorer(
        yes_no.seesay_zh,
        mme.points,
        "the same points, read as Chinese and English",
        "分数同上，按中英文读",
        figure="total",
        best=mme.POINTS,
    ),
    "chair/seesay@1": Scorer(
        chair.chair,
        chair.chair_values,
        "CHAIRi and CHAIRs of captions, with COCO's classes and seesay's words for them; lower is "
        "better",
        "按 COCO 类别和 seesay 的词表算描述的 CHAIRi、CHAIRs；越低越好",
        figure="CHAIRi",
        best=None,
    ),
    f"mmvet/{VLMEVALKIT}": Scorer(
        judged.Grade(tries=5),
        partial(judged.mmvet, shared=True),
        "a judge grades from 0 to 1; the whole reply must be a number, otherwise 0",
        "评判模型打 0 到 1 分；整个回复须为数字，否则记 0",
        judged=True,
    ),
    f"mmvet/{LMMS}": Scorer(
        judged.Grade(tries=4, end=" |", first_word=True),
        judged.mmvet,
        "the same; the first word of the reply must be a number",
        "同上；回复的第一个词须为数字",
        judged=True,
    ),
    "mmvet/seesay@1": Scorer(
        judged.Grade(tries=3, first_word=True, zero=False),
        judged.mmvet,
        "the same; answers without a grade are left out",
        "同上；没有打分的回答不计入",
        judged=True,
    ),
    "mathvista/official@1": Scorer(
        judged.MathVista(stripped=False),
        judged.mathvista,
        "a judge extracts the answer; the nearest option, or the rounded number",
        "评判模型提取答案；取最接近的选项，或四舍五入的数",
        judged=True,
    ),
    f"mathvista/{VLMEVALKIT}": Scorer(
        judged.mathvista_vlmevalkit,
        judged.mathvista,
        "a judge extracts the answer; numbers are not rounded, lists are always wrong",
        "评判模型提取答案；数字不做舍入，列表一律算错",
        judged=True,
    ),
    f"mathvista/{LMMS}": Scorer(
        judged.MathVista(stripped=True),
        judged.mathvista,
        "as official, with surrounding whitespace stripped",
        "同官方，去掉首尾空白",
        judged=True,
    ),
    "mathvista/seesay@1": Scorer(
        judged.MathVista(stripped=True, zero=False),
        judged.mathvista,
        "the same; answers from which nothing can be extracted are left out",
        "同上；提取不出的回答不计入",
        judged=True,
    ),
    "mathverse/official@1": Scorer(
        judged.MathVerse(prefix="Extracted Answer: ", label="Judgement:"),
        _by_version,
        "a judge extracts the answer, then says whether it agrees with the reference",
        "评判模型先提取答案，再判断是否与标准答案一致",
        judged=True,
    ),
    f"mathverse/{VLMEVALKIT}": Scorer(
        judged.MathVerse(equal=True),
        _by_version,
        "the same; an extract identical to the reference is right",
        "同上；提取结果与标准答案完全相同即对",
        judged=True,
    ),
    "mathverse/seesay@1": Scorer(
        judged.MathVerse(prefix="Extracted Answer: ", label="Judgement:", equal=True, zero=False),
        _by_version,
        "the same; answers that the judge cannot read are left out",
        "同上；评判模型读不出的回答不计入",
        judged=True,
    ),
    "recall/any@1": Scorer(
        set_scores.ranks,
        set_scores.recall_any,
        "recall at 1, 5 and 10: any positive in the top k counts, as for CLIP and MUGE",
        "R@1、R@5、R@10：任一正例排在前 k 即算，CLIP 与 MUGE 的算法",
        figure="mean",
    ),
    "recall/share@1": Scorer(
        set_scores.ranks,
        set_scores.recall_share,
        "recall at 1, 5 and 10: the share of positives in the top k",
        "R@1、R@5、R@10：前 k 里正例的占比",
        figure="mean",
    ),
    **{
        f"{scorer}+{tokenizer}": set_scores.captions(scorer, tokenizer)
        for scorer in caption_scores.SCORERS
        for tokenizer in TOKENIZERS
    },
}
"""Scorers by name, origin and version."""


def find_scorer(name: str) -> Scorer:
    """Returns the scorer. Raises ConfigError if there is none of this name."""
    if name not in SCORERS:
        family = name.partition("/")[0]
        near = [one for one in SCORERS if one.startswith(f"{family}/")] or list(SCORERS)
        raise ConfigError(
            Text(
                f"there is no scorer {name!r}, expected a name and version such as "
                f"{', '.join(near[:5])}: choose one from docs/en/reference/scorers.md",
                f"没有评分器 {name!r}；应为名称加版本，如 {'、'.join(near[:5])}；请从 "
                "docs/zh/reference/scorers.md 里选一个",
            )
        )
    return SCORERS[name]


def score(
    name: str,
    answers: Sequence[str],
    truths: Sequence[Truth],
    *,
    judge: Judge | None = None,
    seed: int = SEED,
    confidences: Sequence[float] | None = None,
) -> Result:
    """Scores the answers with the scorer of this name. With the model's confidence in each answer,
    from 0 to 1, the values have its expected calibration error in 15 bins too.

    Raises ConfigError if there is no such scorer, or it needs a judge and none is given, and
    DataError if there are no answers, not as many truths, or a truth without an answer.
    """
    scorer = find_scorer(name)
    _check(name, answers, truths, confidences)
    if scorer.judged and judge is None:
        raise ConfigError(
            Text(
                f"{name} needs a judge, and none is given; expected a model that reads the "
                "answers: pass judge=Judge(ask), or choose another scorer",
                f"{name} 需要评判模型，但没有给出；应有一个读回答的模型；请传入 "
                "judge=Judge(ask)，或换一个评分器",
            )
        )
    tools = Tools(random.Random(seed), judge)
    verdicts = [
        scorer.rule(answer, truth, tools) for answer, truth in zip(answers, truths, strict=True)
    ]
    if confidences is not None:
        pairs = zip(verdicts, confidences, strict=True)
        verdicts = [replace(verdict, confidence=value) for verdict, value in pairs]
    if scorer.each is not None:
        pairs = zip(verdicts, scorer.each(verdicts, truths), strict=True)
        verdicts = [replace(verdict, score=value) for verdict, value in pairs]
    drawn = seed if scorer.draws else None
    values = summarize(name, verdicts, truths)
    return Result(scorer=name, values=values, verdicts=tuple(verdicts), seed=drawn)


def summarize(name: str, verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
    """The values of stored verdicts; those left out do not count. Raises ConfigError if there is no
    such scorer."""
    kept = [(one, truth) for one, truth in zip(verdicts, truths, strict=True) if not one.left_out]
    counted = [one for one, _ in kept]
    values = find_scorer(name).aggregate(counted, [truth for _, truth in kept]) if kept else {}
    if any(one.confidence is not None for one in counted):
        values["calibration_error"] = calibration_error(counted)
    return values


def _check(
    name: str,
    answers: Sequence[str],
    truths: Sequence[Truth],
    confidences: Sequence[float] | None,
) -> None:
    counts = {len(answers), len(truths), len(answers if confidences is None else confidences)}
    without = sum(not truth.answers for truth in truths)
    if len(counts) > 1 or not answers or without:
        raise DataError(
            Text(
                f"{name} got {len(answers)} answers and {len(truths)} truths, of which {without} "
                "have no right answer; expected one truth with a right answer for each, and a "
                "confidence for each or for none: remove the others",
                f"{name} 收到 {len(answers)} 个回答和 {len(truths)} 条真值，其中 {without} 条没有"
                "标准答案；每个回答应有一条带标准答案的真值，置信度要么都有，要么都没有；"
                "请去掉其余的",
            )
        )
    if any(not 0 <= value <= 1 for value in confidences or ()):
        raise DataError(
            Text(
                f"confidences go from {min(confidences or ())} to {max(confidences or ())}, "
                "expected 0 to 1: divide percent by 100",
                f"置信度从 {min(confidences or ())} 到 {max(confidences or ())}；应在 0 到 1 之间；"
                "百分数请除以 100",
            )
        )
