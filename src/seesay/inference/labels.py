"""Read class names and templates from one line or from a file."""

import re
from collections.abc import Iterable
from pathlib import Path

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


def read_lines(file: Path) -> list[str]:
    """The lines of a UTF-8 file without the empty ones and those that start with #."""
    try:
        text = file.read_text(encoding="utf-8-sig")  # with or without a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        reason = Text("it is not UTF-8 text", "它不是 UTF-8 文本")
        if isinstance(error, OSError):
            reason = Text.of(error.strerror)
        raise ConfigError(
            Text(
                f"{file} cannot be read: {reason.en}; expected a UTF-8 text file with one entry "
                "per line; check the path, or save the file as UTF-8",
                f"无法读取 {file}：{reason.zh}；应为每行一项的 UTF-8 文本文件；请检查路径，"
                "或另存为 UTF-8",
            )
        ) from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # too long for a file name
        return False
