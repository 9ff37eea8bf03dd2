"""Splits captions into the tokens that caption scores compare.

    tokenize("ptb@1", ["A man's dog can't swim."])   # a man 's dog ca n't swim
    tokenize("chars@1", ["一只狗，2条腿"])              # 一 只 狗 2 条 腿

Scores of captions that are tokenized in different ways cannot be compared, so each way has a name
and a version, and a version never changes.
"""

import re
from collections.abc import Callable, Iterable

from seesay.data.words import chinese_words
from seesay.text import HAN

Tokens = tuple[str, ...]
"""The tokens of a caption, in order."""

# English as the evaluation of COCO tokenizes it: the tokens of the Penn Treebank in lower case,
# without punctuation. These rules follow the output of the tokenizer that pycocoevalcap 1.2 runs,
# Stanford CoreNLP 3.4.1 in Java. They give the same for all captions of Flickr8k.

_REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
# The names of brackets are not removed: pycocoevalcap looks for them in capitals, after everything
# has become lower case.
_NAMES = {
    **{"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"},
    **{"£": "#", "€": "$", "¢": "cents", "½": "1/2", "¼": "1/4", "¾": "3/4"},
}
_SPELLED = str.maketrans(
    {"\u2019": "'", "\u2018": "`", "\u203a": "'", "\u2039": "`"}  # curly and pointed quotes
    | {'"': " '' ", "“": " `` ", "”": " '' "}
    | {"«": " `` ", "»": " '' ", "–": "--", "—": "--", "―": "--", "…": "..."}
)
# A clitic is a token of its own, and so is each half of some words.
_SPLIT = re.compile(
    r"""
    (?<=\w)(?=n't(?!\w)) | (?<=\w)(?='(?:s|m|d|ll|re|ve)(?!\w))
    | (?<=\bcan)(?=not(?![\w-])) | (?<=\bgon|\bwan)(?=na(?![\w-])) | (?<=\bgot)(?=ta(?![\w-]))
    | (?<=\bgim|\blem)(?=me(?![\w-])) | (?<=\by')(?=all\b) | (?<=\bmore)(?='n\b)
    | (?<=(?<!\w)'t)(?=(?:is|was)\b) | (?<=\w)(?='n'\w)
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Words whose full stop belongs to them.
_SHORTENED = (
    r"mr|mrs|ms|dr|st|jr|sr|vs|etc|al|co|inc|ltd|corp|bros|mt|ft|sgt|lt|gen|col|prof|rev|sen|"
    r"rep|gov|hon|capt|maj|cpl|pvt|messrs|mme|ste|ave|rd|blvd|sq|ct|dept|univ|assn|est|tel|"
    r"ext|bldg|ph\.d|mon|tue|tues|wed|thu|thurs|fri|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|"
    r"nov|dec|calif|fla|va|md|mich|ind|ariz|colo|conn|ga|minn|mo|mont|neb|nev|okla|tenn|vt|"
    r"wis|wyo|ala"
)
_TOKEN = re.compile(
    rf"""
    [^\W_]+(?=\s|$)                                      # most words, and so first
    | </?[a-z][^<>]*> | https?://[^\s<>"]*[^\s<>",.!?;:)(]
    | www\.[^\s<>"()]*[^\s<>",.!?;:)(] | [\w.+-]+@\w[\w.-]*\w | [@\#][^\W\d_]+
    | (?-i:[A-Z]+&[A-Z]+)\b                             # AT&T
    | (?:{_SHORTENED})\.(?!\w) | (?:no|fig)\.(?=\s*\d)
    | [^\W\d_](?:\.[^\W\d_])+\.?(?!\w) | [^\W\d_]\.(?![.])   # u.s., and an initial
    | n't(?!\w) | '(?:s|m|d|ll|re|ve)(?!\w) | (?<!\d)'\d\ds?(?!\w) | 'n'?(?!\w)
    | '(?:em|cause|til)(?!\w) | 't(?=\s(?:is|was)\b) | y'(?=\sall\b)
    | \d\d?:\d\d | [+-]?\.?\d+(?:[.,]\d+)*(?![\w/-]) | c\+\+
    | (?:[odls]'|qu'|ma'(?=am\b))[^\W_]+
    | [^\W\d_][^\W_]*(?:[.!?][^\W\d_][^\W_]*)+          # dog.the, a file or an address
    | [^\W_]+(?:[-/_][^\W_]+)*
    | __+ | \*\*+ | \.\.\.+ | [!?]+ | --+ | `` | '' | \S
    """,
    re.VERBOSE | re.IGNORECASE,
)


def _english(caption: str) -> Iterable[str]:
    spaced = _SPLIT.sub(" ", caption.translate(_SPELLED))
    for token in _TOKEN.findall(spaced):
        token = _NAMES.get(token, token.lower())
        token = token[:3] if token.startswith("...") else "--" if token[:2] == "--" else token
        if token not in _REMOVED and token <= "\uffff":  # an emoji is dropped as well
            yield token


# Chinese has no tokenizer that all use: figures are published for characters and for the words of
# jieba. Letters and digits between them stay together; punctuation does not count in either.
_CHARACTERS = re.compile(rf"{HAN.pattern}|[^\W_{HAN.pattern[1:-1]}]+")


def _characters(caption: str) -> Iterable[str]:
    return _CHARACTERS.findall(caption.lower())


def _chinese(caption: str) -> Iterable[str]:
    return chinese_words()(caption.lower())


TOKENIZERS: dict[str, Callable[[str], Iterable[str]]] = {
    "ptb@1": _english,
    "chars@1": _characters,
    "jieba@1": _chinese,
}
"""Ways to tokenize a caption, by name and version."""


def tokenize(name: str, captions: Iterable[str]) -> tuple[Tokens, ...]:
    """Returns the tokens of each caption. `name` is one of TOKENIZERS. Raises MissingExtraError if
    the package that it needs is not installed."""
    tokens = TOKENIZERS[name]
    return tuple(tuple(tokens(caption)) for caption in captions)
