"""A common form for comparing texts: width, case, composition and script make no difference.

    fold("Old 龍井")     "old 龙井"

Keywords, `~` filters and the dates and minus signs of a query are compared in this form. Models get
the text as typed, without invisible characters. File names are compared as spelt on disk: see
`as_on_disk`.
"""

import os
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files

# Zero-width spaces, byte order marks, bidi marks and the like are invisible; the two joiners inside
# of emoji and Indic words change what is seen.
_SEEN = "\u200c\u200d"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"


def visible(text: str) -> str:
    """Returns the text composed (NFC), without invisible characters and control characters other
    than tabs and line breaks."""
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", "".join(filter(_is_visible, text)))


def fold(text: str) -> str:
    """Returns the text for comparison: NFKC, lower case, simplified Chinese characters."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", visible(text)).lower().translate(simplified())


def fold_each(text: str) -> str:
    """Folds character by character, so that positions in the result are positions in the text. Any
    dash becomes a hyphen."""
    return text.lower() if text.isascii() else "".join(map(_folded, text))


@cache
def simplified() -> dict[int, int]:
    """Traditional to simplified characters, for `str.translate`. From OpenCC's tables (Apache-2.0):
    one character for one, regardless of words."""
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


_REMEMBERED = 256  # folders


def spellings(text: str) -> tuple[str, ...]:
    """Yields the text as given, composed and decomposed, without repetition."""
    if text.isascii():
        return (text,)
    forms = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((text, *forms)))


def as_on_disk(path: str) -> str:
    """Returns the path as the file system spells it, if it has the file under another spelling."""
    if path.isascii() or os.path.lexists(path):
        return path
    drive, rest = os.path.splitdrive(path)
    place = drive + (os.sep if rest.startswith(os.sep) else "")
    for name in filter(None, rest.split(os.sep)):
        if not os.path.lexists(os.path.join(place, name)):
            known = _other_spelling(place or os.curdir, name)
            if known is None:
                return path
            name = known
        place = os.path.join(place, name)
    return place


def _other_spelling(folder: str, name: str) -> str | None:
    if name.isascii():
        return None
    try:
        return _listed(folder, os.stat(folder).st_mtime_ns).get(unicodedata.normalize("NFC", name))
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=_REMEMBERED)
def _listed(folder: str, changed: int) -> Mapping[str, str]:
    """The names in a folder, as it was at a time, by their composed spelling."""
    names = (name for name in os.listdir(folder) if not name.isascii())
    return {unicodedata.normalize("NFC", name): name for name in names}
