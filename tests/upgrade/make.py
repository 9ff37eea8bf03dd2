"""Makes what a user of a released version has on disk, for test_upgrade.py to open with today's.

    python tests/upgrade/make.py CHECKOUT [PLACE]

runs the commands of the version in CHECKOUT, with this Python, in the new folder PLACE, and copies
what they leave to tests/upgrade/VERSION:

    pictures/       photographs, notes in English and Chinese, and a table of captions
    collection/     the collection of them, with tags and an index
    recipe.toml     a training of a tiny model on captions.jsonl
    finished/       that training, with its checkpoints and model
    unfinished/     the same, killed after a checkpoint
    answers.json    what the version answered: searches, statistics, and the model's vectors

A collection stores absolute paths. PLACE is therefore one that says nothing about the machine, and
test_upgrade.py puts its own folder in its stead. Run this once for a version, at its release: what
it made is never edited after.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from PIL import Image
from skimage import data

PLACE = Path("/srv/seesay")
START = """
import socket
socket.gethostname = lambda: "computer"  # it is stored, and yours is nobody's business
from seesay.cli.main import main
main()
"""

# name here -> file in scikit-image's package, and what it shows. All in the public domain or CC0.
PICTURES = {
    "astronaut.jpg": ("astronaut.png", "a woman in a space suit", "穿宇航服的女人"),
    "cat.jpg": ("chelsea.png", "the face of a cat", "一只猫的脸"),
    "coffee.jpg": ("coffee.png", "a cup of coffee on a table", "桌上的一杯咖啡"),
    "rocket.jpg": ("rocket.jpg", "a rocket taking off at night", "夜里升空的火箭"),
    "camera.jpg": ("camera.png", "a man with a camera on a tripod", "用三脚架拍照的男人"),
    "moon.jpg": ("moon.png", "the surface of the moon", "月球表面"),
    "galaxies.jpg": ("hubble_deep_field.jpg", "many galaxies in deep space", "深空中的许多星系"),
    "bricks.jpg": ("brick.png", "a wall of bricks", "一面砖墙"),
}
SIDE = 160  # pixels: enough to recognise a cat, and 50 kB for all

NOTES = {
    "launch.md": "# The launch\n\nWe watched the countdown from the beach, nine miles away.\n",
    "大桥.txt": "南京市长江大桥在夜里很好看。\n",
}

RECIPE = """\
[run]
folder = "finished"
steps = 60

[model.vocabulary]
size = 320

[model.tokenizer]
context = 24
pad_id = 0

[model.transform]
size = 16

[model.architecture]
embed_dim = 16

[model.architecture.image]
kind = "vit"
image_size = 16
patch_size = 8
dim = 16
depth = 1
heads = 2
hidden = 32

[model.architecture.text]
kind = "meantext"
vocab_size = 320
context = 24
dim = 16
depth = 1
heads = 2
hidden = 32
dropout = 0.1

[data.captions]
path = "captions.jsonl"
format = "table"
batch = 4

[objective.pairs]
kind = "contrastive"
source = "captions"

[optimizer]
lr = 0.01

[hardware]
device = "cpu"
precision = "float32"
threads = 1

[loading]
workers = 0

[checkpoint]
every = 10
keep = 1

