"""When no label fits, the answer is none of them: for any model, language and number of labels."""

import numpy as np
import pytest
from seesay.inference.none_of_these import NONE_ABOVE, NoneOfThese, unrelated

from fakes import FakeEmbedder
from seesay.inference.classifier import ZeroShotClassifier
from seesay.inference.prompts import concepts

LABELS = {"en": ["dog", "cat", "horse"], "zh": ["狗", "猫", "马"]}
STRANGE = [f"{thing}-{i}.jpg" for thing in ("lamp", "zeppelin", "violin") for i in range(20)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_picture_of_something_else_gets_no_label(language):
    classifier = ZeroShotClassifier(FakeEmbedder(), LABELS[language])
    predictions = classifier.classify(STRANGE).predictions
    assert sum(p.none for p in predictions) / len(STRANGE) > 0.9
    for prediction in predictions:
        assert prediction.none == (prediction.label is None) == (prediction.chance > NONE_ABOVE)
        assert prediction.ranked[0].label in LABELS[language]  # the best stays readable


@pytest.mark.parametrize("level", [0.0, 0.2, 0.7])
def test_no_tuning_is_needed_for_models_whose_cosines_lie_at_another_level(level):
    pictures = [
        *STRANGE,
        *(f"dog-{i}.jpg" for i in range(20)),
        *(f"cat-{i}.jpg" for i in range(20)),
    ]
    plain = ZeroShotClassifier(FakeEmbedder(), LABELS["en"]).classify(pictures).predictions
    lifted = ZeroShotClassifier(FakeEmbedder(level=level), LABELS["en"]).classify(pictures)
    pairs = list(zip(lifted.predictions, plain, strict=True))
    assert sum(a.label == b.label for a, b in pairs) / len(pairs) > 0.95
    assert all(a.label == b.label is not None for a, b in pairs[len(STRANGE) :])


@pytest.mark.parametrize("count", [1, 5, 25])
def test_the_share_of_wrong_labels_is_about_the_chance_that_was_asked_for(count):
    labels = [f"thing{i}" for i in range(count)]
    pictures = [f"unheard{i}-1.jpg" for i in range(300)]
    predictions = ZeroShotClassifier(FakeEmbedder(), labels).classify(pictures).predictions
    assert sum(not p.none for p in predictions) / len(pictures) <= NONE_ABOVE + 0.06


def test_the_more_labels_the_more_the_best_one_is_held_to():
    few = ZeroShotClassifier(FakeEmbedder(), ["dog"])
    many = ZeroShotClassifier(FakeEmbedder(), ["dog", *(f"thing{i}" for i in range(29))])
    one, other = (c.classify(["dog-1.jpg"]).predictions[0].chance for c in (few, many))
    assert one < other


def test_a_general_label_is_kept_beside_an_everyday_word_that_fits_better():
    """ "animal" must not be denied because "dog" is among the everyday words."""
    rng = np.random.default_rng(0)
    words = {word: _unit(rng.standard_normal(64)) for word in concepts("en")}
    words["animal"] = _unit(words["dog"] + 1.2 * rng.standard_normal(64) / 8)
    picture = _unit(words["dog"] + 0.8 * rng.standard_normal(64) / 8)
    rule = NoneOfThese(["animal"], ["en"], lambda texts, _: np.stack([words[t] for t in texts]))
    assert picture @ words["dog"] > picture @ words["animal"]
    assert rule.chances(picture[None], np.array([0]))[0] < NONE_ABOVE


def test_each_label_is_compared_with_the_words_of_its_own_language():
    asked = []

    def embed(words, languages):
        asked.append(set(languages))
        return np.ones((len(words), 8)) / np.sqrt(8)

    NoneOfThese(["dog", "猫"], ["en", "zh"], embed)
    assert asked == [{"en", "zh"}, {"en"}, {"zh"}]


@pytest.mark.parametrize(
    ("label", "language", "gone", "left"),
    [
        ("dogs", "en", "dog", "cat"),
        ("police dog", "en", "dog", "horse"),
        ("coffee", "en", "cup of coffee", "cup"),
        ("car", "en", "car", "carrot"),
        ("火锅", "zh", "火锅", "火车"),
        ("车", "zh", "自行车", "飞机"),
    ],
)
def test_everyday_words_that_hold_a_label_or_are_held_in_it_are_left_out(
    label, language, gone, left
):
    words = unrelated([label], language)
    assert gone not in words
    assert left in words


def test_labels_that_cover_nearly_every_word_leave_them_all():
    assert unrelated(concepts("en"), "en") == concepts("en")


def test_it_can_be_switched_off_and_then_costs_nothing():
    embedder = FakeEmbedder()
    classifier = ZeroShotClassifier(embedder, ["dog", "cat"], none_above=None)
    assert not any("lamp" in text for text in embedder.texts)
    prediction = classifier.classify(["lamp-1.jpg"]).predictions[0]
    assert prediction.label in ("dog", "cat")
    assert (prediction.none, prediction.chance) == (False, None)


def test_a_stricter_limit_says_none_more_often():
    def share(limit):
        classifier = ZeroShotClassifier(FakeEmbedder(), LABELS["en"], none_above=limit)
        return sum(p.none for p in classifier.classify(STRANGE).predictions)

    assert share(0.0001) >= share(0.05) > share(0.9)


def _unit(vector):
    return vector / np.linalg.norm(vector)
