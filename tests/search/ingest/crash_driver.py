"""Kills `ingest` with SIGKILL at random moments, while files are added, changed, renamed and
deleted, and compares what is left with what it had acknowledged. Run by test_crashes; ends with an
error where they differ.

Usage: crash_driver.py FOLDER MODEL ROUNDS SEED
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

from made_files import write_photo
from seesay.inference.load import load
from seesay.search.checking.truth import check_truth
from seesay.search.ingest.indexing import ingest
from seesay.search.ingest.options import IngestOptions
from seesay.search.ingest.spaces import space_of
from seesay.search.ingest.storing import committing
from seesay.search.store.store import Store

ONE = IngestOptions(workers=1)
NAMES = 40
Known = dict[str, str]  # path -> hash of its content


def change(folder: Path, rng: random.Random) -> None:
    """Add, change, rename and delete some files. No content comes twice."""
    for _ in range(rng.randint(3, 10)):
        path = folder / f"{rng.randrange(NAMES)}.bmp"
        action = rng.choice(("write", "write", "delete", "rename", "text"))
        if action == "write":
            write_photo(path, rng.randrange(1 << 60))
        elif action == "text":
            path.with_suffix(".txt").write_text(f"word{rng.randrange(1 << 60)} " * 200)
        elif path.exists() and action == "delete":
            path.unlink()
        elif path.exists():
            path.rename(folder / f"{rng.randrange(NAMES)}.bmp")


def known(store: Store) -> Known:
    return {item.path: item.content_hash for item in store.items.all()}


def index_until_killed(collection: Path, folder: Path, embedder, pipe: int) -> None:
    """Says that a transaction begins, and after it what is stored."""
    committing.UNITS = 3
    flush = committing.Committing.flush

    def saying(self):
        os.write(pipe, b"begin\n")
        return flush(self)

    committing.Committing.flush = saying
    with Store(collection) as store:

        def tell(_: object) -> None:
            os.write(pipe, f"{json.dumps(known(store))}\n".encode())

        ingest(store, embedder, [folder], ONE, on_progress=tell)
        tell(None)
        os.write(pipe, b"done\n")
        time.sleep(600)


def killed(collection: Path, folder: Path, embedder, rng: random.Random) -> list[str]:
    """The lines a child wrote before it was killed: a few, and then some milliseconds later."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            index_until_killed(collection, folder, embedder, writing)
        finally:
            os._exit(1)  # reached by an error only
    os.close(writing)
    lines: list[str] = []
    with os.fdopen(reading) as stream:
        for _ in range(rng.randint(1, 6)):
            lines.append(stream.readline())
            if lines[-1] in ("done\n", ""):
                break
        time.sleep(rng.choice((0.0, rng.uniform(0, 0.03))))
        os.kill(child, signal.SIGKILL)
        lines += stream.read().splitlines(keepends=True)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit("the child failed before it was killed")
    return [line.strip() for line in lines if line.endswith("\n")]


def check_whole(store: Store, space: int) -> None:
    """Every item has all of its units, and every unit its vector and keywords."""
    for item in store.items.all():
        units = store.units.of_items([item.id])
        numbers, _ = store.vectors.get(space, [unit.id for unit in units])
        assert units and len(numbers) == len(units), item
        for unit in units:
            if unit.text is not None:
                word = unit.text.split()[0]
                assert unit.id in store.keywords.search(word, 99)[0], unit


def check_same(store: Store, folder: Path, embedder, space: int) -> None:
    """After a run to the end: the collection holds the files, and their vectors."""
    files = sorted(str(path) for path in folder.iterdir())
    assert sorted(known(store)) == files
    pictures = [path for path in files if path.endswith(".bmp")]
    expected = embedder.embed_images(pictures).vectors
    items = store.items.by_path(pictures)
    for path, vector in zip(pictures, expected, strict=True):
        units = [unit.id for unit in store.units.of_items([items[path].id])]
        np.testing.assert_allclose(store.vectors.get(space, units)[1][0], vector, atol=2e-3)


def main(top: Path, model: Path, rounds: int, seed: int) -> None:
    torch.set_num_threads(1)  # a child that is forked must not wait for threads it has not got
    rng = random.Random(seed)
    embedder = load(model, device="cpu", dtype="float32")
    folder, collection = top / "files", top / "collection"
    folder.mkdir()
    with Store(collection, create=True) as store:
        space = space_of(store, embedder).id
    acknowledged = unfinished = inside = 0
    for number in range(rounds):
        change(folder, rng)
        lines = killed(collection, folder, embedder, rng)
        states = [json.loads(line) for line in lines if line.startswith("{")]
        acknowledged += len(states)
        unfinished += "done" not in lines
        inside += lines[-1] == "begin"
        with Store(collection) as store:
            there = known(store)
            if states:  # what it had said is there, or has changed since in the same run
                present = {str(path) for path in folder.iterdir()}
                lost = {p for p in states[-1].keys() - there.keys() if p in present}
                assert not lost, f"round {number}: {lost} had been acknowledged"
            check_whole(store, space)
            assert number % 20 or check_truth(store, deep=True) == []
            if number % 20 == 0:
                sys.stderr.write(f"{number} rounds, {acknowledged} acknowledged, {inside} inside\n")
                ingest(store, embedder, [folder], ONE)
                check_same(store, folder, embedder, space)
    with Store(collection) as store:
        ingest(store, embedder, [folder], ONE)
        check_same(store, folder, embedder, space)
    report = {"acknowledged": acknowledged, "unfinished": unfinished, "inside of a write": inside}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
