"""What every engine of vector indexes must do. Each check gets an engine and what it built."""

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import made_collections as made
from seesay.search.vectors.engine import Engine, IndexDamagedError, Notes
from seesay.search.vectors.rows import Allowed, Rows

COUNT, DIM = 4000, 32


@dataclass
class Built:
    """An index of clustered rows."""

    engine: Engine
    rows: Rows
    folder: Path
    notes: Notes

    @contextlib.contextmanager
    def opened(self):
        index = self.engine.open(self.rows, self.folder, self.notes)
        with contextlib.closing(index):
            yield index


def build(engine, folder, rows=None):
    rows = rows or Rows(made.clustered(COUNT, DIM).astype(np.float16))
    folder.mkdir(exist_ok=True)
    notes = engine.build(rows, folder, f"seesay_{secrets.token_hex(6)}")
    return Built(engine, rows, folder, notes)


def queries():
    return made.clustered(20, DIM, seed=1)


def recall(built, index, allowed=None):
    shares = []
    for query in queries():
        numbers, scores = index.search(query, 10, allowed)
        assert scores.tobytes() == built.rows.score(query, numbers).tobytes()
        assert allowed is None or allowed.mask[numbers].all()
        assert numbers.dtype == np.int64 and len(set(numbers)) == len(numbers)
        nearest, _ = built.rows.best(query, 10, allowed)
        shares.append(len(set(numbers) & set(nearest)) / len(nearest))
    return np.mean(shares)


def finds_what_is_nearest_whenever_it_is_opened(built):
    for _ in range(2):
        with built.opened() as index:
            assert recall(built, index) > 0.97


def finds_allowed_rows_among_others(built):
    mask = np.random.default_rng(3).random(COUNT) < 0.5
    with built.opened() as index:
        assert recall(built, index, Allowed(mask, int(mask.sum()))) > 0.97


def gives_the_same_answer_to_the_same_question(built):
    with built.opened() as index:
        first = [set(index.search(query, 10, None)[0]) for query in queries()]
        assert [set(index.search(query, 10, None)[0]) for query in queries()] == first


def declines_to_return_almost_everything_or_returns_it(built):
    with built.opened() as index:
        answer = index.search(queries()[0], COUNT - 1, None)
        assert answer is None or len(set(answer[0])) >= COUNT - 1


def does_not_open_an_index_of_other_rows(built):
    fewer = Rows(np.ascontiguousarray(built.rows.vectors[: COUNT // 2]))
    with contextlib.suppress(IndexDamagedError):
        built.engine.open(fewer, built.folder, built.notes)
        raise AssertionError("an index of other rows was opened")


def does_not_open_what_was_dropped(built):
    few = Rows(np.ascontiguousarray(built.rows.vectors[:1200]))
    other = build(built.engine, built.folder / "dropped", few)
    built.engine.drop(other.notes)
    with contextlib.suppress(IndexDamagedError):
        built.engine.open(few, built.folder / "elsewhere", other.notes)
        raise AssertionError("a dropped index was opened")


def answers_after_it_was_closed_or_says_why_not(built):
    index = built.engine.open(built.rows, built.folder, built.notes)
    index.close()
    with contextlib.suppress(IndexDamagedError):
        assert index.search(queries()[0], 10, None) is not None


CONTRACT = (
    finds_what_is_nearest_whenever_it_is_opened,
    finds_allowed_rows_among_others,
    gives_the_same_answer_to_the_same_question,
    declines_to_return_almost_everything_or_returns_it,
    does_not_open_an_index_of_other_rows,
    does_not_open_what_was_dropped,
    answers_after_it_was_closed_or_says_why_not,
)
