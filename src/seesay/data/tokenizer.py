"""Texts in, rows of token ids out. A text longer than the context becomes several rows and loses no
words: no search could find words that were silently cut off.

    tokenizer = load_tokenizer(folder, TokenizerConfig(context=77, pad_id=49407))
    tokens = tokenizer.encode(["a dog in the snow", "雪地里的狗"])
    tokens.ids      # windows x context
    tokens.owners   # which text each window belongs to
"""

import html
import math
import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Int
from tokenizers import Regex, normalizers
from tokenizers import Tokenizer as Backend

from seesay.data.vocabularies import library_errors, read_vocabulary, special_ids
from seesay.errors import ConfigError, DataError
from seesay.text import Text

T = TypeVar("T")

Role = Literal["query", "passage"]
"""The role of a text: something to search with, or something to be found."""

Clean = Literal[
    "none",
    "clip",
    "siglip",
    "lower",
    "open_clip_lower",
    "open_clip_canonicalize",
    "open_clip_whitespace",
]


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """How the model expects its rows of ids, and how its reference code cleans a text first.

    `clean` runs before the cleaning in the tokenizer file itself, so doing it twice is harmless:

    - "none": nothing.
    - "clip": Unicode NFC, white space to single spaces, lower case, as transformers' CLIPTokenizer.
    - "siglip": "_" to a space, other ASCII punctuation deleted, lower case, white space to single
      spaces, ends stripped (big_vision's canonicalize_text, which SigLIP 1 was trained with).
    - "lower": lower case, nothing else (SigLIP 2).
    - "open_clip_...": what open_clip and OpenAI's own code do to every text, ftfy.fix_text and
      html.unescape, which straightens curly quotes, narrows full-width letters, repairs mis-decoded
      text and turns "&amp;" into "&"; then white space to single spaces, ends stripped, and with
      "lower" lower case, with "canonicalize" the same as "siglip" (open_clip, tokenizer.py).
    """

    context: int
    """Tokens in a row, special tokens included."""
    pad_id: int
    """Id that fills a row up to the context, always on the right."""
    clean: Clean = "none"
    """How a text is cleaned before it is cut into tokens."""
    end_mark: bool = True
    """Whether the special tokens after a text are kept; CLIPA has padding instead."""
    query_prefix: str = ""
    """Prefix of every query, such as "query:" (E5)."""
    passage_prefix: str = ""
    """Prefix of every passage."""

    def __post_init__(self) -> None:
        if self.context < 1 or self.pad_id < 0:
            raise ConfigError(
                Text(
                    f"context={self.context} and pad_id={self.pad_id} cannot describe a row of "
                    "ids; the context is at least 1 and an id at least 0. Correct the "
                    "checkpoint's settings.",
                    f"context={self.context} 和 pad_id={self.pad_id} 不能描述一行编号；上下文长度"
                    "应至少为 1，编号应至少为 0；请改正检查点的设置",
                )
            )


@dataclass(frozen=True)
class Tokens:
    """Rows of ids for a batch of texts; `owners` ascends and names every text at least once."""

    ids: Int[np.ndarray, "windows tokens"]
    owners: Int[np.ndarray, " windows"]

    @property
    def first(self) -> Int[np.ndarray, "texts tokens"]:
        """The first row of each text."""
        return self.ids[np.unique(self.owners, return_index=True)[1]]


