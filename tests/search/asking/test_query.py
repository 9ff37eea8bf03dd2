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
        lanes=["image", "image"],
    )
    assert [(part.text or part.image, part.weight) for part in query.parts] == [
        *(("a dog", 1), ("cat", -0.5), ("a.jpg", 1), ("people", -0.5))
    ]
    asked = make_filter(
        where=["width>=400"], folders=["/photos"], since="2024", until="2025-03", kind="image"
    )
    assert query.filter == asked and "2024-01-01" in as_text(asked)
    assert (query.count, query.offset, query.min_confidence) == (5, 10, 50)
    assert query.lanes == ("image",)


def test_a_filter_or_what_is_unwanted_is_enough_to_ask_for():
    assert Query.of(where=["width>=400"]).parts == ()
    assert Query.of(media="text").filter == Compare("unit.kind", "=", "text")
    (part,) = Query.of(without="people").parts
    assert part.weight < 0
    with pytest.raises(ConfigError, match="or a filter"):
        Query.of(without=[""])


def test_a_filter_object_is_joined_with_the_others():
    query = Query.of("a dog", where=Compare("width", ">=", 400), media="image")
    assert query.filter == make_filter(where="width>=400", kind="image")
