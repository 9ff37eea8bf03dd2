import pytest

import made_collections as made
from photographs import PHOTOGRAPHS, photographs
from seesay.errors import ConfigError
from seesay.inference.embedder import load
from seesay.search.asking.tags import tag
from seesay.search.catalog.filters import Compare, matching_passages
from seesay.search.catalog.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Store(tmp_path / "c", create=True) as store:
        yield store


def test_tags_are_kept_as_metadata_and_replaced(store):
    embedder = load("seesay-mini", device="cpu")
    space = made.add_space(store, dim=embedder.dim)
    with store.writing("activate"):
        store.spaces.activate(space.id)
    units = made.add_photos(store, space, embedder.embed_images(photographs()).vectors)
    cat = units[list(PHOTOGRAPHS).index("chelsea.png")]
    report = tag(store, embedder, ["cat", "猫", "giraffe"])
    tagged = set(matching_passages(Compare("tag"), store.database).tolist())
    assert report.pictures == len(PHOTOGRAPHS)
    assert cat in tagged and report.tagged == len(tagged) < len(PHOTOGRAPHS)
    known = store.metadata.get([cat])[cat]
    assert set(known["tag"]) == {"cat", "猫"}
    assert known["number"] == 1  # the rest stays
    again = tag(store, embedder, ["cat", "猫", "giraffe"])
    assert again.counts == report.counts
    with pytest.raises(ConfigError, match="empty one"):
        tag(store, embedder, ["zebra", " "])
