"""Kills with SIGKILL at random moments what changes a collection, and compares what is left with a
ledger of what had been acknowledged. Run by test_crashes; ends with an error where they differ.

Four kinds of work are killed: `index` while files and tables are added, changed, renamed and
deleted; two of these at once, or one of two; the building of an index; the filling of a second
model's space, and the switch to it.

Usage: crash_driver.py FOLDER MODEL ROUNDS SEED
"""

import csv
import hashlib
import io
import json
import os
import queue
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from made_files import write_photo
from seesay.inference.embedder import load
from seesay.search.catalog.database import Change
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.search.checking.verify import check_annotations, check_truth
from seesay.search.indexing import captions, commit, fill
from seesay.search.indexing.embed import IndexingModels
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions
from seesay.search.vectors import faiss
from seesay.search.vectors.vector_index import VectorIndex

ONE = IndexOptions(workers=1)
NAMES, TABLES = 40, 3
EXTRA, BUILDS = 3, 4  # after so many kills of `index` so many of builds, and one of filling
Known = dict[str, str]  # path -> hash of its content
Work = Callable[[int], None]  # of a child, which says on a pipe how far it has come


def change(folder: Path, rng: random.Random) -> None:
    """Add, change, rename and delete some files. No content comes twice."""
    for _ in range(rng.randint(3, 10)):
        path = folder / f"{rng.randrange(NAMES)}.bmp"
        table = folder / f"{rng.randrange(TABLES)}.csv"
        action = rng.choice(("write", "write", "delete", "rename", "text", "table", "no table"))
        if action == "write":
            write_photo(path, rng.randrange(1 << 60))
        elif action == "text":
            path.with_suffix(".txt").write_text(f"word{rng.randrange(1 << 60)} " * 200)
        elif action == "table":
            table.write_text(described(rng))
        elif action == "no table" and rng.random() < 0.3:
            table.unlink(missing_ok=True)
        elif path.exists() and action == "delete":
            path.unlink()
        elif path.exists() and action == "rename":
            path.rename(folder / f"{rng.randrange(NAMES)}.bmp")


