"""One name in two spellings: "é" is one character (NFC) or a letter and its accent (NFD).

macOS hands out the second, most else writes the first; they look the same and are the same name.
"""

import os
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

_REMEMBERED = 256  # folders


def spellings(text: str) -> tuple[str, ...]:
    """The text as it is given, composed and decomposed, each once."""
    if text.isascii():
        return (text,)
    forms = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((text, *forms)))


def as_on_disk(path: str) -> str:
    """The path as the file system spells it, where it has the file under another spelling."""
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