class Tokenizer:
    """A vocabulary, and the layout of rows that a model expects.

    Everything a person types is plain text: "<|endoftext|>" or "[SEP]" inside a text is spelt out,
    never read as the special token, which would move the position that the text tower reads.
    """

    def __init__(self, backend: Backend, config: TokenizerConfig) -> None:
        self.config = config
        self._backend = backend
        self._backend.no_padding()  # published files often carry their own settings for both
        self._backend.no_truncation()
        self._backend.encode_special_tokens = True
        self._file_normalizer = backend.normalizer
        self.vocab_size = backend.get_vocab_size()
        self._backend.normalizer = _cleaner(config.clean, backend.normalizer)
        self.prefix, self.suffix = special_ids(backend)
        if not config.end_mark:
            self.suffix = [config.pad_id] * len(self.suffix)
        prefixes: dict[Role, str] = {"query": config.query_prefix, "passage": config.passage_prefix}
        self._before = {role: [*self.prefix, *self.ids(text)] for role, text in prefixes.items()}
        longest = max(map(len, self._before.values()))
        self._capacity = config.context - longest - len(self.suffix)
        if self._capacity < 1:
            raise ConfigError(
                Text(
                    f"a context of {config.context} has no room for text beside "
                    f"{longest + len(self.suffix)} special tokens; give the tokenizer "
                    "the context that its text tower was built with.",
                    f"上下文长度 {config.context} 除去 {longest + len(self.suffix)} 个特殊词元"
                    "后放不下文本；应为文本塔构建时的上下文长度；请改用该值",
                )
            )

    @property
    def largest_id(self) -> int:
        """The largest id that a row can contain."""
        added = self._backend.get_added_tokens_decoder()
        special = {number for number, token in added.items() if token.special}
        texts = set(self._backend.get_vocab().values()) - special  # others only frame texts
        return max(texts | {self.config.pad_id, *self.prefix, *self.suffix})

    def same_vocabulary(self, other: "Tokenizer") -> bool:
        """Whether every token has the same id in both, and the same special tokens surround a
        text."""
        ends = (self.prefix, self.suffix) == (other.prefix, other.suffix)
        return ends and self._backend.get_vocab() == other._backend.get_vocab()

    def encode(self, texts: Sequence[str], role: Role = "query") -> Tokens:
        """Returns the ids of every text; a row is [special tokens, text, special tokens, padding].

        If the model has a prefix for the role, it precedes the text of each row. A text that does
        not fit is divided at word boundaries into windows of about equal length; their contents
        joined are exactly the tokens of the whole text.
        """
        return framed(self._contents(texts), self._before[role], self.suffix, self.config)

    def encode_pairs(self, query: str, texts: Sequence[str]) -> Tokens:
        """Returns rows of [special tokens, query, twice those that end a text, text, end], as
        RoBERTa reads pairs. A text that does not fit is divided into windows; a query is cut to
        half of the context."""
        before = [*self.prefix, *self.ids(self._text(query))[: self.config.context // 2]]
        before += 2 * self.suffix
        room = self.config.context - len(before) - len(self.suffix)
        contents = []
        for text in map(self._text, texts):
            encoding = self._backend.encode(text, add_special_tokens=False)
            spans = windows(text, encoding.offsets, room)
            contents.append([encoding.ids[span.start : span.stop] for span in spans] or [[]])
        return framed(contents, before, self.suffix, self.config)

    def words(self, text: str) -> list[str]:
        """Returns the words of a text, cleaned, as the vocabulary divides each by itself."""
        text, splitter = self._text(text), self._backend.pre_tokenizer
        if self._backend.normalizer is not None:
            text = self._backend.normalizer.normalize_str(text)
        if splitter is None:
            return [text]
        return [word for word, _ in splitter.pre_tokenize_str(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of one row of ids, without special tokens and anything after its end."""
        start, end = len(self.prefix), len(ids)
        if self.suffix and self.suffix[0] in ids[start:]:
            end = start + list(ids[start:]).index(self.suffix[0])
        with library_errors("the tokenizer"):
            return self._backend.decode(list(ids[start:end])).strip()

    def with_prefixes(self, query: str, passage: str) -> "Tokenizer":
        """Returns the same tokenizer with other prefixes."""
        backend = Backend.from_str(self._backend.to_str())
        backend.normalizer = self._file_normalizer
        config = replace(self.config, query_prefix=query, passage_prefix=passage)
        return Tokenizer(backend, config)

    def for_prompts(self) -> Backend:
        """Returns a copy that reads special tokens as such, for prompts (seesay.data.chat)."""
        copied = Backend.from_str(self._backend.to_str())
        copied.encode_special_tokens = False
        return copied

    def save(self, folder: Path) -> None:
        """Write tokenizer.json as it was read; the caller has to store `config`."""
        self._as_read(lambda backend: backend.save(str(folder / "tokenizer.json")))

    def content_hash(self) -> str:
        """Returns a hash of tokenizer.json: tokenizers with the same give the same ids."""
        return sha256(self._as_read(lambda backend: backend.to_str()).encode()).hexdigest()

    def _as_read(self, use: Callable[[Backend], T]) -> T:
        cleaning, self._backend.normalizer = self._backend.normalizer, self._file_normalizer
        try:
            return use(self._backend)
        finally:
            self._backend.normalizer = cleaning

    def _contents(self, texts: Sequence[str]) -> list[list[Sequence[int]]]:
        """Returns the ids of every text's windows, without special tokens."""
        if isinstance(texts, str):
            raise DataError(
                Text(
                    f"texts is the one text {texts[:40]!r}; expected a list of texts. Write "
                    "[text].",
                    f"texts 是一段文本 {texts[:40]!r}；应为文本的列表；请写成 [text]",
                )
            )
        cleaned = [self._text(text) for text in texts]
        with library_errors("the tokenizer"):
            encodings = self._backend.encode_batch_fast(cleaned, add_special_tokens=False)
        return [
            [encoding.ids] if len(encoding.ids) <= self._capacity else self._windows(text)
            for text, encoding in zip(cleaned, encodings, strict=True)
        ]

    def ids(self, text: str) -> list[int]:
        return self._backend.encode(text, add_special_tokens=False).ids if text else []

    def _windows(self, text: str) -> list[Sequence[int]]:
        encoding = self._backend.encode(text, add_special_tokens=False)
        spans = windows(text, encoding.offsets, self._capacity)
        return [encoding.ids[span.start : span.stop] for span in spans]

    def _text(self, text: str) -> str:
        # Half of a surrogate pair (a file name in another encoding, broken JSON) is no character.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        clean = self.config.clean
        if clean.startswith("open_clip"):
            text = " ".join(_repaired(text).split())
        if clean in ("siglip", "open_clip_canonicalize"):
            text = _canonical(text)
        return text.lower() if clean == "open_clip_lower" else text


def framed(
    contents: Sequence[Sequence[Sequence[int]]],
    before: Sequence[int],
    after: Sequence[int],
    config: TokenizerConfig,
) -> Tokens:
    """Returns the rows of each text's windows, with what stands before and after their contents."""
    rows = [content for windows in contents for content in windows]
    ids = np.full((len(rows), config.context), config.pad_id, dtype=np.int64)
    for row, content in zip(ids, rows, strict=True):
        whole = [*before, *content, *after]
        row[: len(whole)] = whole
    owners = [owner for owner, windows in enumerate(contents) for _ in windows]
    return Tokens(ids, np.array(owners, dtype=np.int64))


def load_tokenizer(folder: Path, config: TokenizerConfig) -> Tokenizer:
    """Loads the tokenizer of a checkpoint folder.

    Reads the first of tokenizer.json, vocab.json + merges.txt, vocab.txt,
    bpe_simple_vocab_16e6.txt.gz, spiece.model. Raises WeightsError if there is none, or it is
    damaged.
    """
    backend = read_vocabulary(folder)
    with library_errors(f"the tokenizer in {folder}"):  # some faults show at the first text only
        return Tokenizer(backend, config)


def _cleaner(clean: Clean, of_file: Any) -> Any:
    """The file's own normalizer with ours in front of it."""
    ours: dict[Clean, list[Any]] = {
        "clip": [
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ],
        "lower": [normalizers.Lowercase()],
    }
    if clean not in ours:  # the others in _text: str.lower() knows the final sigma
        return of_file
    return normalizers.Sequence([*ours[clean], *([of_file] if of_file is not None else [])])


def _repaired(text: str) -> str:
    import ftfy  # takes 60 ms, and only these models need it

    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def _canonical(text: str) -> str:
    """big_vision's canonicalize_text (prompt_engineering.py), which SigLIP was trained with.
    transformers' SiglipTokenizer differs in one sign: it deletes "_" and so joins the words."""
    text = text.replace("_", " ").lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\s+", " ", text).strip()


Offsets = Sequence[tuple[int, int]]

# Scripts written without spaces between words: Han, kana, and the marks that belong to them.
_SPACELESS = (
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_JOINER = "\u200d"  # between the parts of one emoji


def windows(text: str, offsets: Offsets, capacity: int) -> list[range]:
    """Ranges of tokens, in order and without gap or overlap, each of 1 to `capacity` tokens.

    `offsets` are the [start, stop) characters of each token in `text`. A cut falls between words,
    inside a word only if that word alone exceeds the capacity, and inside a character only if that
    character alone does. The windows are of about equal length, because their embeddings are
    averaged with equal weight and a last window of three words would count as much as a full one.
    """
    spans = []
    start, total = 0, len(offsets)
    while total - start > capacity:
        left = total - start
        target = start + math.ceil(left / math.ceil(left / capacity))
        cuts = range(start + 1, start + capacity + 1)
        cut = max(cuts, key=lambda at: (_quality(text, offsets, at), -abs(at - target)))
        spans.append(range(start, cut))
        start = cut
    return [*spans, range(start, total)]


def _quality(text: str, offsets: Offsets, at: int) -> int:
    """Rates a cut before token `at`: 2 between words, 1 between characters, 0 inside a
    character."""
    before, after = offsets[at - 1], offsets[at]
    if after[0] < before[1]:
        return 0
    if before[1] < after[0] or after[0] == after[1] or not 0 < after[0] < len(text):
        return 2  # the tokenizer itself dropped what stands between: white space
    left, right = text[after[0] - 1], text[after[0]]
    if right == _JOINER or left == _JOINER or _kind(right) == "M":
        return 1
    inside_a_word = _joins(left) and _joins(right)
    return 1 if inside_a_word and not (_spaceless(left) or _spaceless(right)) else 2


def _kind(character: str) -> str:
    return unicodedata.category(character)[0]


def _joins(character: str) -> bool:
    """Whether this character continues a word: letters, their marks, digits, apostrophes."""
    return _kind(character) in "LMN" or character in "'\u2019_"


def _spaceless(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _SPACELESS)
