"""Answers from a collection of documents with known facts, in quote mode.

    python benchmarks/rag.py [--documents 120] [--questions 120] [--fit]

Each document is made of real sentences (this project's pages and Flickr8k's captions) and holds a
few facts about one invented place; notes hold captions of photographs. A quarter of the questions
asks for what is in no document: most of these name a place that is there and a fact that is not.
`--fit` fits the weights of `rag/quoting.py` to other documents and questions, which leave out the
third wording of each fact and of each question.

Prints for each language: recall@5 of the passage with the fact, answers that hold the right value,
citations that hold it (precision), answerable questions with such a citation (recall),
unanswerable questions that were answered, and seconds for a question. Goals: recall@5 and precision
0.95; of the unanswerable at most 0.05.
"""

import argparse
import json
import random
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from no_good_match import DATA

from seesay.rag.answer import ask, text_vectors
from seesay.rag.claims import CitedAnswer
from seesay.rag.evidence import gather, rarity
from seesay.rag.facts import days, quantities
from seesay.rag.questions import Question
from seesay.rag.quoting import FEATURES, THRESHOLD, WEIGHTS, candidates
from seesay.rag.sentences import sentences
from seesay.search.collection import Collection
from seesay.text import detect_language
from texts_in_a_collection import make_collection

HERE = Path(__file__).parent
PAGES = HERE.parent / "docs"
LANGUAGES = ("en", "zh")
TEST, DEVELOPMENT = 20261, 7
UNANSWERABLE = 0.25
HARD = 0.7  # of the unanswerable: about a place that is there
RIDGE = 0.3
GOALS = {"recall@5": 0.95, "citation precision": 0.95, "unanswerable answered": -0.05}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question with its answer, empty if there is none."""

    question: str
    value: str = ""
    statement: str = ""
    """The sentence with the answer, as it stands in a document."""


class Answerer(Protocol):
    """What answers questions about a folder: this package, or another one to compare it with."""

    def answer(self, question: str) -> CitedAnswer: ...


class Ours:
    """This package in quote mode."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    def answer(self, question: str) -> CitedAnswer:
        return ask(question, self.collection)


