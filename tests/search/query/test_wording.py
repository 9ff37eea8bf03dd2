from datetime import date

import pytest

from seesay.errors import ConfigError
from seesay.search.query.asking import Part, Query, parse

TODAY = date(2026, 11, 24)
LITERAL = [
    "a dog on the grass",
    "不倒翁",
    "不锈钢锅",
    "不要紧",
    "有没有人",
    "除了人以外还有狗",
    "well-known e-mail",
    "rock-n-roll",
    "a no parking sign",
    "do not enter sign",
    "to be or not to be",
    "a dog -5 degrees",
    "not",
    "没有",
    "😀",
    "DROP TABLE items; --",
]
DENIED = [  # (query, wanted, unwanted)
    ('"a beach" -"people"', ["a beach"], ["people"]),
    ("a dog without a leash", ["a dog"], ["a leash"]),
    ("a dog without a leash on the beach", ["a dog on the beach"], ["a leash"]),
    ("a street without cars or people", ["a street"], ["cars", "people"]),
    ("a man without a hat and a dog", ["a man and a dog"], ["a hat"]),
    ("a dog, not on a leash", ["a dog"], ["on a leash"]),
    ("a beach with no one", ["a beach"], ["people"]),
    ("no people", [], ["people"]),
    ("没有人的海滩", ["海滩"], ["人"]),
    ("没人的海滩", ["海滩"], ["人"]),
    ("海滩 不要人", ["海滩"], ["人"]),
    ("海滩，不要人和车", ["海滩"], ["人", "车"]),
    ("一只没有戴项圈的狗", ["一只狗"], ["戴项圈"]),
    ("没戴帽子的男人", ["男人"], ["戴帽子"]),
    ("除了人以外的照片", ["照片"], ["人"]),
    ("车 不要红色的车", ["车"], ["红色的车"]),
    ("海滩 -人", ["海滩"], ["人"]),
    ("🐕 -🐈", ["🐕"], ["🐈"]),
]


def said(text):
    parts = parse(text, today=TODAY).parts
    return [p.text for p in parts if not p.negative], [p.text for p in parts if p.negative]


@pytest.mark.parametrize("text", LITERAL)
def test_what_only_looks_like_a_denial_is_taken_as_it_stands(text):
    assert said(text) == ([text], [])


@pytest.mark.parametrize(("text", "wanted", "unwanted"), DENIED, ids=[t for t, _, _ in DENIED])
def test_denials_are_understood_in_both_languages(text, wanted, unwanted):
    assert said(text) == (wanted, unwanted)


def test_quotes_keep_denials_and_make_exact_phrases():
    (part,) = parse('"no parking sign"').parts
    assert (part.text, part.exact, part.weight) == ("no parking sign", True, 1)
    assert [p.text for p in parse("“红色的车” 街道").parts] == ["红色的车", "街道"]


def test_weights_follow_a_caret():
    assert [(p.text, p.weight) for p in parse('sunset^2 "red car"^0.5 mountains').parts] == [
        ("sunset", 2),
        ("red car", 0.5),
        ("mountains", 1),
    ]
    assert [p.weight for p in parse("beach -people^3").parts] == [1, -1.5]
    assert [p.text for p in parse("a beach + a dog").parts] == ["a beach", "a dog"]


def test_pictures_are_wanted_as_much_as_words():
    assert [p.weight for p in parse("a dog", images=["a.jpg"]).parts] == [1, 1]
    assert [p.image for p in parse("", images=["a.jpg"]).parts] == ["a.jpg"]


def test_invisible_characters_are_taken_out_but_not_those_of_an_emoji():
    assert said("a do\u200bg\x00") == (["a dog"], [])
    assert said("👨\u200d👩\u200d👧") == (["👨\u200d👩\u200d👧"], [])


@pytest.mark.parametrize("text", ["", "  ", "-", '""', "...", "\u200b"])
def test_a_query_of_nothing_is_refused(text):
    with pytest.raises(ConfigError, match="expected words or a picture"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "rest", "first", "end"),
    [
        ("去年夏天的海滩", "海滩", (2025, 6), (2025, 9)),
        ("a beach last summer", "a beach", (2026, 6), (2026, 9)),
        ("a dog in May 2021", "a dog", (2021, 5), (2021, 6)),
        ("2023年的猫", "猫", (2023, 1), (2024, 1)),
        ("2023年12月的猫", "猫", (2023, 12), (2024, 1)),
        ("last month", None, (2026, 10), (2026, 11)),
    ],
)
def test_times_are_taken_out_of_the_words(text, rest, first, end):
    query = parse(text, today=TODAY)
    assert [p.text for p in query.parts] == ([rest] if rest else [])
    assert (query.period.first, query.period.end) == (date(*first, 1), date(*end, 1))


@pytest.mark.parametrize("text", ['"in 2021" sign', "room 2021", "in may", "blade runner 2049"])
def test_numbers_and_months_alone_are_no_times(text):
    assert parse(text, today=TODAY).period is None


def test_impossible_queries_are_refused_with_their_values():
    with pytest.raises(ConfigError, match="0 hits"):
        Query(parts=(), count=0)
    with pytest.raises(ConfigError, match="no more than 10000"):
        Query(parts=(), offset=9_999, count=2)
    with pytest.raises(ConfigError, match="130"):
        Query(parts=(), min_confidence=130.0)
    with pytest.raises(ConfigError, match="leave them out"):
        Query(parts=(), lanes=())
    with pytest.raises(ConfigError, match="2 of text, image and unit"):
        Part(text="a", unit=1)
