"""What the built-in model finds, how fast, and how soon it is there.

    python benchmarks/mini.py [--model FOLDER] [--data ../shared/data]

Retrieval on the 1,000 photographs of Flickr8k's dev split with five captions per language,
zero-shot on photographs of Tiny-ImageNet that the recipe holds out, seconds to load (torch imported
already) and images a second from JPEG files. Prints each figure beside its floor and its goal.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import seesay
from seesay.evaluation.measure import evaluate
from seesay.inference.embedder import Embedder
from seesay.training.recipe import read_recipe

ROOT = Path(__file__).parents[1]
ROUNDS = 3
LOADING = """
import sys, time, torch
from seesay.inference.embedder import load
start = time.perf_counter()
load(sys.argv[1], dtype="float32")
print(time.perf_counter() - start)
"""
# name, floor, goal; None where there is none
WANTED = {
    "en_text_to_image_r10": (0.52, 0.60),
    "zh_text_to_image_r10": (0.43, 0.50),
    "en_image_to_text_r10": (0.58, None),
}
POINTS, LOAD_S, IMAGES_PER_S = 5.0, 0.5, 60.0


def measured_quality(embedder: Embedder, data: Path) -> dict[str, float]:
    """The measures of the recipe, by the recipe's own dev sets."""
    return evaluate(embedder, list(measures(data).values()))


def measures(data: Path) -> dict[str, Any]:
    """Those of the recipe, on data that lies elsewhere."""
    of_recipe: dict[str, Any] = dict(
        read_recipe(ROOT / "recipes" / "seesay-mini.toml").evaluation.measures
    )
    for name, measure in of_recipe.items():
        classes = measure.classes and measure.classes.replace("../shared/data", str(data))
        path = measure.path.replace("../shared/data", str(data))
        of_recipe[name] = replace(measure, path=path, classes=classes)
    return of_recipe


def loading_seconds(model: str) -> float:
    """Of a new process each time, the quickest: the first one may read from the disk."""
    command = [sys.executable, "-c", LOADING, model]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(5)]
    return min(float(run.stdout) for run in runs)


def images_per_second(embedder: Embedder, data: Path) -> float:
    """From encoded JPEG to vectors, in the quickest of three rounds."""
    images = [record.image for record in measures(data)["retrieval"].records]
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        embedder.embed_images(images)
        seconds.append(time.perf_counter() - start)
    return len(images) / min(seconds)


def verdict(value: float, floor: float, goal: float | None) -> str:
    """In words."""
    if value < floor:
        return f"below the floor of {floor:.2f}"
    if goal is None:
        return f"floor {floor:.2f} reached"
    return f"goal {goal:.2f} {'reached' if value >= goal else 'missed'}, floor {floor:.2f} reached"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="seesay-mini")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"skipped: {args.data} is not there, and these figures need its photographs")
        return
    embedder = seesay.load(args.model, dtype="float32")
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    print(f"{embedder.name}, float32, {threads}, load {os.getloadavg()[0]:.1f}\n")
    quality = measured_quality(embedder, args.data)
    for name, value in quality.items():
        note = verdict(value, *WANTED[name]) if name in WANTED else ""
        print(f"{name:26}{value:8.3f}   {note}")
    apart = 100 * (quality["en_zero_shot_top5"] - quality["zh_zero_shot_top5"])
    within = "within" if abs(apart) <= POINTS else "NOT within"
    print(f"{'zero_shot_top5, en - zh':26}{apart:8.1f}   points, {within} {POINTS:.0f}")
    load_s = loading_seconds(args.model)
    reached = "under" if load_s < LOAD_S else "NOT under"
    print(f"{'seconds to load':26}{load_s:8.3f}   {reached} {LOAD_S} (quickest of 5 processes)")
    speed = images_per_second(embedder, args.data)
    reached = "reached" if speed >= IMAGES_PER_S else "missed"
    print(f"{'images/s':26}{speed:8.1f}   goal {IMAGES_PER_S:.0f} {reached} (of {ROUNDS} rounds)")


if __name__ == "__main__":
    main()
