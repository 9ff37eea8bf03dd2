"""Read class names and templates from one line or from a file."""

import re
from collections.abc import Iterable
from pathlib import Path

from seesay.data.files import read_lines
from seesay.errors import ConfigError
from seesay.text import Text

_SEPARATORS = re.compile("[,，、;；]")


def read_labels(given: str) -> dict[str, str]:
    """Returns label -> words to put into the sentences, from "cat,dog", "猫、狗" or the lines of a
    file.

    "n02123045=tabby cat" shows n02123045 (also the name of its folder) and asks for a tabby cat.
    """
    if given.lower().endswith((".txt", ".csv")) or _is_file(given):
        parts = read_lines(Path(given))
    else:
        parts = [part.strip() for part in _SEPARATORS.split(given) if part.strip()]
    labels: dict[str, str] = {}
    for part in parts:
        shown, _, words = (piece.strip() for piece in part.partition("="))
        if shown in labels:
            raise ConfigError(
                Text(
                    f"the label {shown!r} is given more than once; expected each label once; "
                    "remove the repetition",
                    f"标签 {shown!r} 重复了；每个标签应只出现一次；请去掉重复的",
                )
            )
        labels[shown] = words or shown
    return labels


def folder_labels(names: Iterable[str]) -> dict[str, str]:
    """Folder name -> words: golden_retriever asks for a golden retriever."""
    return {name: re.sub("[_-]+", " ", name).strip() or name for name in names}


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # too long for a file name
        return False
