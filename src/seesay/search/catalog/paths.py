"""File names as text that SQLite takes, for every name a file system takes.

A name is bytes, and not always UTF-8. Python shows a byte it cannot decode as a lone surrogate,
which no database stores. Here such a byte becomes one character of a private block, and a name that
truly holds a character of that block has its bytes written the same way, so nothing is ambiguous.
Any other lone surrogate, as broken JSON brings, is no part of a name: it becomes U+FFFD.
"""

import os
import re

_BLOCK = 0x10FE00  # private use, plane 16: one character for each byte
_ODD = re.compile(f"[\udc80-\udcff{chr(_BLOCK)}-{chr(_BLOCK + 0xFF)}]")
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # half an emoji: no file has it in its name
_STORED = re.compile(f"[{chr(_BLOCK)}-{chr(_BLOCK + 0xFF)}]+")


def path_to_text(path: str) -> str:
    """What to store for a path as Python spells it (`os.fsdecode`), or for any other text."""
    if path.isascii():
        return path
    return _NO_BYTE.sub("\ufffd", _ODD.sub(_bytes_as_characters, path))


def text_to_path(text: str) -> str:
    """The path again, as Python spells it."""
    return text if text.isascii() else _STORED.sub(_characters_as_path, text)


def folder_and_name(text: str) -> tuple[str, str]:
    """The stored text of the folder, without its last separator, and the name of the file."""
    plain = text if os.sep == "/" else text.replace(os.sep, "/")
    folder, separator, name = plain.rpartition("/")
    return text[: len(folder)] or separator, name


def _bytes_as_characters(found: re.Match[str]) -> str:
    odd = found.group()
    raw = odd.encode("utf-8", "surrogateescape")
    return "".join(chr(_BLOCK + byte) for byte in raw)


def _characters_as_path(found: re.Match[str]) -> str:
    raw = bytes(ord(character) - _BLOCK for character in found.group())
    return raw.decode("utf-8", "surrogateescape")
