"""Questions about one's own documents, in quote mode: what is answered, and how well.

    python benchmarks/quoting.py [SET ...] [--rules] [--show]

The sets are in benchmarks/reading: 16 to 24 documents each (leases, minutes, manuals, letters,
entries of an encyclopedia; tables of clubs, shops and farms; half of them in Chinese) and 120 to
200 questions as people ask them, written for this by language models, without templates; all of it
is made up. A third or more of the questions have no answer in the documents: they ask for another
fact about something that is there, or for the same fact about something that is not.

"family", "shared_computer" and "tables_family" are for testing: nothing was trained on them or
chosen with them, but for two rules that were written after a look at their mistakes: that the rules
answer no "why", and that a row that is quoted shares a word with the question. The threshold of
rag/reading.py was chosen with "knowledge" and "mixed", the rules for tables were written with
"tables_clubs" and "tables_work" in mind, and the reader was trained on the others
(tools/seesay_reader.py).

Prints for each language: answerable questions whose answer holds the expected words; those with
another answer; those without one, and how many of these have the expected words in one of the
nearest sentences; and unanswerable questions that were answered all the same. Questions of the kind
"computed", which the reader is trained not to answer, are not asked. `--rules` leaves out the
reader.
"""

import argparse
import json
import re
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from seesay.data.spelling import fold
from seesay.rag import answer as answering
from seesay.rag.answer import ask
from seesay.rag.claims import CitedAnswer
from seesay.search.collection import Collection
from seesay.search.indexing.options import IndexOptions

SETS = Path(__file__).parent / "reading"
TEST = ("family", "shared_computer", "tables_family")
FITTED = ("knowledge", "mixed", "tables_clubs", "tables_work")
_CENT = 0.006
_YES_NO = {"yes": ("yes", "是", "有"), "no": ("no", "否", "没有", "无", "未")}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question, and what a right answer holds; nothing if there is none."""

    question: str
    language: str
    kind: str
    expected: tuple[str, ...] = ()
    file: str = ""
    sentence: str = ""


def read_set(name: str) -> tuple[dict[str, str], list[Asked]]:
    """Returns the documents of a set by their names, and its questions."""
    known = json.loads((SETS / f"{name}.json").read_text(encoding="utf-8"))
    questions = [
        Asked(**one | {"expected": tuple(one.get("expected", ()))}) for one in known["questions"]
    ]
    return known["documents"], questions


def indexed(documents: dict[str, str], folder: Path, *, words_first: bool = False) -> Collection:
    """Returns an open collection of the documents, without vectors with `words_first`."""
    files = folder / "files"
    files.mkdir(parents=True)
    for name, text in documents.items():
        (files / name).write_text(text, encoding="utf-8")
    collection = Collection.open(folder / "collection", create=True)
    collection.index([files], IndexOptions(words_first=words_first))
    return collection


def plain(text: str) -> str:
    return "".join(fold(text).replace(",", "").split())


def is_right(text: str, asked: Asked) -> bool:
    """Whether an answer holds one of the expected ones, with all of its parts."""
    return any(all(_has(text, part) for part in one.split("; ")) for one in asked.expected)


def _has(text: str, expected: str) -> bool:
    """Whether a text has the expected words, or the number to two decimals."""
    if expected in _YES_NO:
        said = re.findall(r"\w+", fold(text))
        return any(one in said for one in _YES_NO[expected])
    if re.fullmatch(r"-?\d+(?:\.\d+)?", expected):
        numbers = re.findall(r"-?\d+(?:\.\d+)?", fold(text).replace(",", ""))
        return any(abs(float(one) - float(expected)) < _CENT for one in numbers)
    return plain(expected) in plain(text)


def outcome_of(answer: CitedAnswer, asked: Asked) -> str:
    if answer.claims:
        said = "\n".join(one.text.removeprefix(asked.question) for one in answer.claims)
        return "right" if is_right(said, asked) else "wrong"
    near = any(is_right(one.text, asked) for one in answer.nearest)
    return "near" if near else "not found"


def measure(name: str, *, show: bool) -> None:
    """Asks all questions of a set and prints the outcome."""
    documents, questions = read_set(name)
    found: Counter[tuple[str, bool, str]] = Counter()
    seconds = []
    with TemporaryDirectory() as folder, closing(indexed(documents, Path(folder))) as collection:
        for asked in (one for one in questions if one.kind != "computed"):
            answer = ask(asked.question, collection)
            outcome = outcome_of(answer, asked)
            seconds.append(answer.seconds)
            found[asked.language, bool(asked.expected), outcome] += 1
            if show and outcome != ("right" if asked.expected else "not found"):
                print(f"  {outcome}: {asked.question} | {asked.sentence} | {answer.text}")
    for language in ("en", "zh"):
        of = {kind: found[language, True, kind] for kind in ("right", "wrong", "near", "not found")}
        answered, silent = (found[language, False, kind] for kind in ("wrong", "not found"))
        print(
            f"{name} {language}: of {sum(of.values())} answerable {of['right']} right, "
            f"{of['wrong']} wrong, {of['near'] + of['not found']} not found ({of['near']} near); "
            f"of {answered + silent} unanswerable {answered} answered"
        )
    print(f"{name}: {np.median(seconds):.2f} s for a question (median)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=TEST)
    parser.add_argument("--rules", action="store_true", help="leave out the reader")
    parser.add_argument("--show", action="store_true", help="also what went wrong")
    given = parser.parse_args()
    if given.rules:
        answering.read = lambda *_: []
    for name in given.sets:
        measure(name, show=given.show)


if __name__ == "__main__":
    main()
