"""What pages and contact sheets show of each find."""

from dataclasses import dataclass

Bilingual = tuple[str, str]
"""The same in English and in Chinese."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One find."""

    name: str
    """Of the file."""
    folder: str
    picture: bytes | None = None
    """A thumbnail in WebP; None for a text, and for a file that is gone."""
    text: str | None = None
    confidence: float | None = None
    """How sure the match is, 0 to 100."""
    link: str = ""
    """Where a click leads."""
    note: Bilingual = ("", "")
    """How it was found, or anything else to be said of it."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question and what was found."""

    title: Bilingual
    asked: str = ""
    """The words as they were typed."""
    pictures: tuple[bytes, ...] = ()
    """Thumbnails of the pictures that were asked with."""
    remark: Bilingual = ("", "")
    no_good_match: bool = False
    cards: tuple[Card, ...] = ()
