"""The keyword index: which passages hold the words of a query, best first.

SQLite's tokenizer takes a run of Chinese for one word. So text is cut beforehand, in two ways that
make up for each other: jieba's words know that 长江 is one; single characters and pairs of them
find what the dictionary cuts otherwise (桥 in 长江大桥).
"""

import io
import logging
import os
import re
import sys
import warnings
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seesay.data.spelling import fold
from seesay.search.catalog.database import ANY_OF, Database, as_list
from seesay.search.catalog.filters import Filter, compile_filter

# Han, kana, hangul: scripts whose words no space parts, or whose endings cling to them.
_CJK = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]+"
)
_WORD = re.compile(r"\w+")

# Words that most texts hold: they would cost time and say nothing. They count where all are such.
_EMPTY_EN = "a an and are as at be by for from in is it of on or that the this to was were with"
_EMPTY_ZH = "的 了 着 过 是 在 和 与 及 或 有 一 一个 一只 一张 这 那 这个 那个 上 里 中 也 都 就"
_EMPTY = frozenset(f"{_EMPTY_EN} {_EMPTY_ZH}".split())

_SORTED_FROM = "\n一".encode()  # the first Han character; some 60 lines before it are not in order

# The dictionary of jieba 0.42, the sum of its frequencies, which its probabilities need, and the
# checksum that both hold for.
_CHECKSUM, _TOTAL = 0x1394096D, 60_101_967

_WEIGHTS = "1.0, 0.5"  # a word counts more than the characters it is made of


