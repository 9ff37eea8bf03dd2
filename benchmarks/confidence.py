"""The curve from evidence to confidence in `search/query/calibration.py`, fitted on half of 1,000
photographs; `benchmarks/no_good_match.py --sizes` asks the other half.

    python benchmarks/confidence.py [--model NAME]

Logistic regression over collections of 1 to 300 photographs, both languages together. Every size,
language and kind of query counts the same, and so does what fits and what does not.
"""

import argparse
from collections import Counter

import numpy as np
from no_good_match import asked

import seesay
from seesay.search.query.asking import Part, Query
from seesay.search.query.calibration import CONTRAST

SIZES = [1, 3, 10, 30, 100, 300]
FIT = ("captions", "words")


def fitted(rows: np.ndarray, fits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The factors of the columns of `rows` and the constant (Newton's method)."""
    columns = np.column_stack([rows, np.ones(len(rows))])
    factors = np.zeros(columns.shape[1])
    for _ in range(30):
        likely = 1 / (1 + np.exp(-columns @ factors))
        slope = columns.T @ (weights * (fits - likely))
        bend = (columns.T * (weights * likely * (1 - likely))) @ columns
        factors += np.linalg.solve(bend, slope)
    return factors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--half", type=int, choices=(0, 1), default=1, help="0: the other one")
    chosen = parser.parse_args()
    embedder = seesay.load(chosen.model) if chosen.model else seesay.load()
    rows, kinds = [], []
    for size, language, searcher, texts in asked(embedder, SIZES, chosen.half, photographs=300):
        for kind, some in texts.items():
            for text in some:
                found = searcher.search(Query(parts=(Part(text=text),), count=1))
                known = found.explain.lanes[0].background
                rows.append((known.evidence - known.contrast, known.contrast / CONTRAST))
                kinds.append((kind in FIT, kind, size, language))
    counted = Counter(kinds)
    cells = Counter(fit for fit, *_ in counted)
    weights = np.array([1 / counted[kind] / cells[kind[0]] for kind in kinds])
    evidence, contrast, constant = fitted(
        np.array(rows), np.array([fit for fit, *_ in kinds], float), weights
    )
    print(f"{embedder.name}, {len(rows)} queries, half {chosen.half}")
    print(f"  contrast {contrast / evidence:.2f}")
    print(f"  middle {-constant / evidence:.2f}, steepness {evidence:.2f}")


if __name__ == "__main__":
    main()
