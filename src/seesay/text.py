"""Messages in English and Chinese, and text that any encoder accepts.

A file name is bytes. Python spells each byte that is not UTF-8 as a lone surrogate (PEP 383), and a
broken table or a request may hold lone surrogates of its own. No encoder accepts them: one such
name would abort a page, an answer or an export of thousands. So all text that leaves the package,
for a screen, a file, a log or another program, goes through one of these functions.
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
    """A message in both languages. The caller that shows it chooses: `text.in_language("zh")`."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en

    def in_language(self, language: str) -> str:
        """Chinese for "zh", English for any other language."""
        return self.zh if language == "zh" else self.en

    def format(self, **values: object) -> "Text":
        """Fill the placeholders in both languages; a Text value is inserted in the matching one."""
        en, zh = (
            {name: v.in_language(one) if isinstance(v, Text) else v for name, v in values.items()}
            for one in ("en", "zh")
        )
        return Text(self.en.format(**en), self.zh.format(**zh))

    def join(self, texts: "Iterable[Text]") -> "Text":
        """Join the texts with this one as the separator."""
        texts = list(texts)
        return Text(self.en.join(t.en for t in texts), self.zh.join(t.zh for t in texts))

    @staticmethod
    def of(value: object) -> "Text":
        """Returns a Text as it is, the text of an error that has one, or else str(value) in both
        languages. For messages that quote another."""
        if isinstance(value, Text):
            return value
        text = getattr(value, "text", None)
        return text if isinstance(text, Text) else Text(str(value), str(value))


def detect_language(text: str) -> Language:
    """Returns "zh" if the text contains any Chinese character, else "en"."""
    return "zh" if HAN.search(text) else "en"


def to_unicode(text: str) -> str:
    """Returns the text in valid Unicode: a byte of a file name that is not UTF-8 as \\xe9, any
    other lone surrogate as \\ud83d. For values that other programs read; line ends stay."""
    return _SURROGATE.sub(_escaped, text)


def printable(text: str) -> str:
    """Like `to_unicode`, for one line on a screen or in a log: escapes line ends and control
    characters too, so that a file name can neither start a new line nor control a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escaped(found: re.Match[str]) -> str:
    return _escape(found.group())


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that Python could not read as UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
