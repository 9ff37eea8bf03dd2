"""A sample of an evaluation set: pictures, what is known to be right, and how a model is asked.

The same question is put differently by each toolkit, and a model answers accordingly; so a prompt
has a name and a version like a scorer. Those of toolkits follow the prompts of their data sets;
what a toolkit puts in their place for single models is not reproduced.
"""

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from seesay.data.chat import Media, Message
from seesay.errors import ConfigError, DataError
from seesay.evaluation.scoring import Truth
from seesay.inference.answer import CAPTION, Question
from seesay.text import Text, detect_language

Row = Mapping[str, Any]
Picture = bytes | Path
NOTHING, NEW_LINE = Text("", ""), Text("\n", "\n")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A question about pictures, and the truth."""

    key: str
    """Names it in its set."""
    images: tuple[Picture, ...]
    truth: Truth
    hint: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A row of a file, or an answer, that cannot be used, and why."""

    key: str
    reason: Text


# Rows of published files

FIELDS: dict[str, tuple[str, ...]] = {
    "key": ("key", "index", "question_id", "questionId", "id", "pid", "sample_id"),
    "question": ("question", "query", "text"),
    "answer": ("answers", "answer", "label", "gt_answer", "caption", "captions"),
    "hint": ("hint",),
    "options": ("options", "choices"),
}
"""What a column of a published file is called; the first that is there counts."""
LONGEST_GROUP = 100  # characters; longer texts are no groups
_LETTER = re.compile(r"(?:[A-Z]|(?:choice|option)_[a-z])")
_ROTATED = 1_000_000  # MMBench numbers the rotations of a question by multiples of it
_HALLUSION = re.compile(r"_(\d+)_(\d+)_(\d+)$")  # set, figure and question in VLMEvalKit's index


def column_of(name: str, there: Sequence[str], columns: Mapping[str, str]) -> str | None:
    """The column that holds a field; `columns` names those that are called otherwise."""
    wanted = (columns[name],) if name in columns else FIELDS[name]
    return next((one for one in wanted if one in there), None)


def require_columns(file: Path, there: Sequence[str], columns: Mapping[str, str]) -> None:
    """Raises DataError if there is no column with questions or with right answers."""
    for name in ("question", "answer"):
        if column_of(name, there, columns) is None:
            names = ", ".join([columns[name]] if name in columns else FIELDS[name])
            have = ", ".join(map(str, there))[:200]
            raise DataError(
                Text(
                    f"{file} has the columns {have}, and none for the {name}; expected {names}: "
                    f"say which one it is by columns.{name}",
                    f"{file} 的列是 {have}，没有 {name} 这一列；应为 {names} 之一；"
                    f"请用 columns.{name} 指明是哪一列",
                )
            )


def sample_from(
    row: Row,
    images: tuple[Picture, ...],
    *,
    columns: Mapping[str, str],
    key: str = "",
    numbered: bool = False,
) -> Sample:
    """The sample of a row. With `numbered`, its answer is the number of an option, from 0. Raises
    DataError if the row has no right answer."""
    names = {name: column_of(name, list(row), columns) for name in FIELDS}
    value = {name: row.get(column) if column else None for name, column in names.items()}
    options = _options(row, value["options"])
    plain = "answer_type" in row and isinstance(value["answer"], str)  # MathVista's may be a list
    answers = _answers(value["answer"], several=not plain)
    if names["answer"] == "gt_answer":  # HallusionBench
        answers = tuple({"0": "no", "1": "yes"}.get(one, one) for one in answers)
    if numbered:
        answers = tuple(_letter(one, options) for one in answers)
    if not answers:
        raise DataError(
            Text(
                "it has no right answer, expected one to score with: use a split that has them",
                "没有正确答案，无法评分；请使用带答案的部分",
            )
        )
    key = key or text_of(value["key"])
    used = {column for column in names.values() if column} - {"question_id"}
    groups = _groups({name: one for name, one in row.items() if name not in used}, key)
    return Sample(
        key=key,
        images=images,
        hint=text_of(value["hint"]),
        truth=Truth(
            answers=answers,
            options=options,
            question=text_of(value["question"]),
            judged_question=text_of(row.get("question_for_eval")),
            answer_type=text_of(row.get("answer_type")),
            precision=int(float(text_of(row.get("precision")) or 0)),
            groups=groups,
        ),
    )


