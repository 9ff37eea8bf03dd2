"""The captions that a vision-language model writes, scored against those that people wrote."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seesay.data.sources import RecordsConfig, require_known
from seesay.errors import ConfigError, DataError
from seesay.evaluation.caption_scores import (
    SCORERS,
    Frequencies,
    read_frequencies,
    score_captions,
    write_frequencies,
)
from seesay.evaluation.caption_tokens import Tokens, tokenize
from seesay.evaluation.data_sets import iterate_records, require_captions
from seesay.inference.answer import CAPTION
from seesay.models.layers import require_range
from seesay.text import Language, Text

if TYPE_CHECKING:
    from seesay.inference.assistant import LocalAssistant

AT_ONCE = 8
"""Pictures that are open at a time, which an assistant reads in one batch."""
TOKENIZED: Mapping[str, Mapping[str, str]] = {
    "en": {"": "ptb@1"},
    "zh": {"_chars": "chars@1", "_words": "jieba@1"},
}
"""By language, the ways its captions are tokenized, and how values say so in their names."""


@dataclass(frozen=True, kw_only=True)
class Captions(RecordsConfig):
    """Scores of the captions that the model writes, for each language: English in words
    (`en_cider`), Chinese in characters and in words (`zh_cider_chars`, `zh_cider_words`). Pictures
    without a caption in the language are left out. Chinese needs `pip install 'seesay[search]'`."""

    scorers: tuple[str, ...] = ("bleu4/coco@1", "rouge_l/coco@1", "cider/coco@1")
    """Scores to compute, by name, the code whose results they give, and version. There are also
    bleu1, bleu2, bleu3 and cider_plain/vrama91@1, CIDEr without clipping and length penalty.
    CIDEr goes from 0 to 10, all others from 0 to 1."""
    requests: Mapping[Literal["en", "zh"], str] = field(default_factory=dict)
    """By language, what the model is asked: zh = "描述这张图片". None: what the family of the model
    was trained with, or else to describe the picture in one sentence."""
    beams: int = 1
    """Width of the beam search; 1 always takes the most likely token."""
    max_tokens: int = 64
    """Tokens of a caption at most."""
    frequencies: str | None = None
    """JSON file with document frequencies for CIDEr, from `Captions.write_frequencies`; none: those
    of the references, as usual, so that figures of two sets cannot be compared."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("scorers", self.scorers, list(SCORERS))
        require_known("requests", self.requests, self.languages)
        require_range(1, beams=self.beams, max_tokens=self.max_tokens)
        if not self.scorers or not all(one.strip() for one in self.requests.values()):
            raise ConfigError(
                Text(
                    f"scorers={self.scorers} and requests={dict(self.requests)} measure nothing, "
                    "expected at least one scorer, and no empty request: add them, or leave the "
                    "settings out",
                    f"scorers={self.scorers}、requests={dict(self.requests)} 无法评测；至少应有一"
                    "个 scorer，且 requests 不能为空；请补上，或去掉这些设置",
                )
            )

    @cached_property
    def captions(self) -> tuple[Mapping[str, tuple[str, ...]], ...]:
        """The captions of each record by language, which are what the model's are compared with."""
        return tuple(record.captions for record in iterate_records(self))

    @cached_property
    def references(self) -> Mapping[str, tuple[tuple[Tokens, ...], ...]]:
        """By tokenizer, the captions of each picture that has some in its language."""
        return {
            tokenizer: tuple(
                tokenize(tokenizer, some[language]) for some in self.captions if some.get(language)
            )
            for language in self.languages
            for tokenizer in TOKENIZED[language].values()
        }

    @cached_property
    def document_frequencies(self) -> Mapping[str, Frequencies]:
        """By tokenizer, the document frequencies for CIDEr."""
        if self.frequencies is not None:
            return read_frequencies(Path(self.frequencies).expanduser(), list(self.references))
        return {name: Frequencies.of(some) for name, some in self.references.items()}

    def names(self) -> list[str]:
        return [
            _named(language, scorer, suffix)
            for language in self.languages
            for suffix in TOKENIZED[language]
            for scorer in self.scorers
        ]

    def check(self) -> None:
        """Raises DataError if there are no captions in a language or too few for CIDEr, or if the
        file of document frequencies cannot be used, and MissingExtraError if there is nothing to
        cut Chinese into words with."""
        require_captions(self, self.captions)
        fewest = min(one.documents for one in self.document_frequencies.values())
        if fewest < 2 and any(scorer.startswith("cider") for scorer in self.scorers):
            raise DataError(
                Text(
                    f"{self.path} has captions in {' and '.join(self.languages)} of 1 picture, "
                    "for which CIDEr is always 0, since it counts what tells pictures apart; "
                    "expected at least 2: use more, set frequencies, or choose other scorers",
                    f"{self.path} 里只有 1 张图片有 {'、'.join(self.languages)} 的描述，CIDEr 恒为 "
                    "0，因为它衡量的是图片之间的差别；至少应有 2 张；请增加图片，设置 frequencies，"
                    "或换 scorers",
                )
            )

    def measure(self, assistant: "LocalAssistant") -> Iterator[tuple[str, float]]:
        decoding = replace(assistant.decoding, temperature=0.0, beams=self.beams)
        assistant = assistant.configured(decoding, assistant.stop)
        for language in self.languages:
            captions = list(self._written(assistant, language))
            for suffix, tokenizer in TOKENIZED[language].items():
                scores = score_captions(
                    tokenize(tokenizer, captions),
                    self.references[tokenizer],
                    self.scorers,
                    self.document_frequencies[tokenizer],
                )
                for scorer, score in scores.items():
                    yield _named(language, scorer, suffix), score

    def write_frequencies(self, file: str | Path) -> None:
        """Write the document frequencies of these captions to a JSON file, for other sets whose
        CIDEr is to be comparable. Raises DataError if there are no captions in a language."""
        require_captions(self, self.captions)
        counted = {name: Frequencies.of(some) for name, some in self.references.items()}
        write_frequencies(Path(file), counted)

    def _written(self, assistant: "LocalAssistant", language: Language) -> Iterator[str]:
        """Yields the model's caption of each picture. Few pictures are in memory at a time."""
        records = iterate_records(self)
        pictures = (record.image for record in records if record.captions.get(language))
        request = self.requests.get(language)
        while images := list(islice(pictures, AT_ONCE)):
            if request is None:
                asked = CAPTION.in_language(language)
                answers = assistant.caption_batch(images, asked, max_tokens=self.max_tokens)
            else:
                questions = [(image, request) for image in images]
                answers = assistant.ask_batch(questions, max_tokens=self.max_tokens)
            yield from (answer.text for answer in answers)


def _named(language: str, scorer: str, suffix: str) -> str:
    """The name of a value: "zh", "cider/coco@1" and "_words" give zh_cider_words."""
    return f"{language}_{scorer.partition('/')[0]}{suffix}"
