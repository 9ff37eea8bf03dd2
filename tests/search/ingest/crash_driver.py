"""Kills with SIGKILL at random moments what changes a collection, and compares what is left with a
ledger of what had been acknowledged. Run by test_crashes; ends with an error where they differ.

Three kinds of work are killed: `ingest` while files are added, changed, renamed and deleted; the
building of an index; the filling of a second model's space, and the switch to it.

Usage: crash_driver.py FOLDER MODEL ROUNDS SEED
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from made_files import write_photo
from seesay.inference.load import load
from seesay.search.checking.truth import check_truth
from seesay.search.indexes import faiss
from seesay.search.ingest import filling
from seesay.search.ingest.indexing import ingest
from seesay.search.ingest.options import IngestOptions
from seesay.search.ingest.spaces import fill, space_of
from seesay.search.ingest.storing import committing
from seesay.search.lane import Lane
from seesay.search.store.records import Space
from seesay.search.store.store import Store

ONE = IngestOptions(workers=1)
NAMES = 40
EXTRA, BUILDS = 3, 4  # after so many kills of `ingest` so many of builds, and one of filling
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


def on_disk(folder: Path) -> Known:
    """The same, as the files say it."""
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def say(pipe: int, line: str) -> None:
    os.write(pipe, f"{line}\n".encode())


def killed(work: Callable[[int], None], rng: random.Random, most: int) -> list[str]:
    """The lines a child wrote before it was killed: up to `most`, and some milliseconds later."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            work(writing)
            say(writing, "done")
            time.sleep(600)
        finally:
            os._exit(1)  # reached by an error only
    os.close(writing)
    lines: list[str] = []
    with os.fdopen(reading) as stream:
        for _ in range(rng.randint(1, most)):
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


