"""One call asks for everything that a command, a route or a form can ask for."""

import pytest

from seesay.errors import ConfigError
from seesay.search.asking.query import Query
from seesay.search.catalog.filters import Compare
from seesay.search.filtering import as_text, make_filter


def test_one_call_takes_words_pictures_and_every_filter():
    query = Query.of(
        "a dog -cat",
        images="a.jpg",
        without=["people", " "],
        where="width>=400",
        folders="/photos",
        since="2024",
        until="2025-03",
        media="image",
        count=5,
        offset=10,
        min_confidence=50.0,
        retrievers=["image", "image"],
    )
    assert [(part.text or part.image, part.weight) for part in query.parts] == [
        *(("a dog", 1), ("cat", -0.5), ("a.jpg", 1), ("people", -0.5))
    ]
    asked = make_filter(
        where=["width>=400"], folders=["/photos"], since="2024", until="2025-03", media="image"
    )
    assert query.filter == asked and "2024-01-01" in as_text(asked)
    assert (query.count, query.offset, query.min_confidence) == (5, 10, 50)
    assert query.retrievers == ("image",)


def test_a_filter_or_what_is_unwanted_is_enough_to_ask_for():
    assert Query.of(where=["width>=400"]).parts == ()
    for media in ("text", "sheet"):  # any type that a reader gives its passages
        assert Query.of(media=media).filter == Compare("unit.kind", "=", media)
    (part,) = Query.of(without="people").parts
    assert part.weight < 0
    for nothing in (lambda: Query.of(without=[""]), Query):
        with pytest.raises(ConfigError, match=r"no words and no picture.*or a filter"):
            nothing()


def test_a_filter_object_is_joined_with_the_others():
    for where in (Compare("width", ">=", 400), [Compare("width", ">=", 400)]):
        query = Query.of("a dog", where=where, media="image")
        assert query.filter == make_filter(where="width>=400", media="image")
