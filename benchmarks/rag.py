"""Answers from a collection of documents with known facts, in quote mode, by kind of document.

    python benchmarks/rag.py [--pages 300] [--questions 120] [--languages en zh] [--folder KEPT]
    python benchmarks/rag.py --peer peers/bin/python   # LangChain with Chroma, in one run
    python benchmarks/rag.py --compare                      # seesay-text against the main model
    python benchmarks/rag.py --fit                          # the weights of rag/quoting.py

The documents are made here (rag_documents.py): PDF, DOCX and Markdown, scanned pages, tables,
photographs, and videos with subtitles. A quarter of the questions asks for what is in no document;
most of these name a place that is there and a fact that is not. `--fit` fits the weights to other
documents and questions, which leave out the third wording of each fact and of each question.
`--folder` keeps the documents and collections, so that a second run with the same numbers need not
index them again. The peer is a Python with LangChain:

    python -m venv --system-site-packages peers
    peers/bin/pip install langchain-core langchain-text-splitters langchain-chroma

It embeds with seesay-text too. Without a language model its answer is the nearest chunk. It answers
above a similarity that is chosen on the test questions themselves, in its favour: the lowest that
leaves 5 % of the unanswerable answered.

Prints for each language and kind: recall@5 of the right page (table, photograph, moment), answers
that hold the right value, citations that stand in the right place and hold it (precision),
answerable questions with such a citation (recall), unanswerable questions that were answered, and
seconds for a question. Goals: recall@5 and precision 0.95; of the unanswerable at most 0.05.
"""

import argparse
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rag_documents import KINDS, Asked, Maker

from seesay.rag.answer import ask
from seesay.rag.evidence import gather, rarity
from seesay.rag.facts import days, quantities
from seesay.rag.questions import Question
from seesay.rag.quoting import FEATURES, THRESHOLD, WEIGHTS, candidates
from seesay.search.collection import Collection
from seesay.search.indexing.options import IndexOptions

HERE = Path(__file__).parent
LANGUAGES = ("en", "zh")
TEST, DEVELOPMENT = 20261, 7
RIDGE = 0.3
ALLOWED = 0.05  # of the unanswerable answered
GOALS = {"recall@5": 0.95, "citation precision": 0.95, "unanswerable answered": -ALLOWED}


@dataclass(frozen=True, kw_only=True)
class Cited:
    """A place in a file that an answer rests on, or could."""

    path: str
    page: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    text: str = ""

    def is_of(self, asked: Asked) -> bool:
        """Whether it is the page, table, photograph or moment with the answer."""
        if asked.kind == "video":
            later = self.start_s is not None and self.start_s < (asked.seconds or 0.0) + 3
            shown = later and (self.end_s or 0.0) > (asked.seconds or 0.0)
            holding = squeezed(asked.statement) in squeezed(self.text)
            return Path(self.path).stem == Path(asked.file).stem and (shown or holding)
        return Path(self.path).name == asked.file and asked.page in (None, self.page)


@dataclass(frozen=True, kw_only=True)
class Given:
    """An answer, of this package or of the peer."""

    evidence: Sequence[Cited]
    citations: Sequence[Cited] = ()
    texts: Sequence[str] = ()
    seconds: float = 0.0


def ours(collection: Collection, question: str) -> Given:
    """The answer of this package in quote mode."""
    answer = ask(question, collection)
    evidence = [
        Cited(
            path=one.path, page=one.locator.page, start_s=one.locator.start_s,
            end_s=one.locator.end_s, text=one.text,
        )
        for one in answer.evidence
    ]  # fmt: skip
    citations = []
    for claim in answer.claims:
        for number in claim.evidence:
            quotes = [one.text for one in claim.quotes if one.evidence == number]
            text = " ".join(quotes) or claim.text
            citations.append(Cited(**asdict(evidence[number - 1]) | {"text": text}))
    texts = [one.text for one in answer.claims]
    return Given(evidence=evidence, citations=citations, texts=texts, seconds=answer.seconds)


