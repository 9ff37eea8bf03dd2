"""A map puts side by side what is alike, and shows a part of what is too much."""

import numpy as np
import pytest

from made_collections import add_photos, add_space, unit_vectors
from seesay.errors import ConfigError
from seesay.search.catalog.map import draw_map
from seesay.search.catalog.store import Store
from seesay.search.description import newest


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "collection", create=True) as store:
        yield store


def places(drawn) -> np.ndarray:
    return np.array([(point.x, point.y) for point in drawn.points])


def test_pictures_of_one_kind_lie_together_and_apart_from_the_others(store):
    space = add_space(store)
    centres = unit_vectors(3, seed=1).repeat(10, axis=0)
    vectors = centres + 0.05 * unit_vectors(30, seed=2)
    units = add_photos(store, space, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    drawn = draw_map(store, space)
    assert [point.unit for point in drawn.points] == units
    groups = places(drawn).reshape(3, 10, 2)
    within = max(np.ptp(group, axis=0).max() for group in groups)
    middles = groups.mean(axis=1)
    between = min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert between > 4 * within
    assert drawn.total == 30 and drawn.explained > 0.9
    assert drawn.points[4].path == "/photos/1/4.jpg"
    assert np.abs(places(drawn)).max() == 1.0


def test_the_axes_are_those_of_a_singular_value_decomposition(store):
    space = add_space(store)
    vectors = unit_vectors(200, seed=3).astype(np.float16).astype(np.float32)
    add_photos(store, space, vectors)
    drawn = draw_map(store, space)
    away = vectors - vectors.mean(axis=0)
    left, spreads, _ = np.linalg.svd(away, full_matrices=False)
    expected = left[:, :2] * spreads[:2]
    expected /= np.abs(expected).max(axis=0)
    np.testing.assert_allclose(np.abs(places(drawn)), np.abs(expected), atol=2e-3)
    share = (spreads[:2] ** 2).sum() / (spreads**2).sum()
    assert drawn.explained == pytest.approx(share, abs=1e-3)


def test_of_too_many_some_are_shown_and_always_the_same(store):
    space = add_space(store)
    units = add_photos(store, space, unit_vectors(300, seed=4))
    drawn, again = draw_map(store, space, most=50), draw_map(store, space, most=50)
    assert drawn == again
    assert len(drawn.points) == 50 and drawn.total == 300
    shown = [point.unit for point in drawn.points]
    assert len(set(shown)) == 50 and set(shown) <= set(units)
    assert max(shown) > units[200] and min(shown) < units[100]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_next_to_nothing_is_a_map_too(store, count):
    space = add_space(store)
    add_photos(store, space, unit_vectors(count, seed=5))
    drawn = draw_map(store, space)
    assert len(drawn.points) == drawn.total == count
    assert np.isfinite(places(drawn)).all()


def test_the_same_vector_many_times_is_one_place(store):
    space = add_space(store)
    add_photos(store, space, unit_vectors(1).repeat(5, axis=0))
    assert not places(draw_map(store, space)).any()


def test_a_map_without_points_is_refused(store):
    with pytest.raises(ConfigError, match="expected at least 1"):
        draw_map(store, add_space(store), most=0)


def test_the_newest_come_first(store):
    space = add_space(store)
    assert newest(store, 5) == []
    first = add_photos(store, space, unit_vectors(4))
    later = add_photos(store, space, unit_vectors(3, seed=1), first=10)
    assert [hit.unit for hit in newest(store, 5)] == [*later[::-1], *first[:1:-1]]