def prose(language: str) -> list[str]:
    """Real sentences without numbers: of this project's pages, and captions."""
    found = []
    for page in sorted((PAGES / language).glob("*.md")):
        text = re.sub(r"```.*?```|<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.S)
        lines = [one for one in text.splitlines() if one and one[0] not in "#|-<>`[ !"]
        for line in lines:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", line)
            found += [plain[a:b] for a, b in sentences(plain) if b - a > 20]
    return found


def captions(language: str) -> list[str]:
    """Captions of photographs, without a number."""
    with tarfile.open(DATA) as archive:
        files = [one for one in archive if one.name.endswith(".json")][:400]
        texts = [json.load(archive.extractfile(one))[language] for one in files]  # type: ignore[arg-type]
    return [text for some in texts for text in some if not quantities(text)]


class Maker:
    """Makes documents and questions of a language."""

    def __init__(self, language: str, seed: int, wordings: int) -> None:
        self.random = random.Random(f"{language} {seed}")
        self.language, self.wordings = language, wordings
        self.words: dict[str, Any] = json.loads((HERE / "rag.json").read_text())[language]
        self.prose, self.captions = prose(language), captions(language)

    def make(self, documents: int, questions: int) -> tuple[dict[str, str], list[Asked]]:
        """Returns documents by name, and the questions."""
        written: dict[str, str] = {}
        places = [
            f"{p} {t}" if self.language == "en" else p + t
            for p in self.words["places"]
            for t in self.words["things"]
        ]
        self.random.shuffle(places)
        there, absent = places[:documents], places[documents:]
        relations = [name for name in self.words["relations"] if name != "photo"]
        known: list[Asked] = []
        missing: list[Asked] = []
        for number, place in enumerate(there):
            some = self.random.sample(relations, 4)
            facts = [self._fact(name, place) for name in some]
            known += facts
            others = [name for name in relations if name not in some]
            missing += [Asked(question=self._asks(name, place)) for name in others]
            written[f"/{number:03d}.txt"] = self._among([one.statement for one in facts])
        for number in range(documents // 4):
            photo = f"IMG-{4000 + 7 * number}"
            fact = self._fact("photo", photo)
            known.append(fact)
            written[f"/note-{number:03d}.txt"] = self._among([fact.statement])
        unknown = [
            Asked(question=self._asks(self.random.choice(relations), place)) for place in absent
        ]
        count = round(questions * UNANSWERABLE)
        hard = round(count * HARD)
        chosen = self.random.sample(known, questions - count)
        chosen += self.random.sample(missing, hard) + self.random.sample(unknown, count - hard)
        self.random.shuffle(chosen)
        return written, chosen

    def _fact(self, name: str, place: str) -> Asked:
        relation = self.words["relations"][name]
        value = self._value(relation["expects"])
        said = self.random.choice(relation["says"][: self.wordings])
        statement = said.replace("{E}", place).replace("{V}", value)
        return Asked(question=self._asks(name, place), value=value, statement=statement)

    def _asks(self, name: str, place: str) -> str:
        asks = self.words["relations"][name]["asks"][: self.wordings]
        return self.random.choice(asks).replace("{E}", place)

    def _value(self, expects: str) -> str:
        draw, chinese = self.random.randint, self.language == "zh"
        if expects in self.words:
            return self.random.choice(self.words[expects])
        if expects == "caption":
            return self.random.choice(self.captions)
        if expects == "money":
            return f"{draw(2, 90)} 万元" if chinese else f"{draw(2, 90)} thousand euros"
        numbers = {
            "year": f"{draw(1820, 2019)}",
            "count": f"{draw(11, 240)}",
            "thousands": f"{draw(3, 90)},{draw(100, 999)}",
            "metres": f"{draw(12, 95)} 米" if chinese else f"{draw(12, 95)} metres",
            "percent": f"{draw(2, 60)}%" if self.random.random() < 0.5 else "",
            "minutes": f"{draw(20, 95)} 分钟" if chinese else f"{draw(20, 95)} minutes",
            "price": f"{draw(3, 40)} 元" if chinese else f"{draw(3, 40)} euros",
            "degrees": f"{draw(4, 19)} 摄氏度" if chinese else f"{draw(4, 19)} degrees",
        }
        percent = draw(2, 60)
        return numbers[expects] or (f"百分之{percent}" if chinese else f"{percent} percent")

    def _among(self, facts: Sequence[str]) -> str:
        """Returns facts among real sentences, in paragraphs."""
        space = "" if self.language == "zh" else " "
        paragraphs = []
        for fact in facts:
            around = self.random.sample(self.prose, 3) + self.random.sample(self.captions, 2)
            around.insert(self.random.randint(0, 5), fact)
            paragraphs.append(space.join(around))
        return "\n\n".join(paragraphs)


def holds(text: str, value: str) -> bool:
    """Whether a text has the value, in whatever form its numbers are written."""
    numbers, dates = quantities(value), days(value)
    if numbers or dates:
        given, when = quantities(text), days(text)
        return all(any(n.agrees(m) for m in given) for n in numbers) and all(
            any(d.is_covered_by(e) for e in when) for d in dates
        )
    return squeezed(value) in squeezed(text)


def squeezed(text: str) -> str:
    return "".join(re.findall(r"\w", text.lower()))


def measure(answerer: Answerer, asked: Sequence[Asked]) -> dict[str, float]:
    recalled = right = cited = good = found = wrong = 0
    seconds = []
    for one in asked:
        answer = answerer.answer(one.question)
        seconds.append(answer.seconds)
        if not one.value:
            wrong += answer.status == "answered"
            if answer.status == "answered" and VERBOSE:
                print("  answered:", one.question, "|", answer.claims[0].text)
            continue
        gold = squeezed(one.statement)
        holding = {e.id for e in answer.evidence if gold in squeezed(e.text)}
        recalled += bool(holding & {e.id for e in answer.evidence[:5]})
        is_right = any(holds(claim.text, one.value) for claim in answer.claims)
        right += is_right
        if not is_right and VERBOSE:
            given = [claim.text for claim in answer.claims]
            print("  missed:", one.question, "|", one.statement, "|", given, sorted(holding))
        quotes = [quote for claim in answer.claims for quote in claim.quotes]
        cited += len(quotes)
        hits = [quote for quote in quotes if gold in squeezed(quote.text)]
        good += len(hits)
        found += bool(hits)
    answerable = sum(bool(one.value) for one in asked)
    return {
        "recall@5": recalled / answerable,
        "answers right": right / answerable,
        "citation precision": good / max(cited, 1),
        "citation recall": found / answerable,
        "unanswerable answered": wrong / (len(asked) - answerable),
        "seconds": float(np.median(seconds)),
    }


def fit(sets: Sequence[tuple[Collection, Sequence[Asked]]]) -> None:
    """Prints weights: a logistic model of whether a sentence is the one that answers."""
    rows, right, groups = [], [], []
    for collection, asked in sets:
        embed = text_vectors(collection)
        for one in asked:
            question = Question.of(one.question)
            rare = rarity(collection, [question])
            for sentence in candidates(question, gather(collection, question), rare, embed):
                rows.append(sentence.features)
                right.append(bool(one.value) and squeezed(one.statement) in squeezed(sentence.text))
                groups.append(one.question)
    x, y, weights = np.array(rows), np.array(right, float), np.array(WEIGHTS, float)
    for _ in range(100):  # Newton's method, with a little ridge
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (y - p) - RIDGE * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(len(weights))
        weights = weights + np.linalg.solve(curve, gradient)
    print("weights", dict(zip(FEATURES, weights.round(2).tolist(), strict=True)))
    p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
    best: dict[str, tuple[float, bool]] = {}
    for group, is_right, probability in zip(groups, right, p, strict=True):
        best[group] = max(best.get(group, (0.0, False)), (float(probability), is_right))
    for language in (*LANGUAGES, "both"):
        some = [
            one
            for _, asked in sets
            for one in asked
            if language in ("both", detect_language(one.question))
        ]
        none = sorted(best.get(o.question, (0.0, False))[0] for o in some if not o.value)[::-1]
        known = [best.get(one.question, (0.0, False)) for one in some if one.value]
        for share in (0.0, 0.03, 0.05):
            threshold = none[int(share * len(none))]
            kept = np.mean([is_right and p > threshold for p, is_right in known])
            print(f"{language}: above {threshold:.3f}, {share:.0%} of none, {kept:.3f} right")


def collections(
    folder: Path, seed: int, wordings: int, documents: int, questions: int
) -> Iterator[tuple[str, Collection, list[Asked]]]:
    """Yields an indexed collection with its questions for each language."""
    for language in LANGUAGES:
        documents_here, asked = Maker(language, seed, wordings).make(documents, questions)
        print(f"{language}: {len(documents_here)} documents, {len(asked)} questions", flush=True)
        collection = make_collection(folder / f"{language}-{seed}", documents_here)
        yield language, collection, asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--questions", type=int, default=120)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    global VERBOSE
    VERBOSE = given.verbose
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if given.fit:
            made = collections(folder, DEVELOPMENT, 2, given.documents, 2 * given.questions)
            fit([(collection, asked) for _, collection, asked in made])
            return
        sizes = given.documents, given.questions
        for language, collection, asked in collections(folder, TEST, 3, *sizes):
            figures = measure(Ours(collection), asked)
            print(f"{language}, threshold {THRESHOLD}")
            for name, value in figures.items():
                goal = GOALS.get(name)
                reached = goal is not None and (value <= -goal if goal < 0 else value >= goal)
                mark = (
                    ""
                    if goal is None
                    else f"  goal {abs(goal):g} {'reached' if reached else 'missed'}"
                )
                print(f"  {name:24}{value:.3f}{mark}")


VERBOSE = False

if __name__ == "__main__":
    main()
