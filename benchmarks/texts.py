"""How well passages of text are found, with the text embedder and with the main model alone.

    python benchmarks/texts.py [--photographs 1000] [--queries 200] [--model seesay-base]
        [--text-model seesay-text]

Passages: the first caption of each photograph of Flickr8k's dev split, in a collection for each
language, searched by the second caption of the same photograph in the same and in the other
language; and the sections of this project's pages, searched by questions (questions.json). Each is
indexed as a text file, once with the text embedder and once with the main model alone, and searched
by vectors alone, by keywords alone, and by everything fused.
"""

import argparse
import json
import re
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from seesay.search.collection import Collection
from seesay.search.indexing.options import IndexOptions

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "flickr8k-bilingual"
DEPTHS = (1, 5, 10)
LANGUAGES = ("en", "zh")

Asked = list[tuple[str, str]]
"""Queries, each with the name of the file that answers it."""


def captions(photographs: int) -> list[dict[str, list[str]]]:
    found = []
    for file in sorted(DATA.glob("dev-*.tar")):
        with tarfile.open(file) as archive:
            for member in archive:
                if member.name.endswith(".json") and (stream := archive.extractfile(member)):
                    found.append(json.load(stream))
    return found[:photographs]


def sections(language: str) -> dict[str, str]:
    """The sections of the pages, by page and number."""
    found = {}
    for page in sorted((ROOT / "docs" / language).glob("*.md")):
        parts = re.split(r"^#+ ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        found |= {
            f"{page.stem}-{number}": part for number, part in enumerate(parts) if part.strip()
        }
    return found


def questions(language: str) -> Asked:
    """The questions in this language; sections have the same numbers in both languages."""
    rows = json.loads((ROOT / "benchmarks" / "questions.json").read_text(encoding="utf-8"))
    english = sections("en")
    numbers = {
        (name.rpartition("-")[0], text.partition("\n")[0].strip()): name
        for name, text in english.items()
    }
    return [
        (row[language], numbers[key])
        for row in rows
        if (key := (row["page"].removesuffix(".md"), row["heading"])) in numbers
    ]


def write(folder: Path, texts: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def recall(collection: Collection, asked: Asked, retrievers: Sequence[str] | None) -> list[float]:
    """The share of queries whose file is among the first 1, 5 and 10."""
    ranks = []
    for query, wanted in asked:
        hits = collection.search(query, retrievers=retrievers, count=max(DEPTHS)).hits
        names = [Path(hit.path).stem for hit in hits]
        ranks.append(names.index(wanted) if wanted in names else max(DEPTHS))
    return [sum(rank < depth for rank in ranks) / len(ranks) for depth in DEPTHS]


def measure(folder: Path, texts: Path, models: tuple[str, str], asked: dict[str, Asked]) -> None:
    model, text_model = models
    for embedder in (text_model, "none"):
        with Collection.open(
            folder / embedder.replace("/", "-"), create=True, model=model, text_model=embedder
        ) as collection:
            collection.model.get()
            if embedder != "none":
                collection.text_model.get()
            start = time.perf_counter()
            report = collection.index(texts, IndexOptions(workers=1))
            speed = report.texts / (time.perf_counter() - start)
            name = model if embedder == "none" else embedder
            print(f"{texts.name}: {report.texts} passages, {speed:.1f} passages/s with {name}")
            for about, some in asked.items():
                ways = {f"vectors of {name}": ("text",), "all fused": None}
                if embedder == "none":
                    ways["keywords"] = ("keyword",)
                for way, retrievers in ways.items():
                    found = recall(collection, some, retrievers)
                    figures = "  ".join(f"{share:.3f}" for share in found)
                    print(f"  {about:10} {way:26} {figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--model", default="seesay-base")
    parser.add_argument("--text-model", default="seesay-text")
    given = parser.parse_args()
    pairs = captions(given.photographs)
    print(f"{'':39} " + "  ".join(f"R@{depth:<3}" for depth in DEPTHS))
    for to in LANGUAGES:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            models = given.model, given.text_model
            texts = write(
                folder / f"captions {to}", {str(n): one[to][0] for n, one in enumerate(pairs)}
            )
            asked = {
                f"{own} -> {to}": [(one[own][1], str(n)) for n, one in enumerate(pairs)]
                for own in LANGUAGES
            }
            step = max(1, len(pairs) // given.queries)
            measure(folder, texts, models, {about: some[::step] for about, some in asked.items()})
            pages = write(folder / f"pages {to}", sections(to))
            asked = {f"{own} -> {to}": questions(own) for own in LANGUAGES}
            measure(folder / "p", pages, models, asked)


if __name__ == "__main__":
    main()
