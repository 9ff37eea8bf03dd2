"""The accuracy of a model that answers, on records with questions."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from seesay.data.formats.records import Question, Record
from seesay.data.sources import RecordsConfig
from seesay.errors import ConfigError, DataError
from seesay.evaluation.data_sets import read_records
from seesay.inference.answer_classifier import AnswerClassifier
from seesay.models.layers import require_range
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.inference.assistant import LocalAssistant

LONGEST = 32  # tokens of an answer
EXAMPLES = 6  # of each language
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A question with its answer, for people to read."""

    record: int
    """Number of its record, from 0, among those that are measured on."""
    language: str
    question: str
    truth: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Answers(RecordsConfig):
    """Share of the questions that are answered exactly as in the data, for each language
    (`en_answers`, `zh_answers`). Case and punctuation around an answer do not count."""

    questions: int = 1
    """Questions asked about each image and language, the first ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(1, questions=self.questions)

    @cached_property
    def records(self) -> tuple[Record, ...]:
        return read_records(self)

    def names(self) -> list[str]:
        return [f"{language}_answers" for language in self.languages]

    def check(self) -> None:
        """Raises DataError if there is no question in a language."""
        for language in self.languages:
            if not any(record.questions.get(language) for record in self.records):
                raise DataError(
                    Text(
                        f"{self.path} has no questions in {language!r}, expected `question` and "
                        "`answer` in each row, or pairs of them in `qa`: name other files, or "
                        "leave the language out of languages",
                        f"{self.path} 里没有语言 {language!r} 的问题；每行应有 question 和 answer，"
                        "或在 qa 里成对给出；请换文件，或在 languages 里去掉这种语言",
                    )
                )

    def measure(self, model: "LocalAssistant | AnswerClassifier") -> Iterator[tuple[str, float]]:
        for language in self.languages:
            asked = self._asked(language)
            right = [
                normalized(reply) == normalized(one.answer)
                for reply, (_, one) in zip(self._replies(model, asked), asked, strict=True)
            ]
            yield f"{language}_answers", sum(right) / len(right)

    def examples(self, model: "LocalAssistant | AnswerClassifier") -> list[Example]:
        """The answers to a few questions of each language, spread over all, always the same."""
        examples: list[Example] = []
        for language in self.languages:
            asked = self._asked(language)
            # One further each time, or they could all be the first question about a picture.
            at = {min(n * len(asked) // EXAMPLES + n, len(asked) - 1) for n in range(EXAMPLES)}
            some = [asked[number] for number in sorted(at)]
            examples += (
                Example(
                    record=record,
                    language=language,
                    question=one.question,
                    truth=one.answer,
                    answer=reply,
                )
                for reply, (record, one) in zip(self._replies(model, some), some, strict=True)
            )
        return examples

    def _asked(self, language: str) -> list[tuple[int, Question]]:
        return [
            (number, one)
            for number, record in enumerate(self.records)
            for one in record.questions.get(language, ())[: self.questions]
        ]

    def _replies(
        self,
        model: "LocalAssistant | AnswerClassifier",
        asked: Sequence[tuple[int, Question]],
    ) -> list[str]:
        pairs = [(self.records[number].image, one.question) for number, one in asked]
        if isinstance(model, AnswerClassifier):
            return [chosen.text for chosen in model.choose(pairs)]
        return [reply.text for reply in model.ask_batch(pairs, max_tokens=LONGEST)]


def normalized(answer: str) -> str:
    """An answer as it is compared."""
    return _AROUND.sub("", " ".join(answer.lower().split()))


def needs_other(measures: list[str], model: str) -> ConfigError:
    """The error for measures of another kind of model."""
    named = ", ".join(measures)
    return ConfigError(
        Text(
            f"{named} cannot be measured with {model}; expected retrieval, zero_shot, "
            "probe or composition for an embedding model, retrieval or composition for a Q-Former, "
            "answers for a classifier of answers, and answers, captions or composition for a model "
            "that writes answers: choose others",
            f"{model} 不能用 {named} 评测；向量模型应用 retrieval、zero_shot、probe "
            "或 composition，Q-Former 应用 retrieval 或 composition，答案分类模型应用 answers，"
            "能写回答的模型应用 answers、captions 或 composition；请换一种评测",
        )
    )
