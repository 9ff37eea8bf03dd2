"""Zero-shot classification: ensembles, probabilities, order, languages, what is refused."""

import numpy as np
import pytest

import seesay
from fakes import FakeEmbedder
from seesay.errors import ConfigError
from seesay.inference import classifier as module
from seesay.inference.classifier import ZeroShotClassifier, ensemble
from seesay.inference.prompts import fill, templates

LABELS = {"en": ["dog", "cat", "horse"], "zh": ["狗", "猫", "马"]}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_best_label_comes_first_in_both_languages(language):
    classifier = ZeroShotClassifier(FakeEmbedder(), LABELS[language])
    results = classifier.classify(["dog-1.jpg", "cat-1.jpg", "horse-1.jpg"]).predictions
    assert [p.label for p in results] == LABELS[language]
    assert [p.ranked[0].label for p in results] == LABELS[language]
    assert not any(p.none for p in results)


def test_an_ensemble_is_the_mean_of_the_sentences_brought_back_to_length_one():
    embedder = FakeEmbedder()
    sentences = [["a dog", "the big dog there", "dog"], ["a cat"]]
    vectors = ensemble(embedder, sentences)
    parts = embedder.embed_texts(sentences[0]).vectors
    expected = parts.sum(axis=0) / np.linalg.norm(parts.sum(axis=0))
    np.testing.assert_allclose(vectors[0], expected, atol=1e-6)
    np.testing.assert_allclose(vectors[1], embedder.embed_texts(["a cat"]).vectors[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_cosine_is_that_of_the_picture_and_the_built_in_ensemble():
    embedder = FakeEmbedder()
    prediction = ZeroShotClassifier(embedder, ["cat"]).classify(["cat-7.jpg"]).predictions[0]
    sentences = embedder.embed_texts([fill(t, "cat") for t in templates("en")]).vectors.mean(axis=0)
    picture = embedder.embed_images(["cat-7.jpg"]).vectors[0]
    expected = picture @ sentences / np.linalg.norm(sentences)
    assert prediction.ranked[0].cosine == pytest.approx(float(expected), abs=1e-6)


def test_probabilities_are_the_softmax_with_the_scale_of_the_model():
    classifier = ZeroShotClassifier(FakeEmbedder(scale=20.0), [*LABELS["en"], "car"])
    prediction = classifier.classify(["dog-1.jpg"]).predictions[0]
    logits = 20 * np.array([score.cosine for score in prediction.ranked])
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose([s.probability for s in prediction.ranked], expected, rtol=1e-6)
    assert prediction.probability == prediction.ranked[0].probability
    assert prediction.margin == pytest.approx(expected[0] - expected[1])
    assert all(score.match is None for score in prediction.ranked)


def test_a_model_with_a_bias_also_says_how_likely_each_label_is_by_itself():
    classifier = ZeroShotClassifier(FakeEmbedder(scale=20.0, bias=-4.0), LABELS["en"])
    for score in classifier.classify(["dog-1.jpg"]).predictions[0].ranked:
        assert score.match == pytest.approx(1 / (1 + np.exp(-(20 * score.cosine - 4))))


def test_labels_are_embedded_once_however_many_pictures_come():
    embedder = FakeEmbedder()
    classifier = ZeroShotClassifier(embedder, LABELS["en"])
    sentences = len(embedder.texts)
    assert sum("dog" in text.split() for text in embedder.texts) >= len(templates("en"))
    classifier.classify(["dog-1.jpg"])
    classifier.classify(["cat-1.jpg", "cat-2.jpg"])
    assert len(embedder.texts) == sentences


def test_each_label_gets_the_sentences_of_its_own_language():
    embedder = FakeEmbedder()
    ZeroShotClassifier(embedder, ["dog", "猫"], none_above=None)
    assert embedder.texts == [
        *(fill(template, "dog") for template in templates("en")),
        *(fill(template, "猫") for template in templates("zh")),
    ]


def test_a_language_that_is_given_goes_before_the_one_that_the_letters_tell():
    embedder = FakeEmbedder()
    ZeroShotClassifier(embedder, ["T-shirt"], language="zh", none_above=None)
    assert embedder.texts == [fill(template, "T-shirt") for template in templates("zh")]


def test_given_templates_are_used_as_they_are():
    embedder = FakeEmbedder()
    ZeroShotClassifier(embedder, ["owl", "猫"], templates=["a {} {here}!"], none_above=None)
    assert embedder.texts == ["a owl {here}!", "a 猫 {here}!"]


def test_a_label_may_show_one_name_and_ask_for_another():
    classifier = ZeroShotClassifier(FakeEmbedder(), {"n01": "dog", "n02": "cat"})
    assert classifier.classify(["cat-1.jpg"]).predictions[0].label == "n02"


def test_equal_scores_keep_the_order_of_the_labels():
    same = {"third": "dog", "first": "dog", "second": "dog", "other": "cat"}
    classifier = ZeroShotClassifier(FakeEmbedder(), same)
    ranked = classifier.classify(["dog-1.jpg"]).predictions[0].ranked
    assert [score.label for score in ranked] == ["third", "first", "second", "other"]


def test_top_keeps_only_the_best_labels_and_their_probabilities():
    classifier = ZeroShotClassifier(FakeEmbedder(), LABELS["en"])
    whole = classifier.classify(["dog-1.jpg"]).predictions[0]
    short = classifier.classify(["dog-1.jpg"], top=2).predictions[0]
    assert short.ranked == whole.ranked[:2]
    assert short.margin == whole.margin


def test_a_picture_that_cannot_be_read_is_reported_and_the_others_are_done():
    classifier = ZeroShotClassifier(FakeEmbedder(), LABELS["en"])
    result = classifier.classify(["dog-1.jpg", "broken.jpg", "cat-1.jpg"])
    assert [p.label for p in result.predictions] == ["dog", "cat"]
    assert result.rows == (0, 2)
    assert [failure.index for failure in result.failures] == [1]


def test_no_picture_gives_no_prediction():
    assert len(ZeroShotClassifier(FakeEmbedder(), LABELS["en"]).classify([])) == 0


def test_a_prediction_does_not_depend_on_how_many_pictures_are_scored_at_once(monkeypatch):
    classifier = ZeroShotClassifier(FakeEmbedder(), LABELS["en"])
    pictures = [f"{thing}-{i}.jpg" for i in range(3) for thing in ("dog", "cat", "lamp")]
    whole = classifier.classify(pictures).predictions
    monkeypatch.setattr(module, "CHUNK", 2)
    for one, other in zip(whole, classifier.classify(pictures).predictions, strict=True):
        assert one.label == other.label
        assert one.chance == pytest.approx(other.chance, rel=1e-4)
        assert one.ranked[0].cosine == pytest.approx(other.ranked[0].cosine, abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], "at least one"),
        (["dog", " "], "empty"),
        (["dog", "cat", "dog"], r"\['dog'\] are given more than once"),
        ({"dog": ""}, "empty"),
    ],
)
def test_labels_that_make_no_sense_are_refused(labels, words):
    with pytest.raises(ConfigError, match=words):
        ZeroShotClassifier(FakeEmbedder(), labels)


@pytest.mark.parametrize("template", ["a dog", "{} and {}", "", "{0}"])
def test_a_template_needs_exactly_one_place_for_the_name(template):
    with pytest.raises(ConfigError, match=r"expected exactly one \{\}.*; write it as"):
        ZeroShotClassifier(FakeEmbedder(), ["dog"], templates=["a {}", template])


def test_an_empty_list_of_templates_is_refused():
    with pytest.raises(ConfigError, match="no template was given"):
        ZeroShotClassifier(FakeEmbedder(), ["dog"], templates=[])


@pytest.mark.parametrize("none_above", [0.0, 1.0, -1.0, 5.0])
def test_a_chance_outside_0_to_1_is_refused(none_above):
    with pytest.raises(ConfigError, match=f"none_above is {none_above}"):
        ZeroShotClassifier(FakeEmbedder(), ["dog"], none_above=none_above)


def test_how_far_the_labels_are_is_told():
    told: list[tuple[int, int, int]] = []
    ZeroShotClassifier(
        seesay.load(), ["cat", "狗"], none_above=None, on_progress=lambda *step: told.append(step)
    )
    done, total, failed = told[-1]
    assert done == total > 24 and failed == 0
