"""Contrasts are made by rules from labels; no foil is true of its picture, and texts alone do not
tell which is which."""

import json
import re
from collections import Counter
from functools import cache

import pytest
from PIL import Image

from seesay.cli.main import run
from seesay.data.formats.records import Box, boxes_from
from seesay.data.formats.webdataset import WebDatasetSource
from seesay.data.questions.asking import Draw
from seesay.data.questions.caption_foils import CaptionFoils
from seesay.data.questions.contrasts import BEYOND, Contrast, even, make_contrasts
from seesay.data.questions.lexicon import read_lexicon, tokens_of
from seesay.data.sources import RecordsConfig, open_records
from seesay.errors import DataError


@pytest.fixture(scope="module")
def foils():
    return CaptionFoils(read_lexicon())


@pytest.fixture(scope="module")
def lexicon():
    return read_lexicon()


def coco(shared):
    folder = shared / "coco-tiny"
    return RecordsConfig(
        path=str(folder / "annotations.jsonl"),
        format="table",
        columns={"image": "file_name"},
        images=str(folder / "images"),
    )


@pytest.fixture(scope="module")
def labelled(shared):
    """The records of coco-tiny by key."""
    source = open_records(coco(shared))
    return {source[n].key: source[n] for n in range(len(source))}


# Texts


@pytest.mark.parametrize(
    ("caption", "language", "foil"),
    [
        ("A black dog and a red ball .", "en", "A red dog and a black ball ."),
        ("Black dog with a red ball", "en", "Red dog with a black ball"),
        ("a small brown dog on white snow", "en", "a small white dog on brown snow"),
        ("穿红色衬衫的人和黑狗", "zh", "穿黑色衬衫的人和红狗"),
        ("白色的狗和棕色的球", "zh", "棕色的狗和白色的球"),
    ],
)
def test_colours_of_two_things_are_swapped(foils, caption, language, foil):
    assert foils.colours_swapped(caption, language) == foil


@pytest.mark.parametrize(
    ("caption", "language"),
    [
        ("a black and white dog", "en"),
        ("a black dog and a brown dog", "en"),  # the same, said the other way round
        ("a red ball and a red hat", "en"),
        ("a dog with a red ball", "en"),
        ("黑白相间的狗", "zh"),
        ("一只白狗和一只黑狗", "zh"),
    ],
)
def test_a_swap_that_changes_nothing_is_not_made(foils, caption, language):
    assert foils.colours_swapped(caption, language) is None


def test_a_swap_that_other_captions_say_is_not_made(foils):
    caption = "a black dog and a red ball"
    assert foils.colours_swapped(caption, "en", {"en": [caption]})
    for other in ({"en": [caption, "a red dog plays"]}, {"en": [caption], "zh": ["红色的狗"]}):
        assert foils.colours_swapped(caption, "en", other) is None


def test_each_rule_changes_one_thing(foils):
    made = dict(foils.all("two black dogs in front of a house", "en", Draw(0)))
    assert set(made) == {"colour", "number", "thing", "opposite"}
    assert made["opposite"] == "two black dogs behind a house"
    words = made["number"].split()
    assert words[0] in ("three", "four", "five") and words[1:] == [
        "black",
        "dogs",
        "in",
        "front",
        "of",
        "a",
        "house",
    ]
    number, colour, *rest = made["colour"].split()
    assert (number, rest) == ("two", words[2:]) and colour != "black"
    chinese = dict(foils.all("两只黑狗在跑", "zh", Draw(0)))
    assert chinese["number"][1:] == "只黑狗在跑" and chinese["number"][0] in "三四五"
    assert not foils.all("something happens", "en", Draw(0))


def test_the_article_goes_with_the_new_word(foils):
    for seed in range(20):
        for caption in ("a dog runs", "an airplane lands"):
            foil = dict(foils.all(caption, "en", Draw(seed)))["thing"]
            article, word = foil.split()[:2]
            assert article == ("an" if word[0] in "aeiou" else "a"), foil


# Pictures


def test_boxes_are_read_beside_objects():
    row = {"objects": [{"category": "dog", "bbox": [1, 2, 3, 4]}]}
    assert boxes_from(row) == (Box(1, 2, 3, 4),)
    for bad in ("dog", {"category": "cat"}, {"category": "cat", "bbox": [1, 2, "3", 4]}):
        assert boxes_from({"objects": [*row["objects"], bad]}) == ()


@pytest.mark.shared
def test_places_numbers_and_things_are_true_of_the_labels(shared, labelled, lexicon):
    made = make_contrasts(coco(shared), ["space", "count", "negation", "small", "sibling"], most=40)
    assert {one.language for one in made} == {"en", "zh"}

    for one in made:
        names = [_things_of(text, lexicon) for text in one.captions]
        boxes = [_boxes(labelled[key], lexicon) for key in one.keys]
        CHECKS.get(one.category, _is_of_its_own)(one, names, boxes)


def _things_of(text, lexicon):
    """The things that a made text names, in order."""
    words, pattern = _words(lexicon)
    return [words[found] for found in pattern.findall(text)]


@cache
def _words(lexicon):
    words = {
        word: name
        for name, one in lexicon.things.items()
        for word in (*one.labels, name, one.plural, *one.zh[:1])
    }
    longest_first = sorted(map(re.escape, words), key=len, reverse=True)
    return words, re.compile("|".join(longest_first))


def _boxes(record, lexicon):
    found = {}
    for label, box in zip(record.objects, record.boxes, strict=True):
        found.setdefault(lexicon.thing_of_label(label).name, []).append(box)
    return found


