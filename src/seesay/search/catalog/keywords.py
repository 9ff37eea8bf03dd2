"""The keyword index: finds the passages with the words of a query, best first.

SQLite's tokenizer treats a run of Chinese as one word. So text is segmented first, in two ways that
complement each other: jieba knows that 长江 is one word; single characters and pairs find words
that the dictionary segments differently (桥 in 长江大桥).
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
from seesay.data.words import EMPTY_WORDS
from seesay.search.catalog.database import ANY_OF, Database, as_list
from seesay.search.catalog.filters import Filter, compile_filter

# Han, kana, hangul: scripts without spaces between words, or with endings attached to them.
_CJK = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]+"
)
_WORD = re.compile(r"\w+")

_SORTED_FROM = "\n一".encode()  # the first Han character; some 60 lines before it are not in order

# The dictionary of jieba 0.42, the sum of its frequencies, which the probabilities need, and the
# checksum of the dictionary that the sum belongs to.
_CHECKSUM, _TOTAL = 0x1394096D, 60_101_967

_WEIGHTS = "1.0, 0.5"  # a word counts more than the characters it is made of


class KeywordIndex:
    """The full-text index of a collection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, passages: Iterable[int], texts: Sequence[str]) -> None:
        """Index the words of passages; skips passages with an empty text."""
        cut = [
            (passage, segment(text)) for passage, text in zip(passages, texts, strict=True) if text
        ]
        self._database.run_many(
            "INSERT INTO keywords (rowid, words, characters) VALUES (?, ?, ?)",
            ((passage, *segments) for passage, segments in cut),
        )

    def is_empty(self) -> bool:
        """Whether the index is empty."""
        return not self._database.rows("SELECT 1 FROM keywords_content LIMIT 1")

    def remove(self, passages: Iterable[int]) -> None:
        """Remove passages from the index."""
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
        """Returns at most `count` passages and their BM25 scores (higher is better, without a
        scale).

        Any word of `text` finds a passage; with `every` a passage must contain all of them. It must
        contain all `phrases` and none of `excluded`. Ties are in the order of the passages.
        """
        expression = match_expression(text, phrases, excluded, every=every)
        if expression is None:
            return np.empty(0, np.int64), np.empty(0)
        condition, values = "", tuple[object, ...]()
        if filter is not None:
            # The plus keeps SQLite from looking up one passage after another, each with the whole
            # expression: 30,000 passages took 8 s in place of 0.03 s.
            sql, values = compile_filter(filter, self._database)
            condition = f" AND +rowid IN ({sql})"
        rows = self._database.rows(
            f"SELECT rowid, -bm25(keywords, {_WEIGHTS}) AS score FROM keywords"
            f" WHERE keywords MATCH ?{condition} ORDER BY score DESC, rowid LIMIT ?",
            (expression, *values, count),
        )
        passages, scores = zip(*rows, strict=True) if rows else ((), ())
        return np.array(passages, np.int64), np.array(scores, np.float64)

    def count(self, text: str, most: int) -> int:
        """Returns how many passages hold a word of `text`, counted up to `most`: far cheaper than
        ranking them."""
        expression = match_expression(text)
        if expression is None:
            return 0
        ((count,),) = self._database.rows(
            "SELECT count(*) FROM (SELECT 1 FROM keywords WHERE keywords MATCH ? LIMIT ?)",
            (expression, most),
        )
        return int(count)


class Segments(NamedTuple):
    """A text in indexed form: tokens separated by spaces."""

    words: str
    characters: str


def segment(text: str) -> Segments:
    """Returns the tokens to index for a text."""
    text = fold(text)
    runs = _CJK.findall(text)
    words = _words(text, for_index=True) if runs else [text]
    characters = [token for run in runs for token in (*run, *_pairs(run))]
    return Segments(" ".join(words), " ".join(characters))


def match_expression(
    text: str, phrases: Sequence[str] = (), excluded: Sequence[str] = (), *, every: bool = False
) -> str | None:
    """Returns the FTS5 query: any word of `text` (the more the better; with `every` all of them),
    all `phrases` literally, none of `excluded`. None if nothing is left to search for."""
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


