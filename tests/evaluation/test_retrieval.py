import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seesay.errors import DataError
from seesay.evaluation import retrieval
from seesay.evaluation.retrieval import first_ranks, recalls, retrieval_scores


def dense_ranks(queries, gallery, query_things, gallery_things):
    """By a full, stable sort."""
    order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    hits = gallery_things[order] == query_things[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), len(gallery))


@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(0, 999),
)
def test_ranks_are_those_of_a_full_sort_with_many_ties(queries, gallery, things, block, seed):
    rng = np.random.default_rng(seed)
    # Small whole numbers: scores are exact, and equal ones are frequent.
    q = rng.integers(-2, 3, (queries, 3)).astype(np.float32)
    g = rng.integers(-2, 3, (gallery, 3)).astype(np.float32)
    a, b = rng.integers(0, things, queries), rng.integers(0, things, gallery)
    before, retrieval.BLOCK = retrieval.BLOCK, block
    try:
        found = first_ranks(q, g, a, b)
    finally:
        retrieval.BLOCK = before
    assert (found == dense_ranks(q, g, a, b)).all()


def test_a_model_that_finds_everything_equally_near_scores_as_chance():
    same = np.ones((50, 4), dtype=np.float32)
    scores = retrieval_scores(same, same, np.arange(50))
    assert scores["text_to_image_r1"] == scores["image_to_text_r1"] == pytest.approx(1 / 50)
    assert scores["text_to_image_r10"] == pytest.approx(10 / 50)


def test_a_perfect_model_finds_everything_first():
    images = np.eye(6, dtype=np.float32)
    owners = np.repeat(np.arange(6), 5)
    scores = retrieval_scores(images, images[owners], owners)
    assert set(scores.values()) == {1.0} and len(scores) == 6


def test_an_image_counts_as_found_by_any_of_its_texts():
    images = np.eye(2, dtype=np.float32)
    texts = np.array([[1, 0], [0, 1], [0.9, 0.1], [0, 1]], dtype=np.float32)
    scores = retrieval_scores(images, texts, np.array([0, 0, 1, 1]))
    assert scores["image_to_text_r1"] == 0.5  # image 1 finds text 1 first, which is of image 0
    assert scores["text_to_image_r1"] == 0.5
    assert scores["text_to_image_r5"] == 1.0


def test_a_query_without_anything_relevant_is_never_answered():
    ranks = first_ranks(np.ones((1, 2)), np.ones((3, 2)), np.array([7]), np.array([1, 2, 3]))
    assert ranks.tolist() == [3]
    assert recalls(ranks, (3, 4)) == {3: 0.0, 4: 1.0}


def test_no_queries_are_refused():
    with pytest.raises(DataError, match="0 queries"):
        recalls(np.array([], dtype=np.int64))
