"""Which words deny, and which only look like it, in both languages."""

import pytest

from seesay.search.asking.query import Query

LITERAL = [
    *("a no parking sign", "no smoking sign", "a no dogs allowed sign", "no entry", "No. 5 bus"),
    *("do not enter sign", "to be or not to be", "forget-me-not flowers", "say no to drugs"),
    *("no doubt a dog", "not only a dog", "not", 'a sign that says "no dogs"'),
    *(
        "不倒翁",
        "不锈钢锅",
        "不要紧",
        "有没有人",
        "除了人以外还有狗",
        "没关系",
        "沒關係",
        "没有关系",
    ),
    *("不但有狗而且有猫", "特别有趣的狗", "别墅前的花园", "别有洞天的园林", "要不要吃饭", "没有"),
    *("是不是一只猫", "无人机在天上飞", "一条没完没了的路", '"不要" 路牌', "写着“不要停车”的牌子"),
]
STORIES = [  # sentences that describe somebody by what is missing
    "A man wearing no shirt climbs a steep cliff .",
    "A boy without a shirt on is jumping in the air almost upside down .",
    "Two ladies are wearing nothing except body paint and riding on bicycles in a street fair .",
    "A man standing on a boat hands a child over to a man that is not on the boat .",
    "一个没有双臂的艺人在用脚写字。",
    "穿着红衣服但没戴帽子的男孩在雪地里飞快地滑雪",
]
DENIED = [  # (query, wanted, unwanted)
    ("a dog without a leash", ["a dog"], ["a leash"]),
    ("a dog without a leash on the beach", ["a dog on the beach"], ["a leash"]),
    ("a street without cars or people", ["a street"], ["cars", "people"]),
    ("a man without a hat and a dog", ["a man and a dog"], ["a hat"]),
    ("a dog, not on a leash", ["a dog"], ["on a leash"]),
    ("a beach with no one", ["a beach"], ["people"]),
    ("a beach but no people", ["a beach"], ["people"]),
    ("a kitchen, without any people in it", ["a kitchen"], ["people"]),
    ("a long quiet beach by the northern sea without any people", None, ["people"]),
    ("no people", [], ["people"]),
    ("no cars on the street", ["on the street"], ["cars"]),
    ("nobody on the beach", ["on the beach"], ["people"]),
    ("a man wearing no shirt", ["a man"], ["shirt"]),
    ("a car that is not red", ["a car"], ["red"]),
    ("fruit except apples", ["fruit"], ["apples"]),
    ('street "no parking" without cars', ['street "no parking"'], ["cars"]),
    ("没有人的海滩", ["海滩"], ["人"]),
    ("沒有人的海灘", ["海灘"], ["人"]),
    ("没人的海滩", ["海滩"], ["人"]),
    ("无人的沙滩", ["沙滩"], ["人"]),
    ("空无一人的街道", ["街道"], ["人"]),
    ("不要人的海滩", ["海滩"], ["人"]),
    ("不想要人的海滩", ["海滩"], ["人"]),
    ("不要有人的海滩", ["海滩"], ["人"]),
    ("不想看到车的街道", ["街道"], ["车"]),
    ("不要红色的车的街道", ["街道"], ["红色的车"]),
    ("海滩 不要人", ["海滩"], ["人"]),
    ("海滩，不要人和车", ["海滩"], ["人", "车"]),
    ("海滩，别有人", ["海滩"], ["人"]),
    ("海灘，別有人", ["海灘"], ["人"]),
    ("车 不要红色的车", ["车"], ["红色的车"]),
    ("在很长很长的沙滩上奔跑的几只大狗，不要人", None, ["人"]),
    ("没有人也没有车的海滩", ["海滩"], ["人", "车"]),
    ("草地上的狗但是没有人", ["草地上的狗"], ["人"]),
    ("一只没有戴项圈的狗", ["一只狗"], ["戴项圈"]),
    ("没戴帽子的男人", ["男人"], ["戴帽子"]),
    ("不戴帽子的人", ["人"], ["戴帽子"]),
    ("没穿鞋的小孩", ["小孩"], ["穿鞋"]),
    ("除了人以外的照片", ["照片"], ["人"]),
    ("不是红色的车", ["车"], ["红色"]),
    ('"a beach" -"people"', ["a beach"], ["people"]),
    ("海滩 -人", ["海滩"], ["人"]),
    ("🐕 -🐈", ["🐕"], ["🐈"]),
]


def said(text):
    parts = Query.of(text).parts
    return [p.text for p in parts if p.weight > 0], [p.text for p in parts if p.weight < 0]


@pytest.mark.parametrize("text", LITERAL)
def test_what_only_looks_like_a_denial_is_taken_as_it_stands(text):
    assert said(text) == ([text], [])


@pytest.mark.parametrize("text", STORIES)
def test_a_denial_in_a_story_stays_a_part_of_it(text):
    assert said(text) == ([text], [])


@pytest.mark.parametrize(("text", "wanted", "unwanted"), DENIED, ids=[t for t, _, _ in DENIED])
def test_denials_are_understood_in_both_languages(text, wanted, unwanted):
    found = said(text)
    assert found[1] == unwanted
    assert found[0] == wanted or (wanted is None and len(found[0]) == 1 and found[0][0] in text)
