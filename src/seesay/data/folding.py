"""One form for texts that are compared: width, case, composition and script make no difference.

    fold("Old 龍井")     "old 龙井"

Keywords, `~` filters and the dates and minus signs of a query are compared in this form. Models get
the text as it was typed, apart from characters that nobody can see.
"""

import unicodedata
from functools import cache, lru_cache
from importlib.resources import files

# Zero-width spaces, byte order marks, bidi marks and the like are invisible; the two joiners inside
# of emoji and Indic words change what is seen.
_SEEN = "\u200c\u200d"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"


def visible(text: str) -> str:
    """The text without control characters (tabs and line breaks stay) and invisible ones, composed
    (NFC)."""
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", "".join(filter(_is_visible, text)))


def fold(text: str) -> str:
    """The text as it is compared: NFKC, small letters, simplified Chinese characters."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", visible(text)).lower().translate(simplified())


def fold_each(text: str) -> str:
    """The same character by character, so that places in the result are places in the text. Any
    dash is a hyphen here."""
    return text.lower() if text.isascii() else "".join(map(_folded, text))


@cache
def simplified() -> dict[int, int]:
    """Traditional to simplified characters, for `str.translate`. From OpenCC's tables (Apache-2.0):
    one character for one, words are not looked at."""
    table = files("seesay.data").joinpath("traditional.txt").read_text(encoding="utf-8")
    traditional, simple = table.split()
    return str.maketrans(traditional, simple)


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    if character in _DASHES:
        return "-"
    form = fold(character)
    return form if len(form) == 1 else character


@lru_cache(maxsize=4096)
def _is_visible(character: str) -> bool:
    if character in _SEEN or character in "\t\n\r":
        return True
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs")
