"""What captions, object labels and the class of a picture say that it shows.

Captions leave much out and sometimes disagree, so a fact needs two of them, in either language, or
the majority of fewer; and a thing is absent only where no word of any caption leaves it open.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from seesay.data.questions.lexicon import (
    Lexicon,
    Mention,
    Thing,
    english_forms,
    ngrams,
    tokens_of,
    with_article,
)
from seesay.text import Language, Text

ANIMATE = ("person", "animal")
_LONGEST = 4  # tokens of a word that leaves a thing open
_NOT_IN = "边旁附外前对"  # after a Chinese place: beside it, not in it
_SKIPPED = frozenset(["the", "a", "an", "some", "deep", "shallow", "open", "grassy", "snowy", "it"])


class Fact(NamedTuple):
    """The answer to a question about a picture."""

    kind: str
    """Of the question: a key of the lexicon's phrasings, or "what"."""
    thing: str
    """What it is about."""
    answer: Text
    plural: bool = False
    """Whether the question speaks of several."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of one record."""

    key: str
    present: frozenset[str] = frozenset()
    """Things that it shows for certain."""
    open: frozenset[str] = frozenset()
    """Things that may be there, the certain ones included."""
    captioned: bool = False
    objects: tuple[str, ...] = ()
    """The labelled things, once for each object."""
    label: str | None = None
    """The thing that its class is."""
    answers: tuple[Fact, ...] = ()


class Before(NamedTuple):
    """What stands before a thing in a caption."""

    colours: frozenset[str]
    number: int | None
    several: bool


@dataclass(frozen=True)
class _CaptionMention:
    """One mention of a thing in one caption."""

    caption: int
    thing: str
    before: Before
    plural: bool


@dataclass
class _Captions:
    """All captions of a record, read."""

    count: int = 0
    said: list[_CaptionMention] = field(default_factory=list)
    things: list[set[str]] = field(default_factory=list)
    verbs: list[set[str]] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)
    words: set[tuple[str, ...]] = field(default_factory=set)
    """All runs of tokens, which are looked up among words that leave a thing open."""