def _is_of_its_own(one, names, boxes):
    [mine], [theirs] = names
    assert mine in boxes[0] and mine not in boxes[1]
    assert one.category == "negation" or (theirs in boxes[1] and theirs not in boxes[0])


def _is_counted(one, names, boxes):
    lexicon = read_lexicon()
    numbers = {word: n.value for name, n in lexicon.numbers.items() for word in (name, n.zh)}
    said = [text.split()[0] if one.language == "en" else text[0] for text in one.captions]
    count = len(boxes[0][names[0][0]])
    assert numbers[said[0]] == count != numbers[said[1]]


def _is_placed(one, names, boxes):
    assert _is_there(one.captions[0], names[0], boxes[0])
    assert not _is_there(one.captions[1], names[1], boxes[0])


def _is_there(text, names, boxes):
    [one], [two] = (boxes[name] for name in names)
    before = (one.left + one.width <= two.left, two.left + two.width <= one.left)
    level = (one.top + one.height <= two.top, two.top + two.height <= one.top)
    sides = {"left": before[0], "左": before[0], "right": before[1], "右": before[1]}
    sides |= {"above": level[0], "上": level[0], "below": level[1], "下": level[1]}
    [side] = [is_there for word, is_there in sides.items() if word in text]
    return side


CHECKS = {"space": _is_placed, "count": _is_counted}


@pytest.mark.shared
def test_texts_alone_are_even(shared):
    made = make_contrasts(coco(shared), ["space", "count"], most=10_000)
    for language, words in (
        ("en", ["left", "right", "above", "below"]),
        ("zh", ["左", "右", "上", "下"]),
    ):
        spaces = [o for o in made if (o.category, o.language) == ("space", language)]
        counts = Counter(word for o in spaces for word in words if word in o.captions[0])
        assert counts[words[0]] == counts[words[1]] > 9
        assert counts[words[2]] == counts[words[3]] > 9
    counted = [o for o in made if (o.category, o.language) == ("count", "en")]
    true, false = (Counter(o.captions[at].split()[0] for o in counted) for at in (0, 1))
    assert true == false


@pytest.mark.shared
def test_shapes_differ_in_colour_or_shape(shared):
    records = RecordsConfig(path=str(shared / "easy-vqa" / "train-*.tar"), stop=60)
    made = make_contrasts(records, ["attribute"])
    source = WebDatasetSource(records.path)
    answers = {source[n].key: {one.answer for one in source[n].questions["en"]} for n in range(60)}
    for one in made:
        if one.language == "en":
            mine, theirs = (set(text.split()[1:]) for text in one.captions)
            assert len(mine & theirs) == 1
            assert mine <= answers[one.keys[0]] and theirs <= answers[one.keys[1]]
    assert any("的圆形" in text for one in made for text in one.captions)


@pytest.mark.shared
def test_long_texts_differ_in_their_last_sentence(shared):
    records = RecordsConfig(path=str(shared / "flickr8k-bilingual" / "dev-*.tar"), stop=80)
    for one in make_contrasts(records, ["long"]):
        same = 0
        while one.captions[0][same] == one.captions[1][same]:
            same += 1
        words = len(tokens_of(one.captions[0][:same], one.language))
        assert words >= BEYOND - 1


@pytest.mark.shared
def test_what_labels_do_not_tell_is_an_error(shared):
    with pytest.raises(DataError, match="no contrast of 'attribute' in 'en', expected questions"):
        make_contrasts(coco(shared), ["attribute"])


def test_a_contrast_needs_foils_that_differ():
    given = {"category": "count", "language": "en", "keys": ("a",), "images": (b"",)}
    with pytest.raises(DataError, match="stands twice"):
        Contrast(**given, captions=("two dogs", "two  Dogs"))
    with pytest.raises(DataError, match="at least one foil"):
        Contrast(**given, captions=("two dogs",))


def test_even_takes_one_of_each_direction_at_a_time():
    given = {"category": "count", "language": "en", "images": (b"",), "captions": ("a", "b")}
    directions = [("a", 1), ("b", 1), ("a", 1), ("a", -1), ("b", 0), ("b", -1)]
    made = [
        (kind, direction, Contrast(keys=(str(at),), **given))
        for at, (kind, direction) in enumerate(directions, 1)
    ]
    assert [one.keys[0] for one in even(made, 9)] == ["1", "4", "5", "2", "6"]
    assert [one.keys[0] for one in even(made, 3)] == ["1", "4"]


@pytest.mark.shared
def test_the_command_writes_pictures_and_a_file_for_each_category(
    shared, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("SEESAY_LANG", "en")
    folder = shared / "coco-tiny"
    given = ["--images", str(folder / "images"), "--column", "image=file_name", "--most", "4"]
    out = tmp_path / "out"
    assert (
        run(["data", "contrasts", str(folder / "annotations.jsonl"), *given, "-o", str(out)]) == 0
    )
    printed = capsys.readouterr().out
    assert "negation" in printed and 'loader = "contrasts"' in printed
    lines = (out / "space.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert Counter(row["language"] for row in rows) == {"en": 4, "zh": 4}
    with Image.open(out / rows[0]["images"][0]) as picture:
        assert picture.size[0] > 100
    assert (
        run(["data", "contrasts", str(folder / "annotations.jsonl"), "-c", "spaces", "-o", "x"])
        != 0
    )
    assert "did you mean 'space'" in capsys.readouterr().err
