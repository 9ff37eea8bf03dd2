from fractions import Fraction

import pytest

from seesay.rag.facts import days, names, quantities, unsupported_fact

SAME = [
    ("three dogs", "3 dogs"),
    ("三只狗", "3 只狗"),
    ("1.2亿", "120,000,000"),
    ("12%", "百分之十二"),
    ("12 percent", "12%"),
    ("三分之一", "a third"),
    ("two thirds", "三分之二"),
    ("half", "二分之一"),
    ("twenty-five", "二十五人"),
    ("two hundred and five", "二百零五"),
    ("3 km", "3000 metres"),
    ("1.5 公斤", "1500 克"),
    ("$3.5 million", "350 万美元"),
    ("a dozen", "12"),
    ("游客总数为90,382人", "90382 people"),
    ("£1,200", "1200英镑"),
]
DIFFERENT = [
    ("12%", "21%"),
    ("3 km", "3 kg"),
    ("三只", "两只"),
    ("twelve", "twenty"),
    ("1.2亿", "1.2万"),
]


@pytest.mark.parametrize("one, other", SAME)
def test_numbers_agree_across_wordings_and_languages(one, other):
    (first,), (second,) = quantities(one), quantities(other)
    assert first.agrees(second) and second.agrees(first)


@pytest.mark.parametrize("one, other", DIFFERENT)
def test_different_numbers_or_units_do_not_agree(one, other):
    (first,), (second,) = quantities(one), quantities(other)
    assert not first.agrees(second)


def test_words_with_a_numeral_in_them_are_no_numbers():
    assert quantities("万一他们一起去，十分高兴") == []


def test_a_fraction_is_exact():
    assert quantities("三分之一")[0].value == Fraction(1, 3)


DATES = ["31 May 2024", "May 31, 2024", "2024-05-31", "2024年5月31日", "二〇二四年5月31日"]


@pytest.mark.parametrize("text", DATES)
def test_dates_are_read_in_every_form(text):
    (day,) = days(text)
    assert (day.year, day.month, day.day) == (2024, 5, 31)
    assert quantities(text) == []


def test_a_year_is_within_a_full_date_and_not_the_other_way_round():
    (year,), (full,) = days("2024"), days("31 May 2024")
    assert year.is_covered_by(full) and not full.is_covered_by(year)


def test_may_is_a_month_only_beside_a_day_or_year():
    assert days("It may rain") == []


def test_names_begin_with_a_capital_inside_of_a_sentence():
    text = "The tower of Harwick Library was drawn by Tobias Finch. Dogs ran."
    assert [name for name, _ in names(text)] == ["Harwick Library", "Tobias Finch"]


@pytest.mark.parametrize(
    "claim, evidence, lacks",
    [
        ("Income grew by 12%.", "income grew twelve percent", None),
        ("Income grew by 12%.", "income grew by 21%", "number"),
        ("It opened in 1931.", "It opened on 3 May 1931.", None),
        ("It opened in 1932.", "It opened on 3 May 1931.", "date"),
        ("It was drawn by Hugo Brandt.", "Tobias Finch drew it.", "name"),
        ("增长三分之一", "增长了1/3，约33%", "number"),
    ],
)
def test_a_claim_lacks_what_its_evidence_does_not_say(claim, evidence, lacks):
    assert unsupported_fact(claim, evidence) == lacks
