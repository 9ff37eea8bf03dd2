"""What people read, in English and Chinese, and text that any encoder takes.

A file name is bytes. Python spells each byte that is not UTF-8 as a lone surrogate (PEP 383), and a
broken table or a request may hold lone surrogates of its own. No encoder takes them: one such name
would end a page, an answer or an export of thousands. So whatever leaves the package as text, to a
screen, a file, a log or another program, goes through one of these functions.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]

# CJK ideographs: the unified block, extension A, the compatibility block and the planes above.
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Text:
    """One message in both languages. Whoever shows it chooses: `text.in_language("zh")`."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en

    def in_language(self, language: str) -> str:
        """Chinese for "zh", English for any other language."""
        return self.zh if language == "zh" else self.en

    def format(self, **values: object) -> "Text":
        """Both with their placeholders filled; of a value that is a Text, each takes its own."""
        en, zh = (
            {name: v.in_language(one) if isinstance(v, Text) else v for name, v in values.items()}
            for one in ("en", "zh")
        )
        return Text(self.en.format(**en), self.zh.format(**zh))

    def join(self, texts: "Iterable[Text]") -> "Text":
        """The texts with this one between them."""
        texts = list(texts)
        return Text(self.en.join(t.en for t in texts), self.zh.join(t.zh for t in texts))

    @staticmethod
    def of(value: object) -> "Text":
        """The text of an error that has one, a Text as it is, anything else as it prints: for a
        message that quotes another."""
        if isinstance(value, Text):
            return value
        text = getattr(value, "text", None)
        return text if isinstance(text, Text) else Text(str(value), str(value))


def detect_language(text: str) -> Language:
    """Chinese where any Chinese character stands in the text, else English."""
    return "zh" if HAN.search(text) else "en"


def to_unicode(text: str) -> str:
    """The same in valid Unicode: a byte of a file name that is not UTF-8 as \\xe9, any other lone
    surrogate as \\ud83d. For values that other programs read; line ends and the like stay."""
    return _SURROGATE.sub(_escaped, text)


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
