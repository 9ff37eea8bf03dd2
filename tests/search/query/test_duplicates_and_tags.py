import numpy as np
import pytest

import made_collections as made
from seesay.errors import ConfigError
from seesay.inference.classifier import PLAIN, ensemble
from seesay.inference.load import load
from seesay.inference.prompts import fill, templates
from seesay.search.query.duplicates import duplicates
from seesay.search.query.tags import tag
from seesay.search.store.filters.conditions import Where, matching_units
from seesay.search.store.records import ItemDraft, UnitDraft
from seesay.search.store.store import Store
from tiny_checkpoint import write_checkpoint


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


def test_tags_are_kept_as_metadata_and_replaced(store, tmp_path):
    embedder = load(write_checkpoint(tmp_path), device="cpu")
    space = made.add_space(store, dim=embedder.dim)
    with store.writing("activate"):
        store.spaces.set_ready(space.id)
        store.spaces.activate(space.id)
    # Pictures that are exactly what the word says, among others that are not.
    word = ensemble(embedder, [[fill(t, "zebra") for t in templates("en")[:PLAIN]]])
    others = made.unit_vectors(40, embedder.dim)
    others -= 1.2 * np.maximum(others @ word[0], 0)[:, None] * word  # all on the other side
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    units = made.add_photos(store, space, np.concatenate([word, others]))
    report = tag(store, embedder, ["zebra", "斑马"])
    tagged = set(matching_units(Where("tag"), store.database).tolist())
    assert report.pictures == 41
    assert units[0] in tagged
    assert report.tagged == len(tagged) < 41
    known = store.units.metadata([units[0]])[units[0]]
    assert "zebra" in known["tag"]
    assert known["number"] == 0  # the rest stays
    again = tag(store, embedder, ["zebra", "斑马"])
    assert again.counts == report.counts
    with pytest.raises(ConfigError, match="empty one"):
        tag(store, embedder, ["zebra", " "])
