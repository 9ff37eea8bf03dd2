"""The one object that terminal and server call: models never mixed, many readers at once."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from pathlib import Path

import pytest

from photographs import folder
from seesay.errors import CollectionError, ConfigError
from seesay.inference.embedder import load
from seesay.search.asking.query import Query, QueryArguments
from seesay.search.collection import Collection
from tiny_checkpoint import write_checkpoint


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models of one shape and name."""
    places = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    return [load(str(write_checkpoint(place)), dtype="float32") for place in places]


@pytest.fixture(scope="module")
def place(tmp_path_factory, models):
    place = tmp_path_factory.mktemp("place")
    (place / "photos").mkdir()
    for name in ("chelsea.png", "moon.png", "rocket.jpg"):
        shutil.copy(folder() / name, place / "photos")
    (place / "photos" / "桥.txt").write_text("南京市长江大桥", encoding="utf-8")
    with Collection.open(place / "c", create=True, model=models[0]) as collection:
        assert collection.index([place / "photos"]).added == 4
    return place


def test_looking_needs_no_model(place, monkeypatch):
    monkeypatch.setattr("seesay.search.model.load", lambda *_, **__: pytest.fail("was loaded"))
    with Collection.open(place / "c") as collection:
        assert collection.stats().units == {"image": 3, "text": 1}
        assert collection.errors() == collection.verify(deep=True) == []
        assert (
            len(collection.thumbnail(collection.passages_of(place / "photos" / "moon.png")[0])) > 99
        )


def test_the_model_is_remembered_by_its_full_path(place, models):
    with Collection.open(place / "c") as collection:
        assert collection.model.name == models[0].name
        results = collection.search("长江大桥", count=1)
        assert [hit.text for hit in results.hits] == ["南京市长江大桥"]


def test_another_model_is_refused_by_name_and_by_weights(place, models, monkeypatch):
    with pytest.raises(CollectionError, match="vectors of two models cannot be compared"):
        Collection.open(place / "c", model=models[1])
    monkeypatch.setattr(models[1], "name", models[0].name)
    monkeypatch.setattr(models[1], "reduce_large", False)  # other preprocessing
    with (
        Collection.open(place / "c", model=models[1]) as collection,
        pytest.raises(CollectionError, match="what has this name here is another"),
    ):
        collection.search("x")


def test_many_threads_search_one_collection(place, models):
    with Collection.open(place / "c", model=models[0]) as collection:

        def first(name: str) -> str:
            (hit,) = collection.search("", images=[folder() / name], count=1).hits
            return hit.path

        names = ["chelsea.png", "moon.png", "rocket.jpg"] * 8
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(first, names))
        assert found == [str(place / "photos" / name) for name in names]


def test_similar_leaves_the_file_itself_out_and_takes_pictures_from_anywhere(place, models):
    with Collection.open(place / "c", model=models[0]) as collection:
        moon = str(place / "photos" / "moon.png")
        assert moon not in [hit.path for hit in collection.search(like=moon).hits]
        assert collection.search(like=folder() / "moon.png", count=1).hits[0].path == moon


def test_more_of_the_same_takes_every_argument_of_a_search(place, models):
    bridge = place / "photos" / "桥.txt"
    with Collection.open(place / "c", model=models[0]) as collection:
        (moon,) = collection.passages_of(place / "photos" / "moon.png")

        def found(*words, **asked):
            results = collection.search(*words, **asked)
            return [Path(hit.path).name for hit in results.hits], results.explain

        pictures, explain = found(like=moon)
        assert sorted(pictures) == ["chelsea.png", "rocket.jpg"]
        assert [one.retriever for one in explain.retrievers] == ["image"]
        assert found(like=moon, where="file.name~rocket")[0] == ["rocket.jpg"]
        assert found(like=moon, offset=1)[0] == pictures[1:]
        assert found(like=moon, media="text")[0] == []
        assert found(like=bridge)[0] == []  # texts find texts, and there is no other
        assert sorted(found(like=[moon, bridge])[0]) == sorted(pictures)
        assert "moon.png" not in found(like=moon, unlike=place / "photos" / "rocket.jpg")[0]
        assert set(found("长江大桥", like=moon)[0]) == {*pictures, bridge.name}


def test_a_query_takes_no_further_arguments(place, models):
    query = Query.of("月亮")
    with Collection.open(place / "c", model=models[0]) as collection:
        with pytest.raises(ConfigError, match="given together with count, where;") as told:
            collection.search(query, count=1, where="width>1")
        assert "请把 count, where 交给 Query.of" in told.value.text.zh
        assert collection.search(query).hits


def test_help_shows_every_argument_of_a_search():
    shown = signature(Collection.search).parameters
    asked = signature(Query.of).parameters
    assert [*shown] == ["self", "query", *[*asked][1:]] and len(shown) > 10
    assert [*QueryArguments.__annotations__] == [*asked][1:]
    assert all(shown[name] == asked[name] for name in QueryArguments.__annotations__)


def test_an_empty_collection_and_an_empty_wish_say_what_to_do(tmp_path, models):
    with Collection.open(tmp_path / "empty", create=True, model=models[0]) as collection:
        for ask in (lambda: collection.search("x"), collection.rebuild, collection.duplicates):
            with pytest.raises(CollectionError, match=r"is empty.*seesay index FOLDER"):
                ask()
        with pytest.raises(ConfigError, match="at least one path"):
            collection.index()