[log]
every = 1
"""

SEARCHES = (
    ("a cat",),
    ("一只猫",),
    ("a rocket in the night sky",),
    ("月球表面",),
    ("countdown on the beach",),
    ("南京长江大桥",),
    ("--image", "pictures/coffee.jpg"),
    ("a rocket", "--where", "stars>=4", "--type", "image"),
    ("一面砖墙", "--since", "2025", "--type", "image"),
    ("galaxies", "--until", "2024-05-07", "--where", "stars=2", "--type", "image"),
    ("the face of a cat", "--where", "tag=cat"),
    ("深空中的许多星系", "--only", "keyword"),
)


def main() -> None:
    checkout = Path(sys.argv[1]).resolve()
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else PLACE
    place.mkdir(parents=True)  # raises where it is there: nobody's files are mixed with these
    os.chdir(place)
    seesay = Version(checkout)
    write_pictures(place / "pictures")
    index(seesay)
    train(seesay)
    answers = {"searches": [ask(seesay, *words) for words in SEARCHES], **facts(seesay)}
    text = json.dumps(answers, indent=1, ensure_ascii=False).replace(f"{place}/", "")
    Path("answers.json").write_text(text + "\n", encoding="utf-8")
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    kept = Path(__file__).parent / project["project"]["version"]
    os.chdir(kept.parent)
    shutil.move(place, kept)


class Version:
    """The command line of the version in a checkout."""

    def __init__(self, checkout: Path) -> None:
        self._command = [sys.executable, "-c", START]
        self._environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "SEESAY_LANG": "en"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, *arguments], env=self._environment, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """What a command prints. Raises RuntimeError where it does not end with `status`."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        if process.returncode != status:
            raise RuntimeError(f"{arguments} ended with {process.returncode}, expected {status}")
        return output


def write_pictures(folder: Path) -> None:
    """The pictures twice captioned, one of them under two names, and one that is damaged."""
    folder.mkdir()
    originals = Path(data.__file__).parent
    for name, (original, *_) in PICTURES.items():
        image = Image.open(originals / original).convert("RGB")
        image.thumbnail((SIDE, SIDE))
        image.save(folder / name, quality=80)
    shutil.copy(folder / "cat.jpg", folder / "the cat again.jpg")
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8\xff this is no picture")
    for name, text in NOTES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("image", "caption", "date", "stars", "地点"))
        for number, (name, (_, en, zh)) in enumerate(PICTURES.items()):
            others = (
                f"{2018 + number}-05-0{number + 1}",
                number % 5 + 1,
                "北京" if number % 2 else "",
            )
            writer.writerow((name, en, *others))
            writer.writerow((name, zh, *others))
    with (folder.parent / "captions.jsonl").open("w", encoding="utf-8") as stream:
        for name, (_, en, zh) in PICTURES.items():
            row = {"image": f"pictures/{name}", "en": [en], "zh": [zh]}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def index(seesay: Version) -> None:
    """Index, change, index again, tag, and build the index."""
    collection = ("--collection", "./collection")
    gone, changed = Path("pictures/gone.jpg"), Path("pictures/launch.md")
    Image.open("pictures/moon.jpg").rotate(90).save(gone)
    seesay("index", "pictures", "--model", "seesay-mini", *collection, status=1)  # one is damaged
    gone.unlink()
    changed.write_text(changed.read_text(encoding="utf-8") + "It was cold.\n", encoding="utf-8")
    seesay("index", *collection)
    seesay("tags", "cat,rocket,coffee", *collection)
    seesay("rebuild", *collection)


def train(seesay: Version) -> None:
    """One training that ends, and one that is killed as soon as it has a checkpoint."""
    Path("recipe.toml").write_text(RECIPE, encoding="utf-8")
    seesay("train", "recipe.toml")
    process = seesay.start("train", "recipe.toml", "--set", "run.folder=unfinished")
    while process.poll() is None and not any(Path("unfinished").glob("checkpoints/step-*")):
        time.sleep(0.001)
    process.kill()
    process.wait()
    if Path("unfinished/model").exists():
        raise RuntimeError("the training ended before it was killed; raise run.steps")


def ask(seesay: Version, *arguments: str) -> dict[str, object]:
    """A search, and what it found in order."""
    found = seesay("search", *arguments, "--collection", "./collection", "--paths")
    return {"arguments": arguments, "found": found.splitlines()}


def facts(seesay: Version) -> dict[str, object]:
    """Statistics, and vectors of the trained model."""
    texts = [
        option for _, en, zh in PICTURES.values() for text in (en, zh) for option in ("-t", text)
    ]
    pictures = [f"pictures/{name}" for name in PICTURES]
    vectors = seesay("embed", *pictures, *texts, "--model", "./finished/model", "--json")
    stats = seesay("stats", "--collection", "./collection", "--json")
    return {"stats": json.loads(stats), "vectors": json.loads(vectors)}


if __name__ == "__main__":
    main()
