"""What the built-in models find.

    python benchmarks/built_in.py [--data ../shared/data] [--original FOLDER]

seesay-text, across the two languages: the first caption of each of the 1,000 photographs of
Flickr8k's dev split against those of the other language, and the headings of this project's pages
against the sections of their twins. `--original` is the model that it was made from, with its whole
vocabulary: python tools/seesay_text.py e5-small-q4.bin FOLDER --whole
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import seesay
from seesay.inference.embedder import Embedder

ROOT = Path(__file__).parents[1]
DEPTHS = (1, 5, 10)
POINTS = 1.0
"""How far R@10 of captions may fall below the original's."""
LANGUAGES = ("zh", "en"), ("en", "zh")

Texts = dict[str, list[str]]


def captions(data: Path) -> Texts:
    """By language the first caption of every photograph."""
    dev = seesay.Retrieval(path=str(data / "flickr8k-bilingual" / "dev-*.tar"))
    return {one: [record.captions[one][0] for record in dev.records] for one in ("en", "zh")}


def sections(language: str) -> Iterator[tuple[str, str, str]]:
    """The page, the heading and the text of every section that is more than a list of commands."""
    for page in sorted((ROOT / "docs" / language).glob("*.md")):
        title, *parts = re.split(r"^#+ ", page.read_text("utf-8"), flags=re.MULTILINE)[1:]
        for part in parts:
            heading, _, text = part.partition("\n")
            prose = re.sub(r"```.*?```|<!--.*?-->", " ", text, flags=re.DOTALL)
            yield page.name, f"{title.splitlines()[0]}: {heading}", " ".join(prose.split())


def headings_and_sections() -> tuple[Texts, Texts]:
    """By language the headings, and the texts below them, in one order for both."""
    twins = {one: list(sections(one)) for one in ("en", "zh")}
    pages = {one: [page for page, _, _ in found] for one, found in twins.items()}
    if pages["en"] != pages["zh"]:
        raise SystemExit("the pages of the two languages do not have the same sections")
    long = [i for i, (_, _, text) in enumerate(twins["en"]) if len(text) >= 200]
    headings = {one: [found[i][1] for i in long] for one, found in twins.items()}
    return headings, {one: [found[i][2] for i in long] for one, found in twins.items()}


def recall(embedder: Embedder, queries: list[str], passages: list[str]) -> dict[int, float]:
    """How often the passage of a query's number is among the first so many."""
    asked = embedder.embed_texts(queries).vectors
    found = embedder.embed_texts(passages, role="passage").vectors
    scores = asked @ found.T
    ranks = (scores > np.diag(scores)[:, None]).sum(axis=1)
    return {depth: float((ranks < depth).mean()) for depth in DEPTHS}


def measure(embedder: Embedder, data: Path) -> dict[str, dict[int, float]]:
    """Recall of captions and of sections, by what is asked for in which language."""
    measured = {}
    if data.is_dir():
        texts = captions(data)
        for asked, found in LANGUAGES:
            name = f"captions, {asked} to {found} of {len(texts[found]):,}"
            measured[name] = recall(embedder, texts[asked], texts[found])
    headings, texts = headings_and_sections()
    for asked, found in LANGUAGES:
        name = f"sections, {asked} to {found} of {len(texts[found]):,}"
        measured[name] = recall(embedder, headings[asked], texts[found])
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
            print(f"{name:32}{shown}   {Path(model).name}")
        if len(every) > 1 and name.startswith("captions"):
            lost = 100 * (every[1][name][10] - every[0][name][10])
            print(f"{'':32}R@10 {lost:.1f} points below: {'goal' if lost <= POINTS else 'MISSED'}")


if __name__ == "__main__":
    main()
