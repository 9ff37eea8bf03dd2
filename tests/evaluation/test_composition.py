"""Composition: published files are read as they are, ties are never right, and beside an accuracy
stands what guessing gives."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import seesay
from seesay.data.questions.contrasts import Contrast
from seesay.errors import ConfigError, DataError
from seesay.evaluation.bootstrap import interval
from seesay.evaluation.composition import (
    Composition,
    right_texts,
    scores_by_windows,
    scores_of,
    text_windows,
    values_of,
    winoground_scores,
)
from seesay.evaluation.suites import read_suite


@pytest.fixture(scope="module")
def embedder():
    return seesay.load("seesay-mini", device="cpu")


@pytest.fixture
def pictures(tmp_path):
    for name, colour in (("red.png", "red"), ("blue.png", "blue")):
        picture = Image.new("RGB", (40, 20), colour)
        picture.paste("white", (0, 0, 10, 20))
        picture.save(tmp_path / name)
    return tmp_path


def contrast(*captions, keys=("a",), category="binding", language="en"):
    images = tuple(key.encode() for key in keys)
    return Contrast(
        category=category, language=language, keys=tuple(keys), images=images, captions=captions
    )


def write(file, value):
    file.write_text(json.dumps(value), encoding="utf-8")
    return str(file)


# Values


def test_a_tie_is_not_right():
    assert right_texts(np.array([[0.5, 0.5]])).tolist() == [False]
    assert right_texts(np.array([[0.5, 0.4]])).tolist() == [True]
    assert right_texts(np.array([[0.5, 0.4, 0.6]])).tolist() == [False]
    same = winoground_scores([np.zeros((2, 2))])
    assert same == {"text": 0, "image": 0, "group": 0}


def test_winoground_counts_texts_pictures_and_both():
    texts_only = np.array([[0.9, 0.8], [0.1, 0.2]])  # each picture finds its text
    images_only = texts_only.T
    both = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert winoground_scores([texts_only]) == {"text": 1, "image": 0, "group": 0}
    assert winoground_scores([images_only]) == {"text": 0, "image": 1, "group": 0}
    third = pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(1 / 3)
    found = winoground_scores([texts_only, images_only, both])
    assert tuple(found.values()) == third


def test_values_stand_beside_chance_and_what_texts_alone_give():
    some = [
        contrast("a dog", "a dogs", "a doggy", keys=("a",)),
        contrast("the cat runs", "the cat flies", "the cat", keys=("b",)),
    ]
    scores = [np.array([[0.5, 0.1, 0.2]]), np.array([[0.1, 0.2, 0.3]])]
    found = dict(values_of(some, scores, [("en", "binding")]))
    assert found["en_binding_accuracy"] == 0.5
    assert found["en_binding_chance"] == pytest.approx(1 / 3)
    assert found["en_binding_longer"] == 0  # in the first a foil is longer, in the second another
    assert found["en_binding_low"] == 0 and found["en_binding_high"] == 1


def test_texts_alone_tell_nothing_where_each_is_true_once_and_false_once():
    some = [contrast("a red circle", "a big blue circle", keys=("a", "b"), category="attribute")]
    found = dict(values_of(some, [np.eye(2)], [("en", "attribute")]))
    assert found["en_attribute_blind"] == found["en_attribute_longer"] == 0.5
    assert found["en_attribute_group"] == found["en_attribute_accuracy"] == 1


def test_the_interval_draws_pictures_with_all_their_answers():
    hits = np.array([True, False] * 50)
    wide = interval(hits, ["a", "b"] * 50)  # two pictures, each with fifty equal answers
    narrow = interval(hits, [str(n) for n in range(100)])
    assert wide == (0, 1)
    assert 0.38 < narrow[0] < 0.43 and 0.57 < narrow[1] < 0.62


# Files


def test_sugarcrepe_is_read_as_published(pictures, embedder):
    row = {"filename": "red.png", "caption": "a red wall", "negative_caption": "a blue wall"}
    blue = {"filename": "blue.png", "caption": "a blue wall", "negative_caption": "a red wall"}
    write(pictures / "replace_att.json", {"0": row, "1": blue})
    write(pictures / "swap_obj.json", {"0": row})
    measure = Composition(path=str(pictures / "*.json"), loader="sugarcrepe")
    measure.check()
    found = dict(measure.measure(embedder))
    assert list(found) == measure.names()
    assert {"en_replace_att_accuracy", "en_swap_obj_blind"} <= set(found)
    assert found["en_replace_att_accuracy"] == 1.0  # a MobileNet knows red from blue
    assert measure.contrasts[1].captions == ("a blue wall", "a red wall")


def test_aro_is_cut_to_the_box(pictures):
    row = {
        "image_id": 2339172,
        "image_path": "red.png",
        "bbox_x": 10,
        "bbox_y": 0,
        "bbox_w": 30,
        "bbox_h": 20,
        "true_caption": "the door is to the left of the man",
        "false_caption": "the man is to the left of the door",
        "relation_name": "to the left of",
    }
    file = write(pictures / "visual_genome_relation.json", [row, row | {"bbox_x": 0}])
    measure = Composition(path=file, loader="aro")
    measure.check()
    first, second = measure.contrasts
    assert first.category == "visual_genome_relation"
    assert first.captions == (row["true_caption"], row["false_caption"])
    opened = Image.open(BytesIO(first.images[0])).convert("RGB")
    assert opened.size == (30, 20) and opened.getcolors() == [(600, (255, 0, 0))]
    assert first.keys != second.keys  # another box is another picture


def test_winoground_has_two_pictures_without_endings(pictures, embedder):
    row = {"id": 0, "image_0": "red", "image_1": "blue", "tag": "Adjective", "num_main_preds": 1}
    row |= {"caption_0": "a red wall", "caption_1": "a blue wall", "collapsed_tag": "Object"}
    file = write(pictures / "examples.jsonl", row)
    measure = Composition(path=file, loader="winoground", images=str(pictures))
    measure.check()
    found = dict(measure.measure(embedder))
    assert list(found) == measure.names()
    assert found["en_winoground_group"] == found["en_winoground_text"] == 1
    assert found["en_winoground_chance"] == 0.5


@pytest.mark.parametrize(
    ("loader", "content", "message"),
    [
        ("sugarcrepe", {"0": {"filename": "red.png", "caption": "a"}}, "has no negative_caption"),
        ("sugarcrepe", [1], "is not what loader='sugarcrepe' reads"),
        ("aro", [{"image_path": "red.png"}], "has no true_caption"),
        ("winoground", {"image_0": "red"}, "has no image_1"),
        ("contrasts", {"images": ["red.png"]}, "has no captions"),
        (
            "contrasts",
            {"images": ["no.png"], "captions": ["a", "b"]},
            "no.png, which does not exist",
        ),
        ("contrasts", {"images": ["red.png"], "captions": ["a b", "A  b"]}, "stands twice"),
        ("contrasts", {"images": ["red.png"], "captions": ["a"]}, "at least one foil"),
    ],
)
def test_what_cannot_be_used_is_named(pictures, loader, content, message):
    file = write(pictures / "pairs.jsonl", content)
    with pytest.raises(DataError, match=message) as error:
        Composition(path=file, loader=loader, languages=("en",)).check()
    assert "\n" not in str(error.value)


def test_a_missing_file_and_wrong_settings_are_refused(tmp_path):
    with pytest.raises(DataError, match="names nothing"):
        Composition(path=str(tmp_path / "no.json"), loader="sugarcrepe").check()
    with pytest.raises(ConfigError, match="did you mean 'space'"):
        Composition(path="x", categories=("spaces",))
    with pytest.raises(ConfigError, match=r"templates\.en"):
        Composition(path="x", question={"en": "Is it there?"})


def test_no_contrast_in_a_language_is_an_error(pictures):
    content = {"images": ["red.png"], "captions": ["a red wall", "a blue wall"]}
    file = write(pictures / "binding.jsonl", content)
    with pytest.raises(DataError, match="no contrast of 'binding' in 'zh'"):
        Composition(path=file, loader="contrasts").check()


def test_a_category_of_pairs_needs_two_pictures(pictures):
    content = {"images": ["red.png"], "captions": ["a photo with a wall", "a photo without a wall"]}
    file = write(pictures / "negation.jsonl", content)
    with pytest.raises(DataError, match="is alone in a contrast of 'negation', expected two"):
        Composition(path=file, loader="contrasts", languages=("en",)).check()


# Scores


def test_windows_of_a_long_text_are_compared_in_each_way(pictures, embedder):
    before = "a wall on a street in a town by the sea " * 12
    long = [before + "it is red", before + "it is blue"]
    one = Contrast(
        category="long",
        language="en",
        keys=("red",),
        images=(pictures / "red.png",),
        captions=tuple(long),
    )
    first, mean, best = (
        of[0][0] for of in scores_by_windows(embedder, [one], ("first", "mean", "max"))
    )
    picture = embedder.embed_images([pictures / "red.png"]).vectors[0]
    windows = text_windows(embedder, long)
    assert len(windows[0]) > 1
    np.testing.assert_allclose(mean, embedder.embed_texts(long).vectors @ picture, atol=1e-5)
    np.testing.assert_allclose(best, [(of @ picture).max() for of in windows], atol=1e-5)
    assert first[0] == first[1]  # neither is seen to its end: a tie, which is not right
    assert not right_texts(first[None])[0]


class Yes:
    """An assistant that is sure of one thing."""

    def __init__(self, known):
        self.known, self.asked = known, []

    def ask_batch(self, asked, *, max_tokens):
        from seesay.inference.answer import Answer, AnswerToken

        asked = list(asked)
        self.asked += [question for _, question in asked]
        for _, question in asked:
            text = "yes" if self.known in question else "no"
            text = "perhaps" if "maybe" in question else text
            token = AnswerToken(text=text, log_probability=float(np.log(0.9)))
            yield Answer(text=text, model="yes", finish_reason="stop", tokens=(token,))


def test_an_assistant_is_asked_yes_or_no():
    some = [contrast("a dog", "a cat", "a maybe"), contrast("一只狗", "一只猫", language="zh")]
    assistant = Yes("dog")
    english, chinese = scores_of(assistant, some)
    np.testing.assert_allclose(english, [[0.9, 0.1, 0.5]])
    np.testing.assert_allclose(chinese, [[0.1, 0.1]])
    assert "Is there a dog in the picture?" in assistant.asked
    assert "图里有一只狗吗？" in assistant.asked


def test_the_built_in_suite_names_its_categories(shared):
    suite = read_suite("limits", data=shared)
    names = [name for one in suite.measures.values() for name in one.names()]
    assert {"zh_negation_group", "en_long_blind", "zh_binding_low"} <= set(names)
    assert not suite.tasks
