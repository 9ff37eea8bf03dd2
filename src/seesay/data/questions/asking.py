"""Questions and answers from facts: which are asked of a picture, and in which words.

"Is there a dog?" is asked with the answers yes and no equally often for every thing, so that the
words alone tell nothing. What is asked with the answer no is drawn among what is certainly absent,
by how often it is there where the present things are (as POPE's adversarial questions do; Li et al.
2023, arXiv 2305.10355). Every draw is a hash of the seed and the record's key, so the order of the
records changes nothing.
"""

import hashlib
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from seesay.data.questions.facts import Fact, Facts
from seesay.data.questions.lexicon import Lexicon, Thing
from seesay.errors import ConfigError
from seesay.text import Language, Text

YES, NO = Text("yes", "有"), Text("no", "没有")


class Draw:
    """Numbers in (0, 1) that follow from the seed and names alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, *names: str) -> float:
        text = "\0".join((str(self._seed), *names)).encode(errors="surrogatepass")
        number = int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "little")
        return (number + 0.5) / 2**48

    def choose(self, options: Sequence[str], *names: str) -> str:
        return options[int(self(*names) * len(options))]


@dataclass(frozen=True, kw_only=True)
class QuestionPair:
    """A question with its answer."""

    question: str
    answer: str
    kind: str
    language: Language
    rejected: str = ""
    """An answer that is wrong; "" if none is given."""


@dataclass(frozen=True, kw_only=True)
class AskingConfig:
    """Limits and seed for making questions."""

    most: int = 12
    """Questions about each picture in each language; at most a quarter of them is answered yes, and
    as many no."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if self.most < 2:
            raise ConfigError(
                Text(
                    f"most={self.most} leaves no room for questions answered yes and no, expected "
                    "at least 2: raise it",
                    f"most={self.most} 放不下回答“有”和“没有”的问题各一个；至少为 2；请调大",
                )
            )