def text_of(value: Any) -> str:
    """A cell as text; empty for what pandas and pyarrow call missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return "" if text == "nan" else text


def listed(value: Any) -> list[Any]:
    """A list, or one that a cell holds as text; else a list of the one value. Empty if missing."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(inside := _literal(value), list):
        return inside
    return [value] if isinstance(value, bytes | Mapping) or text_of(value) else []


def _literal(value: Any) -> Any:
    """What a text says as a list or mapping of Python; else the value."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return ast.literal_eval(value)
    return value


def _answers(value: Any, *, several: bool) -> tuple[str, ...]:
    values = listed(value) if several else [value]
    texts = (text_of(one.get("answer") if isinstance(one, Mapping) else one) for one in values)
    return tuple(text for text in texts if text)


def _options(row: Row, several: Any) -> dict[str, str]:
    """The options by letter: columns of their own, or a list."""
    texts = [text_of(one) for one in listed(several)]
    if texts:
        return dict(zip(ascii_uppercase, texts, strict=False))  # fewer options than letters
    letters = {name: name[-1].upper() for name in row if _LETTER.fullmatch(name)}
    options = {letter: text_of(row[name]) for name, letter in letters.items()}
    return {letter: text for letter, text in sorted(options.items()) if text}


def _letter(answer: str, options: Mapping[str, str]) -> str:
    letters = list(options)
    with suppress(ValueError, IndexError):
        if int(answer) >= 0:
            return letters[int(answer)]
    return answer


def _groups(row: Row, key: str) -> dict[str, str]:
    """What scorers gather by: all short values, under the names of their columns, and what some
    sets say in other ways."""
    values = dict(row)
    if isinstance(
        inside := _literal(values.pop("metadata", None)), Mapping
    ):  # MathVista, MathVerse
        values |= inside
    groups = {name: text for name, one in values.items() if (text := _group(one))}
    if "type" in groups:  # ChartQA: human or augmented
        groups.setdefault("split", groups["type"])
    if "g_index" in groups or key.isdigit():
        groups["question"] = groups.get("g_index") or str(int(key) % _ROTATED)
    if (match := _HALLUSION.search(key)) and "l2-category" in groups:
        groups |= dict(zip(("set", "figure", "question"), match.groups(), strict=True))
        groups["category"] = groups["l2-category"]
    elif "set_id" in groups:  # HallusionBench's own file
        groups |= {name: groups.get(f"{name}_id", "") for name in ("set", "figure", "question")}
        groups["category"] = groups.get("subcategory", groups.get("category", ""))
    return groups


def _group(value: Any) -> str:
    if isinstance(value, bytes | Mapping):
        return ""
    if isinstance(value, list | tuple):
        value = ",".join(str(one) for one in value if isinstance(one, str | int))
    text = text_of(value)
    return text if len(text) <= LONGEST_GROUP else ""


# How a model is asked


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The parts of a prompt, in order; the language is that of the question."""

    en: str
    """What it is, in a line."""
    zh: str
    hint: str = "{hint}\n"
    question: str = "{question}"
    before_options: Text = NEW_LINE
    after_options: Text = NOTHING
    end: Text = NOTHING

    def of(self, sample: Sample) -> str:
        """The prompt for a sample."""
        truth = sample.truth
        lines = [f"{letter}. {text}" for letter, text in truth.options.items()]
        shown = (sample.hint, truth.question, *lines) if self.question else truth.answers
        language = detect_language("".join(shown))
        text = self.hint.replace("{hint}", sample.hint) if sample.hint else ""
        text += self.question.replace("{question}", truth.question)
        if "{options}" in self.question:
            text = text.replace("{options}", "\n".join(lines))
        elif lines:
            before, after = self.before_options, self.after_options
            text += before.in_language(language) + "\n".join(lines) + after.in_language(language)
        return text + self.end.in_language(language)


