from datetime import date

import pytest

from seesay.errors import ConfigError
from seesay.search.asking.query import Part, Query

TODAY = date(2026, 11, 24)


def said(text):
    parts = Query.of(text, today=TODAY).parts
    return [p.text for p in parts if p.weight > 0], [p.text for p in parts if p.weight < 0]


@pytest.mark.parametrize(
    "text",
    [
        "A man in a hat , smoking .",
        'A man with a shirt that says " Genetic Freak " is asleep .',
        "两个人，站在水边。",
        "  two   spaces",
        "a photo from last summer",
        "well-known e-mail",
        "rock-n-roll",
        "a dog -5 degrees",
        "😀",
        "DROP TABLE items; --",
    ],
)
def test_words_are_searched_for_as_they_were_typed(text):
    assert said(text) == ([text.strip()], [])


def test_quotes_are_held_by_keywords_alone_and_leave_the_sentence_whole():
    (part,) = Query.of('a sign that says "no dogs" by “the door”').parts
    assert part.text == 'a sign that says "no dogs" by “the door”'
    assert part.phrases == ("no dogs", "the door")


def test_nothing_but_quotes_are_texts_of_their_own_without_the_marks():
    assert [(p.text, p.phrases) for p in Query.of("“红色的车” 「街道」").parts] == [
        ("红色的车", ("红色的车",)),
        ("街道", ("街道",)),
    ]
    (part,) = Query.of('"no parking sign"').parts
    assert (part.text, part.phrases, part.weight) == ("no parking sign", ("no parking sign",), 1)


def test_weights_follow_a_caret():
    assert [(p.text, p.weight) for p in Query.of('sunset^2 "red car"^0.5 mountains').parts] == [
        ("sunset", 2),
        ("red car", 0.5),
        ("mountains", 1),
    ]
    assert [p.weight for p in Query.of("beach -people^3").parts] == [1, -1.5]
    assert [p.text for p in Query.of("a beach + a dog").parts] == ["a beach", "a dog"]


@pytest.mark.parametrize("dash", "-－–—−‐‑﹣")
def test_any_dash_before_a_word_leaves_it_out(dash):
    assert said(f"animal {dash}cat") == (["animal"], ["cat"])
    assert said(f"动物 {dash}猫") == (["动物"], ["猫"])


@pytest.mark.parametrize(
    "text", ["a well–known e−mail", "a dog — a cat", "猫——我的猫", "–5 degrees"]
)
def test_a_dash_that_stands_elsewhere_stays_as_it_was_typed(text):
    assert said(text) == ([text], [])


def test_signs_of_full_width_mean_what_the_narrow_ones_do():
    assert [(p.text, p.weight) for p in Query.of("日落＾２ 山").parts] == [("日落", 2), ("山", 1)]
    assert [p.text for p in Query.of("ＤＯＧ ＋ 貓").parts] == ["ＤＯＧ", "貓"]
    assert Query.of("＂紅色的車＂").parts[0].phrases == ("紅色的車",)


def test_denials_are_read_in_traditional_characters():
    assert said("沒有人的沙灘") == (["沙灘"], ["人"])
    assert said("除了貓以外的動物") == (["動物"], ["貓"])


def test_what_nobody_can_see_is_left_out_of_a_query():
    assert said("\ufeffa \u200bdog\u2060") == (["a dog"], [])


def test_pictures_are_wanted_as_much_as_words():
    assert [p.weight for p in Query.of("a dog", images=["a.jpg"]).parts] == [1, 1]
    assert [p.image for p in Query.of("", images=["a.jpg"]).parts] == ["a.jpg"]


def test_invisible_characters_are_taken_out_but_not_those_of_an_emoji():
    assert said("a do\u200bg\x00") == (["a dog"], [])
    assert said("👨\u200d👩\u200d👧") == (["👨\u200d👩\u200d👧"], [])


@pytest.mark.parametrize("text", ["", "  ", "-", '""', "...", "\u200b"])
def test_a_query_of_nothing_is_refused(text):
    with pytest.raises(ConfigError, match="expected words or a picture"):
        Query.of(text)


def test_impossible_queries_are_refused_with_their_values():
    with pytest.raises(ConfigError, match="0 hits"):
        Query(parts=(), count=0)
    with pytest.raises(ConfigError, match="no more than 10000"):
        Query(parts=(), offset=9_999, count=2)
    with pytest.raises(ConfigError, match="130"):
        Query(parts=(), min_confidence=130.0)
    with pytest.raises(ConfigError, match="leave them out"):
        Query(parts=(), retrievers=())
    with pytest.raises(ConfigError, match="2 of text, image and unit"):
        Part(text="a", unit=1)
