"""Where a text that is too long for its text tower may be divided."""

import math
import unicodedata
from collections.abc import Sequence

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

    `offsets` are the [start, stop) characters of each token in `text`. A cut falls between words;
    in a word only where one word alone is longer than the capacity; in a character only where one
    character alone is. The windows are of about equal length, because their embeddings are averaged
    with equal weight and a last window of three words would count as much as a full one.
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
    """Of a cut before token `at`: 2 between words, 1 between characters, 0 inside a character."""
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
    """Whether a word goes on through this character: letters, their marks, digits, apostrophes."""
    return _kind(character) in "LMN" or character in "'\u2019_"


def _spaceless(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _SPACELESS)