class Asking:
    """Chooses and words the questions about records.

    Args:
        lexicon: the phrasings.
        things: what questions are about, by name.
        facts: of all records; frequencies are counted over them.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        things: Mapping[str, Thing],
        facts: Sequence[Facts],
        config: AskingConfig,
    ) -> None:
        self._lexicon, self._things, self._config = lexicon, things, config
        self._draw = Draw(config.seed)
        self._each = max(1, config.most // 4)
        self._facts = facts
        self.yes, self.no = self._presence()
        self._ones = self._few_ones()

    def questions(self, facts: Facts, languages: Iterable[Language]) -> Iterator[QuestionPair]:
        """The questions about a record, mixed, in one language after the other."""
        yes, no = self.yes.get(facts.key, ()), self.no.get(facts.key, ())
        chosen = [Fact("presence", name, YES) for name in yes]
        chosen += [Fact("presence", name, NO) for name in no]
        others = [
            one
            for one in facts.answers
            if one.kind != "count" or one.answer.en != "one" or (facts.key, one.thing) in self._ones
        ]
        others.sort(key=lambda one: self._draw(facts.key, "which", one.kind, one.thing))
        chosen += others[: self._config.most - len(chosen)]
        chosen.sort(key=lambda one: self._draw(facts.key, "order", one.kind, one.thing))
        for language in languages:
            for fact in chosen:
                if language == "en" or self._things[fact.thing].zh:
                    yield self._worded(facts.key, fact, language)

    def _worded(self, key: str, fact: Fact, language: Language) -> QuestionPair:
        thing = self._things[fact.thing]
        phrasings = self._lexicon.phrasings.get(fact.kind) or self._lexicon.what[thing.category]
        text = self._draw.choose(phrasings[language], key, language, fact.kind, fact.thing)
        plural = fact.plural or thing.pair
        question = text.format(
            Is="Are" if thing.pair else "Is",
            a=thing.with_article,
            plural=thing.plural,
            noun=thing.plural if fact.plural and not thing.mass else thing.name,
            zh=thing.zh[0] if thing.zh else "",
            measure=thing.measure,
            **{"is": "are" if plural else "is"},
        )
        kind = "where" if fact.kind == "subject_where" else fact.kind
        answer = fact.answer.in_language(language)
        return QuestionPair(question=question, answer=answer, kind=kind, language=language)

    def _few_ones(self) -> set[tuple[str, str]]:
        """The records and things of which "one" is asked: as many as have the answer two, since
        most things are alone."""
        counts = [(f.key, a) for f in self._facts for a in f.answers if a.kind == "count"]
        twos = sum(answer.answer.en == "two" for _, answer in counts)
        ones = [(key, answer.thing) for key, answer in counts if answer.answer.en == "one"]
        kept = max(twos, len(counts) // 10)
        return set(heapq.nsmallest(kept, ones, key=lambda one: self._draw(*one, "one")))

    def _presence(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """By record, the things asked for with the answers yes and no."""
        asked = {name for name, thing in self._things.items() if thing.asked}
        shows = Counter(name for facts in self._facts for name in facts.present)
        yes: dict[str, list[str]] = defaultdict(list)
        for facts in self._facts:
            # Rare things first: otherwise almost every question would be about people.
            candidates = sorted(facts.present & asked)
            found = heapq.nsmallest(
                self._each,
                candidates,
                key=lambda one: _race(self._draw(facts.key, "yes", one), shows[one] ** -0.5),
            )
            for name in found:
                yes[name].append(facts.key)
        no = self._absent(yes, shows)
        for name, keys in yes.items():
            keys.sort(key=lambda key: self._draw(key, "keep", name))
            del keys[len(no.get(name, ())) :]
        return _by_key(yes), _by_key(no)

    def _absent(
        self, yes: Mapping[str, Sequence[str]], shows: Counter[str]
    ) -> dict[str, list[str]]:
        """By thing, as many records without it as were chosen with it, or as many as there are."""
        together: Counter[tuple[str, str]] = Counter()
        for facts in self._facts:
            together.update((one, other) for one in facts.present for other in facts.present)
        labels = {name for facts in self._facts for name in facts.objects}
        free = Counter({facts.key: self._each for facts in self._facts})
        chosen: dict[str, list[str]] = {}
        # Rare things first, while records still have room.
        for name in sorted(yes, key=lambda one: (len(yes[one]), one)):
            by_key = {}
            for facts in self._facts:
                if free[facts.key] and self._is_absent(name, facts, labels):
                    near = sum(together[name, one] / shows[one] for one in facts.present)
                    weight = near + 0.2 * shows[name] / len(self._facts)
                    by_key[facts.key] = _race(self._draw(facts.key, "no", name), weight)
            keys = heapq.nsmallest(len(yes[name]), by_key, key=lambda key: by_key[key])
            chosen[name] = keys
            free.subtract(keys)
        return chosen

    def _is_absent(self, name: str, facts: Facts, labels: set[str]) -> bool:
        if name in facts.open:
            return False
        if name in labels and facts.objects:
            return True
        if self._things[name].category == "class":
            return facts.label is not None and not _overlap(
                self._things[name], self._things[facts.label]
            )
        return facts.captioned and name in self._lexicon.things


def _overlap(one: Thing, other: Thing) -> bool:
    """Whether one name may mean the other: "cat" and "Egyptian cat"."""
    names = set(one.name.lower().split()), set(other.name.lower().split())
    if names[0] <= names[1] or names[1] <= names[0]:
        return True
    return any(a in b or b in a for a in one.zh for b in other.zh)


def _race(number: float, weight: float) -> float:
    """The time of an exponential clock: the smallest of several are drawn by weight, without
    replacement (Efraimidis and Spirakis 2006)."""
    return -math.log(number) / weight


def _by_key(by_thing: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    by_key: dict[str, list[str]] = defaultdict(list)
    for name, keys in by_thing.items():
        for key in keys:
            by_key[key].append(name)
    return by_key
