"""Searching vectors, side by side: seesay, FAISS's HNSW bare, Chroma, LanceDB and a Python loop.

    python benchmarks/search.py                                   # 100,000 and 1,000,000 x 512
    python benchmarks/search.py --sizes 10000 --engines seesay "FAISS HNSW" --json figures.json

Every engine builds in one process and searches in another, one after the other. seesay goes the way
of the product: items, metadata and vectors into the collection's file, then a lane over it. Peers
with a setting of how hard to look get, for each filter, the cheapest that reaches a recall of 0.99;
seesay has none and decides by itself. `open` is from opening what is on disk to the first answer,
after imports; `peak` is the most memory the process held at a time, files it maps included.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from search_contenders import ENGINES, ENOUGH, TOP

SCRIPT = Path(__file__).parent / "peers" / "search_contenders.py"
SHARES = {"all": 1.0, "50%": 0.5, "4%": 0.04, "0.1%": 0.001}
QUERIES = 200
PAGE = 20_000
BYTES_PER_NUMBER = {"FAISS HNSW": 5, "Chroma": 12, "LanceDB": 6, "Python loop": 9, "seesay": 1}

Figures = dict[str, Any]


def main() -> None:
    options = parse_arguments()
    figures: dict[int, dict[str, Figures]] = {}
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            make_vectors(folder, size, options.dim)
            print(f"\n{size:,} x {options.dim}")
            print(f"{'':12} {'fill s':>7} {'index s':>7} {'open s':>7} {'peak MB':>12}", end="")
            print("".join(f" | {share:>5}: p50   p95 ms recall" for share in SHARES))
            figures[size] = {}
            for engine in options.engines:
                if too_large(engine, size, options.dim):
                    continue
                figures[size][engine] = one(engine, folder)
                report(engine, figures[size][engine])
                shutil.rmtree(folder / engine.replace(" ", "-"))
        conclude(size, figures[size])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Searching vectors, side by side.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--folder", type=Path, help="where files go: 20 kB a vector, not in memory")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def make_vectors(folder: Path, size: int, dim: int) -> None:
    """Clusters whose spread falls off over the dimensions, as that of embeddings does; queries that
    are no rows; a number for each row that filters compare; and what must be found."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(10, size // 200), dim), np.float32)
    spread = (1 + np.arange(dim, dtype=np.float32) / 16) ** -0.5
    spread *= np.sqrt(dim / np.sum(spread**2))

    def some(count: int) -> np.ndarray:
        vectors = centres[rng.integers(0, len(centres), count)] * spread
        vectors += 0.7 * spread * rng.standard_normal((count, dim), np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    queries = some(QUERIES)
    numbers = rng.permutation(size)
    limits = {name: max(TOP, round(share * size)) for name, share in SHARES.items()}
    best = {name: np.full((QUERIES, TOP), -np.inf, np.float32) for name in SHARES}
    rows = {name: np.zeros((QUERIES, TOP), np.int64) for name in SHARES}
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float16, (size, dim))
    for start in range(0, size, PAGE):
        page = some(min(PAGE, size - start)).astype(np.float16)
        vectors[start : start + len(page)] = page
        scores = queries @ page.astype(np.float32).T
        here = numbers[start : start + len(page)]
        for name, limit in limits.items():
            kept = np.flatnonzero(here < limit)
            known = np.concatenate([best[name], scores[:, kept]], axis=1)
            named = np.broadcast_to(start + kept, (QUERIES, len(kept)))
            named = np.concatenate([rows[name], named], axis=1)
            order = np.argpartition(-known, TOP - 1, axis=1)[:, :TOP]
            best[name] = np.take_along_axis(known, order, axis=1)
            rows[name] = np.take_along_axis(named, order, axis=1)
    vectors.flush()
    np.save(folder / "queries.npy", queries)
    np.save(folder / "numbers.npy", numbers)
    for name, found in rows.items():
        np.save(folder / f"truth-{name}.npy", found)
    questions = {name: None if name == "all" else limit for name, limit in limits.items()}
    (folder / "questions.json").write_text(json.dumps(questions))


def too_large(engine: str, size: int, dim: int) -> bool:
    needed = size * dim * BYTES_PER_NUMBER[engine] / 1e9
    meminfo = Path("/proc/meminfo").read_text().split("MemAvailable:")[1]
    free = int(meminfo.split()[0]) * 1024 / 1e9
    if needed > free:
        print(f"{engine:12} skipped: needs about {needed:.0f} GB of memory, {free:.0f} are free")
    return needed > free


def one(engine: str, folder: Path) -> Figures:
    """What an engine takes to build, and then to search."""
    built, searched = (phase(name, engine, folder) for name in ("build", "search"))
    return {**built, **searched, "build_peak_mb": built["peak_mb"]}


def phase(name: str, engine: str, folder: Path) -> Figures:
    command = [sys.executable, str(SCRIPT), name, engine, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{engine} ended early:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def report(engine: str, of: Figures) -> None:
    print(f"{engine:12} {of['fill_s']:7.1f} {of['index_s']:7.1f} {of['open_s']:7.2f}", end="")
    print(f" {of['build_peak_mb']:6.0f}/{of['peak_mb']:5.0f}", end="")
    for by in of["filters"].values():
        low = "!" if by["recall"] < ENOUGH else " "
        print(f" | {by['p50_ms']:10.2f} {by['p95_ms']:8.2f} {by['recall']:5.3f}{low}", end="")
    print(flush=True)


def conclude(size: int, figures: dict[str, Figures]) -> None:
    """Ratios to the fastest peer that finds enough, and which goals are met."""
    if "seesay" not in figures:
        return
    ours = figures["seesay"]
    print("median against the fastest peer whose recall is at least 0.99:")
    beaten = True
    for name in SHARES:
        mine = ours["filters"][name]
        peers = {
            peer: of["filters"][name]["p50_ms"]
            for peer, of in figures.items()
            if peer != "seesay" and of["filters"][name]["recall"] >= ENOUGH
        }
        if peers:
            fastest = min(peers, key=peers.__getitem__)
            ratio = peers[fastest] / mine["p50_ms"]
            print(f"  {name:>5}: {ratio:.2f} times as fast as {fastest}")
            beaten &= ratio > 1 or name == "all"
    every = all(by["recall"] >= ENOUGH for by in ours["filters"].values())
    plain = ours["filters"]["all"]
    goals = {}
    if size == 100_000:
        goals = {
            "p50 <= 1 ms at recall >= 0.99": plain["p50_ms"] <= 1 and plain["recall"] >= ENOUGH,
            "every filter at recall >= 0.99": every,
            "every filter faster than the fastest peer that reaches it": every and beaten,
            "open to first query <= 0.5 s": ours["open_s"] <= 0.5,
        }
    elif size == 1_000_000:
        within = plain["p95_ms"] <= 20 and ours["peak_mb"] <= 1536
        goals = {"p95 <= 20 ms within 1.5 GB": within, "every filter at recall >= 0.99": every}
    for goal, met in goals.items():
        print(f"  {'met   ' if met else 'MISSED'}  {goal}")


if __name__ == "__main__":
    main()
