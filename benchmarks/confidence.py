"""How often a confidence is right, with photographs and words that nothing was fitted to.

    python benchmarks/confidence.py [--model NAME]

Single words in both languages, asked of 318 photographs: 218 of Flickr8k's dev split, of which the
numbers in `inference/confidence.py` have not seen one, and 100 of COCO. Accepted are hits whose
confidence reaches the threshold, as `--paths` prints them. For each word, recall is the share of
the photographs that show it which are accepted, precision the share of those accepted that show it.
"Best" is what the ranking allows: the threshold that gives this word its best F1, chosen with the
answers at hand; and the recall where it is the lowest one with a precision of 0.85, the goal. Then
the same for collections of other sizes and of dogs alone, how often a confidence holds, and how
many kitchens are likely for a kitchen.
"""

import argparse
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from no_good_match import make_collection
from shown import ABSENT, SHOWN, Word, read_coco, read_flickr, read_words, table

import seesay
from seesay.inference.embedder import Embedder
from seesay.search.asking.confidence import THRESHOLD
from seesay.search.asking.query import Part, Query
from seesay.search.asking.searcher import Searcher

PRECISION = 0.85
PLAIN = ("dog", "people", "child", "car", "beach", "water")
SIZES = {10: 30, 30: 12, 100: 4, 500: 1}  # and how many collections of each
BINS = (0, 20, 40, 60, 80, 95, 100.1)
KITCHEN = {"oven", "refrigerator", "microwave"}


@contextmanager
def searching(embedder: Embedder, vectors: np.ndarray) -> Iterator[Searcher]:
    with (
        tempfile.TemporaryDirectory() as folder,
        make_collection(Path(folder), embedder, vectors) as store,
    ):
        searcher = Searcher(store, embedder)
        yield searcher
        searcher.close()


def confidences(searcher: Searcher, query: Query, rows: int) -> np.ndarray:
    """One for each photograph."""
    found = np.zeros(rows)
    for hit in searcher.search(query).hits:
        found[int(Path(hit.path).stem)] = hit.confidence
    return found