class CaptionReader:
    """Reads facts from captions with the words of a lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._colours = {w: n for n, c in lexicon.colours.items() for w in (n, *c.also)}
        self._numbers = {w: n.value for n in lexicon.numbers.values() for w in n.forms}
        self._modifiers = frozenset(lexicon.modifiers["en"])
        self._several = frozenset(lexicon.several["en"])

    def read(self, captions: Mapping[str, Sequence[str]]) -> _Captions:
        found = _Captions()
        for language in ("en", "zh"):
            for text in captions.get(language, ()):
                self._caption(text, language, found)
        return found

    def _caption(self, text: str, language: Language, found: _Captions) -> None:
        tokens = tokens_of(text, language)
        things: set[str] = set()
        verbs: set[str] = set()
        places: set[str] = set()
        for mention in self.lexicon.mentions(tokens, language):
            if mention.sort == "verb":
                verbs.add(mention.name)
                continue
            things.add(mention.name)
            before = self._before(tokens, mention, language)
            found.said.append(_CaptionMention(found.count, mention.name, before, mention.plural))
            if self._is_where(tokens, mention, language):
                places.add(mention.name)
        found.things.append(things)
        found.verbs.append(verbs)
        found.places.update(places)
        found.count += 1
        found.words.update(ngrams(tokens, _LONGEST))

    def _before(self, tokens: Sequence[str], mention: Mention, language: Language) -> Before:
        if language == "zh":
            return self._chinese_before("".join(tokens[: mention.start]), tokens[mention.stop :])
        colours: set[str] = set()
        at = mention.start - 1
        while at >= 0:
            word = tokens[at]
            joins = word == "and" and colours and tokens[at - 1] in self._colours
            if word in self._colours:
                colours.add(self._colours[word])
            elif word not in self._modifiers and not joins:
                break
            at -= 1
        word = tokens[at] if at >= 0 else ""
        several = word in self._several or (word == "of" and tokens[at - 1] in self._several)
        return Before(frozenset(colours), self._numbers.get(word), several)

    def _chinese_before(self, text: str, after: Sequence[str]) -> Before:
        found = self._chinese.search(text)
        assert found is not None  # every part of the pattern may be empty
        colours = frozenset(self._colour_of[one] for one in self._colour.findall(found["words"]))
        number = self._number_of.get(found["number"] or "")
        return Before(colours, number, bool(found["several"]) or list(after[:1]) == ["们"])

    @cached_property
    def _colour_of(self) -> dict[str, str]:
        return {form: name for name, one in self.lexicon.colours.items() for form in one.forms}

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {form: one.value for one in self.lexicon.numbers.values() for form in one.zh_forms}

    @cached_property
    def _colour(self) -> re.Pattern[str]:
        return re.compile(_any(self._colour_of))

    @cached_property
    def _chinese(self) -> re.Pattern[str]:
        measures = _any({"名", "位", *(one.measure for one in self.lexicon.things.values())})
        colour = f"(?:{_any(self._colour_of)})色?"
        words = f"(?:{_any(self.lexicon.modifiers['zh'])}|{colour}(?:和|与)(?={colour})|{colour})*"
        several = f"(?P<several>{_any(self.lexicon.several['zh'])})[个只名位条]?"
        number = f"(?P<number>{_any(self._number_of)})(?:{measures})"
        return re.compile(f"(?:{several}|{number})?(?P<words>{words})$")

    def _is_where(self, tokens: Sequence[str], mention: Mention, language: Language) -> bool:
        """Whether a caption says that what it speaks of is at this place."""
        where = self.lexicon.things[mention.name].where
        if where is None:
            return False
        if language == "zh":
            before = "".join(tokens[max(0, mention.start - 6) : mention.start])
            after = tokens[mention.stop : mention.stop + 1]
            return "在" in before and not (after and after[0] in _NOT_IN)
        at = mention.start - 1
        while at >= 0 and (
            tokens[at] in _SKIPPED or tokens[at] in self._modifiers or tokens[at] in self._colours
        ):
            at -= 1
        return at >= 0 and tokens[at] in where.prepositions


def _any(words: Iterable[str]) -> str:
    """A pattern for any of the words, the longest first."""
    return "|".join(re.escape(one) for one in sorted(words, key=lambda one: (-len(one), one)))


class FactReader:
    """Turns what is known of a record into facts."""

    def __init__(self, lexicon: Lexicon, things: Mapping[str, Thing]) -> None:
        self.lexicon = lexicon
        self.things = things
        """The things of the lexicon, and further ones that labels and classes name."""
        self._reader = CaptionReader(lexicon)

    def read(
        self,
        key: str,
        captions: Mapping[str, Sequence[str]],
        objects: Sequence[str] = (),
        label: str | None = None,
        *,
        counted: bool = True,
        doubtful: Iterable[str] = (),
    ) -> Facts:
        """`objects`, `label` and `doubtful`, which may be there, are names in `things`. Objects are
        `counted` where people labelled each of them."""
        read = self._reader.read(captions)
        times = self._times(read)
        present = {name for name, count in times.items() if enough(count, read.count)}
        for name in (*objects, *([label] if label else [])):
            present |= self._lineage(name)
        counts = dict(self._counts(read, present))
        # Labelled objects are counted one by one, so they know better than captions.
        labelled = Counter(objects if counted else ())
        counts |= {name: n for name, n in labelled.items() if n <= _most(self.lexicon)}
        answers = [
            *(self._count(name, n) for name, n in sorted(counts.items())),
            *self._colour_facts(read, present, counts),
            *self._what(times, read),
            *(self._about_subject(read, times)),
        ]
        if label:
            answers.append(self._class(label))
        return Facts(
            key=key,
            present=frozenset(present),
            open=frozenset(present | self._open(read, times, [*objects, *doubtful])),
            captioned=read.count > 0,
            objects=tuple(objects),
            label=label,
            answers=tuple(answers),
        )

    def _lineage(self, name: str) -> frozenset[str]:
        return self.lexicon.lineage(name) if name in self.lexicon.things else frozenset({name})

    def _times(self, read: _Captions) -> Counter[str]:
        """How many captions mention each thing, or one that it is the more general of."""
        times: Counter[str] = Counter()
        for things in read.things:
            times.update({general for name in things for general in self._lineage(name)})
        return times

    def _open(self, read: _Captions, times: Iterable[str], objects: Sequence[str]) -> set[str]:
        """The things that a caption or an object leaves open: a person may be a man."""
        words, others = self._doubts
        left_open = {*times, *objects}
        for one in {*(said.thing for said in read.said), *objects}:
            left_open |= others.get(one, set())
        for word in read.words:
            left_open |= words.get(word, set())
        return left_open

    @cached_property
    def _doubts(self) -> tuple[dict[tuple[str, ...], set[str]], dict[str, set[str]]]:
        """The things that a word leaves open, in tokens, and those that a mentioned thing does."""
        words: dict[tuple[str, ...], set[str]] = defaultdict(set)
        others: dict[str, set[str]] = defaultdict(set)
        for name, thing in self.lexicon.things.items():
            for word, _ in english_forms(thing):
                words[tuple(tokens_of(word, "en"))].add(name)
            for special in self.lexicon.below[name]:
                others[special].add(name)
            for word in thing.unless:
                others[word].add(name)
                hint = self.lexicon.hints.get(word, {"en": [word], "zh": [word]})
                for one in hint["en"]:
                    words[tuple(tokens_of(one, "en"))].add(name)
                for one in hint["zh"]:
                    words[tuple(one)].add(name)
        return words, others

    def _counts(self, read: _Captions, present: set[str]) -> Iterator[tuple[str, int]]:
        by_thing: dict[str, list[_CaptionMention]] = defaultdict(list)
        for one in read.said:
            by_thing[one.thing].append(one)
        plural = {one.thing for one in read.said if _is_several(one)}
        people = {name for name in plural if self.things[name].category == "person"}
        for name, said in by_thing.items():
            thing = self.things[name]
            if name not in present or thing.mass or thing.pair or thing.where:
                continue
            if thing.category not in (*ANIMATE, "vehicle", "thing"):
                continue
            if (number := _number(said, read.count, general=name == "person")) is None:
                continue
            if number == 1 and (people if thing.category == "person" else name in plural):
                continue
            yield name, number

    def _count(self, name: str, number: int) -> Fact:
        words = {one.value: (en, one) for en, one in self.lexicon.numbers.items()}
        en, one = words[number]
        return Fact("count", name, Text(en, f"{one.zh}{self.things[name].measure}"))

    def _colour_facts(
        self, read: _Captions, present: set[str], counts: Mapping[str, int]
    ) -> Iterator[Fact]:
        by_thing: dict[str, list[_CaptionMention]] = defaultdict(list)
        for one in read.said:
            by_thing[one.thing].append(one)
        for name, said in sorted(by_thing.items()):
            thing = self.things[name]
            if name not in present or not thing.coloured or counts.get(name, 1) > 1:
                continue
            if not thing.pair and any(_is_several(one) for one in said):
                continue
            per_caption = Counter(one.caption for one in said)
            colours = {one.before.colours for one in said if one.before.colours}
            captions = {one.caption for one in said if one.before.colours}
            # Two shirts in a caption may be of two colours.
            if len(colours) != 1 or max(per_caption.values()) > 1:
                continue
            if enough(len(captions), read.count) and len(only := next(iter(colours))) <= 2:
                yield self._colour(name, only)

    def _colour(self, name: str, colours: frozenset[str]) -> Fact:
        ordered = [one for one in self.lexicon.colours if one in colours]
        zh = "和".join(self.lexicon.colours[one].zh for one in ordered)
        return Fact("colour", name, Text(" and ".join(ordered), zh), self.things[name].pair)

    def _what(self, times: Mapping[str, int], read: _Captions) -> Iterator[Fact]:
        """Answers to "What animal is this?" where captions name one alone."""
        for category in self.lexicon.what:
            named = {name for one in read.things for name in one}
            named = {name for name in named if self.things[name].category == category}
            special = [n for n in named if not any(n != m and n in self._lineage(m) for m in named)]
            if len(special) != 1 or 2 * times[special[0]] <= read.count:
                continue
            thing = self.things[special[0]]
            several = _plural([one for one in read.said if one.thing == thing.name])
            if several is None or (several and category == "person"):
                continue
            en = thing.what or (thing.name if category == "sport" else thing.with_article)
            en = thing.plural if several and not thing.mass else en
            yield Fact("what", thing.name, Text(en, thing.zh[0]))

    def _about_subject(self, read: _Captions, times: Mapping[str, int]) -> Iterator[Fact]:
        place = _first_alone(read.places)
        if place and not enough(read.places[place], read.count):
            place = None
        subject = self._subject(read, times)
        if place and (where := self.things[place].where):
            answer = Text(where.en, where.zh)
            if subject is None and where.scene:
                yield Fact("where", place, answer)
            elif subject and self._together(subject[0], place, read):
                yield Fact("subject_where", subject[0], answer, subject[1])
        if subject and (action := self._action(subject[0], read)):
            zh = self.lexicon.actions[action].zh
            yield Fact("doing", subject[0], Text(action, zh), subject[1])

    def _subject(self, read: _Captions, times: Mapping[str, int]) -> tuple[str, bool] | None:
        """The person or animal that most captions speak of, and whether it is several; None where
        they disagree who it is."""
        direct = Counter(
            name
            for things in read.things
            for name in things
            if self.things[name].category in ANIMATE
        )
        if not direct:
            return None
        name, count = max(direct.items(), key=lambda one: (one[1], one[0]))
        related = self._lineage(name)
        category = self.things[name].category
        rivals = [
            one
            for one in direct
            if one != name and self.things[one].category == category and one not in related
        ]
        if 2 * count <= read.count or any(direct[one] > 1 for one in rivals):
            return None
        several = _plural([one for one in read.said if one.thing == name])
        return None if several is None else (name, several)

    def _together(self, subject: str, place: str, read: _Captions) -> bool:
        both = sum(subject in things and place in things for things in read.things)
        return enough(both, read.count)

    def _action(self, subject: str, read: _Captions) -> str | None:
        """What captions that speak of the subject alone say that it does, if they agree."""
        lineage = self._lineage(subject)
        actions: Counter[str] = Counter()
        for things, verbs in zip(read.things, read.verbs, strict=True):
            animate = {name for name in things if self.things[name].category in ANIMATE}
            if animate and animate <= lineage and len(verbs) == 1:
                actions.update(self._named(verbs, things))
        best = _first_alone(actions)
        return best if best and enough(actions[best], read.count) else None

    def _named(self, verbs: set[str], things: set[str]) -> list[str]:
        return [
            name
            for name, action in self.lexicon.actions.items()
            if action.verb in verbs and (not action.thing or action.thing in things)
        ]

    def _class(self, name: str) -> Fact:
        thing = self.things[name]
        zh = thing.zh[0] if thing.zh else ""
        return Fact("class", name, Text(with_article(thing.name), zh))


def enough(count: int, captions: int) -> bool:
    """Whether as many of the captions as say something are believed: two, or most of them."""
    return count >= 2 or (count == 1 and captions == 1)


def _most(lexicon: Lexicon) -> int:
    return max(one.value for one in lexicon.numbers.values())


def _is_several(said: _CaptionMention) -> bool:
    number = said.before.number
    return said.plural or said.before.several or (number is not None and number > 1)


def _plural(said: Sequence[_CaptionMention]) -> bool | None:
    """Whether captions speak of several; None if they disagree."""
    several = sum(_is_several(one) for one in said)
    if several == 0:
        return False
    return True if 4 * several > 3 * len(said) else None


def _first_alone(counts: Counter[str]) -> str | None:
    """The most frequent name, if no other is as frequent."""
    ranked = counts.most_common(2)
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def _number(said: Sequence[_CaptionMention], captions: int, *, general: bool) -> int | None:
    """How many captions say that there are, if they agree. A `general` word such as people may
    mean some of those in the picture, so more must say it."""
    per_caption: dict[int, list[_CaptionMention]] = defaultdict(list)
    for one in said:
        per_caption[one.caption].append(one)
    numbers: Counter[int] = Counter()
    for of_caption in per_caption.values():
        if any(one.before.several for one in of_caption):
            return None
        known = [one.before.number for one in of_caption if one.before.number]
        if len(of_caption) > 1:  # "a black dog and a white dog", "a dog next to a larger dog"
            numbers[max(2, sum(known))] += 0
        elif known:
            numbers[known[0]] += 1
    more = [number for number in numbers if number > 1]
    if len(more) > 1:
        return None
    number = more[0] if more else 1
    if numbers[1] > numbers[number] or (number == 1 and any(one.plural for one in said)):
        return None
    needed = min(2 if number > 1 and not general else 3, captions)
    return number if numbers[number] >= needed else None
