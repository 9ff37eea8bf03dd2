"""The keyword index: which passages hold the words of a query, best first.

SQLite's tokenizer takes a run of Chinese for one word. So text is cut beforehand, in two ways that
make up for each other: jieba's words know that 长江 is one; single characters and pairs of them
find what the dictionary cuts otherwise (桥 in 长江大桥).
"""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seesay.data.spelling import fold
from seesay.search.catalog.database import ANY_OF, Database, as_list
from seesay.search.catalog.filters import Filter, compile_filter

if TYPE_CHECKING:
    from seesay.search.catalog.segmenter import Segmenter

# Han, kana, hangul: scripts whose words no space parts, or whose endings cling to them.
_CJK = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]+"
)
_WORD = re.compile(r"\w+")

# Words that most texts hold: they would cost time and say nothing. They count where all are such.
_EMPTY_EN = "a an and are as at be by for from in is it of on or that the this to was were with"
_EMPTY_ZH = "的 了 着 过 是 在 和 与 及 或 有 一 一个 一只 一张 这 那 这个 那个 上 里 中 也 都 就"
_EMPTY = frozenset(f"{_EMPTY_EN} {_EMPTY_ZH}".split())

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
        from seesay.search.catalog.segmenter import Segmenter
    except ModuleNotFoundError:
        return None
    return Segmenter()


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "seesay"