@lru_cache(maxsize=64)  # a search needs the words of its text several times
def _telling(text: str) -> tuple[str, ...]:
    """Returns the informative words of a query; all words if none is informative. The empty ones
    are in most texts, and would only cost time."""
    words = tuple(dict.fromkeys(_words(fold(text), for_index=False)))
    return tuple(word for word in words if word not in EMPTY_WORDS) or words


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
    """Whether Chinese is segmented into words; without jieba it is found by pairs of characters."""
    return _segmenter() is not None


def holds_chinese(text: str) -> bool:
    """Whether a text needs segmentation."""
    return _CJK.search(text) is not None


def _characters(text: str) -> list[str]:
    return [part for run in _CJK.findall(text) for part in (_pairs(run) or [run])]


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)]


def _either(word: str) -> str:
    """A word in either column."""
    return f"words : {_quoted(word)}" + "".join(f" OR {part}" for part in _by_character(word))


def _phrase(text: str) -> str:
    """Match a text literally: its characters one after another, and its other words in order."""
    text = fold(text)
    parts = [
        *_by_character(text),
        *(f"words : {_quoted(w)}" for w in _CJK.split(text) if w.strip()),
    ]
    return " AND ".join(part for part in parts if _WORD.search(part.partition(":")[2]))


def _by_character(text: str) -> list[str]:
    """Returns the query on characters for each run of them."""
    runs = _CJK.findall(text)
    return [f"characters : {_quoted(' '.join(_pairs(run)) or run)}" for run in runs]


def _quoted(tokens: str) -> str:
    return '"' + tokens.replace('"', '""') + '"'


@cache
def _segmenter() -> "Segmenter | None":
    """Load the segmenter at the first Chinese text; None if jieba is not installed."""
    try:
        return Segmenter()
    except ModuleNotFoundError:
        return None


class Segmenter:
    """Segments Chinese like a `jieba.Tokenizer`, without its half second of loading: a query looks
    up only its own words. Safe to use from several threads.

    Jieba reads its dictionary of 349,000 words, 5 MB, into a table of 120 MB before it cuts the
    first sentence. It then looks up only pieces of the sentence, each of which starts with a
    character of the sentence. So this class reads the words of a character when it first occurs,
    from the dictionary file, which is sorted by first character. The algorithms and results are
    jieba's own.

    Raises ModuleNotFoundError without jieba, which the extra `search` installs.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its use of pkg_resources and escapes
            import jieba
        jieba.setLogLevel(logging.CRITICAL)  # it logs its loading to stderr
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
        self._tokenizer.initialized = True  # or it would read the whole dictionary

    def cut(self, text: str) -> Iterator[str]:
        """Yield the words of a text in order."""
        self._learn(text)
        return self._tokenizer.cut(text)

    def cut_for_search(self, text: str) -> Iterator[str]:
        """Like `cut`, but also yields the shorter words inside long ones."""
        self._learn(text)
        return self._tokenizer.cut_for_search(text)

    def _learn(self, text: str) -> None:
        """Read the words that start with a character of the text. Two threads may do so at once."""
        for character in set(text) - self._read:
            first = character.encode("utf-8", "surrogatepass")
            words, _ = self._table(self._line(first), self._line(first + b"\xff"))
            self._tokenizer.FREQ.update(words)
            self._read.add(character)

    def _line(self, first: bytes) -> int:
        """Returns the start of the first line that does not sort before these bytes."""

        def beginning(at: int) -> bytes:
            start = self._next_line(at)
            return self._dictionary[start : start + 4] or b"\xff"

        at = bisect_left(self._sorted, first, key=beginning)
        return self._next_line(self._sorted.start + at)

    def _next_line(self, at: int) -> int:
        """Returns the start of the first line at or after this byte."""
        return self._dictionary.find(b"\n", at - 1) + 1

    def _table(self, start: int, end: int) -> tuple[dict[str, int], int]:
        """Returns words and prefixes with their frequencies, and the sum of these."""
        return self._tokenizer.gen_pfdict(io.BytesIO(self._dictionary[start:end]))


def cache_folder() -> Path:
    """Returns the cache folder of this user."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "seesay"
