"""Choose the pieces of a multilingual vocabulary that Chinese and English texts use.

Pieces that neither language uses are dropped. All single characters, Chinese words in simplified
and traditional characters, punctuation, numbers and symbols are kept. Most Latin pieces belong to
other languages: those that occur most in word lists are kept.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from tokenizers import Tokenizer

from e5_file import E5File

MOST = 57_000
"""Number of pieces to keep: with 8.5 bits for each of 384 numbers and the twelve layers, 47 MB."""

WRITTEN = (
    (0x20, 0x36F),  # Latin with its accents
    (0x1E00, 0x1EFF),  # Latin with two accents
    (0x2000, 0x2BFF),  # punctuation, mathematics, arrows, symbols
    (0x2E80, 0x303F),  # radicals, Chinese punctuation
    (0x3100, 0x312F),  # bopomofo
    (0x3200, 0x4DBF),  # in circles, Han extension A
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFE0F, 0xFE6F),
    (0xFF00, 0xFFEF),
    (0x1F000, 0x1FAFF),  # emoji
    (0x20000, 0x3FFFF),  # further Han
)
ALONE = ((0x370, 0x45F), (0x3040, 0x30FF))
"""Greek, Cyrillic and kana: their letters stand for quantities and in names."""

NAMES = re.compile(r"[A-Z]{2,5}|[A-Za-z]*[a-z][A-Z][A-Za-z]*|[A-Za-z]{2,3}")
"""JPEG, iPhone, short pieces of identifiers: word lists are in lower case."""

# How often a word begins a sentence, is in capitals, or follows a hyphen, a bracket or another word
# as in ImageNet.
FORMS: tuple[tuple[Callable[[str], str], float], ...] = (
    (str, 1.0),
    (str.capitalize, 0.2),
    (str.upper, 0.05),
    ("-{}".format, 0.05),
    (lambda word: f"-{word.capitalize()}", 0.05),
    (lambda word: f"-{word.upper()}", 0.02),
)


def pruned_pieces(
    file: E5File, tokenizer: Tokenizer, words: Iterable[Mapping[str, float]]
) -> list[int]:
    """The ids to keep, in their order; `words` says how often words occur."""
    specials = {file.first, file.pad, file.last, file.unknown}
    kept, latin = set(specials), []
    for number, piece in enumerate(file.pieces):
        bare = piece.replace("▁", "")
        if number in specials or file.scores[number] == 0:  # "<mask>" has no use in an encoder
            continue
        if all(_within(character, WRITTEN) for character in bare):
            if sum(map(_is_latin, bare)) > 1 and not NAMES.fullmatch(bare):
                latin.append(number)
            else:
                kept.add(number)
        elif len(bare) == 1 and _within(bare, ALONE):
            kept.add(number)
    uses = Counter[int]()
    for frequencies in words:
        uses.update(piece_uses(tokenizer, frequencies))
    latin.sort(key=lambda number: (-uses[number], number))
    used = [number for number in latin if uses[number]]
    return sorted(kept | set(used[: max(0, MOST - len(kept))]))


def piece_uses(tokenizer: Tokenizer, frequencies: Mapping[str, float]) -> Counter[int]:
    """Counts each piece in the words of a list, in all their forms."""
    uses = Counter[int]()
    for form, share in FORMS:
        forms = [form(word) for word in frequencies]
        encodings = tokenizer.encode_batch_fast(forms, add_special_tokens=False)
        for encoding, count in zip(encodings, frequencies.values(), strict=True):
            for number in encoding.ids:
                uses[number] += share * count
    return uses


def _within(character: str, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)


def _is_latin(character: str) -> bool:
    return character.isalpha() and _within(character, WRITTEN[:2])