def theirs(python: str, folder: Path, asked: Sequence[Asked]) -> list[Given]:
    """The answers of the peer."""
    command = [python, str(HERE / "peers" / "plain_rag.py"), str(folder)]
    source = str(HERE.parent / "src")
    done = subprocess.run(
        command,
        input=json.dumps([one.question for one in asked]),
        env={**os.environ, "PYTHONPATH": source},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    best = [one["score"][0] if one["score"] else 0.0 for one in found]
    none = sorted((s for s, one in zip(best, asked, strict=True) if not one.file), reverse=True)
    threshold = none[int(ALLOWED * len(none))] if none else 0.0
    given = []
    for score, one in zip(best, found, strict=True):
        evidence = [Cited(**place) for place in one["places"]]
        some = evidence[:1] if score > threshold else []
        texts = [place.text for place in some]
        given.append(Given(evidence=evidence, citations=some, texts=texts, seconds=one["seconds"]))
    return given


def holds(text: str, value: str) -> bool:
    """Whether a text has the value, in whatever form its numbers are written."""
    numbers, dates = quantities(value), days(value)
    if numbers or dates:
        given, when = quantities(text), days(text)
        return all(any(n.agrees(m) for m in given) for n in numbers) and all(
            any(d.is_covered_by(e) for e in when) for d in dates
        )
    return squeezed(value) in squeezed(text)


def answers(text: str, asked: Asked) -> bool:
    """Whether a text has the value that a question asks for."""
    scaled = bool(asked.scale) and holds(text, f"{asked.value} {asked.scale}")
    return holds(text, asked.value) or scaled


def squeezed(text: str) -> str:
    return "".join(re.findall(r"\w", text.lower()))


def measure(asked: Sequence[Asked], given: Sequence[Given], verbose: bool) -> dict[str, float]:
    """The figures for some questions with their answers."""
    pairs = [(one, answer) for one, answer in zip(asked, given, strict=True) if one.file]
    none = [answer for one, answer in zip(asked, given, strict=True) if not one.file]
    recalled = right = cited = good = found = 0
    for one, answer in pairs:
        recalled += any(place.is_of(one) for place in answer.evidence[:5])
        hits = [
            place
            for place in answer.citations
            if place.is_of(one) and (one.kind == "picture" or answers(place.text, one))
        ]
        is_right = any(answers(text, one) for text in answer.texts)
        right += bool(hits) if one.kind == "picture" else is_right
        cited, good, found = cited + len(answer.citations), good + len(hits), found + bool(hits)
        if verbose and not hits:
            place = one.file, one.page, one.statement or one.value
            print("  missed:", one.kind, one.question, "|", *place, "|", list(answer.texts))
    for one, answer in zip(asked, given, strict=True):
        if verbose and not one.file and answer.texts:
            print("  answered:", one.question, "|", list(answer.texts))
    figures = {}
    if pairs:
        figures = {
            "recall@5": recalled / len(pairs),
            "answers right": right / len(pairs),
            "citation precision": good / cited if cited else float("nan"),
            "citation recall": found / len(pairs),
        }
    if none:
        figures["unanswerable answered"] = sum(bool(one.texts) for one in none) / len(none)
    seconds = float(np.median([one.seconds for one in given]))
    return figures | {"questions": len(asked), "seconds": seconds}


def report(name: str, asked: Sequence[Asked], given: Sequence[Given], verbose: bool) -> None:
    """Prints the figures for each kind of document and in all."""
    for kind in KINDS:
        some = [(a, g) for a, g in zip(asked, given, strict=True) if a.kind == kind]
        if some:
            figures = measure([a for a, _ in some], [g for _, g in some], False)
            shown = "  ".join(f"{key} {value:.3g}" for key, value in figures.items())
            print(f"{name} {kind:13}{shown}")
    for key, value in measure(asked, given, verbose).items():
        goal = GOALS.get(key)
        reached = goal is not None and (value <= -goal if goal < 0 else value >= goal)
        mark = "" if goal is None else f"  goal {abs(goal):g} {'reached' if reached else 'missed'}"
        print(f"{name} all: {key:24}{value:.3f}{mark}", flush=True)


def finding(collection: Collection, asked: Sequence[Asked]) -> Mapping[str, tuple[float, float]]:
    """Recall@5 and the mean reciprocal rank of the right page, by vectors alone and by all."""
    found = {}
    for name, retrievers in (("vectors", ("text",)), ("all fused", None)):
        ranks = []
        for one in asked:
            query = Question.of(one.question).query
            hits = collection.search(query, retrievers=retrievers, count=20).hits
            places = [
                Cited(path=hit.path, page=hit.locator.page, start_s=hit.locator.start_s,
                      end_s=hit.locator.end_s, text=hit.text or "")
                for hit in hits
            ]  # fmt: skip
            right = (rank for rank, place in enumerate(places, 1) if place.is_of(one))
            ranks.append(next(right, np.inf))
        found[name] = float(np.mean(np.array(ranks) <= 5)), float(np.mean(1 / np.array(ranks)))
    return found


def fit(sets: Sequence[tuple[str, Collection, Sequence[Asked]]]) -> None:
    """Prints weights: a logistic model of whether a sentence is the one that answers."""
    rows, right, owners = [], [], []
    for language, collection, asked in sets:
        for number, one in enumerate(asked):
            question = Question.of(one.question)
            rare, evidence = rarity(collection, [question]), gather(collection, question)
            for sentence in candidates(question, evidence, rare):
                rows.append(sentence.features)
                is_there = Path(sentence.evidence.path).name == one.file
                right.append(is_there and squeezed(one.statement) in squeezed(sentence.text))
                owners.append((language, number))
    x, y, weights = np.array(rows), np.array(right, float), np.zeros(len(FEATURES))
    for _ in range(100):  # Newton's method, with a little ridge; from zero it converges
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (y - p) - RIDGE * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(len(weights))
        weights = weights + np.linalg.solve(curve, gradient)
    print("weights", dict(zip(FEATURES, weights.round(2).tolist(), strict=True)))
    for name, some in (("before", np.array(WEIGHTS)), ("fitted", weights)):
        p = 1 / (1 + np.exp(-np.clip(x @ some, -30, 30)))
        best: dict[tuple[str, int], tuple[float, bool]] = {}
        for owner, is_right, probability in zip(owners, right, p, strict=True):
            best[owner] = max(best.get(owner, (0.0, False)), (float(probability), bool(is_right)))
        for language, _, asked in sets:
            answers = [best.get((language, n), (0.0, False)) for n in range(len(asked))]
            thresholds(f"{name} {language}", answers, asked)


def thresholds(name: str, best: Sequence[tuple[float, bool]], asked: Sequence[Asked]) -> None:
    """Prints which share of the questions the best sentence answers above some thresholds."""
    pairs = [*zip(best, asked, strict=True)]
    none = sorted((p for (p, _), one in pairs if not one.file), reverse=True)
    for share in (0.0, 0.03, ALLOWED):
        threshold = none[int(share * len(none))]
        kept = np.mean([ok and p > threshold for (p, ok), one in pairs if one.file])
        print(f"{name}: above {threshold:.3f}, {share:.0%} of none, {kept:.3f}")


def collections(
    given: argparse.Namespace, folder: Path, text_model: str | None = None
) -> Iterator[tuple[str, Collection, list[Asked], Path]]:
    """Yields for each language an indexed collection, its questions, and the folder of files."""
    seed, wordings = (DEVELOPMENT, 2) if given.fit else (given.seed, 3)
    for language in given.languages:
        place = folder / f"{language}-{seed}-{given.pages}-{given.questions}"
        files, known = place / "files", place / "asked.json"
        if known.is_file():
            asked = [Asked(**one) for one in json.loads(known.read_text(encoding="utf-8"))]
        else:
            files.mkdir(parents=True)
            asked = Maker(language, seed, wordings).make(files, given.pages, given.questions)
            rows = [asdict(one) for one in asked]
            known.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        collection = Collection.open(
            place / f"collection-{text_model or 'default'}", create=True, text_model=text_model
        )
        start = time.perf_counter()
        done = collection.index(files, IndexOptions(workers=1))
        seconds = time.perf_counter() - start
        counts = f"{len(asked)} questions, {done.texts} texts and {done.images} pictures embedded"
        print(f"{language}: {counts} in {seconds:.0f} s, {done}", flush=True)
        yield language, collection, asked, files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--questions", type=int, default=120)
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES, default=LANGUAGES)
    parser.add_argument("--seed", type=int, default=TEST, help="of the documents and questions")
    parser.add_argument("--folder", type=Path, help="keeps the documents and collections")
    parser.add_argument("--peer", help="a Python with langchain-chroma")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        if given.fit:
            fit([made[:3] for made in collections(given, folder)])
            return
        for model in ("seesay-text", "none") if given.compare else (None,):
            for language, opened, asked, files in collections(given, folder, model):
                with closing(opened) as collection:
                    if given.compare:
                        some = [one for one in asked if one.file and one.kind != "picture"]
                        for name, (recall, rank) in finding(collection, some).items():
                            print(
                                f"{language} {model} {name}: recall@5 {recall:.3f}, MRR {rank:.3f}"
                            )
                        continue
                    answers = [ours(collection, one.question) for one in asked]
                    report(f"{language} ours", asked, answers, given.verbose)
                if given.peer:
                    report(f"{language} peer", asked, theirs(given.peer, files, asked), False)
    print(f"threshold {THRESHOLD}")


if __name__ == "__main__":
    main()
