"""Foils of captions, by rules: the same words in the same order except for one thing.

    foils = CaptionFoils(read_lexicon())
    foils.colours_swapped("a black dog and a red ball", "en")  # "a red dog and a black ball"
    [foil for _, foil in foils.all("two dogs run", "en", draw)]  # "three dogs run", "two cats run"

A text alone cannot tell whether its foil is false: two men may both wear red. Whoever measures
with foils compares them with all that is known of the picture (`contrasts`); whoever trains with
them lives with a few that are true, as NegCLIP does (Yuksekgonul et al. 2023, arXiv 2210.01936).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations, pairwise
from typing import NamedTuple

from seesay.data.questions.asking import Draw
from seesay.data.questions.facts import CaptionReader
from seesay.data.questions.lexicon import Lexicon, Mention, tokens_of, with_article
from seesay.text import Language

_WORD = re.compile(r"[a-z0-9]+")
OPPOSITES: Mapping[Language, tuple[tuple[str, str], ...]] = {
    "en": (
        ("left", "right"),
        ("above", "below"),
        ("in front of", "behind"),
        ("on top of", "under"),
        ("with", "without"),
    ),
    "zh": (
        ("左", "右"),
        ("上面", "下面"),
        ("前面", "后面"),
        ("戴着", "没戴"),
        ("穿着", "没穿"),
        ("拿着", "没拿"),
    ),
}
"""Words that turn what a caption says into its opposite."""


class Coloured(NamedTuple):
    """A thing in a caption and the one colour that it has there."""

    thing: str
    colour: str
    start: int
    stop: int
    """Where the word for the colour stands, in characters."""


class CaptionFoils:
    """Makes foils with the words of a lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._reader = CaptionReader(lexicon)

    def two_coloured(
        self, caption: str, language: Language, captions: Mapping[str, Sequence[str]] | None = None
    ) -> tuple[Coloured, Coloured] | None:
        """Two different things in a caption that have different colours there; None if there are
        none, or if `captions` of the picture give one of them the colour of the other."""
        has = self._colours_of_things(captions or {})
        for one, two in combinations(self._coloured(caption, language), 2):
            if one.colour == two.colour or self._related(one.thing, two.thing):
                continue
            swapped = (one.thing, two.colour), (two.thing, one.colour)
            if not any(
                colour in colours and self._related(thing, other)
                for thing, colour in swapped
                for other, colours in has.items()
            ):
                return one, two
        return None

    def colours_swapped(
        self, caption: str, language: Language, captions: Mapping[str, Sequence[str]] | None = None
    ) -> str | None:
        """The caption with the colours of two things swapped; None if `two_coloured` is."""
        pair = self.two_coloured(caption, language, captions)
        if pair is None:
            return None
        one, two = sorted(pair, key=lambda coloured: coloured.start)
        first, second = (caption[of.start : of.stop] for of in (one, two))
        new = _cased_like(second, first), _cased_like(first, second)
        between = caption[one.stop : two.start]
        return f"{caption[: one.start]}{new[0]}{between}{new[1]}{caption[two.stop :]}"

    def all(self, caption: str, language: Language, draw: Draw) -> list[tuple[str, str]]:
        """The name of each rule that applies, with the foil that it makes."""
        made = {
            "swap": self.colours_swapped(caption, language),
            "colour": self._other_colour(caption, language, draw),
            "number": self._other_number(caption, language, draw),
            "thing": self._other_thing(caption, language, draw),
            "opposite": self._opposite(caption, language),
        }
        return [(name, foil) for name, foil in made.items() if foil is not None and foil != caption]

    def _coloured(self, caption: str, language: Language) -> Iterator[Coloured]:
        if language == "zh":
            for mention in self.lexicon.mentions([*caption], "zh"):
                found = self._chinese.search(caption, 0, mention.start)
                if found and self._has_colour(mention) and not found["other"]:
                    colour = self._names["zh"][found["colour"]]
                    yield Coloured(mention.name, colour, *found.span("colour"))
            return
        words = list(_WORD.finditer(caption.lower()))
        tokens = [word.group() for word in words]
        names, modifiers = self._names["en"], set(self.lexicon.modifiers["en"])
        for mention in self.lexicon.mentions(tokens, "en"):
            at = mention.start - 1
            while at >= 0 and tokens[at] in modifiers and tokens[at] not in names:
                at -= 1
            if not self._has_colour(mention) or at < 0 or tokens[at] not in names:
                continue
            # "A black and white dog" keeps its colours when they are swapped.
            before = tokens[at - 2 : at] if tokens[at - 1 : at] == ["and"] else tokens[at - 1 : at]
            if not before or before[0] not in names:
                yield Coloured(mention.name, names[tokens[at]], *words[at].span())

    def _has_colour(self, mention: Mention) -> bool:
        """Whether a colour before a mention is that of the thing: a "black man" has no such one."""
        return mention.sort == "thing" and self.lexicon.things[mention.name].category != "person"

    @cached_property
    def _names(self) -> Mapping[Language, Mapping[str, str]]:
        """Our name of each word for a colour."""
        colours = self.lexicon.colours.items()
        english = {word: name for name, one in colours for word in (name, *one.also)}
        return {"en": english, "zh": {form: name for name, one in colours for form in one.forms}}

    @cached_property
    def _chinese(self) -> re.Pattern[str]:
        """A colour right before a thing, alone."""
        forms = sorted(self._names["zh"], key=len, reverse=True)
        colour = "|".join(one for one in forms if not one.endswith("色"))
        between = "|".join(["的", *self.lexicon.modifiers["zh"]])
        other = rf"(?P<other>(?:{colour})色?[和与、]?)?"
        return re.compile(rf"{other}(?P<colour>{colour})色?(?:{between})*$")

    def _colours_of_things(self, captions: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for one in self._reader.read(captions).said:
            found.setdefault(one.thing, set()).update(one.before.colours)
        return found

    def _related(self, one: str, two: str) -> bool:
        """Whether one thing may be the other."""
        lineage = self.lexicon.lineage
        return bool(lineage(one) & lineage(two))

    def _other_colour(self, caption: str, language: Language, draw: Draw) -> str | None:
        for one in self._coloured(caption, language):
            said = {of.colour for of in self._coloured(caption, language)}
            others = [name for name in self.lexicon.colours if name not in said]
            other = draw.choose(others, caption, "colour")
            word = other if language == "en" else self.lexicon.colours[other].forms[0]
            before, after = caption[: one.start], caption[one.stop :]
            return (
                _with_article(before, word) + after if language == "en" else before + word + after
            )
        return None

    def _other_number(self, caption: str, language: Language, draw: Draw) -> str | None:
        numbers = {one.zh if language == "zh" else en for en, one in self.lexicon.numbers.items()}
        numbers -= {"one"}  # "one" and "a" are seldom about a number
        pattern = rf"\b({'|'.join(numbers)})\b" if language == "en" else self._counted
        found = re.search(pattern, caption.lower())
        if found is None:
            return None
        others = sorted(numbers - {found[1], "一"})
        number = _cased_like(draw.choose(others, caption, "number"), caption[found.start(1) :])
        return caption[: found.start(1)] + number + caption[found.end(1) :]

    @cached_property
    def _counted(self) -> str:
        measures = sorted({one.measure for one in self.lexicon.things.values()} | {"名", "位"})
        return rf"([一两三四五])(?:{'|'.join(measures)})"

    def _other_thing(self, caption: str, language: Language, draw: Draw) -> str | None:
        words = list(_WORD.finditer(caption.lower()))
        tokens = [*caption] if language == "zh" else [word.group() for word in words]
        mentions = [one for one in self.lexicon.mentions(tokens, language) if one.sort == "thing"]
        said = {one.name for one in mentions}
        options = {str(at): self._siblings(one, said) for at, one in enumerate(mentions)}
        options = {at: some for at, some in options.items() if some}
        if not options:
            return None
        at = draw.choose(sorted(options), caption, "which")
        old, new = mentions[int(at)], draw.choose(options[at], caption, "thing")
        thing = self.lexicon.things[new]
        if language == "zh":
            return caption[: old.start] + thing.zh[0] + caption[old.stop :]
        word = thing.plural if old.plural else thing.name
        before, after = caption[: words[old.start].start()], caption[words[old.stop - 1].end() :]
        return _with_article(before, word) + after

    def _siblings(self, mention: Mention, said: set[str]) -> list[str]:
        """Things of the same category that none of the things said may be."""
        old = self.lexicon.things[mention.name]
        return [
            name
            for name, one in self.lexicon.things.items()
            if one.category == old.category
            and one.zh
            and (one.mass, one.pair) == (old.mass, old.pair)
            and not any(self._related(name, other) for other in said)
        ]

    def _opposite(self, caption: str, language: Language) -> str | None:
        mark = r"\b" if language == "en" else ""
        for pair in OPPOSITES[language]:
            for old, new in (pair, pair[::-1]):
                found = re.search(f"{mark}{old}{mark}", caption.lower())
                if found:
                    return caption[: found.start()] + new + caption[found.end() :]
        return None


def _cased_like(word: str, other: str) -> str:
    return word.capitalize() if other[:1].isupper() else word.lower()


def _with_article(before: str, word: str) -> str:
    """A text that goes on with an English word, its last "a" or "an" corrected."""
    found = re.search(r"\b(an?)(\s+)$", before, re.I)
    if found is None:
        return before + word
    article = with_article(word).split()[0]
    article = article.capitalize() if found[1][0].isupper() else article
    return before[: found.start()] + article + found[2] + word


def words_and_pairs(text: str, language: Language) -> list[tuple[str, ...]]:
    """The words of English, or characters of Chinese, and each two that stand together."""
    tokens = ["", *tokens_of(text, language)]
    return [*pairwise(tokens), *((one,) for one in tokens)]
