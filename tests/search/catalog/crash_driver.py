"""Kills a writer with SIGKILL at random moments, and compares what is left with what it had
acknowledged. Run by test_store_crashes; ends with an error where they differ.

Usage: crash_driver.py FOLDER ROUNDS SEED
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from seesay.search.catalog.drafts import PassageDraft
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpaceDraft
from seesay.search.checking.verify import check_truth

DIM = 64
PATHS = 12  # few, so that most writes replace or remove something

State = dict[int, int]  # number of the path -> version of what lies there


def draft(path: int, version: int) -> FileDraft:
    """Everything of an item follows from its path and version."""
    units = tuple(
        PassageDraft(
            modality="image", text=f"word{path} version{version}", metadata={"version": version}
        )
        for _ in range(1 + version % 3)
    )
    facts = {"content_hash": f"{path}-{version}", "size": version, "mtime_ns": version}
    return FileDraft(path=f"/c/{path}.jpg", media_type="image", passages=units, **facts)


def vector(path: int, version: int, position: int) -> np.ndarray:
    row = np.random.default_rng([path, version, position]).standard_normal(DIM).astype(np.float32)
    return row / np.linalg.norm(row)


def apply(store: Store, space: int, puts: State, removals: list[int]) -> None:
    """One transaction that ingests, updates and deletes."""
    with store.writing("change"):
        known = store.files.by_path(f"/c/{path}.jpg" for path in removals)
        store.files.remove(item.id for item in known.values())
        stored = store.files.put([draft(path, version) for path, version in puts.items()])
        units = [unit for one in stored for unit in one.passages]
        rows = [
            vector(path, version, position)
            for (path, version), one in zip(puts.items(), stored, strict=True)
            for position in range(len(one.passages))
        ]
        if rows:
            store.vectors.put(space, units, np.stack(rows))


def write_until_killed(folder: Path, pipe: int, seed: int) -> None:
    """Says what it is about to do, does it, and says that it is done."""
    rng = random.Random(seed)
    with Store(folder) as store:
        space = store.spaces.all()[0].id
        while True:
            some = rng.sample(range(PATHS), rng.randint(1, 4))
            cut = rng.randint(0, len(some))
            puts = {path: rng.randrange(1_000_000) for path in some[:cut]}
            line = json.dumps([list(puts.items()), some[cut:]])
            os.write(pipe, f"{line}\n".encode())
            apply(store, space, puts, some[cut:])
            os.write(pipe, b"done\n")


def killed_writer(folder: Path, seed: int, rng: random.Random) -> list[str]:
    """The lines a writer wrote before it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            write_until_killed(folder, writing, seed)
        finally:
            os._exit(1)  # reached by an error only
    os.close(writing)
    time.sleep(rng.uniform(0.01, 0.2))
    os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as stream:
        lines = stream.read().splitlines()
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit("the writer failed before it was killed")
    return lines


def after(state: State, line: str) -> State:
    puts, removals = json.loads(line)
    kept = {path: version for path, version in state.items() if path not in removals}
    return kept | dict(puts)


def what_is_there(store: Store, space: int) -> State:
    """The state of the store; every item must be whole."""
    state: State = {}
    for item in store.files.all():
        path, version = int(Path(item.path).stem), item.size
        state[path] = version
        units = store.passages.of_files([item.id])
        expected = draft(path, version)
        numbers, vectors = store.vectors.get(space, [unit.id for unit in units])
        rows = [vector(path, version, unit.position) for unit in units]
        found = sorted(store.keywords.search(f"version{version}", 9)[0])
        metadata = store.metadata.get([unit.id for unit in units]).values()
        assert [unit.text for unit in units] == [unit.text for unit in expected.passages], item
        assert found == [unit.id for unit in units] == list(numbers), item
        assert all(known == {"version": float(version)} for known in metadata), item
        assert np.array_equal(vectors, np.stack(rows).astype(np.float16)), item
    return state


def main(folder: Path, rounds: int, seed: int) -> None:
    rng = random.Random(seed)
    with Store(folder, create=True) as store, store.writing("space"):
        facts = {"model": "m", "revision": "1", "preprocessing": "p", "dim": DIM}
        space = store.spaces.add(EmbeddingSpaceDraft(**facts)).id
    state: State = {}
    acknowledged = kills_inside = 0
    for number in range(rounds):
        lines = killed_writer(folder, rng.randrange(1 << 30), rng)
        for begun in lines[: len(lines) // 2 * 2 : 2]:
            state = after(state, begun)
        acknowledged += len(lines) // 2
        with Store(folder) as store:
            found = what_is_there(store, space)
            kills_inside += len(lines) % 2
            allowed = [state, *([after(state, lines[-1])] if len(lines) % 2 else [])]
            assert found in allowed, f"round {number}: {found} is none of {allowed}"
            if number % 50 == 0:  # this driver stores no vectors of captions
                found_wrong = {finding.kind for finding in check_truth(store, deep=True)}
                assert found_wrong <= {"missing captions"}
            state = found
    report = {"acknowledged": acknowledged, "kills inside of a write": kills_inside}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
