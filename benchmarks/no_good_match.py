"""How often "no good match" is said, rightly and wrongly, on 1,000 real photographs.

    python benchmarks/no_good_match.py [--model NAME] [--photographs 1000] [--queries 200]
    python benchmarks/no_good_match.py --sizes 1 3 10 30 100 1000

Queries: captions by people of photographs that are in the collection; captions of photographs that
are not (but others like them may be: Flickr8k shows the same few scenes again and again); topics
that no photograph of Flickr8k shows; words without a meaning. The measure, curve and threshold in
`search/query/calibration.py` were chosen on captions of these photographs and the first list of
topics, with an early seesay-mini; the topics "held out" were written down after that.
"""

import argparse
import io
import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np

import seesay
from seesay.inference.embedder import Embedder
from seesay.search.query.asking import Part, Query
from seesay.search.query.searcher import Searcher
from seesay.search.store.records import ItemDraft, SpaceDraft, UnitDraft
from seesay.search.store.store import Store

DATA = Path(__file__).parents[2] / "shared" / "data" / "flickr8k-bilingual" / "dev-000000.tar"
TOPICS = Path(__file__).with_name("no_good_match.json")


def read(file: Path) -> tuple[list[bytes], list[dict[str, list[str]]]]:
    pictures, captions = {}, {}
    with tarfile.open(file) as archive:
        for member in archive:
            name, kind = member.name.rsplit(".", 1)
            stream = archive.extractfile(member) or io.BytesIO()
            if kind == "jpg":
                pictures[name] = stream.read()
            else:
                captions[name] = json.load(stream)
    names = sorted(pictures)
    return [pictures[name] for name in names], [captions[name] for name in names]


def make_collection(folder: Path, embedder: Embedder, vectors: np.ndarray) -> Store:
    store = Store(folder, create=True)
    draft = SpaceDraft(model=embedder.name, revision="", preprocessing="", dim=embedder.dim)
    with store.writing("index"):
        space = store.spaces.add(draft)
        drafts = [
            ItemDraft(
                path=f"/{number}.jpg",
                kind="image",
                content_hash=str(number),
                size=1,
                mtime_ns=1,
                units=(UnitDraft(kind="image"),),
            )
            for number in range(len(vectors))
        ]
        units = [stored.units[0] for stored in store.items.put(drafts)]
        store.vectors.put(space.id, units, vectors)
        store.spaces.set_ready(space.id)
        store.spaces.activate(space.id)
    return store


def said_no(searcher: Searcher, texts: list[str]) -> float:
    answers = [searcher.search(Query(parts=(Part(text=text),), count=1)) for text in texts]
    return sum(answer.no_good_match for answer in answers) / len(answers)


def by_size(embedder: Embedder, sizes: list[int]) -> None:
    """In collections of these sizes: captions accepted, and topics and nonsense refused."""
    pictures, captions = read(DATA)
    vectors = embedder.embed_images(pictures).vectors
    topics = json.loads(TOPICS.read_text(encoding="utf-8"))
    rng = np.random.default_rng(5)
    for size in sizes:
        told: dict[str, list[tuple[float, float]]] = {"en": [], "zh": []}
        for _ in range(max(1, min(40, 200 // size))):
            chosen = rng.choice(len(vectors), size, replace=False)
            with (
                tempfile.TemporaryDirectory() as folder,
                make_collection(Path(folder), embedder, vectors[chosen]) as store,
            ):
                searcher = Searcher(store, embedder)
                for language, rows in told.items():
                    there = [captions[n][language][0] for n in chosen[:200].tolist()]
                    absent = [text for texts in topics[language].values() for text in texts]
                    some = rng.choice(absent, min(len(absent), max(5, size))).tolist()
                    rows.append((1 - said_no(searcher, there), said_no(searcher, some)))
                searcher.close()
        for language, rows in told.items():
            accepted, refused = np.mean(rows, axis=0)
            print(f"  {size:5} {language}  accepted {accepted:.2f}  refused {refused:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--photographs", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", help="only this: collections of these")
    chosen = parser.parse_args()
    embedder = seesay.load(chosen.model) if chosen.model else seesay.load()
    if chosen.sizes:
        return by_size(embedder, chosen.sizes)
    pictures, captions = read(DATA)
    order = np.random.default_rng(0).permutation(len(pictures))
    inside, outside = np.split(order, [min(chosen.photographs, len(order) - chosen.queries)])
    inside, outside = inside.tolist(), outside.tolist()
    vectors = embedder.embed_images([pictures[number] for number in inside]).vectors
    topics = json.loads(TOPICS.read_text(encoding="utf-8"))
    print(f"{embedder.name}, {len(inside)} photographs: share of queries with no good match")
    with (
        tempfile.TemporaryDirectory() as folder,
        make_collection(Path(folder), embedder, vectors) as store,
    ):
        searcher = Searcher(store, embedder)
        for language in ("en", "zh"):
            rows = {
                "its photograph is there (0 is right)": [
                    captions[n][language][0] for n in inside[-chosen.queries :]
                ],
                "its photograph was left out": [
                    captions[n][language][0] for n in outside[: chosen.queries]
                ],
                "topics, chosen on (1 is right)": topics[language]["topics"],
                "topics, held out (1 is right)": topics[language]["held out"],
                "no meaning (1 is right)": topics[language]["nonsense"],
            }
            for name, texts in rows.items():
                print(f"  {language}  {name:38} {said_no(searcher, texts):.2f}  of {len(texts)}")
        searcher.close()


if __name__ == "__main__":
    main()
