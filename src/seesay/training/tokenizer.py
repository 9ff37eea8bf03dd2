"""Builds a vocabulary for English and Chinese from the training texts.

English words are made of byte pairs. Each Chinese character is a token: if characters were merged
into words, a small data set of a few thousand captions would have too many tokens seen once or
twice, and overlapping words (小女孩, 女孩) would share nothing.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from seesay.data.sources import SourceConfig, open_records, texts_of_classes, used_records
from seesay.errors import ConfigError, DataError
from seesay.text import Text

PAD = "<pad>"
PAD_ID = 0
START, END = "<s>", "</s>"  # tokens 1 and 2 of a vocabulary for generating text
TURNS = ("<image>", "<user>", "<assistant>")  # further ones of the chat template "seesay"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_HAN = Regex(r"\p{Han}")
# Captions end with a full stop that queries seldom have, and mean the same without.
_MARKS = Regex(r"[\p{P}\p{S}]+")


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """A vocabulary built from the training texts."""

    size: int = 8192
    """Number of tokens: padding, 256 bytes for unseen characters, characters, and words."""
    min_frequency: int = 2
    """How often two parts must occur together to be merged into a token."""
    written: bool = False
    """Whether the model generates text with it, as a captioner does: texts then begin with token 1,
    end with token 2 and keep the beginnings of words."""
    chat: bool = False
    """Whether an assistant reads and writes with it, by the chat template "seesay": texts then keep
    case and punctuation, and turns and images have tokens of their own."""

    def __post_init__(self) -> None:
        least = len(self.reserved)
        if self.size <= least or self.min_frequency < 1:
            given = f"size={self.size}", f"min_frequency={self.min_frequency}"
            raise ConfigError(
                Text(
                    f"{' and '.join(given)} make no vocabulary: padding and bytes alone take "
                    f"{least}, and a frequency is at least 1: raise them",
                    f"{'、'.join(given)} 建不成词表：仅填充和字节就占 {least} 个，"
                    "min_frequency 至少为 1；请调大",
                )
            )

    @property
    def reserved(self) -> tuple[str, ...]:
        """The first tokens, which do not depend on the texts."""
        return (PAD, *((START, END) if self.keeps_words else ()), *self.turns, *BYTES)

    @property
    def keeps_words(self) -> bool:
        """Whether text is written with it, so that the beginnings of words must be kept."""
        return self.written or self.chat

    @property
    def turns(self) -> tuple[str, ...]:
        """The tokens of a conversation."""
        return TURNS if self.chat else ()


def train_tokenizer(texts: Iterable[str], config: VocabularyConfig) -> Tokenizer:
    """The tokenizer of these texts; the same texts in the same order give the same file.

    Texts are normalised to NFKC and, unless an assistant writes them, to lower case without
    punctuation and symbols. Padding is token 0. Raises DataError if there is no text, or if there
    are more different characters than the vocabulary has room for.
    """
    tokenizer = Tokenizer(BPE(byte_fallback=True))
    cleaning = _cleaning(config)
    tokenizer.normalizer = cleaning
    blanks = pre_tokenizers.Metaspace(prepend_scheme="never")  # a blank begins the word after it
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            blanks if config.keeps_words else pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(_HAN, behavior="isolated"),
        ]
    )
    characters: set[str] = set()
    trainer = BpeTrainer(
        vocab_size=config.size,
        min_frequency=config.min_frequency,
        special_tokens=list(config.reserved),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_noting(texts, cleaning, characters), trainer)
    if not characters:
        raise DataError(
            Text(
                "there are 0 texts to make a vocabulary from: add captions or class names",
                "有 0 段文字可用来建词表；至少应有一段；请补上描述或类别名",
            )
        )
    if (needed := len(config.reserved) + len(characters)) > config.size:
        raise DataError(
            Text(
                f"these texts have {len(characters)} different characters, which with padding and "
                f"bytes make {needed} tokens, more than size={config.size}: set it to {needed} or "
                "more",
                f"这些文字有 {len(characters)} 个不同的字符，加上填充和字节共 {needed} 个词元，"
                f"超过了 size={config.size}；请至少设为 {needed}",
            )
        )
    if config.keeps_words:
        _write_whole_texts(tokenizer, ends=not config.chat)
    return _without_special_bytes(tokenizer)


def _cleaning(config: VocabularyConfig) -> Any:
    steps: list[Any] = [normalizers.NFKC()]
    if not config.chat:
        steps += [normalizers.Lowercase(), normalizers.Replace(_MARKS, " ")]
    if config.keeps_words:  # every blank counts: keep one between words, no others
        steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    return normalizers.Sequence(steps)


def _write_whole_texts(tokenizer: Tokenizer, *, ends: bool) -> None:
    """`ends` says whether a text ends with END; in a conversation, only answers do."""
    marks = [(name, tokenizer.token_to_id(name)) for name in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}" if ends else f"{START} $A", special_tokens=marks
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Metaspace(prepend_scheme="never")]
    )


def _noting(texts: Iterable[str], cleaning: Any, characters: set[str]) -> Iterator[str]:
    """Passes the texts on and collects their characters.

    The tokenizer cannot be asked for them: it is locked while it is trained.
    """
    for text in texts:
        characters.update("".join(cleaning.normalize_str(text).split()))
        yield text


def _without_special_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """Makes bytes ordinary tokens; the trainer marks all reserved tokens as special."""
    content = json.loads(tokenizer.to_str())
    kept = (PAD, START, END, *TURNS)
    content["added_tokens"] = [one for one in content["added_tokens"] if one["content"] in kept]
    return Tokenizer.from_str(json.dumps(content, ensure_ascii=False))


def texts_of_records(config: SourceConfig) -> Iterator[str]:
    """The captions, questions and answers of a source, or the names of its classes in every
    template."""
    if config.classes is not None:
        yield from texts_of_classes(config.classes, config.templates)
        return
    source = open_records(config)
    for number in used_records(config, source):
        try:
            record = source[number]
        except DataError:  # training will report it and continue, too
            continue
        for language in config.languages:
            yield from config.captions_of(record, language)
            for asked in record.questions.get(language, ()):
                yield from asked
