"""How often zero-shot, a linear probe and Tip-Adapter are right with few pictures of each class.

    python benchmarks/few_shot.py [--model NAME] [--classes 50] [--seeds 3] [--shots 1 4 16]

Photographs of Tiny-ImageNet, 64 x 64 pixels, of its first classes. Measured on those behind number
28,500, which the built-in models were not trained on; the pictures to learn from come from before
it, so that a built-in model has seen them in training. Printed are the top-1 accuracies, the mean
over the seeds that draw the pictures, and the seconds of choosing settings and fitting once the
pictures are embedded.
"""

import argparse
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import get_args

import numpy as np

import seesay
from seesay.evaluation.probing import LabelledVectors, Method, draw, fit, ranking, score
from seesay.inference.embedder import Embedder

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "tiny-imagenet"
TRAINED = 28_500  # those before it are in the training of the built-in models
LEARNED = 24  # pictures of a class at most to learn from and choose with


def read(classes: int) -> Iterator[tuple[bytes, int, bool]]:
    """Yields pictures of the first classes with their class, and whether they are to test on."""
    number, counts = -1, [0] * classes
    for file in sorted(DATA.glob("train-*.tar")):
        pictures: dict[str, dict[str, bytes]] = {}
        with tarfile.open(file) as archive:
            for member in archive:
                name, ending = member.name.rsplit(".", 1)
                stream = archive.extractfile(member) or io.BytesIO()
                pictures.setdefault(name, {})[ending] = stream.read()
        for one in pictures.values():
            number += 1
            target = int(one["cls"])
            if target < classes and (number >= TRAINED or counts[target] < LEARNED):
                counts[target] += number < TRAINED
                yield one["jpg"], target, number >= TRAINED


def embed(embedder: Embedder, classes: int) -> tuple[LabelledVectors, LabelledVectors]:
    """The vectors to learn from and those to test on."""
    pictures, targets, tested = zip(*read(classes), strict=True)
    whole = LabelledVectors(embedder.embed_images(pictures).vectors, np.array(targets))
    return whole.take(np.flatnonzero(~np.array(tested))), whole.take(np.flatnonzero(tested))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    chosen = parser.parse_args()
    embedder = seesay.load(chosen.model)
    known, tested = embed(embedder, chosen.classes)
    listed = json.loads((DATA / "classes.json").read_text(encoding="utf-8"))[: chosen.classes]
    names = {f"{at}": one["en"] for at, one in enumerate(listed)}
    classifier = seesay.Classifier(embedder, names, none_above=None)
    zero_shot = score(ranking(tested.vectors @ classifier.vectors.T), tested.targets).top1
    print(
        f"{embedder.name}: {len(names)} classes, {len(tested)} pictures, zero-shot {zero_shot:.3f}"
    )
    print("shots " + "".join(f"{method:>20}" for method in get_args(Method)))
    for shots in chosen.shots:
        cells = []
        for method in get_args(Method):
            top1, begun = [], perf_counter()
            for seed in range(chosen.seeds):
                rest, held = draw(known, tuple(names), shots, seed)
                probe, _ = fit(classifier, rest, (rest, held), method, seed)
                top1.append(score(ranking(probe.logits(tested.vectors)), tested.targets).top1)
            seconds = (perf_counter() - begun) / chosen.seeds
            cells.append(f"{np.mean(top1):.3f} ({seconds:.1f} s)")
        print(f"{shots:<6}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
