"""What captions in a table do for photographs that have some, and for those that have none.

    python benchmarks/captions.py [--model NAME] [--photographs 1000]

Real photographs are indexed as files, once alone and then with a table that gives all, half or a
tenth of them one caption in each language. They are asked for by other captions of theirs, through
the whole product. Printed is the share (0-1) of captions whose photograph is among the first ten.
"""

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from no_good_match import DATA, read

from seesay.search.collection import Collection
from seesay.search.indexing.options import IndexOptions

LANGUAGES = ("en", "zh")
SHARES = (1.0, 0.5, 0.1)
KEPT, ASKED = 0, 1  # of the five captions that a photograph has in each language


def write_table(file: Path, captions: Sequence[dict[str, list[str]]], rows: Sequence[int]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "caption"])
        for row in rows:
            table.writerows([f"{row:04d}.jpg", captions[row][name][KEPT]] for name in LANGUAGES)


def found(here: Collection, asked: Sequence[str]) -> np.ndarray:
    """For each text, the place of whose photograph is its own, whether that is found."""
    hits = []
    for row, text in enumerate(asked):
        paths = [Path(hit.path).name for hit in here.search(text, count=10).hits]
        hits.append(f"{row:04d}.jpg" in paths)
    return np.array(hits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--photographs", type=int, default=1000)
    chosen = parser.parse_args()
    pictures, captions = (some[: chosen.photographs] for some in read(DATA))
    order = np.random.default_rng(0).permutation(len(pictures))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "photographs")
        folder.mkdir()
        for row, data in enumerate(pictures):
            (folder / f"{row:04d}.jpg").write_bytes(data)
        with Collection.open(Path(place, "c"), create=True, model=chosen.model) as here:
            here.index([folder], IndexOptions())
            asked = {name: [one[name][ASKED] for one in captions] for name in LANGUAGES}
            alone = {name: found(here, asked[name]) for name in LANGUAGES}
            for share in SHARES:
                rows = np.sort(order[: round(share * len(order))])
                write_table(folder / "captions.csv", captions, rows)
                here.index([folder], IndexOptions())
                has = np.isin(np.arange(len(order)), rows)
                for name in LANGUAGES:
                    now = found(here, asked[name])
                    for kind, some in (("with captions", has), ("without", ~has)):
                        if some.any():
                            print(
                                f"{share:4.0%} {name} {kind:14}"
                                f" {alone[name][some].mean():.3f} -> {now[some].mean():.3f}"
                            )


if __name__ == "__main__":
    main()
