import numpy as np
import pytest

import made_collections as made
from photographs import PHOTOGRAPHS, photographs
from seesay.errors import ConfigError
from seesay.inference.load import load
from seesay.search.query.duplicates import duplicates
from seesay.search.query.tags import tag
from seesay.search.store.filters.conditions import Where, matching_units
from seesay.search.store.records import ItemDraft, UnitDraft
from seesay.search.store.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Store(tmp_path / "c", create=True) as store:
        yield store


def test_a_chain_of_likenesses_is_not_one_group(store):
    space = made.add_space(store, dim=2)
    angles = np.radians(np.arange(0, 60, 5))  # each is near to the next, the ends are far apart
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    made.add_photos(store, space, vectors)
    groups = duplicates(store, space, threshold=float(np.cos(np.radians(6))))
    assert {len(group.items) for group in groups} == {2, 3}
    assert all(group.kind == "near" and group.similarity >= 0.994 for group in groups)
    members = [item for group in groups for item in group.items]
    assert len(members) == len(set(members))


def test_the_same_content_is_one_group_and_counts_once_among_the_near(store):
    space = made.add_space(store)
    drafts = [
        ItemDraft(
            path=f"/{name}",
            kind="image",
            content_hash=name[0],
            size=size,
            mtime_ns=1,
            units=(UnitDraft(kind="image"),),
        )
        for name, size in (("a1", 10), ("a2", 20), ("b", 30), ("c", 40))
    ]
    vectors = made.unit_vectors(2)
    with store.writing("index"):
        units = [one.units[0] for one in store.items.put(drafts)]
        store.vectors.put(space.id, units, vectors[[0, 0, 0, 1]])
    exact, near = duplicates(store, space)
    assert (exact.kind, exact.paths) == ("exact", ("/a2", "/a1"))
    assert (near.kind, near.paths) == ("near", ("/b", "/a1"))
    with pytest.raises(ConfigError, match="threshold is 2"):
        duplicates(store, space, threshold=2.0)


def test_tags_are_kept_as_metadata_and_replaced(store):
    embedder = load("seesay-mini", device="cpu")
    space = made.add_space(store, dim=embedder.dim)
    with store.writing("activate"):
        store.spaces.set_ready(space.id)
        store.spaces.activate(space.id)
    units = made.add_photos(store, space, embedder.embed_images(photographs()).vectors)
    cat = units[list(PHOTOGRAPHS).index("chelsea.png")]
    report = tag(store, embedder, ["cat", "猫", "giraffe"])
    tagged = set(matching_units(Where("tag"), store.database).tolist())
    assert report.pictures == len(PHOTOGRAPHS)
    assert cat in tagged and report.tagged == len(tagged) < len(PHOTOGRAPHS)
    known = store.units.metadata([cat])[cat]
    assert set(known["tag"]) == {"cat", "猫"}
    assert known["number"] == 1  # the rest stays
    again = tag(store, embedder, ["cat", "猫", "giraffe"])
    assert again.counts == report.counts
    with pytest.raises(ConfigError, match="empty one"):
        tag(store, embedder, ["zebra", " "])