def asked_for(
    searcher: Searcher, words: Iterable[tuple[Word, np.ndarray]], language: str
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The word, the confidences of photographs that show it, and of those that do not."""
    for word, shown in words:
        if (shown == SHOWN).any():
            text = word.names[language]
            query = Query(parts=(Part(text=text),), count=len(shown))
            sure = confidences(searcher, query, len(shown))
            yield text, sure[shown == SHOWN], sure[shown == ABSENT]


def counts(yes: np.ndarray, no: np.ndarray, least: float = THRESHOLD) -> tuple[int, int, int]:
    """Shown, rightly accepted, wrongly accepted."""
    return len(yes), int((yes >= least).sum()), int((no >= least).sum())


def best_counts(yes: np.ndarray, no: np.ndarray) -> tuple[int, int, int]:
    return max(
        (counts(yes, no, least) for least in np.unique(yes)),
        key=lambda c: 2 * c[1] / (c[0] + c[1] + c[2]),
    )


def best_at_precision(yes: np.ndarray, no: np.ndarray) -> int:
    """How many of those shown the lowest threshold of at least this precision accepts."""
    some = [counts(yes, no, least) for least in np.unique(yes)]
    return max(
        (right for _, right, wrong in some if right >= PRECISION * (right + wrong)), default=0
    )


def told(counted: list[tuple[int, int, int]]) -> str:
    """Over all photographs, and the mean over words."""
    shown, right, wrong = np.array(counted, float).T
    some = right + wrong > 0
    over_words = (right / shown).mean(), (right[some] / (right + wrong)[some]).mean()
    recall, precision = right.sum() / shown.sum(), right.sum() / max((right + wrong).sum(), 1)
    return (
        f"recall {recall:.2f}, precision {precision:.2f} "
        f"(mean over {len(counted)} words {over_words[0]:.2f}, {over_words[1]:.2f})"
    )


def by_word(embedder: Embedder) -> None:
    photographs = [*read_flickr()[:218], *read_coco()]
    vectors = embedder.embed_images([one.data for one in photographs]).vectors
    held: dict[str, list[np.ndarray]] = {"yes": [], "no": []}
    print(f"{len(photographs)} photographs")
    with searching(embedder, vectors) as searcher:
        for fitted in (True, False):
            words = read_words(fitted=fitted)
            shown = table(words, photographs)
            for language in ("en", "zh"):
                ours, best, most, total = [], [], 0, 0
                for text, yes, no in asked_for(searcher, zip(words, shown, strict=True), language):
                    ours.append(counts(yes, no))
                    best.append(best_counts(yes, no))
                    most += best_at_precision(yes, no)
                    total += len(yes)
                    if any(w.names["en"] in PLAIN and w.names[language] == text for w in words):
                        print(
                            f"  {text:8} of {len(yes)}: {told(ours[-1:])}; best {told(best[-1:])}"
                        )
                    if not fitted:
                        held["yes"].append(yes)
                        held["no"].append(no)
                name = "words fitted with" if fitted else "other words"
                print(f"{name}, {language}: {told(ours)}\n  best: {told(best)}")
                print(f"  best with a precision of {PRECISION}: recall {most / total:.2f}")
    reliability(np.concatenate(held["yes"]), np.concatenate(held["no"]))


def reliability(yes: np.ndarray, no: np.ndarray) -> None:
    print("of hits for other words with a confidence of ..., so many show it")
    for low, high in pairwise(BINS):
        right, wrong = (int(((s >= low) & (s < high)).sum()) for s in (yes, no))
        print(f"  {low:3.0f} to {min(high, 100):3.0f}: {right / max(right + wrong, 1):.2f}")


def by_size(embedder: Embedder) -> None:
    photographs = read_flickr()
    vectors = embedder.embed_images([one.data for one in photographs]).vectors
    words = read_words()
    shown = table(words, photographs)
    rng = np.random.default_rng(0)
    for size, times in SIZES.items():
        counted: dict[tuple[str, bool], list[tuple[int, int, int]]] = {}
        for _ in range(times):
            chosen = rng.choice(len(vectors), size, replace=False)
            with searching(embedder, vectors[chosen]) as searcher:
                for language in ("en", "zh"):
                    for fitted in (True, False):
                        mine = [
                            (word, row)
                            for word, row in zip(words, shown[:, chosen], strict=True)
                            if word.fitted == fitted
                        ]
                        counted.setdefault((language, fitted), []).extend(
                            counts(yes, no) for _, yes, no in asked_for(searcher, mine, language)
                        )
        for (language, fitted), some in counted.items():
            name = "fitted with" if fitted else "other words"
            print(f"{size:4} photographs, {language}, {name:11}: {told(some)}")
    dogs = np.flatnonzero(shown[[word.names["en"] for word in words].index("dog")] == SHOWN)
    with searching(embedder, vectors[dogs]) as searcher:
        for text in ("dog", "狗", "car", "汽车", "a plate of sushi", "一盘寿司"):
            query = Query(parts=(Part(text=text),), count=len(dogs))
            sure = confidences(searcher, query, len(dogs))
            print(f"only dogs ({len(dogs)}): {text} accepts {(sure >= THRESHOLD).mean():.2f}")


def alike(embedder: Embedder) -> None:
    photographs = read_coco()
    vectors = embedder.embed_images([one.data for one in photographs]).vectors
    kitchens = [
        number
        for number, one in enumerate(photographs)
        if one.objects & KITCHEN and any("kitchen" in text.lower() for text in one.captions["en"])
    ]
    other = [n for n in range(len(photographs)) if n not in kitchens]
    likely = []
    with searching(embedder, vectors) as searcher:
        for kitchen in kitchens:
            results = searcher.search(Query(like=(kitchen + 1,), count=len(photographs)))
            sure = {int(Path(hit.path).stem): hit.confidence for hit in results.hits}
            likely.append(
                [
                    np.mean([sure[n] >= THRESHOLD for n in some if n != kitchen])
                    for some in (kitchens, other)
                ]
            )
    kitchen, rest = np.mean(likely, axis=0)
    print(
        f"similar to a kitchen ({len(kitchens)} of {len(photographs)}): likely are {kitchen:.2f} "
        f"of the kitchens and {rest:.2f} of all else"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    chosen = parser.parse_args()
    embedder = seesay.load(chosen.model) if chosen.model else seesay.load()
    by_word(embedder)
    by_size(embedder)
    alike(embedder)


if __name__ == "__main__":
    main()