class KeywordIndex:
    """The full-text index of a collection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, passages: Iterable[int], texts: Sequence[str]) -> None:
        """Index what each passage is found by; passages of an empty text are left out."""
        cut = [
            (passage, segment(text)) for passage, text in zip(passages, texts, strict=True) if text
        ]
        self._database.run_many(
            "INSERT INTO keywords (rowid, words, characters) VALUES (?, ?, ?)",
            ((passage, *segments) for passage, segments in cut),
        )

    def is_empty(self) -> bool:
        """Whether nothing can be found by words."""
        return not self._database.rows("SELECT 1 FROM keywords_content LIMIT 1")

    def remove(self, passages: Iterable[int]) -> None:
        """Take passages out of the index."""
        self._database.run(f"DELETE FROM keywords WHERE rowid IN {ANY_OF}", (as_list(passages),))

    def search(
        self,
        text: str,
        count: int,
        *,
        phrases: Sequence[str] = (),
        excluded: Sequence[str] = (),
        every: bool = False,
        filter: Filter | None = None,
    ) -> tuple[Int[np.ndarray, " found"], Float[np.ndarray, " found"]]:
        """Passages and their BM25 scores (higher is better, without a scale), at most `count`.

        Any word of `text` finds a passage; with `every` only all of them do. A passage must hold
        every one of `phrases` and none of `excluded`. Ties are in the order of the passages.
        """
        expression = match_expression(text, phrases, excluded, every=every)
        if expression is None:
            return np.empty(0, np.int64), np.empty(0)
        condition, values = "", tuple[object, ...]()
        if filter is not None:
            sql, values = compile_filter(filter, self._database)
            condition = f" AND rowid IN ({sql})"
        rows = self._database.rows(
            f"SELECT rowid, -bm25(keywords, {_WEIGHTS}) AS score FROM keywords"
            f" WHERE keywords MATCH ?{condition} ORDER BY score DESC, rowid LIMIT ?",
            (expression, *values, count),
        )
        passages, scores = zip(*rows, strict=True) if rows else ((), ())
        return np.array(passages, np.int64), np.array(scores, np.float64)


class Segments(NamedTuple):
    """A text as it is indexed: tokens with spaces between them."""

    words: str
    characters: str


def segment(text: str) -> Segments:
    """What to index of a text."""
    text = fold(text)
    runs = _CJK.findall(text)
    words = _words(text, for_index=True) if runs else [text]
    characters = [token for run in runs for token in (*run, *_pairs(run))]
    return Segments(" ".join(words), " ".join(characters))


def match_expression(
    text: str, phrases: Sequence[str] = (), excluded: Sequence[str] = (), *, every: bool = False
) -> str | None:
    """What to ask FTS5: any word of `text` (the more the better; with `every` all of them), every
    one of `phrases` as it stands, none of `excluded`. None where nothing is left to look for."""
    wanted = [_phrase(part) for part in phrases if _WORD.search(part)]
    if not wanted and (telling := _telling(text)):
        words = [f"({_either(word)})" for word in telling]
        wanted = words if every else [" OR ".join(words)]
    if not wanted:
        return None
    found = " AND ".join(f"({part})" for part in wanted)
    for part in excluded:
        if _WORD.search(part):
            found = f"({found}) NOT ({_phrase(part)})"
    return found


@lru_cache(maxsize=64)  # a search asks several times for the words of its text
def _telling(text: str) -> tuple[str, ...]:
    """The words of a query that say something; all of them where none does."""
    words = tuple(dict.fromkeys(_words(fold(text), for_index=False)))
    return tuple(word for word in words if word not in _EMPTY) or words


def _words(text: str, *, for_index: bool) -> list[str]:
    if not _CJK.search(text):
        return _WORD.findall(text)
    segmenter = _segmenter()
    if segmenter is None:
        others = _WORD.findall(_CJK.sub(" ", text))
        return others if for_index else [*others, *_characters(text)]
    cut = segmenter.cut_for_search(text) if for_index else segmenter.cut(text)
    return [word for word in cut if _WORD.search(word)]


def cuts_words() -> bool:
    """Whether Chinese is cut into words; without jieba it is found by pairs of characters."""
    return _segmenter() is not None


def holds_chinese(text: str) -> bool:
    """Whether there is something to be cut."""
    return _CJK.search(text) is not None


def _characters(text: str) -> list[str]:
    return [part for run in _CJK.findall(text) for part in (_pairs(run) or [run])]


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)]


def _either(word: str) -> str:
    """A word in either column."""
    return f"words : {_quoted(word)}" + "".join(f" OR {part}" for part in _by_character(word))


def _phrase(text: str) -> str:
    """A text as it stands: its characters one after the other, and its other words in order."""
    text = fold(text)
    parts = [
        *_by_character(text),
        *(f"words : {_quoted(w)}" for w in _CJK.split(text) if w.strip()),
    ]
    return " AND ".join(part for part in parts if _WORD.search(part.partition(":")[2]))


def _by_character(text: str) -> list[str]:
    """What to ask of the characters, for each run of them."""
    runs = _CJK.findall(text)
    return [f"characters : {_quoted(' '.join(_pairs(run)) or run)}" for run in runs]


def _quoted(tokens: str) -> str:
    return '"' + tokens.replace('"', '""') + '"'


@cache
def _segmenter() -> "Segmenter | None":
    """Loaded when the first Chinese text comes; None where jieba is not installed."""
    try:
        return Segmenter()
    except ModuleNotFoundError:
        return None


class Segmenter:
    """Cuts Chinese as a `jieba.Tokenizer` does, without its half second of loading: a query looks
    up only its own words. Safe to use from several threads.

    jieba reads its dictionary of 349,000 words, 5 MB, into a table of 120 MB before it cuts the
    first sentence. It then asks that table for nothing but pieces of the sentence, each of which
    begins with a character of the sentence. So the words of a character are read when it first
    occurs, from the text of the dictionary, which is sorted by the first character. The algorithms
    are jieba's own and so are the results.

    jieba comes with the extra `search`: raises ModuleNotFoundError without it.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its use of pkg_resources and escapes
            import jieba
        jieba.setLogLevel(logging.CRITICAL)  # it reports its loading on the error stream
        self._tokenizer = jieba.Tokenizer()
        with self._tokenizer.get_dict_file() as file:
            self._dictionary: bytes = file.read()
        known = zlib.crc32(self._dictionary) == _CHECKSUM
        self._sorted = range(
            self._dictionary.find(_SORTED_FROM) + 1 if known else len(self._dictionary),
            len(self._dictionary),
        )
        self._read: set[str] = set()  # characters whose words are in the tokenizer's table
        self._tokenizer.FREQ, total = self._table(0, self._sorted.start)
        self._tokenizer.total = _TOTAL if known else total
        self._tokenizer.initialized = True  # else it would read the whole dictionary

    def cut(self, text: str) -> Iterator[str]:
        """The words of a text, one after the other."""
        self._learn(text)
        return self._tokenizer.cut(text)

    def cut_for_search(self, text: str) -> Iterator[str]:
        """Like `cut`, but also yields the shorter words inside long ones."""
        self._learn(text)
        return self._tokenizer.cut_for_search(text)

    def _learn(self, text: str) -> None:
        """Read the words that begin with a character of the text. Two threads may do so at once."""
        for character in set(text) - self._read:
            first = character.encode("utf-8", "surrogatepass")
            words, _ = self._table(self._line(first), self._line(first + b"\xff"))
            self._tokenizer.FREQ.update(words)
            self._read.add(character)

    def _line(self, first: bytes) -> int:
        """Where the first line begins that does not come before these bytes."""

        def beginning(at: int) -> bytes:
            start = self._next_line(at)
            return self._dictionary[start : start + 4] or b"\xff"

        at = bisect_left(self._sorted, first, key=beginning)
        return self._next_line(self._sorted.start + at)

    def _next_line(self, at: int) -> int:
        """Where the first line begins that does not begin before this byte."""
        return self._dictionary.find(b"\n", at - 1) + 1

    def _table(self, start: int, end: int) -> tuple[dict[str, int], int]:
        """Words and beginnings of words with their frequencies, and the sum of these."""
        return self._tokenizer.gen_pfdict(io.BytesIO(self._dictionary[start:end]))


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "seesay"
