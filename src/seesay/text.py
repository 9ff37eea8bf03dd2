"""Text that anybody can take, whatever it was before.

A file name is bytes. Python spells each byte that is not UTF-8 as a lone surrogate (PEP 383), and a
broken table or a request may hold lone surrogates of its own. No encoder takes them: one such name
would end a page, an answer or an export of thousands. So whatever leaves the package as text, to a
screen, a file, a log or another program, goes through one of these functions.
"""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def to_unicode(text: str) -> str:
    """The same in valid Unicode: a byte of a file name that is not UTF-8 as \\xe9, any other lone
    surrogate as \\ud83d. For values that other programs read; line ends and the like stay."""
    return _SURROGATE.sub(_escaped, text)


def whole_characters(text: str) -> str:
    """The same with U+FFFD for each lone surrogate: for words that are looked up or embedded, where
    an escape would be a word of its own."""
    return _SURROGATE.sub("\ufffd", text)


def printable(text: str) -> str:
    """The same for one line of a screen or a log: line ends and control characters are escaped as
    well, so that a file name can neither begin a line nor drive a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escaped(found: re.Match[str]) -> str:
    return _escape(found.group())


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that Python could not read as UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
