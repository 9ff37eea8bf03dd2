"""What CapFilt drops and keeps of Flickr8k with a fifth of its captions beside the wrong picture.

    python benchmarks/capfilt.py [--split dev] [--filter seesay-base] [--train [--seeds 3]]

A fifth of the captions of each language is drawn, and each goes to the picture of another one.
Printed is the share of those that are dropped and the share of the others that are kept, by the
default threshold, which knows neither. A caption may fit its new picture by chance: Flickr8k shows
the same few scenes again and again. seesay-base has learned from the train split and its true
captions, so that only the dev split is new to it.

With `--train` a model begins from nothing on all captions, and another one on those that are kept:
a text tower that learns to meet a locked MobileNetV2, as in recipes/locked-image-flickr8k.toml, but
with one view of each picture. Printed is their recall on 1,000 photographs of the other split,
whose captions stay as they are.
"""

import argparse
import csv
import io
import json
import shutil
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from no_good_match import read

from seesay.data.sources import RecordsConfig
from seesay.inference.embedder import load
from seesay.training.capfilt import CapfiltConfig, run_capfilt
from seesay.training.recipe import read_recipe
from seesay.training.run import train

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "flickr8k-bilingual"
LANGUAGES = ("en", "zh")
WRONG = 0.2
R10 = ("en_text_to_image_r10", "zh_text_to_image_r10")


def shuffled(
    captions: list[dict[str, list[str]]], rng: np.random.Generator
) -> dict[str, set[tuple[int, int]]]:
    """Moves captions to other pictures; returns the places, by language, that have a wrong one."""
    moved = {}
    for language in LANGUAGES:
        places = [
            (at, place) for at, of in enumerate(captions) for place in range(len(of[language]))
        ]
        chosen = [places[n] for n in rng.permutation(len(places))[: round(WRONG * len(places))]]
        shift = 1
        while any(
            a[0] == b[0] for a, b in zip(chosen, chosen[shift:] + chosen[:shift], strict=True)
        ):
            shift += 1
        texts = [captions[at][language][place] for at, place in chosen]
        for (at, place), text in zip(chosen, texts[shift:] + texts[:shift], strict=True):
            captions[at][language][place] = text
        moved[language] = set(chosen)
    return moved


def write_shard(file: Path, pictures: list[bytes], captions: list[dict[str, list[str]]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for number, (picture, of) in enumerate(zip(pictures, captions, strict=True)):
            for ending, data in (("jpg", picture), ("json", json.dumps(of).encode())):
                member = tarfile.TarInfo(f"{number:05d}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def rows_of(audit: Path) -> Iterator[tuple[str, int, int, bool]]:
    """Yields the language, number and place of each caption, and whether it is kept."""
    places: dict[tuple[str, str], int] = {}
    with audit.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream):
            key = row["key"], row["language"]
            places[key] = places.get(key, -1) + 1
            yield row["language"], int(row["key"]), places[key], row["kept"] == "yes"


def filtered(shard: Path, out: Path, model: str, moved: dict[str, set[tuple[int, int]]]) -> None:
    """Filters the captions and prints how that went."""
    started = time.monotonic()
    result = run_capfilt(RecordsConfig(path=str(shard)), CapfiltConfig(), out, load(model))
    seconds = time.monotonic() - started
    print(f"filter {model}, {result.records} pictures, {seconds:.0f} s")
    counts = {(one, wrong): [0, 0] for one in LANGUAGES for wrong in (False, True)}
    for language, at, place, kept in rows_of(out / "audit.csv"):
        count = counts[language, (at, place) in moved[language]]
        count[0] += 1
        count[1] += kept
    for names in (*((one,) for one in LANGUAGES), LANGUAGES):
        true, wrong = (np.sum([counts[one, of] for one in names], axis=0) for of in (False, True))
        print(
            f"  {'+'.join(names):5} dropped of {wrong[0]:5} wrong {1 - wrong[1] / wrong[0]:.3f}, "
            f"kept of {true[0]:5} true {true[1] / true[0]:.3f}"
        )
    for one in result.languages:
        print(f"  {one.language} threshold {one.threshold:.3f}, random kept {one.random_kept:.3f}")


def trained(shard: Path, folder: Path, seed: int, measured_on: str, kept: str) -> dict[str, float]:
    """Trains a model from nothing; returns its recall on another split."""
    settings = [
        f"run.folder={folder}",
        "run.epochs=20",
        "data.captions.batch=128",
        f"run.seed={seed}",
        f"model.image_weights={DATA.parent / 'mobilenet-v2/mobilenet_v2_1.0_224.safetensors'}",
        f"data.captions.path={shard}",
        "data.captions.augmentation={ crop_scale = [1.0, 1.0], variants = 1 }",
        "hardware.reuse=true",
        f"hardware.features={shard.parent / 'features'}",
        f"evaluation={{ every = 100000, retrieval = {{ {measured_on} }} }}",
        "checkpoint.every=100000",
    ]
    if kept:
        settings.append(f"data.captions.kept={kept}")
    shutil.rmtree(folder, ignore_errors=True)
    recipe = read_recipe(ROOT / "recipes" / "locked-image-flickr8k.toml", settings)
    return dict(train(recipe).measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", default="dev", choices=("dev", "train"))
    parser.add_argument("--captions", type=int, default=5, help="of each picture and language")
    parser.add_argument("--photographs", type=int, help="all by default")
    parser.add_argument("--filter", default="seesay-base")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "capfilt")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args()
    pictures, captions = list[bytes](), list[dict[str, list[str]]]()
    for file in sorted(DATA.glob(f"{chosen.split}-*.tar")):
        more = read(file)
        pictures += more[0]
        captions += [{of: texts[of][: chosen.captions] for of in LANGUAGES} for texts in more[1]]
    pictures, captions = pictures[: chosen.photographs], captions[: chosen.photographs]
    moved = shuffled(captions, np.random.default_rng(0))
    build = chosen.build / f"{chosen.split}-{chosen.photographs or 'all'}-{chosen.captions}"
    shard = build / "shuffled.tar"
    write_shard(shard, pictures, captions)
    filtered(shard, build / "kept", chosen.filter, moved)
    other = {"dev": "train", "train": "dev"}[chosen.split]
    measured_on = f"path = '{DATA}/{other}-*.tar', stop = 1000"
    lists = {"everything": "", "what is kept": str(build / "kept" / "kept.parquet")}
    for seed in range(chosen.seeds if chosen.train else 0):
        for name, kept in lists.items():
            measured = trained(shard, build / "trained", seed, measured_on, kept)
            print(f"seed {seed}, {name:12}", *(f"{one} {measured[one]:.3f}" for one in R10))


if __name__ == "__main__":
    main()
