"""Questions about labelled objects as POPE builds them (Li et al. 2023, arXiv 2305.10355).

A picture with at least k kinds of objects is asked about k of them, and about k that it does not
have, in turn. The strategy draws the absent ones: `random` among all, `popular` the most frequent
of the data set, `adversarial` those most often together with the object asked before.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from seesay.data.questions.asking import NO, YES, Draw, QuestionPair
from seesay.data.questions.facts import Facts
from seesay.data.questions.lexicon import Lexicon, Thing
from seesay.text import Language

Strategy = Literal["random", "popular", "adversarial"]


class Pope:
    """Chooses the objects that are asked about.

    Args:
        things: by name, what the objects of the facts are.
        facts: of all records; frequencies are counted over their objects.
        objects: k, how many present and how many absent objects are asked about.
    """

    def __init__(
        self,
        things: Mapping[str, Thing],
        facts: Sequence[Facts],
        *,
        strategy: Strategy,
        objects: int,
        seed: int,
    ) -> None:
        self._things, self._strategy, self._objects = things, strategy, objects
        self._draw = Draw(seed)
        self._images: Counter[str] = Counter()
        self._together: Counter[tuple[str, str]] = Counter()
        for one in facts:
            names = set(one.objects)
            self._images.update(names)
            self._together.update((a, b) for a in names for b in names)

    def questions(
        self, lexicon: Lexicon, facts: Facts, languages: Iterable[Language]
    ) -> Iterator[QuestionPair]:
        """The questions about a record in each language; none if it has too few objects or lacks
        too few."""
        pairs = self.pairs(facts, self._objects)
        for language in languages:
            if language == "zh" and not all(self._things[n].zh for pair in pairs for n in pair):
                continue
            template = lexicon.phrasings["pope"][language][0]
            for pair in pairs:
                for name, answer in zip(pair, (YES, NO), strict=True):
                    thing = self._things[name]
                    question = template.format(
                        Is="Are" if thing.pair else "Is",
                        a=thing.label_with_article,
                        zh=thing.zh[0] if thing.zh else "",
                    )
                    told = answer.in_language(language)
                    yield QuestionPair(
                        question=question, answer=told, kind="pope", language=language
                    )

    def pairs(
        self, facts: Facts, least: int, left: Counter[str] | None = None
    ) -> list[tuple[str, str]]:
        """Returns up to k objects of a record, each with one that it does not have; none if there
        are fewer than `least` of either. `left` says how often each may still be the absent one;
        what is returned is taken off."""
        present = sorted(set(facts.objects), key=lambda one: self._draw(facts.key, "pope", one))
        # Annotators leave things out, too; what captions mention is not asked about as absent.
        absent = [one for one in self._images if one not in facts.present]
        if left is not None:
            absent = [one for one in absent if left[one] > 0]
        if (most := min(len(present), len(absent))) < least:
            return []
        pairs = []
        for name in present[: min(self._objects, most)]:
            other = min(absent, key=lambda one: self._rank(facts.key, name, one))
            absent.remove(other)
            if left is not None:
                left[other] -= 1
            pairs.append((name, other))
        return pairs

    def _rank(self, key: str, name: str, other: str) -> tuple[int, float]:
        """The smallest is asked about; equal ones are drawn."""
        draw = self._draw(key, "absent", other)
        if self._strategy == "popular":
            return -self._images[other], draw
        if self._strategy == "adversarial":
            return -self._together[name, other], draw
        return 0, draw
