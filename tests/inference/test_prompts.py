"""Our own sentences and everyday words, and how a name is put into a sentence."""

import pytest

from seesay.inference.prompts import concepts, fill, templates
from seesay.text import detect_language

LANGUAGES = ["en", "zh"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_ensemble_has_at_least_24_different_sentences_with_one_place_each(language):
    sentences = templates(language)
    assert len(set(sentences)) == len(sentences) >= 24
    assert all(sentence.count("{}") == 1 for sentence in sentences)
    assert {detect_language(sentence) for sentence in sentences} == {language}


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_about_200_different_everyday_words(language):
    words = concepts(language)
    assert len(set(words)) == len(words) >= 200
    assert {detect_language(word) for word in words} == {language}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_fits_every_sentence(language):
    for sentence in templates(language):
        for word in concepts(language):
            filled = fill(sentence, word)
            assert word in filled
            assert not set("{}()") & set(filled)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("owl", "a photograph of an owl"),
        ("dog", "a photograph of a dog"),
        ("Orange", "a photograph of an Orange"),
        ("hourglass", "a photograph of an hourglass"),
        ("horse", "a photograph of a horse"),
        ("unicorn", "a photograph of a unicorn"),
        ("umbrella", "a photograph of an umbrella"),
        ("uninhabited island", "a photograph of an uninhabited island"),
        ("USB stick", "a photograph of a USB stick"),
        ("European robin", "a photograph of a European robin"),
        ("ukulele", "a photograph of a ukulele"),
        ("one-way street", "a photograph of a one-way street"),
        ("onesie", "a photograph of an onesie"),
        ("the moon", "a photograph of the moon"),
        ("a dog", "a photograph of a dog"),
        ("animal", "a photograph of an animal"),
    ],
)
def test_the_article_fits_the_name(name, sentence):
    assert fill("a photograph of a(n) {}", name) == sentence


def test_a_name_with_braces_is_text_like_any_other():
    assert fill("a photograph of a(n) {}", "{} sign") == "a photograph of a {} sign"


@pytest.mark.parametrize(
    ("text", "language"),
    [("dog", "en"), ("狗", "zh"), ("T恤", "zh"), ("café", "en"), ("", "en"), ("𠮷野家", "zh")],
)
def test_the_language_is_told_by_the_characters(text, language):
    assert detect_language(text) == language
