"""Questions that photographs answer, by what they show."""

import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from photographs import folder, photographs
from rag_notes import Says
from seesay.rag.answer import ask
from seesay.rag.evidence import LEAST, likelihoods
from seesay.search.collection import Collection


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    place = tmp_path_factory.mktemp("album")
    with Collection.open(place / "collection", model="seesay-base", create=True) as collection:
        collection.index(copied(place / "photographs"))
        yield collection


def copied(place):
    place.mkdir()
    for one in photographs():
        shutil.copy(one, place)
    return place


def shown(answer):
    return [Path(answer.evidence[n - 1].path).name for one in answer.claims for n in one.evidence]


@pytest.mark.parametrize(
    "question, name",
    [
        ("Which photo shows a cat?", "chelsea.png"),
        ("Which picture shows a man taking photos?", "camera.png"),
        ("哪张照片里有猫？", "chelsea.png"),
        ("找一张有咖啡的照片", "coffee.png"),
    ],
)
def test_the_picture_that_is_described_is_named(album, question, name):
    answer = ask(question, album)
    assert shown(answer) == [name] and answer.claims[0].text.startswith(name)
    assert (answer.status, answer.mode, answer.model) == ("answered", "quote", None)


@pytest.mark.parametrize("question", ["Which photo shows an elephant?", "哪张照片里有大象？"])
def test_none_is_named_if_none_shows_it(album, question):
    answer = ask(question, album)
    assert (answer.status, answer.claims) == ("not found", ())
    assert answer.notes[0].en == "no picture fits the question" and answer.evidence


def test_a_model_that_reads_is_asked_about_the_picture(album):
    model = Says("yes")
    assert shown(ask("Which photo shows a cat?", album, assistant=model)) == ["chelsea.png"]
    assert len(model.asked) == 1
    denied = ask("Which photo shows a cat?", album, assistant=Says("no"))
    assert denied.status == "not found" and shown(denied) == []
    assert denied.dropped[0].text.startswith("chelsea.png")


def test_of_different_pictures_that_fit_alike_none_is_the_one(tmp_path, album):
    """Two cats: either may be meant, and a question for all of them names both."""
    with Collection.open(tmp_path / "collection", model="seesay-base", create=True) as collection:
        place = copied(tmp_path / "photographs")
        with Image.open(place / "chelsea.png") as picture:
            blue = Image.merge("RGB", picture.convert("RGB").split()[::-1])
            ImageOps.mirror(blue).save(place / "other.png")
        collection.index(place)
        likely = likelihoods(collection, "a cat", None)
        assert max(likely.values()) < LEAST < max(likelihoods(album, "a cat", None).values())
        answer = ask("Which photo shows a cat?", collection)
        assert shown(answer) == [] and answer.notes[0].en.startswith("several pictures may fit")
        assert set(shown(ask("Which photos show a cat?", collection))) == {
            "chelsea.png",
            "other.png",
        }


@pytest.mark.parametrize("question", ["Which photo shows a motorcycle?", "哪张照片里有摩托车？"])
def test_pictures_of_one_scene_are_named_together(question, tmp_path):
    pair = {"motorcycle_left.png", "motorcycle_right.png"}
    with Collection.open(tmp_path / "collection", model="seesay-base", create=True) as collection:
        collection.index([*photographs(), *(folder() / name for name in pair)])
        assert set(shown(ask(question, collection))) == pair
