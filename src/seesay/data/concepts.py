"""Concepts in captions: names from a list, and the words of the captions themselves.

MetaCLIP (Xu et al. 2024, arXiv 2309.16671) looks for its entries as substrings between spaces.
Here English is compared by whole words, regular plurals included: captions speak of "two dogs"
where lists say "dog", and both must count as one concept. Chinese has no spaces: a listed name of
two or more characters is looked for anywhere in the text, one of a single character only among the
words that jieba cuts, since 鹅 is no part of what 企鹅 means.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from seesay.data.files import read_lines
from seesay.data.sources import read_classes
from seesay.data.spelling import fold
from seesay.data.words import EMPTY_WORDS, chinese_words, singulars
from seesay.errors import ConfigError
from seesay.text import HAN, Language, Text, detect_language

_WORD = re.compile(r"[^\W_]+")
_BRACKETS = re.compile(r"\s*[(（].*?[)）]")


class Concept(NamedTuple):
    """What captions may speak of."""

    name: str
    """Case-folded; single spaces between English words."""
    language: Language


def read_concepts(file: Path) -> list[Concept]:
    """Returns the concepts of a text file with one on each line, or of a JSON list of classes
    (`seesay.data.sources.read_classes`). "(...)" in a name is left out, and "a / b" is two names.
    Raises ConfigError or DataError if the file cannot be read or holds none."""
    if file.suffix.lower() == ".json":
        named = [
            (name, language) for row in read_classes(str(file)) for language, name in row.items()
        ]
    else:
        named = [(line, detect_language(line)) for line in read_lines(file)]
    concepts: dict[Concept, None] = {}
    for names, language in named:
        for name in _BRACKETS.sub("", names).split(" / "):
            if folded := _folded(name, language):
                concepts[Concept(folded, "zh" if language == "zh" else "en")] = None
    if not concepts:
        raise ConfigError(
            Text(
                f"{file} holds no concept, expected one on each line, or a JSON list of classes: "
                "add some, or leave the file out",
                f"{file} 里没有概念；应为每行一个，或 JSON 类别表；请补上，或不用这个文件",
            )
        )
    return list(concepts)


def _folded(name: str, language: str) -> str:
    folded = fold(name).strip()
    return folded if language == "zh" else " ".join(_WORD.findall(folded))


class Terms:
    """Finds listed names in captions, and cuts captions into words. A term is either."""

    def __init__(self, listed: Iterable[Concept]) -> None:
        self.listed = frozenset(listed)
        self._names = {
            language: {name for name, of in self.listed if of == language}
            for language in ("en", "zh")
        }
        self._lengths = {
            "en": _lengths(name.split(" ") for name in self._names["en"]),
            "zh": _lengths(self._names["zh"]),
        }

    def of(self, caption: str, language: Language) -> set[str]:
        """Returns the terms of a caption. Raises MissingExtraError for Chinese without jieba."""
        return set(self._english(caption) if language == "en" else self._chinese(caption))

    def _english(self, text: str) -> Iterator[str]:
        words = _WORD.findall(fold(text))
        yield from words
        for phrase in _phrases(words, self._lengths["en"]):
            together = " ".join(phrase)
            for name in (together, *singulars(together)):
                if name in self._names["en"]:
                    yield name

    def _chinese(self, text: str) -> Iterator[str]:
        folded = fold(text)
        yield from chinese_words()(folded)
        for phrase in _phrases(folded, self._lengths["zh"]):
            if "".join(phrase) in self._names["zh"]:
                yield "".join(phrase)

    def concept(self, term: Concept, counts: Mapping[Concept, int]) -> Concept | None:
        """Returns the concept that a term counts for, if any: a listed name, or a word in its
        singular. `counts` tells how many captions have each term: jeans are no plural of jean where
        they are more frequent."""
        if term in self.listed:
            return term
        for singular in singulars(term.name) if term.language == "en" else ():
            one = Concept(singular, "en")
            if one in self.listed or counts.get(one, 0) >= counts[term]:
                return self.concept(one, counts)
        return term if _is_word(term) else None


def _lengths(names: Iterable[Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """By the first word or character, the lengths of the names of several that begin with it."""
    lengths: dict[str, set[int]] = {}
    for name in names:
        if len(name) > 1:
            lengths.setdefault(name[0], set()).add(len(name))
    return {first: tuple(sorted(of_first)) for first, of_first in lengths.items()}


def _phrases(parts: Sequence[str], lengths: Mapping[str, Sequence[int]]) -> Iterator[Sequence[str]]:
    for start, part in enumerate(parts):
        for length in lengths.get(part, ()):
            yield parts[start : start + length]


def _is_word(term: Concept) -> bool:
    """Whether a word of a caption may be a concept: no number, single letter or empty word."""
    if term.name in EMPTY_WORDS:
        return False
    if term.language == "zh":
        return HAN.search(term.name) is not None
    return len(term.name) > 1 and term.name.isalpha()
