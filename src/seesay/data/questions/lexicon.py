"""The words that questions are made of, in both languages, and where captions mention them.

They are read from lexicon.toml, which explains its entries. English is compared by whole words;
Chinese has no spaces, so the longest word is taken at each place: 热狗 is found, and not the 狗 in
it.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple, get_args

from seesay.errors import DataError
from seesay.text import Language, Text

LANGUAGES: tuple[Language, ...] = get_args(Language)
_WORD = re.compile(r"[a-z0-9]+")
_Form = tuple[tuple[str, ...], str, str, bool]  # tokens, sort, name, whether it is a plural


@dataclass(frozen=True, kw_only=True)
class PlaceAnswer:
    """How a place answers "where"."""

    en: str
    zh: str
    prepositions: tuple[str, ...]
    """What stands before the place in English captions that speak of being there."""
    scene: bool = True
    """Whether a picture can be taken there: not in the water."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What a picture may show. The fields are explained in lexicon.toml."""

    name: str
    category: str
    zh: tuple[str, ...]
    measure: str
    plural: str = ""
    also: tuple[str, ...] = ()
    is_too: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    what: str = ""
    mass: bool = False
    pair: bool = False
    asked: bool = True
    coloured: bool = True
    where: PlaceAnswer | None = None

    @property
    def with_article(self) -> str:
        """Its name as in "Is there a dog?"."""
        if self.mass or self.pair:
            return self.name
        return with_article(self.name)

    @property
    def label_with_article(self) -> str:
        """Its name in lists of objects, as in "Is there a sports ball?"."""
        return with_article(self.labels[0]) if self.labels else self.with_article


@dataclass(frozen=True, kw_only=True)
class Action:
    """What someone does: a verb, perhaps with a thing."""

    verb: str
    zh: str
    thing: str = ""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number with what it is called."""

    value: int
    zh: str
    forms: tuple[str, ...]
    zh_forms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Colour:
    """A colour with what it is called."""

    zh: str
    forms: tuple[str, ...]
    also: tuple[str, ...] = ()


class Mention(NamedTuple):
    """A word of the lexicon in a caption. `start` and `stop` count words of English and characters
    of Chinese."""

    sort: str
    """thing, verb or ignored."""
    name: str
    start: int
    stop: int
    plural: bool


def with_article(name: str) -> str:
    """An English noun with "a" or "an"."""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


@cache
def plural_of(name: str) -> str:
    """The regular English plural."""
    if re.search(r"(s|x|z|ch|sh)$", name):
        return f"{name}es"
    return re.sub(r"(?<![aeiou])y$", "ie", name) + "s"


def tokens_of(text: str, language: Language) -> list[str]:
    """The words of English, the characters of Chinese."""
    return _WORD.findall(text.lower().replace("'s ", " ")) if language == "en" else [*text]


class Lexicon:
    """Things, actions, colours and numbers by name, and the phrasings of questions."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.things: dict[str, Thing] = {}
        self.what: dict[str, Mapping[str, Sequence[str]]] = {}
        for category, entry in content["categories"].items():
            self._add(category, entry)
        self.verbs: Mapping[str, Mapping[str, Sequence[str]]] = content["verbs"]
        self.hints: Mapping[str, Mapping[str, Sequence[str]]] = content["hints"]
        self.ignored: Mapping[str, Sequence[str]] = content["ignored"]
        self.modifiers: Mapping[str, Sequence[str]] = content["modifiers"]
        self.several: Mapping[str, Sequence[str]] = content["several"]
        self.phrasings: Mapping[str, Mapping[str, Sequence[str]]] = content["phrasings"]
        self.actions = {name: Action(**entry) for name, entry in content["actions"].items()}
        self.numbers = {name: Number(**_frozen(e)) for name, e in content["numbers"].items()}
        self.colours = {name: Colour(**_frozen(e)) for name, e in content["colours"].items()}
        self._check()

    def _add(self, category: str, entry: Mapping[str, Any]) -> None:
        shared = {name: value for name, value in entry.items() if name not in ("things", "what")}
        if "what" in entry:
            self.what[category] = entry["what"]
        for name, settings in entry["things"].items():
            fields = {**shared, **settings}
            fields["is_too"] = fields.pop("is", ())
            if "where" in fields:
                fields["where"] = PlaceAnswer(**_frozen(fields["where"]))
            one = fields.get("mass") or fields.get("pair")
            fields.setdefault("plural", name if one else plural_of(name))
            self.things[name] = Thing(name=name, category=category, **_frozen(fields))

    def _check(self) -> None:
        """Raises ValueError if an entry names another that is not there."""
        for thing in self.things.values():
            for other in thing.is_too:
                if other not in self.things:
                    raise ValueError(f"{thing.name} is {other}, which is no thing")
        for name, action in self.actions.items():
            if action.verb not in self.verbs or (action.thing and action.thing not in self.things):
                raise ValueError(f"the action {name} has an unknown verb or thing")

    def thing_of_label(self, label: str) -> Thing | None:
        """The thing that a label of an object means."""
        name = label.strip().lower()
        return self._labels.get(name)

    @cached_property
    def _labels(self) -> dict[str, Thing]:
        labels = {one.lower(): thing for thing in self.things.values() for one in thing.zh[::-1]}
        labels |= {name.lower(): thing for name, thing in self.things.items()}
        return labels | {one: thing for thing in self.things.values() for one in thing.labels}

    @cache  # noqa: B019 (a program has one or two lexicons)
    def lineage(self, name: str) -> frozenset[str]:
        """The thing with all more general ones."""
        above = (self.lineage(one) for one in self.things[name].is_too)
        return frozenset({name}).union(*above)

    @cached_property
    def below(self) -> dict[str, set[str]]:
        """By thing, itself and all more special ones."""
        below: dict[str, set[str]] = {name: set() for name in self.things}
        for name in self.things:
            for general in self.lineage(name):
                below[general].add(name)
        return below

    def mentions(self, tokens: Sequence[str], language: Language) -> Iterator[Mention]:
        """What a caption mentions, from left to right, the longest word first."""
        at = 0
        while at < len(tokens):
            for form, sort, name, plural in self._forms[language].get(tokens[at], ()):
                stop = at + len(form)
                if tuple(tokens[at:stop]) == form:
                    if sort != "ignored":
                        yield Mention(sort, name, at, stop, plural)
                    at = stop
                    break
            else:
                at += 1

    @cached_property
    def _forms(self) -> dict[Language, dict[str, list[_Form]]]:
        """By language and first token, the words that begin with it, longest first."""
        forms: dict[Language, dict[str, list[_Form]]] = {"en": {}, "zh": {}}
        for language, of_first in forms.items():
            first: dict[tuple[str, ...], _Form] = {}
            for form in self._words(language):
                first.setdefault(form[0], form)
            for form in sorted(first.values(), key=lambda one: len(one[0]), reverse=True):
                of_first.setdefault(form[0][0], []).append(form)
        return forms

    def _words(self, language: Language) -> Iterator[_Form]:
        """All words, a thing's before a verb's where they are the same."""
        for thing in self.things.values():
            chinese = ((word, False) for word in thing.zh)
            for word, plural in english_forms(thing) if language == "en" else chinese:
                yield _key(word, language), "thing", thing.name, plural
        for verb, of_verb in self.verbs.items():
            for word in of_verb[language]:
                yield _key(word, language), "verb", verb, False
        for word in self.ignored[language]:
            yield _key(word, language), "ignored", word, False


