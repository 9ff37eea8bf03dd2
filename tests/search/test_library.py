"""Several collections served together: names, and models that are loaded once."""

import pytest

from made_files import write_photo
from seesay.errors import CollectionError, ConfigError
from seesay.search.collection import Collection
from seesay.search.library import Library


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path / "home"))
    write_photo(tmp_path / "photos" / "0.jpg", 0)
    for name in ("animals", "default", "zoo"):
        with Collection.open(name, create=True) as collection:
            if name != "zoo":
                collection.index([tmp_path / "photos"])
    return tmp_path


def test_without_names_all_are_opened_and_the_default_one_comes_first(home):
    with Library.open() as library:
        assert library.names == ("default", "animals", "zoo")
        assert library.get() is library.get("default")
        assert library.get("animals").stats().units == {"image": 1}


def test_a_folder_is_known_by_its_last_name(home):
    with Library.open([home / "home" / "collections" / "animals", "zoo"]) as library:
        assert library.names == ("animals", "zoo")


def test_two_of_one_name_are_refused_and_nothing_stays_open(home):
    other = home / "elsewhere" / "zoo"
    Collection.open(other, create=True).close()
    with pytest.raises(ConfigError, match=r"would both be called 'zoo'.*leave one out"):
        Library.open(["zoo", other])


def test_a_wrong_name_is_told_with_the_right_one(home):
    with Library.open() as library, pytest.raises(CollectionError, match="mean 'animals'"):
        library.get("animal")
    with pytest.raises(CollectionError, match="no collection 'zo'"):
        Library.open(["zo"])


def test_where_there_is_none_it_is_said_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path))
    with pytest.raises(CollectionError, match="seesay index FOLDER"):
        Library.open()


def test_collections_of_one_model_load_it_once_and_an_empty_one_warms_up_too(home):
    with Library.open() as library:
        library.warm_up()
        models = {id(library.get(name).model.get()) for name in library.names}
        assert len(models) == 1


def test_a_library_that_only_reads_changes_nothing(home):
    with (
        Library.open(read_only=True) as library,
        pytest.raises(CollectionError, match="reading alone"),
    ):
        library.get().index()
