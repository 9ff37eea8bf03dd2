"""Recall through the whole product against the model's own, on 1,000 photographs and the 10,000
captions that people wrote of them.

    python benchmarks/recall.py [--model NAME] [--json figures.json]    # a minute or two

The photographs are unpacked to files and indexed; every caption is typed into the search as it
stands, quotes, denials, years and all. The model's own recall ranks the embeddings of the same
pictures by the cosine with that of the caption, without a collection in between.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from no_good_match import DATA, read

import seesay
from seesay.inference.embedder import Embedder
from seesay.search.asking.query import Query
from seesay.search.collection import Collection

DEPTHS = (1, 5, 10)
BATCH = 200  # captions that are embedded together


def own_ranks(embedder: Embedder, pictures: list[bytes], texts: list[str]) -> np.ndarray:
    """Where the model ranks each caption's photograph, from 0; five captions for each."""
    images = embedder.embed_images(pictures).vectors
    ranks = []
    for start in range(0, len(texts), BATCH):
        scores = embedder.embed_texts(texts[start : start + BATCH]).vectors @ images.T
        rows = np.arange(len(scores))
        own = scores[rows, (start + rows) * len(pictures) // len(texts)]
        ranks.append((scores > own[:, None]).sum(axis=1))
    return np.concatenate(ranks)


def product_ranks(collection: Collection, texts: list[str], each: int) -> np.ndarray:
    """The same through the search; the depth that is looked at where it is not found."""
    ranks = []
    for start in range(0, len(texts), BATCH):
        some = texts[start : start + BATCH]
        collection.expect(map(Query.of, some))
        for number, text in enumerate(some, start):
            found = [hit.path for hit in collection.search(text, count=max(DEPTHS)).hits]
            places = [place for place, path in enumerate(found) if name(number // each) in path]
            ranks.append(places[0] if places else max(DEPTHS))
    return np.array(ranks)


def name(number: int) -> str:
    return f"photograph-{number:04d}.jpg"


def recall(ranks: np.ndarray) -> dict[str, float]:
    return {f"R@{depth}": round(float((ranks < depth).mean()), 4) for depth in DEPTHS}


def measure(embedder: Embedder) -> dict[str, dict[str, dict[str, float]]]:
    pictures, captions = read(DATA)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        photographs = Path(folder) / "photographs"
        photographs.mkdir()
        for number, picture in enumerate(pictures):
            (photographs / name(number)).write_bytes(picture)
        with Collection.open(Path(folder) / "c", create=True, model=embedder) as collection:
            collection.index([photographs])
            for language in ("en", "zh"):
                texts = [text for both in captions for text in both[language]]
                each = len(texts) // len(pictures)
                figures[language] = {
                    "the model's own": recall(own_ranks(embedder, pictures, texts)),
                    "through the product": recall(product_ranks(collection, texts, each)),
                }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    embedder = seesay.load(chosen.model) if chosen.model else seesay.load()
    figures = measure(embedder)
    print(f"{embedder.name}, Flickr8k dev: share of captions that find their photograph")
    for language, rows in figures.items():
        for row, found in rows.items():
            shares = "   ".join(f"{depth} {share:.4f}" for depth, share in found.items())
            print(f"  {language}  {row:20} {shares}")
    if chosen.json:
        chosen.json.write_text(json.dumps({"model": embedder.name, **figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