def described(rng: random.Random) -> str:
    """A table of many of the pictures, some of which are not there."""
    numbers = rng.sample(range(NAMES), NAMES // 2)
    rows = [f"{number}.bmp,said{rng.randrange(1 << 60)},{rng.randrange(99)}" for number in numbers]
    return "\n".join(["file,caption,year", *rows])


def rows_of(text: str, folder: Path) -> dict[str, tuple[str, float]]:
    """Caption and year by the path of the picture, read without a line of what is tested."""
    rows = csv.DictReader(io.StringIO(text))
    return {str(folder / row["file"]): (row["caption"], float(row["year"])) for row in rows}


def known(store: Store) -> Known:
    return {item.path: item.content_hash for item in store.files.all()}


def say(pipe: int, line: str) -> None:
    os.write(pipe, f"{line}\n".encode())


class Child:
    """A process that works until it is killed."""

    def __init__(self, work: Work) -> None:
        self.lines: list[str] = []
        """What it has said."""
        self.ended = threading.Event()
        """Whether it has come to its end; it goes on living, so that it can be killed."""
        self._pipe, writing = os.pipe()
        self._number = os.fork()
        if not self._number:
            os.close(self._pipe)
            try:
                work(writing)
                say(writing, "done")
                time.sleep(600)
            finally:
                os._exit(1)  # reached by an error only
        os.close(writing)

    def listen(self, told: "queue.Queue[str]") -> None:
        """Gather what it says until it is dead; `told` gets every line too."""
        self._thread = threading.Thread(target=self._listen, args=(told,))
        self._thread.start()

    def kill(self) -> None:
        """At once. Fails where it had failed by itself before."""
        os.kill(self._number, signal.SIGKILL)
        self._thread.join()
        _, status = os.waitpid(self._number, 0)
        if not os.WIFSIGNALED(status):
            raise SystemExit("the child failed before it was killed")

    def _listen(self, told: "queue.Queue[str]") -> None:
        with os.fdopen(self._pipe) as stream:
            for line in stream:
                if line.endswith("\n"):
                    self.lines.append(line.strip())
                if line == "done\n":
                    self.ended.set()
                told.put(line.strip())
        self.ended.set()
        told.put("done")


def killed(works: Sequence[Work], rng: random.Random, most: int) -> list[list[str]]:
    """The lines that children wrote side by side. After up to `most` lines, and some milliseconds
    later, all are killed; or of several the first alone, and the others when they are done."""
    children = [Child(work) for work in works]
    told: queue.Queue[str] = queue.Queue()
    for child in children:
        child.listen(told)
    for _ in range(rng.randint(1, most)):
        if told.get() == "done":
            break
    time.sleep(rng.choice((0.0, rng.uniform(0, 0.03))))
    finish = rng.random() < 0.5
    for number, child in enumerate(children):
        if number and finish:
            child.ended.wait()
        child.kill()
    return [child.lines for child in children]


class Driver:
    """One collection, the folder it is made of, and two models."""

    def __init__(self, top: Path, model: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.folder, self.collection = top / "files", top / "collection"
        self.folder.mkdir()
        self.elsewhere = write_photo(top / "elsewhere" / "x.bmp", 0).parent
        self.tables: dict[str, dict[str, tuple[str, float]]] = {}
        """What tables ever said, by the hash of their content."""
        first = load(model, device="cpu", dtype="float32")
        second = load(model, device="cpu", dtype="float32")
        for parameter in second.model.parameters():
            parameter.data.mul_(1.5)
        second.name = "other"
        with Store(self.collection, create=True) as store:
            self.spaces = {IndexingModels(store, one).space.id: one for one in (first, second)}
        self.counts: Counter[str] = Counter()
        self.excused: set[int] = set()
        """Units that a switch left without a vector, since their file had gone or changed."""

    def active(self, store: Store) -> EmbeddingSpace:
        space = store.spaces.active()
        assert space is not None
        return space

    def kill_index(self, *more: Path) -> None:
        """Of every path, what is stored is what was there before the run or what the file holds,
        and never the former again once the latter had been acknowledged; so with paths that are
        gone. Further writers index `more` at the same time."""
        change(self.folder, self.rng)
        disk = self.on_disk()
        with Store(self.collection) as store:
            before = known(store)
        works = [partial(self._index, folder) for folder in (self.folder, *more)]
        said = killed(works, self.rng, 24 * len(works))
        with Store(self.collection) as store:
            now = known(store)
            for lines in said:
                states = [json.loads(line) for line in lines if line.startswith("{")]
                self._count("pair" if more else "index", lines, len(states))
                state = before
                for later in (*states, now):
                    for path in state.keys() | later.keys():
                        there, former = later.get(path), state.get(path)
                        assert there in (former, disk.get(path)), f"{path}: {former} -> {there}"
                    state = later
            folders = zip((self.folder, *more), said, strict=True)
            if any(folder == self.folder and "done" in lines for folder, lines in folders):
                assert self._inside(now) == self._inside(disk)
            self.check_whole(store)

    def kill_pair(self) -> None:
        """The same with two writers, of whom the second has the same files or others."""
        self.kill_index(self.rng.choice((self.folder, self.elsewhere)))

    def kill_build(self) -> None:
        """The newest index is whole and no older than the newest that had been acknowledged."""
        (lines,) = killed([self._build], self.rng, 6)
        built = [int(line) for line in lines if line.isdecimal()]
        self._count("build", lines, len(built))
        with Store(self.collection) as store:
            lane = VectorIndex(store, self.active(store), "image")
            status = lane.status()
            assert status.problem is None and (status.generation or 0) >= max(built, default=0)
            assert lane.verify(deep=True) == []
            lane.close()

    def kill_fill(self) -> None:
        """Of the second space nothing is lost, and it is used only when it is complete."""
        with Store(self.collection) as store:
            (other,) = self.spaces.keys() - {self.active(store).id}
        (lines,) = killed([lambda pipe: self._fill(pipe, other)], self.rng, 60)
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
        """Every table has all of its rows, every other item all of its units, and every unit its
        vector and keywords; pictures have what tables say of them, or are known to lack it."""
        space = self.active(store).id
        findings = check_annotations(store, deep=True)
        assert {finding.kind for finding in findings} <= {"undescribed pictures"}, findings
        for item in store.files.all():
            if item.media_type == "table":
                assert store.annotations.paths(item.id) == self.tables[item.content_hash].keys()
                continue
            units = store.passages.of_files([item.id])
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
            index(store, self.spaces[space], [self.folder, self.elsewhere], ONE)
            assert known(store) == self.on_disk()
            assert check_truth(store, deep=True) == check_annotations(store, deep=True) == []
            self.check_captions(store)
            pictures = [path for path in known(store) if path.endswith(".bmp")]
            expected = self.spaces[space].embed_images(pictures).vectors
            items = store.files.by_path(pictures)
            for path, vector in zip(pictures, expected, strict=True):
                units = [unit.id for unit in store.passages.of_files([items[path].id])]
                np.testing.assert_allclose(store.vectors.get(space, units)[1][0], vector, atol=2e-3)

    def check_captions(self, store: Store) -> None:
        """Every row of every table that is there stands with its picture, if that is there."""
        items = store.files.by_path(known(store))
        for table in self.folder.glob("*.csv"):
            for path, (caption, _) in rows_of(table.read_text(), self.folder).items():
                if path in items:
                    (unit,) = store.passages.of_files([items[path].id])
                    metadata = store.metadata.get([unit.id])[unit.id]
                    self.counts["rows of tables"] += 1
                    found = caption in (unit.text or "").split() and "year" in metadata
                    self.counts["rows lost"] += not found

    def _inside(self, files: Known) -> Known:
        return {path: content for path, content in files.items() if str(self.folder) in path}

    def on_disk(self) -> Known:
        """The same as `known`, as the files say it."""
        files = [*self.folder.iterdir(), *self.elsewhere.iterdir()]
        contents = {str(path): path.read_bytes() for path in files}
        hashes = {path: hashlib.sha256(raw).hexdigest() for path, raw in contents.items()}
        for path, raw in contents.items():
            if path.endswith(".csv"):
                self.tables[hashes[path]] = rows_of(raw.decode(), self.folder)
        return hashes

    def _excuse(self, store: Store) -> None:
        """Only what could not be read as it is stored may lack a vector in the space in use."""
        disk = self.on_disk()
        for unit in store.passages.get(store.vectors.missing(self.active(store).id, 1000)):
            (item,) = store.files.get([unit.file])
            assert unit.id in self.excused or disk.get(item.path) != item.content_hash, item
            self.excused.add(unit.id)

    def _index(self, folder: Path, pipe: int) -> None:
        commit.PASSAGES = captions.AT_ONCE = 3
        writing = Store.writing

        def saying(self: Store, *of: object, **options: object) -> AbstractContextManager[Change]:
            say(pipe, "begin")
            return writing(self, *of, **options)

        Store.writing = saying
        with Store(self.collection) as store:

            def tell(_: object) -> None:
                say(pipe, json.dumps(known(store)))

            index(store, self.spaces[self.active(store).id], [folder], ONE, on_progress=tell)
            tell(None)

    def _build(self, pipe: int) -> None:
        faiss.SCANNED_ROWS = 10  # so that FAISS writes files
        with Store(self.collection) as store:
            lane = VectorIndex(store, self.active(store), "image")
            for _ in range(20):
                say(pipe, "begin")
                say(pipe, str(lane.build().generation or 0))

    def _fill(self, pipe: int, space: int) -> None:
        fill._AT_ONCE = 3
        embed = fill.Filler._embed

        def saying(self: fill.Filler, units: object) -> None:
            say(pipe, "begin")
            embed(self, units)

        fill.Filler._embed = saying
        with Store(self.collection) as store:

            def tell(_: object) -> None:
                say(pipe, str(self._vectors(store, space)))

            fill.fill(store, self.spaces[space], on_progress=tell)

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
        driver.kill_index()
        driver.kill_pair()
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
