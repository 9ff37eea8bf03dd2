"""A small collection of notes in two languages, with a page, a table and a moment of a video."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_notes import FILES
from seesay.search.collection import Collection
from texts_in_a_collection import make_collection


@pytest.fixture(scope="session")
def notes_folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("notes") / "collection"
    make_collection(place, FILES).close()
    return place


@pytest.fixture(scope="session")
def notes(notes_folder) -> Iterator[Collection]:
    with Collection.open(notes_folder) as collection:
        yield collection
