"""What the built-in models find.

    python benchmarks/built_in.py [--data ../shared/data] [--original FOLDER]

seesay-text: the first caption of each of the 1,000 photographs of Flickr8k's dev split against
those of the other language, and questions (questions.json) against the sections of this
project's pages.
`--original` is the model that it was made from, with its whole vocabulary:

    python tools/seesay_text.py e5-small-q4.bin FOLDER --whole
"""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import seesay
from seesay.inference.embedder import Embedder

ROOT = Path(__file__).parents[1]
DEPTHS = (1, 5, 10)
POINTS = 1.0
"""How far R@10 of captions may fall below the original's."""
ACROSS = ("zh", "en"), ("en", "zh")
WITHIN = ("zh", "zh"), ("en", "en")

Texts = dict[str, list[str]]


def captions(data: Path) -> Texts:
    """By language the first caption of every photograph."""
    dev = seesay.Retrieval(path=str(data / "flickr8k-bilingual" / "dev-*.tar"))
    return {one: [record.captions[one][0] for record in dev.records] for one in ("en", "zh")}


def sections(language: str) -> Iterator[tuple[str, str, str]]:
    """The page, the heading and the prose of every section of this project's pages."""
    for page in sorted((ROOT / "docs" / language).glob("*.md")):
        _title, *parts = re.split(r"^#+ ", page.read_text("utf-8"), flags=re.MULTILINE)[1:]
        for part in parts:
            heading, _, text = part.partition("\n")
            prose = re.sub(r"```.*?```|<!--.*?-->", " ", text, flags=re.DOTALL)
            yield page.name, heading, " ".join(prose.split())


def questions() -> tuple[list[dict[str, str]], list[int], Texts]:
    """Questions in both languages, where each is answered, and by language all sections."""
    twins = {one: list(sections(one)) for one in ("en", "zh")}
    if [page for page, _, _ in twins["en"]] != [page for page, _, _ in twins["zh"]]:
        raise SystemExit("the pages of the two languages do not have the same sections")
    asked = json.loads(Path(__file__).with_name("questions.json").read_text("utf-8"))
    places = {(page, heading): i for i, (page, heading, _) in enumerate(twins["en"])}
    answers = [places[one["page"], one["heading"]] for one in asked]
    texts = {one: [f"{heading}: {text}" for _, heading, text in twins[one]] for one in twins}
    return asked, answers, texts


def recall(
    embedder: Embedder, queries: list[str], passages: list[str], answers: Sequence[int]
) -> dict[int, float]:
    """How often the passage that answers a query is among the first so many."""
    asked = embedder.embed_texts(queries).vectors
    found = embedder.embed_texts(passages, role="passage").vectors
    scores = asked @ found.T
    own = scores[np.arange(len(queries)), list(answers)]
    ranks = (scores > own[:, None]).sum(axis=1)
    return {depth: float((ranks < depth).mean()) for depth in DEPTHS}


def measure(embedder: Embedder, data: Path) -> dict[str, dict[int, float]]:
    """Recall of captions and of answers, by what is asked for in which language."""
    measured = {}
    if data.is_dir():
        texts = captions(data)
        for asked, found in ACROSS:
            count = len(texts[found])
            measured[f"captions, {asked} to {found} of {count:,}"] = recall(
                embedder, texts[asked], texts[found], range(count)
            )
    every, answers, texts = questions()
    for asked, found in (*ACROSS, *WITHIN):
        measured[f"{len(every)} questions, {asked} to {found} of {len(texts[found])}"] = recall(
            embedder, [one[asked] for one in every], texts[found], answers
        )
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--original", help="folder of the model with the whole vocabulary")
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"captions skipped: {args.data} is not there")
    names = ["seesay-text", *([args.original] if args.original else [])]
    every = [measure(seesay.load(name, dtype="float32"), args.data) for name in names]
    for name in every[0]:
        for model, measured in zip(names, every, strict=True):
            shown = "  ".join(f"R@{depth} {value:.3f}" for depth, value in measured[name].items())
            print(f"{name:34}{shown}   {Path(model).name}")
        if len(every) > 1 and name.startswith("captions"):
            lost = 100 * (every[1][name][10] - every[0][name][10])
            print(f"{'':34}R@10 {lost:.1f} points below: {'goal' if lost <= POINTS else 'MISSED'}")


if __name__ == "__main__":
    main()
