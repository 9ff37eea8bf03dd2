"""When no label fits, the answer is none of them: for any model and language."""

import numpy as np
import pytest

from fakes import FakeEmbedder
from seesay.inference.classifier import NONE_ABOVE, ZeroShotClassifier

LABELS = {"en": ["dog", "cat", "horse"], "zh": ["狗", "猫", "马"]}
STRANGE = [f"{thing}-{i}.jpg" for thing in ("lamp", "zeppelin", "violin") for i in range(20)]
BELONG = [f"{thing}-{i}.jpg" for thing in ("dog", "cat") for i in range(20)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_picture_of_something_else_gets_no_label(language):
    classifier = ZeroShotClassifier(FakeEmbedder(), LABELS[language])
    predictions = classifier.classify([*BELONG, *STRANGE]).predictions
    belong, strange = predictions[: len(BELONG)], predictions[len(BELONG) :]
    assert sum(p.none for p in strange) / len(STRANGE) > 0.7
    assert sum(p.none for p in belong) / len(BELONG) < 0.05
    for prediction in predictions:
        assert prediction.none == (prediction.label is None) == (prediction.chance > NONE_ABOVE)
        assert prediction.ranked[0].label in LABELS[language]  # the best stays readable


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_but_other_things_gets_no_label(language):
    predictions = ZeroShotClassifier(FakeEmbedder(), LABELS[language]).classify(STRANGE).predictions
    assert sum(p.none for p in predictions) / len(STRANGE) > 0.7


@pytest.mark.parametrize("language", ["en", "zh"])
def test_where_all_pictures_belong_to_a_label_all_get_one(language):
    pictures = [f"dog-{i}.jpg" for i in range(40)]
    predictions = (
        ZeroShotClassifier(FakeEmbedder(), LABELS[language]).classify(pictures).predictions
    )
    assert [p.label for p in predictions] == [LABELS[language][0]] * 40


@pytest.mark.parametrize("picture", ["dog-1.jpg", "cat-2.jpg"])
def test_a_picture_alone_is_enough(picture):
    classifier = ZeroShotClassifier(FakeEmbedder(), LABELS["en"])
    (prediction,) = classifier.classify([picture]).predictions
    assert prediction.label == picture[:3]
    (strange,) = classifier.classify(["violin-3.jpg"]).predictions
    assert strange.chance > prediction.chance


@pytest.mark.parametrize("level", [0.0, 0.2, 0.7])
def test_no_tuning_is_needed_for_models_whose_cosines_lie_at_another_level(level):
    pictures = [*STRANGE, *BELONG]
    plain = ZeroShotClassifier(FakeEmbedder(), LABELS["en"]).classify(pictures).predictions
    lifted = ZeroShotClassifier(FakeEmbedder(level=level), LABELS["en"]).classify(pictures)
    pairs = list(zip(lifted.predictions, plain, strict=True))
    assert sum(a.label == b.label for a, b in pairs) / len(pairs) > 0.9
    assert all(a.label == b.label is not None for a, b in pairs[len(STRANGE) :])


def test_labels_of_two_languages_are_each_measured_with_their_own_words():
    embedder = FakeEmbedder()
    classifier = ZeroShotClassifier(embedder, ["dog", "猫"])
    assert {"cactus", "仙人掌"} <= set(embedder.texts)
    labels = [p.label for p in classifier.classify(["dog-1.jpg", "cat-1.jpg"]).predictions]
    assert labels == ["dog", "猫"]


def test_it_can_be_switched_off_and_then_costs_nothing():
    embedder = FakeEmbedder()
    classifier = ZeroShotClassifier(embedder, ["dog", "cat"], none_above=None)
    assert not any("lamp" in text for text in embedder.texts)
    prediction = classifier.classify(["lamp-1.jpg"]).predictions[0]
    assert prediction.label in ("dog", "cat")
    assert (prediction.none, prediction.chance) == (False, None)


def test_a_lower_limit_says_none_more_often():
    def share(limit):
        classifier = ZeroShotClassifier(FakeEmbedder(), LABELS["en"], none_above=limit)
        return sum(p.none for p in classifier.classify([*STRANGE, *BELONG]).predictions)

    assert share(0.5) >= share(0.9) >= share(0.999) > share(1 - 1e-9)


def test_no_pictures_are_no_error():
    classifier = ZeroShotClassifier(FakeEmbedder(), LABELS["en"])
    assert classifier.predict(np.empty((0, classifier.embedder.dim), np.float32)) == ()
