"""The contract that every engine keeps."""

import contextlib
import secrets

import numpy as np
import pytest

import made_collections as made
from seesay.search.vectors import faiss
from seesay.search.vectors.engine import Allowed, IndexDamagedError
from seesay.search.vectors.rows import Rows

ROWS, DIM = 4000, 32


@pytest.fixture(scope="module")
def rows():
    return Rows(made.clustered(ROWS, DIM).astype(np.float16))


@pytest.fixture(scope="module")
def queries():
    return made.clustered(20, DIM, seed=1)


@pytest.fixture(scope="module", autouse=True)
def index_from_few_rows_on():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faiss, "SCANNED_ROWS", 1000)
        yield


def build(engine, rows, folder):
    return engine.build(rows, folder, f"seesay_{secrets.token_hex(6)}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("index")


@pytest.fixture(scope="module")
def built(engine, rows, folder):
    notes = build(engine, rows, folder)
    yield notes
    engine.drop(notes)


def recall(index, rows, queries, allowed=None):
    found = 0
    for query in queries:
        named, scores = index.search(query, 10, allowed)
        assert scores.tobytes() == rows.score(query, named).tobytes()
        assert allowed is None or allowed.mask[named].all()
        assert named.dtype == np.int64 and len(set(named)) == len(named)
        nearest, _ = rows.best(query, 10, allowed)
        found += len(set(named) & set(nearest)) / len(nearest)
    return found / len(queries)


def test_what_is_nearest_is_named_after_the_index_was_opened_again(
    engine, built, rows, queries, folder
):
    for _ in range(2):
        index = engine.open(rows, folder, built)
        assert recall(index, rows, queries) > 0.97
        index.close()


def test_rows_that_are_not_allowed_do_not_crowd_out_the_others(
    engine, built, rows, queries, folder
):
    index = engine.open(rows, folder, built)
    mask = np.random.default_rng(3).random(ROWS) < 0.5
    assert recall(index, rows, queries, Allowed(mask, int(mask.sum()))) > 0.97
    index.close()


def test_the_same_question_has_the_same_answer(engine, built, rows, queries, folder):
    index = engine.open(rows, folder, built)
    first = [set(index.search(query, 10, None)[0]) for query in queries]
    assert [set(index.search(query, 10, None)[0]) for query in queries] == first
    index.close()


def test_asking_for_almost_everything_is_declined_or_answered_in_full(
    engine, built, rows, queries, folder
):
    index = engine.open(rows, folder, built)
    named = index.search(queries[0], ROWS - 1, None)
    assert named is None or len(set(named[0])) >= ROWS - 1
    index.close()


def test_an_index_of_other_rows_is_not_opened(engine, built, rows, folder):
    fewer = Rows(np.ascontiguousarray(rows.vectors[: ROWS // 2]))
    with pytest.raises(IndexDamagedError):
        engine.open(fewer, folder, built)


def test_an_index_that_was_dropped_with_its_folder_is_not_opened(engine, rows, tmp_path):
    few = Rows(np.ascontiguousarray(rows.vectors[:1200]))
    (tmp_path / "first").mkdir()
    notes = build(engine, few, tmp_path / "first")
    engine.drop(notes)
    with pytest.raises(IndexDamagedError):
        engine.open(few, tmp_path / "elsewhere", notes)


def test_an_index_that_was_closed_says_so_or_still_answers(engine, built, rows, queries, folder):
    index = engine.open(rows, folder, built)
    index.close()
    with contextlib.suppress(IndexDamagedError):
        assert index.search(queries[0], 10, None) is not None