def english_forms(thing: Thing) -> Iterator[tuple[str, bool]]:
    """The words for a thing, and whether each is a plural."""
    yield thing.name, thing.pair
    if thing.plural != thing.name:
        yield thing.plural, True
    others = set(thing.also)
    for word in thing.also:
        # Listed after its singular, or ending as only plurals do.
        plural = word in {plural_of(one) for one in others} | {plural_of(thing.name)}
        yield word, plural or thing.pair or word in _IRREGULAR


_IRREGULAR = frozenset(["people", "cattle", "geese", "oxen", "gentlemen", "schoolchildren"])


def _key(word: str, language: Language) -> tuple[str, ...]:
    return tuple(tokens_of(word, language))


def _frozen(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(one) if isinstance(one, list) else one for name, one in entry.items()}


def read_lexicon(file: Path | None = None) -> Lexicon:
    """Reads a lexicon; none: the one that comes with the package. Raises DataError if the file
    cannot be read, or an entry is wrong."""
    file = file or Path(__file__).with_name("lexicon.toml")
    try:
        return Lexicon(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{error}"
        raise DataError(
            Text(
                f"{file} is no lexicon ({reason}), expected a TOML file like the package's "
                "lexicon.toml: correct it",
                f"{file} 不是词表（{reason}）；应为与自带的 lexicon.toml 同样结构的 TOML 文件；"
                "请改正",
            )
        ) from None


def ngrams(tokens: Sequence[str], longest: int) -> Iterable[tuple[str, ...]]:
    """All runs of one to `longest` tokens."""
    for length in range(1, longest + 1):
        for start in range(len(tokens) - length + 1):
            yield tuple(tokens[start : start + length])
