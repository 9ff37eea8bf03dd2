"""Every scorer gives what the toolkit it is called after gives, and what its own rules say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seesay.errors import ConfigError, DataError, EndpointError
from seesay.evaluation.chair import object_words
from seesay.evaluation.choice import rotations
from seesay.evaluation.report import scores_table
from seesay.evaluation.scorers import SCORERS, Result, score, summarize
from seesay.evaluation.scoring import Judge, Truth
from seesay.inference.detector import LABELS

FILES = sorted((Path(__file__).parent / "conformance").glob("*.json"))
OURS = {name for name in SCORERS if "/seesay" in name or name.startswith("recall/")}
CAPTIONS = {name for name in SCORERS if "+" in name}  # compared in test_caption_scores.py
OPTIONS = {"A": "a cat", "B": "a dog", "C": "two dogs", "D": "none of these"}


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def truth_of(case: dict[str, Any]) -> Truth:
    answers = case["truth"] if isinstance(case["truth"], list) else [case["truth"]]
    names = ("options", "question", "answer_type", "precision", "groups")
    return Truth(answers=tuple(answers), **{name: case[name] for name in names if name in case})


def judge_of(cases: list[dict[str, Any]]) -> tuple[Judge, list[str]]:
    """A judge that gives the reply of each case, whose question is numbered."""
    prompts: list[str] = []
    replies = {f"#{at}#": case.get("reply", "") for at, case in enumerate(cases)}

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        number = prompt.rindex("#", 0, prompt.rindex("#"))
        return replies[prompt[number : prompt.rindex("#") + 1]]

    return Judge(ask), prompts


def judged_in_turn(name: str, cases: list[dict[str, Any]]) -> Result:
    """Of a scorer that asks the judge several things about an answer: the replies of each case come
    in their order."""
    truths = [truth_of(case) for case in cases]
    verdicts = []
    for case, truth in zip(cases, truths, strict=True):
        replies = iter(case["replies"])
        judge = Judge(lambda _, replies=replies: next(replies))
        verdicts += score(name, [case["answer"]], [truth], judge=judge).verdicts
    values = summarize(name, verdicts, truths)
    return Result(scorer=name, values=values, verdicts=tuple(verdicts), seed=None)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scores_are_those_of_the_toolkit(file: Path) -> None:
    content = read(file)
    cases = content["cases"]
    judge, _ = judge_of(cases)
    judged = SCORERS[content["scorer"]].judged
    numbered = [
        case | ({"question": f"{case['question']} #{at}#"} if judged else {})
        for at, case in enumerate(cases)
    ]
    if "replies" in cases[0]:
        result = judged_in_turn(content["scorer"], cases)
    else:
        result = score(
            content["scorer"],
            [case["answer"] for case in cases],
            [truth_of(case) for case in numbered],
            judge=judge if judged else None,
        )
    wrong = [
        (case, verdict)
        for case, verdict in zip(cases, result.verdicts, strict=True)
        if abs(verdict.score - case.get("score", verdict.score)) > 1e-12
        or verdict.parsed != case.get("parsed", verdict.parsed)
        or len(verdict.exchanges) != case.get("asked", len(verdict.exchanges))
    ]
    assert wrong == []
    values = content.get("values", {})
    assert {name: result.values[name] for name in values} == pytest.approx(values, abs=1e-12)


def test_every_scorer_of_a_toolkit_is_compared_on_forty_answers() -> None:
    compared = {read(file)["scorer"]: len(read(file)["cases"]) for file in FILES}
    without = set(SCORERS) - OURS - CAPTIONS - compared.keys()
    # Its draws, and which rotations a judge sees, depend on the order in which lmms-eval asks.
    assert without == {"circular/lmms-mmbench@2026-08-06"}
    assert min(compared.values()) >= 40


@pytest.mark.parametrize("file", [f for f in FILES if f.stem.startswith("mmvet")], ids=str)
def test_a_judge_is_asked_in_the_form_of_the_toolkit(file: Path) -> None:
    for case in read(file)["cases"]:
        prompts: list[str] = []
        judge = Judge(lambda prompt, seen=prompts: seen.append(prompt) or "1", "Grade this.")
        score(read(file)["scorer"], [case["answer"]], [truth_of(case)], judge=judge)
        assert prompts == [f"Grade this.\n{case['end']}"]


CHINESE_CHOICES = {
    "答案是B": "B",
    "选B": "B",
    "选 B": "B",
    "B。": "B",
    "Ｂ": "B",
    "（Ｂ）": "B",
    "b": "B",
    "我觉得应该选择B，因为A是错的": "B",
    "不选A，选B": "B",
    "B选项": "B",
    "正确答案为：B": "B",
    "\\boxed{B}": "B",
    "<answer>B</answer>": "B",
    "**B**": "B",
    "The answer is B because A is wrong": "B",
    "A man is walking a dog": "B",
    "A、B都对": None,
    "选E": None,
    "": None,
    "。": None,
    "不知道": None,
    "Bob": None,
}


@pytest.mark.parametrize(("answer", "letter"), CHINESE_CHOICES.items())
def test_chinese_choices_are_read(answer: str, letter: str | None) -> None:
    truth = Truth(answers=("B",), options=OPTIONS)
    verdict = score("choice/seesay-zh@1", [answer], [truth]).verdicts[0]
    assert (verdict.parsed, verdict.note is None) == (letter, letter is not None)


CHINESE_ANSWERS = {
    "是": "yes",
    "是的，有一只狗。": "yes",
    "有。": "yes",
    "对": "yes",
    "没错": "yes",
    "图中有没有狗？有。": "yes",
    "ＹＥＳ": "yes",
    "Yes, it's not a cat.": "yes",
    "否": "no",
    "不是": "no",
    "没有。": "no",
    "图片里没有狗，只有一只猫": "no",
    "不，图里是猫": "no",
    "NO": "no",
    "There isn't a dog.": "no",
    "错误": "no",
    "无法判断": None,
    "不确定有没有": None,
    "看不清": None,
    "yes and no": None,
    "": None,
    "一只猫": None,
}


@pytest.mark.parametrize(("answer", "reading"), CHINESE_ANSWERS.items())
def test_chinese_yes_and_no_are_read(answer: str, reading: str | None) -> None:
    verdict = score("pope/seesay-zh@1", [answer], [Truth(answers=("yes",))]).verdicts[0]
    assert (verdict.parsed, verdict.note is None) == (reading, reading is not None)


def fails(_: str) -> str:
    raise EndpointError("the endpoint is away")


@pytest.mark.parametrize("ask", [lambda _: "very good!", lambda _: "7", fails])
def test_an_answer_that_the_judge_cannot_grade_is_left_out_with_a_note(
    ask: Callable[[str], str],
) -> None:
    replies = iter(["0.5"])
    truths = [Truth(answers=("x",), question=q) for q in ("first", "second")]
    judge = Judge(lambda prompt: next(replies) if "first" in prompt else ask(prompt))
    result = score("mmvet/seesay@1", ["a", "b"], truths, judge=judge)
    assert (result.left_out, result.values) == (1, {"accuracy": 0.5})
    (note,) = result.notes
    assert "3 tries" in note.en and "3 次" in note.zh
    assert [len(one.exchanges) for one in result.verdicts] == [1, 3]
    assert "second" in result.verdicts[1].exchanges[0].prompt


def test_a_choice_asks_the_judge_and_then_draws_with_the_seed() -> None:
    truth = Truth(answers=("B",), options=OPTIONS, question="What is it?")
    name = "choice/vlmevalkit@2026-08-18"
    read_by_judge = score(name, ["a hound"], [truth], judge=Judge(lambda _: "B"))
    assert read_by_judge.verdicts[0].score == 1
    drawn = []
    for seed in (1, 1, 2):
        result = score(name, ["?"] * 20, [truth] * 20, judge=Judge(lambda _: "hm"), seed=seed)
        drawn.append([one.parsed for one in result.verdicts])
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) <= {*"ABCDZ"}
    assert score(name, ["?"], [truth]).seed == 42
    assert score("choice/seesay-zh@1", ["?"], [truth]).seed is None


def test_a_question_counts_if_all_its_rotations_are_right() -> None:
    truth = Truth(answers=("B",), options=OPTIONS, groups={"question": "1"})
    turned = rotations(truth)
    assert [one.answers for one in turned] == [("B",), ("A",), ("D",), ("C",)]
    assert {one.options[one.answers[0]] for one in turned} == {"a dog"}
    right = [one.answers[0] for one in turned]
    other = Truth(answers=("A",), options=OPTIONS, groups={"question": "2"})
    truths = [*turned, *rotations(other)]
    answers = [*right, "A", "A", "A", "A"]
    values = score("circular/seesay-zh@1", answers, truths).values
    assert values == {"accuracy": 0.5, "single": 5 / 8}


def test_recall_counts_any_positive_or_their_share() -> None:
    truths = [Truth(answers=("a", "b")), Truth(answers=("c",)), Truth(answers=("x",))]
    rankings = ["a\nq\nr\ns\nt\nu\nb", "q\nc", "q\nr"]
    any_of = score("recall/any@1", rankings, truths).values
    assert any_of == pytest.approx({"r1": 1 / 3, "r5": 2 / 3, "r10": 2 / 3, "mean": 5 / 9})
    shares = score("recall/share@1", rankings, truths).values
    assert shares == pytest.approx({"r1": 1 / 6, "r5": 0.5, "r10": 2 / 3, "mean": 4 / 9})


def test_captions_are_scored_as_a_whole() -> None:
    truths = [Truth(answers=("a dog runs on grass",)), Truth(answers=("two cats sleep",))]
    result = score("bleu1/coco@1+ptb@1", ["A dog runs on grass.", "two cats sleep"], truths)
    assert result.values == pytest.approx({"bleu1": 1.0})


def test_classes_weigh_the_same_in_their_mean() -> None:
    truths = [Truth(answers=(one,)) for one in ("cat", "cat", "cat", "dog")]
    values = score("exact/seesay@1", ["Cat.", "cat", "cat", "cat"], truths).values
    assert values == {"accuracy": 0.75, "mean_per_class": 0.5}


def test_the_calibration_error_is_the_distance_between_confidence_and_accuracy() -> None:
    truths = [Truth(answers=("yes",))] * 4
    answers = ["yes", "no", "yes", "yes"]
    result = score("pope/official@1", answers, truths, confidences=[0.95, 0.95, 1.0, 0.5])
    # Three near 0.97 with two right, one at 0.5 that is right.
    assert result.values["calibration_error"] == pytest.approx((abs(2.9 - 2) + 0.5) / 4)


def test_no_result_goes_without_a_scorer() -> None:
    with pytest.raises(ConfigError, match="pope/official@1"):
        Result(scorer="pope/unheard@1", values={}, verdicts=(), seed=None)
    with pytest.raises(TypeError):
        Result(values={}, verdicts=(), seed=None)  # type: ignore[call-arg]
    result = score("pope/official@1", ["yes"], [Truth(answers=("yes",))])
    for language in ("en", "zh"):
        assert scores_table([result], language).rows[0][0] == "pope/official@1"


@pytest.mark.parametrize(
    ("name", "answers", "truths", "confidences", "error"),
    [
        ("pope/nobody@1", ["yes"], [Truth(answers=("yes",))], None, ConfigError),
        ("mmvet/seesay@1", ["yes"], [Truth(answers=("yes",))], None, ConfigError),
        ("pope/official@1", [], [], None, DataError),
        ("pope/official@1", ["yes"], [], None, DataError),
        ("pope/official@1", ["yes"], [Truth(answers=())], None, DataError),
        ("pope/official@1", ["yes"], [Truth(answers=("yes",))], [], DataError),
        ("pope/official@1", ["yes"], [Truth(answers=("yes",))], [50.0], DataError),
    ],
)
def test_what_cannot_be_scored_is_refused(
    name: str,
    answers: list[str],
    truths: list[Truth],
    confidences: list[float] | None,
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        score(name, answers, truths, confidences=confidences)


MENTIONS = {
    "一只狗坐在沙发上": ["dog", "couch"],
    "热狗和斑马": ["hot dog", "zebra"],
    "马路上有一辆公交车": ["bus"],
    "人行道旁停着自行车": ["bicycle"],
    "穿牛仔裤的男孩在打网球": ["person", "sports ball"],
    "笔记本电脑旁有一个鼠标": ["laptop", "mouse"],
    "机器人": [],
    "a baby elephant and two hot dogs": ["elephant", "hot dog"],
    "Two men with wine glasses at the train station": ["person", "wine glass"],
    "a T-shirt; a dog-house": [],
    "": [],
}


@pytest.mark.parametrize(("caption", "names"), MENTIONS.items())
def test_objects_are_found_in_captions(caption: str, names: list[str]) -> None:
    assert object_words().mentions(caption) == names


def test_coco_has_eighty_objects_with_words_in_both_languages() -> None:
    words = object_words()
    names = {label.en for label in LABELS}
    assert set(words.english.values()) - {""} == set(words.chinese.values()) - {""} == names
    assert all(words.mentions(label.en)[:1] == [label.en] for label in LABELS)
    assert all(words.mentions(label.zh)[:1] == [label.en] for label in LABELS)


def test_a_caption_without_labelled_objects_is_left_out() -> None:
    truths = [
        Truth(answers=("一个人骑马",), groups={"objects": "horse"}),
        Truth(answers=("a dog",)),
    ]
    result = score("chair/seesay@1", ["人、马和狗", "a dog"], truths)
    assert result.verdicts[0].parsed == "person, horse, !dog" and result.left_out == 1
    values = {"CHAIRi": 1 / 3, "CHAIRs": 1.0, "objects": 3.0}
    assert result.values == pytest.approx(values)
    assert "not labelled" in result.verdicts[1].note.en


def test_mathverse_asks_its_judge_twice_and_leaves_out_what_it_cannot_read() -> None:
    truth = Truth(answers=("C",), question="seen", judged_question="Which is it?")
    prompts: list[str] = []
    replies = iter(["Extracted Answer: c", "1"])
    judge = Judge(lambda one: prompts.append(one) or next(replies), "Extract.", "Compare.")
    result = score("mathverse/seesay@1", ["It is c"], [truth], judge=judge)
    assert prompts[0] == "Extract.\n\nModel response: 'It is c'\nExtracted Answer: "
    assert prompts[1].startswith("Compare.\n\n[Question]: Which is it?\n[Standard Answer]: C\n")
    assert result.verdicts[0].score == 1 and result.verdicts[0].parsed == "c"
    for nonsense in ("", "well"):
        result = score("mathverse/seesay@1", ["x"], [truth], judge=Judge(lambda _, n=nonsense: n))
        assert result.left_out == 1 and result.values == {} and len(result.notes) == 1
    result = score("mathverse/vlmevalkit@2026-08-18", ["x"], [truth], judge=Judge(fails))
    assert result.left_out == 0 and result.values["accuracy"] == 0