_LETTER_LLAVA = Text(
    "\nAnswer with the option's letter from the given choices directly.",
    "\n请直接使用所提供的选项字母作为答案回答。",
)
PROMPTS: dict[str, Prompt] = {
    "plain/seesay@1": Prompt(
        en="hint, question and options, and nothing else", zh="只有提示、问题和选项"
    ),
    "choice/seesay@1": Prompt(
        after_options=Text(
            "\nReply with the letter of the right option.", "\n请只回答正确选项的字母。"
        ),
        en="asks for a letter, in the language of the question",
        zh="要求只答字母，语言随问题",
    ),
    "choice/llava@1.5": Prompt(
        after_options=_LETTER_LLAVA,
        en="asks for a letter as LLaVA 1.5 and lmms-eval do (AI2D, SEED-Bench)",
        zh="按 LLaVA 1.5 和 lmms-eval 的方式要求只答字母（AI2D、SEED-Bench）",
    ),
    "choice/lmms-mmbench@2026-08-06": Prompt(
        hint="{hint} ",
        question="{question} ",
        before_options=Text("There are several options:\n", "有如下几个选项：\n"),
        after_options=Text("\n" + _LETTER_LLAVA.en, "\n" + _LETTER_LLAVA.zh),
        en="MMBench as in lmms-eval",
        zh="lmms-eval 的 MMBench 提示词",
    ),
    "choice/vlmevalkit@2026-08-18": Prompt(
        hint="Hint: {hint}\n",
        question="Question: {question}\n",
        before_options=Text("Options:\n", "Options:\n"),
        after_options=Text(*["\nPlease select the correct answer from the options above. \n"] * 2),
        en="multiple choice as in VLMEvalKit",
        zh="VLMEvalKit 的选择题提示词",
    ),
    "short/llava@1.5": Prompt(
        end=Text(*["\nAnswer the question using a single word or phrase."] * 2),
        en="a word or phrase, as LLaVA 1.5, VLMEvalKit and lmms-eval ask (VQA, TextVQA, DocVQA)",
        zh="一个词或短语，LLaVA 1.5、VLMEvalKit、lmms-eval 的问法（VQA、TextVQA、DocVQA）",
    ),
    "short/seesay@1": Prompt(
        end=Text("\nAnswer in a word or a few.", "\n请用一个词或短语回答。"),
        en="a word or a few, in the language of the question",
        zh="一个词或短语，语言随问题",
    ),
    "word/lmms@2026-08-06": Prompt(
        end=Text(*["\nAnswer the question with a single word."] * 2),
        en="a single word, as lmms-eval asks (ChartQA)",
        zh="一个词，lmms-eval 的问法（ChartQA）",
    ),
    "yes-no/seesay@1": Prompt(
        end=Text("\nAnswer yes or no.", "\n请回答“是”或“否”。"),
        en="yes or no, in the language of the question",
        zh="回答是或否，语言随问题",
    ),
    "caption/seesay@1": Prompt(
        question="",
        end=CAPTION,
        en="a sentence about the picture, in the language of the captions",
        zh="一句话描述图片，语言随参考描述",
    ),
}
"""Prompts by what is asked for, origin and version."""


def find_prompt(name: str) -> Prompt:
    """Returns the prompt of this name, or that of a text with {question}, and perhaps {options}, in
    it. Raises ConfigError if it is neither."""
    if "{question}" in name:
        return Prompt(question=name, en=name, zh=name)
    if name not in PROMPTS:
        raise ConfigError(
            Text(
                f"there is no prompt {name!r}; expected one of {', '.join(PROMPTS)}, or a text "
                "with {question} in it: choose one",
                f"没有提示词 {name!r}；应为 {'、'.join(PROMPTS)} 之一，或含 {{question}} 的文字；"
                "请从中选择",
            )
        )
    return PROMPTS[name]


_IMAGE = re.compile(r"<image (\d)>")


def question_for(sample: Sample, prompt: str) -> tuple[tuple[Picture, ...], Question]:
    """Pictures and question for a model. Where the prompt names pictures, as in <image 1>, they
    stand there; all others come first."""
    numbers = [int(one) - 1 for one in _IMAGE.findall(prompt)]
    if not numbers or max(numbers) >= len(sample.images) or min(numbers) < 0:
        return sample.images, prompt
    first = [at for at in range(len(sample.images)) if at not in numbers]
    parts = tuple(_parts(prompt))
    images = tuple(sample.images[at] for at in [*first, *numbers])
    places = (Media("image", (1,)),) * len(first)
    return images, [Message("user", (*places, *parts))]


def _parts(prompt: str) -> Iterator[str | Media]:
    for at, part in enumerate(_IMAGE.split(prompt)):
        if at % 2:
            yield Media("image", (1,))
        elif part:
            yield part
