"""How often "no good match" is said, rightly and wrongly, on 1,000 real photographs.

    python benchmarks/no_good_match.py [--model NAME] [--photographs 1000] [--queries 200]
    python benchmarks/no_good_match.py --sizes 1 3 10 30 100 300 1000

Queries: captions by people of photographs that are in the collection; captions of photographs that
are not (but others like them may be: Flickr8k shows the same few scenes again and again); topics
that no photograph of Flickr8k shows; words without a meaning. By size also plain words ("a dog",
"狗"), for what at least three of five people name in a photograph that is there, and for what
nobody names in any, and captions of photographs that have no word in common with one there. These
are asked of the half of the photographs that the constants in `inference/confidence.py` are not
fitted with; 1,000 photographs are both halves.
"""

import argparse
import io
import json
import re
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

import seesay
from seesay.inference.embedder import Embedder
from seesay.search.asking.query import Part, Query
from seesay.search.asking.searcher import Searcher
from seesay.search.catalog.drafts import PassageDraft
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpaceDraft

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
    draft = EmbeddingSpaceDraft(
        model=embedder.name, revision="", preprocessing="", dim=embedder.dim
    )
    with store.writing("index"):
        space = store.spaces.add(draft)
        drafts = [
            FileDraft(
                path=f"/{number}.jpg",
                media_type="image",
                content_hash=str(number),
                size=1,
                mtime_ns=1,
                passages=(PassageDraft(modality="image"),),
            )
            for number in range(len(vectors))
        ]
        units = [stored.passages[0] for stored in store.files.put(drafts)]
        store.vectors.put(space.id, units, vectors)
        store.spaces.activate(space.id)
    return store


def said_no(searcher: Searcher, texts: list[str]) -> float:
    answers = [searcher.search(Query(parts=(Part(text=text),), count=1)) for text in texts]
    return sum(answer.no_good_match for answer in answers) / len(answers)


def share_words(captions: list[dict[str, list[str]]]) -> np.ndarray:
    """Which photographs have a word in common that at least two of five people say of each, other
    than words that are said of every fourth."""
    said = [
        {word for word, people in Counter(chain(*map(words_of, each["en"]))).items() if people >= 2}
        for each in captions
    ]
    columns = {word: number for number, word in enumerate(sorted(set().union(*said)))}
    has = np.zeros((len(said), len(columns)), np.float32)
    for row, words in enumerate(said):
        has[row, [columns[word] for word in words]] = 1
    has = has[:, has.mean(axis=0) < 0.25]
    return has @ has.T > 0


def words_of(caption: str) -> set[str]:
    return set(re.findall("[a-z]+", caption.lower()))


def asked(
    embedder: Embedder, sizes: list[int], photographs: int
) -> Iterator[tuple[int, str, Searcher, dict[str, list[str]]]]:
    """Collections of these sizes out of every other photograph, and for each language what is asked
    of them: the first two kinds fit, the others do not. The collections of one size hold as many
    photographs together."""
    pictures, captions = read(DATA)
    vectors = embedder.embed_images(pictures).vectors
    lists = json.loads(TOPICS.read_text(encoding="utf-8"))
    patterns = [re.compile(word["said"], re.I) for word in lists["words"]]
    alike = share_words(captions)
    named = np.array([[sum(map(bool, map(p.search, c["en"]))) for p in patterns] for c in captions])
    rng = np.random.default_rng(5)
    for size in sizes:
        from_ = np.arange(0, len(vectors), 2)
        from_ = from_ if size <= len(from_) else np.arange(len(vectors))
        for _ in range(max(1 + photographs // 300, min(50, photographs // size))):
            chosen = rng.choice(from_, size, replace=False)
            most = named[chosen].max(axis=0)
            others = rng.permutation(np.flatnonzero(~alike[chosen].any(axis=0)))
            there, absent = np.flatnonzero(most >= 3), np.flatnonzero(most == 0)
            with (
                tempfile.TemporaryDirectory() as folder,
                make_collection(Path(folder), embedder, vectors[chosen]) as store,
            ):
                searcher = Searcher(store, embedder)
                for language in ("en", "zh"):
                    topics = lists[language]["topics"]
                    words = [word[language] for word in lists["words"]]
                    texts = {
                        "captions": [captions[n][language][rng.integers(5)] for n in chosen[:60]],
                        "words": [words[n] for n in rng.permutation(there)[:8]],
                        "topics": rng.choice(topics, 10, replace=False).tolist(),
                        "no meaning": lists[language]["nonsense"],
                        "other words": [words[n] for n in rng.permutation(absent)[:8]],
                        "other captions": [captions[n][language][0] for n in others[:8]],
                    }
                    yield size, language, searcher, texts
                searcher.close()


def by_size(embedder: Embedder, sizes: list[int]) -> None:
    """In collections of these sizes: what is accepted that fits, and refused that does not."""
    said: dict[tuple[int, str, str], list[float]] = defaultdict(list)
    kinds: list[str] = []
    for size, language, searcher, texts in asked(embedder, sizes, photographs=600):
        kinds = list(texts)
        for kind, some in texts.items():
            if some:
                said[size, language, kind].append(said_no(searcher, some))
    print("accepted: captions, words; refused: topics, no meaning, other words, captions")
    for size in sizes:
        for language in ("en", "zh"):
            no = [np.mean(said.get((size, language, kind), [np.nan])) for kind in kinds]
            shares = [*(1 - share for share in no[:2]), *no[2:]]
            print(f"  {size:5} {language}  " + "  ".join(f"{share:.2f}" for share in shares))


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
