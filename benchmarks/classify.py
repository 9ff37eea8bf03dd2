"""How often zero-shot classification and its "none of these" are right, with photographs that
nothing was fitted to.

    python benchmarks/classify.py [--model NAME]

Labels in both languages; the photographs are every other one of Flickr8k's dev split and 100 of
COCO, sorted by what people say of them, and 1,500 of Tiny-ImageNet that the model was not trained
on. A photograph belongs to a label that it shows where it shows no other one. Printed are, for
photographs that all belong to a label, the accuracy with "none of these" switched off and with it,
and how often the answer is none; and where others are mixed in that show none of the labels, how
often the answer is none for those that belong and for the others. "Best" is what the ranking of the
chances allows: none for so many others where it is none for 5% of those that belong, with the
threshold chosen with the answers at hand.
"""

import argparse
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from shown import ABSENT, COCO, SHOWN, read_coco, read_flickr, read_words, table

import seesay
from seesay.inference.classifier import ZeroShotClassifier
from seesay.inference.embedder import Embedder

TINY = COCO.parent / "tiny-imagenet"
TINY_FROM = 28_500  # those before it are in the training of the built-in model
SETS = (
    ("dog", "people"),
    ("dog", "people", "car"),
    ("child", "man", "woman"),
    ("dog", "cat", "bird", "horse"),
    ("football", "basketball", "tennis", "baseball"),
    ("beach", "mountain", "street", "snow"),
    ("dog", "water", "snow", "street", "beach"),
    ("kitchen", "bathroom", "street", "beach"),
)
TINY_SETS = {2: 20, 5: 8, 10: 4}  # labels, and how many sets of so many


@dataclass(frozen=True, eq=False)
class Sorted:
    """Labels, the vectors of photographs, and which label each belongs to; -1 for none."""

    name: str
    labels: list[str]
    vectors: np.ndarray
    truth: np.ndarray


def of_words(embedder: Embedder, language: str) -> Iterator[Sorted]:
    photographs = [*read_flickr(), *read_coco()]
    vectors = embedder.embed_images([one.data for one in photographs]).vectors
    words = {word.names["en"]: word for word in read_words()}
    for names in SETS:
        shown = table([words[name] for name in names], photographs)
        one, none = (shown == SHOWN).sum(axis=0) == 1, (shown == ABSENT).all(axis=0)
        truth = np.where(one, (shown == SHOWN).argmax(axis=0), -1)
        labels = [words[name].names[language] for name in names]
        yield Sorted(", ".join(names), labels, vectors[one | none], truth[one | none])


def of_tiny(embedder: Embedder, language: str) -> Iterator[Sorted]:
    names = [one[language] for one in json.loads((TINY / "classes.json").read_text("utf-8"))]
    pictures, classes = read_tiny()
    vectors = embedder.embed_images(pictures).vectors
    rng = np.random.default_rng(0)
    for count, times in TINY_SETS.items():
        for _ in range(times):
            chosen = rng.choice(len(names), count, replace=False)
            belongs = classes[:, None] == chosen
            mine, rest = np.flatnonzero(belongs.any(axis=1)), np.flatnonzero(~belongs.any(axis=1))
            rows = np.concatenate([mine, rng.choice(rest, 3 * len(mine), replace=False)])
            truth = np.where(belongs.any(axis=1), belongs.argmax(axis=1), -1)[rows]
            labels = [names[one] for one in chosen]
            yield Sorted(f"Tiny-ImageNet, {count} of 200", labels, vectors[rows], truth)


def read_tiny() -> tuple[list[bytes], np.ndarray]:
    found: dict[str, dict[str, bytes]] = {}
    for file in sorted(TINY.glob("train-*.tar")):
        with tarfile.open(file) as archive:
            for member in archive:
                name, kind = member.name.rsplit(".", 1)
                stream = archive.extractfile(member) or io.BytesIO()
                found.setdefault(name, {})[kind] = stream.read()
    kept = list(found.values())[TINY_FROM:]
    return [one["jpg"] for one in kept], np.array([int(one["cls"]) for one in kept])


def measured(embedder: Embedder, some: Sorted) -> list[float]:
    """The six figures, in the order of the module's description."""
    always = ZeroShotClassifier(embedder, some.labels, none_above=None)
    usual = ZeroShotClassifier(embedder, some.labels)
    belongs = some.truth >= 0
    right = np.array(some.labels)[some.truth[belongs]]
    without = np.array([one.label for one in always.predict(some.vectors[belongs])])
    answers = np.array([str(one.label) for one in usual.predict(some.vectors[belongs])])
    mixed = usual.predict(some.vectors)
    none = np.array([one.none for one in mixed])
    chance = np.array([one.chance for one in mixed])
    return [
        float((without == right).mean()),
        float((answers == right).mean()),
        float((answers == "None").mean()),
        float(none[belongs].mean()),
        float(none[~belongs].mean()),
        float((chance[~belongs] > np.quantile(chance[belongs], 0.95)).mean()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    chosen = parser.parse_args()
    embedder = seesay.load(chosen.model) if chosen.model else seesay.load()
    heads = ("no none", "usual", "none", "| mixed: none", "none, others", "best")
    for language in ("en", "zh"):
        print(f"{language:46}" + "  ".join(heads))
        figures: dict[str, list[list[float]]] = {}
        counts: dict[str, str] = {}
        for some in (*of_words(embedder, language), *of_tiny(embedder, language)):
            figures.setdefault(some.name, []).append(measured(embedder, some))
            counts[some.name] = f"{(some.truth >= 0).sum()}+{(some.truth < 0).sum()}"
        for name, rows in figures.items():
            cells = zip(np.mean(rows, axis=0), heads, strict=True)
            print(
                f"  {name:34} {counts[name]:>8} "
                + "  ".join(f"{value:{len(head)}.3f}" for value, head in cells)
            )
        mean = np.mean([np.mean(rows, axis=0) for rows in figures.values()], axis=0)
        print(f"  mean: {' '.join(f'{value:.3f}' for value in mean)}")


if __name__ == "__main__":
    main()