class Driver:
    """One collection, the folder it is made of, and two models."""

    def __init__(self, top: Path, model: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.folder, self.collection = top / "files", top / "collection"
        self.folder.mkdir()
        first = load(model, device="cpu", dtype="float32")
        second = load(model, device="cpu", dtype="float32")
        for parameter in second.model.parameters():
            parameter.data.mul_(1.5)
        second.name = "other"
        with Store(self.collection, create=True) as store:
            self.spaces = {space_of(store, one).id: one for one in (first, second)}
        self.counts: Counter[str] = Counter()
        self.excused: set[int] = set()
        """Units that a switch left without a vector, since their file had gone or changed."""

    def active(self, store: Store) -> Space:
        space = store.spaces.active()
        assert space is not None
        return space

    def kill_ingest(self) -> None:
        """Of every path, what is stored is what was there before the run or what the file holds,
        and never the former again once the latter had been acknowledged; so with paths that are
        gone."""
        change(self.folder, self.rng)
        disk = on_disk(self.folder)
        with Store(self.collection) as store:
            state = known(store)
        lines = killed(self._ingest, self.rng, 12)
        states = [json.loads(line) for line in lines if line.startswith("{")]
        self._count("ingest", lines, len(states))
        with Store(self.collection) as store:
            for later in (*states, known(store)):
                for path in state.keys() | later.keys():
                    there, before = later.get(path), state.get(path)
                    assert there in (before, disk.get(path)), f"{path}: {before} -> {there}"
                state = later
            assert "done" not in lines or state == disk
            self.check_whole(store)

    def kill_build(self) -> None:
        """The newest index is whole and no older than the newest that had been acknowledged."""
        lines = killed(self._build, self.rng, 6)
        built = [int(line) for line in lines if line.isdecimal()]
        self._count("build", lines, len(built))
        with Store(self.collection) as store:
            lane = Lane(store, self.active(store), "image")
            status = lane.status()
            assert status.problem is None and (status.generation or 0) >= max(built, default=0)
            assert lane.verify(deep=True) == []
            lane.close()

    def kill_fill(self) -> None:
        """Of the second space nothing is lost, and it is used only when it is complete."""
        with Store(self.collection) as store:
            (other,) = self.spaces.keys() - {self.active(store).id}
        lines = killed(lambda pipe: self._fill(pipe, other), self.rng, 60)
        filled = [int(line) for line in lines if line.isdecimal()]
        self._count("fill", lines, len(filled))
        with Store(self.collection) as store:
            assert self._vectors(store, other) >= max(filled, default=0)
            switched = self.active(store).id == other
            assert switched or "done" not in lines
            self._excuse(store)
            self.counts["switched"] += switched
            self.check_whole(store)

    def check_whole(self, store: Store) -> None:
        """Every item has all of its units, and every unit its vector and keywords."""
        space = self.active(store).id
        for item in store.items.all():
            units = store.units.of_items([item.id])
            numbers, _ = store.vectors.get(space, [unit.id for unit in units])
            assert units and {unit.id for unit in units} - {*numbers} <= self.excused, item
            for unit in units:
                if unit.text is not None:
                    word = unit.text.split()[0]
                    assert unit.id in store.keywords.search(word, 99)[0], unit

    def check_same(self) -> None:
        """After a run to the end: the collection holds the files, and their vectors."""
        with Store(self.collection) as store:
            space = self.active(store).id
            ingest(store, self.spaces[space], [self.folder], ONE)
            assert known(store) == on_disk(self.folder)
            assert check_truth(store, deep=True) == []
            pictures = [path for path in known(store) if path.endswith(".bmp")]
            expected = self.spaces[space].embed_images(pictures).vectors
            items = store.items.by_path(pictures)
            for path, vector in zip(pictures, expected, strict=True):
                units = [unit.id for unit in store.units.of_items([items[path].id])]
                np.testing.assert_allclose(store.vectors.get(space, units)[1][0], vector, atol=2e-3)

    def _excuse(self, store: Store) -> None:
        """Only what could not be read as it is stored may lack a vector in the space in use."""
        disk = on_disk(self.folder)
        for unit in store.units.get(store.vectors.missing(self.active(store).id, 1000)):
            (item,) = store.items.get([unit.item])
            assert unit.id in self.excused or disk.get(item.path) != item.content_hash, item
            self.excused.add(unit.id)

    def _ingest(self, pipe: int) -> None:
        committing.UNITS = 3
        flush = committing.Committing.flush

        def saying(self: committing.Committing) -> list[str]:
            say(pipe, "begin")
            return flush(self)

        committing.Committing.flush = saying
        with Store(self.collection) as store:

            def tell(_: object) -> None:
                say(pipe, json.dumps(known(store)))

            ingest(store, self.spaces[self.active(store).id], [self.folder], ONE, on_progress=tell)
            tell(None)

    def _build(self, pipe: int) -> None:
        faiss.SCANNED_ROWS = 10  # so that FAISS writes files
        with Store(self.collection) as store:
            lane = Lane(store, self.active(store), "image")
            for _ in range(20):
                say(pipe, "begin")
                say(pipe, str(lane.build().generation or 0))

    def _fill(self, pipe: int, space: int) -> None:
        filling._AT_ONCE = 3
        embed = filling.Filling._embed

        def saying(self: filling.Filling, units: object) -> None:
            say(pipe, "begin")
            embed(self, units)

        filling.Filling._embed = saying
        with Store(self.collection) as store:

            def tell(_: object) -> None:
                say(pipe, str(self._vectors(store, space)))

            fill(store, self.spaces[space], on_progress=tell)

    def _vectors(self, store: Store, space: int) -> int:
        return store.vectors.count(space, "image") + store.vectors.count(space, "text")

    def _count(self, kind: str, lines: list[str], acknowledged: int) -> None:
        self.counts[f"{kind} kills"] += 1
        self.counts[f"{kind} acknowledged"] += acknowledged
        self.counts[f"{kind} unfinished"] += "done" not in lines
        self.counts[f"{kind} inside"] += bool(lines) and lines[-1] == "begin"


def main(top: Path, model: Path, rounds: int, seed: int) -> None:
    torch.set_num_threads(1)  # a child that is forked must not wait for threads it has not got
    driver = Driver(top, model, seed)
    for number in range(1, rounds + 1):
        driver.kill_ingest()
        if number % EXTRA == 0:
            for _ in range(BUILDS):  # they are short, so that a kill easily misses what matters
                driver.kill_build()
            driver.kill_fill()
        if number % 20 == 0:
            driver.check_same()
            sys.stderr.write(f"{number} rounds: {dict(driver.counts)}\n")
    driver.check_same()
    sys.stdout.write(json.dumps(driver.counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
