"""A model of a few kilobytes, an empty collection, and a folder of small photographs."""

import pytest

from made_files import write_photo
from seesay.inference.load import load
from seesay.search.catalog.store import Store
from tiny_checkpoint import write_checkpoint


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def embedder(model_folder):
    return load(model_folder, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def other_embedder(tmp_path_factory, embedder):
    """A second model: the same layers with other weights."""
    other = load(write_checkpoint(tmp_path_factory.mktemp("other")), device="cpu", dtype="float32")
    for parameter in other.model.parameters():
        parameter.data.mul_(1.5)
    other.name = "other"
    return other


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "collection", create=True) as store:
        yield store


@pytest.fixture
def photos(tmp_path):
    """Six pictures in three folders."""
    folder = tmp_path / "photos"
    for number in range(6):
        write_photo(folder / "abc"[number % 3] / f"{number}.jpg", number)
    return folder
