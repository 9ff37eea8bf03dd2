"""Questions with an answer that is true and one that is not, to learn to see only what is there.

What differs is an object that is not in the picture, drawn as POPE's adversarial questions do (Li
et al. 2023, arXiv 2305.10355): the one that is most often together with one that is. No object that
may be in the picture is ever said to be absent.

Each object is asked about as often where it is as where it is not: otherwise a model learns from
the word alone that there is a person and no bowl.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from seesay.data.questions.asking import NO, YES, Draw, QuestionPair
from seesay.data.questions.facts import Facts
from seesay.data.questions.lexicon import Lexicon, Thing
from seesay.data.questions.pope import Pope
from seesay.text import Language

LISTED = 4
"""Most objects that an answer lists."""


class Preferences:
    """Asks whether objects are there, about each as often where it is as where it is not; and
    which ones there are, where the rejected answer has one swapped or inserted.

    Args:
        lexicon: the phrasings.
        things: by name, what the objects of the facts are.
        facts: of all records. Where nobody labelled objects, those are asked about that captions
            agree on.
        objects: k, how many present and how many absent objects are asked about.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        things: Mapping[str, Thing],
        facts: Sequence[Facts],
        *,
        objects: int,
        seed: int,
    ) -> None:
        self._lexicon, self._things = lexicon, things
        self._draw = Draw(seed)
        ready = [self._with_objects(one) for one in facts]
        self._facts = {one.key: one for one in ready}
        pope = Pope(things, ready, strategy="adversarial", objects=objects, seed=seed)
        # Otherwise the few objects that are often with others would be absent again and again.
        left = Counter(name for one in ready for name in set(one.objects))
        self._pairs = {one.key: pope.pairs(one, 1, left) for one in ready}
        self._presence = self._balanced()

    def questions(self, facts: Facts, languages: Iterable[Language]) -> Iterator[QuestionPair]:
        """The questions about a record in each language; none if no object is known to be there, or
        to be absent."""
        for language in languages:
            for name, is_there in self._presence[facts.key]:
                if language == "zh" and not self._things[name].zh:
                    continue
                true, false = (YES, NO) if is_there else (NO, YES)
                yield QuestionPair(
                    question=self._asked("presence", facts.key, name, language),
                    answer=true.in_language(language),
                    rejected=false.in_language(language),
                    kind="presence",
                    language=language,
                )
            for pair in self._pairs[facts.key]:
                if language == "en" or all(self._things[name].zh for name in pair):
                    yield from self._lists(facts.key, pair, language)
                    break

    def _balanced(self) -> dict[str, list[tuple[str, bool]]]:
        """Returns the objects to ask about for each record, and whether each is present. Surplus
        questions are dropped at random until every object is present as often as absent."""
        present, absent = (
            Counter(pair[side] for pairs in self._pairs.values() for pair in pairs)
            for side in (0, 1)
        )
        left = {is_there: present & absent for is_there in (True, False)}
        asked: dict[str, list[tuple[str, bool]]] = {key: [] for key in self._pairs}
        for key in sorted(self._pairs, key=lambda one: self._draw(one, "balanced")):
            for pair in self._pairs[key]:
                for name, is_there in zip(pair, (True, False), strict=True):
                    if left[is_there][name] > 0:
                        left[is_there][name] -= 1
                        asked[key].append((name, is_there))
        return asked

    def _with_objects(self, facts: Facts) -> Facts:
        """What may be there counts as present."""
        names = set(facts.objects)
        if not names and facts.captioned:
            asked = {name for name in facts.present if self._is_object(name)}
            names = {n for n in asked if not any(n in self._general(m) for m in asked - {n})}
        known = facts.open | {general for name in names for general in self._general(name)}
        return replace(facts, objects=tuple(sorted(names)), present=known | names)

    def _is_object(self, name: str) -> bool:
        thing = self._things[name]
        return thing.asked and thing.where is None and thing.category not in ("sport", "class")

    def _general(self, name: str) -> frozenset[str]:
        return self._lexicon.lineage(name) if name in self._lexicon.things else frozenset()

    def _lists(self, key: str, pair: tuple[str, str], language: Language) -> Iterator[QuestionPair]:
        """What is there, and the same with the absent object in place of the present one, and
        beside it."""
        present, absent = pair
        known = [n for n in set(self._facts[key].objects) if language == "en" or self._things[n].zh]
        others = sorted(set(known) - {present}, key=lambda one: self._draw(key, "listed", one))
        names = sorted(
            [present, *others[: LISTED - 1]], key=lambda one: self._draw(key, "order", one)
        )
        swapped = [absent if one == present else one for one in names]
        inserted = list(names)
        inserted.insert(int(self._draw(key, "place", absent) * (len(names) + 1)), absent)
        for kind, wrong in (("swapped", swapped), ("inserted", inserted)):
            yield QuestionPair(
                question=self._asked("list", key, kind, language),
                answer=self._listed(names, language),
                rejected=self._listed(wrong, language),
                kind=kind,
                language=language,
            )

    def _asked(self, kind: str, key: str, name: str, language: Language) -> str:
        phrasings = self._lexicon.phrasings[kind][language]
        text = self._draw.choose(phrasings, key, language, kind, name)
        if name not in self._things:
            return text
        thing = self._things[name]
        return text.format(
            Is="Are" if thing.pair else "Is",
            a=thing.with_article,
            zh=thing.zh[0] if thing.zh else "",
        )

    def _listed(self, names: Sequence[str], language: Language) -> str:
        things = [self._things[name] for name in names]
        if language == "zh":
            words, comma, last = [thing.zh[0] for thing in things], "、", "和"
        else:
            words, comma, last = [thing.with_article for thing in things], ", ", " and "
        text = last.join([comma.join(words[:-1]), words[-1]] if len(words) > 1 else words)
        return self._lexicon.phrasings["listed"][language][0].format(things=text)
