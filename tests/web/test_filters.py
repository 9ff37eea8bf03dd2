"""Filters on the page: chips that go one by one, days from a picker, and room for results."""

import re

import pytest
from playwright.sync_api import expect

from seesay.web.asking import SearchForm
from seesay.web.filters import chips, without
from web_names import names, open_options

WORDS = "#words textarea, #words input"
EVERYTHING = SearchForm(
    words="cat",
    without="dog",
    kind="image",
    folders=("/a <b>", "/c"),
    since="2024",
    until="2024-05",
    where="width>100, height>100",
    min_match=20.0,
    page=3,
)


def test_each_filter_is_a_chip_and_goes_alone(visit):
    page = visit(query="/?q=the+moon&kind=image&since=2001&where=width>=300,height>=300")
    shown = page.locator("#results .chip > span:first-child")
    expect(shown).to_have_text(
        ["Pictures", "from 2001", "width>=300", "height>=300"], use_inner_text=True
    )
    before = names(page)
    page.locator(".chip", has_text="height").click()
    expect(shown).to_have_count(3)
    open_options(page)
    expect(page.locator("#where textarea, #where input")).to_have_value("width>=300")
    expect(page.locator(WORDS)).to_have_value("the moon")
    page.locator(".chip", has_text="Pictures").click()
    expect(shown).to_have_count(2)
    expect(page.locator("#kind input[value='']")).to_be_checked()
    expect(page).to_have_url(re.compile(r"\?q=the\+moon&since=2001&where=width"))
    page.locator(".clear").click()
    expect(page.locator(".chips")).to_have_count(0)
    expect(page.locator("#results .explain")).to_contain_text("“the moon”")
    assert len(names(page)) >= len(before)
    page.go_back()
    expect(shown).to_have_count(2)


def test_a_day_is_chosen_with_the_picker_of_the_browser(visit):
    page = visit("zh-CN")
    open_options(page)
    since = page.locator("#since input")
    expect(since).to_have_attribute("type", "date")
    expect(page.locator("#since label")).to_have_text("开始日期", use_inner_text=True)
    since.fill("2001-02-03")
    expect(page.locator(".chip")).to_contain_text("2001-02-03 起")
    expect(since).to_have_value("2001-02-03")
    page.locator("#until input").fill("2001-02-04")
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.locator("#results .notice")).to_contain_text("没有结果")
    page.locator(".chip").first.click()
    expect(since).to_have_value("")
    expect(page.locator("#until input")).to_have_value("2001-02-04")


def test_months_and_years_of_a_link_are_days_in_the_picker(visit):
    page = visit(query="/?q=moon&since=2001&until=2030-02")
    open_options(page)
    expect(page.locator("#since input")).to_have_value("2001-01-01")
    expect(page.locator("#until input")).to_have_value("2030-02-28")


def test_a_phone_shows_the_question_and_results_and_not_the_filters(visit):
    page = visit("en-US", 390, 844, query="/?q=cat")
    expect(page.locator(WORDS)).to_be_in_viewport()
    expect(page.locator("#results .card").first).to_be_in_viewport(ratio=0.9)
    expect(page.locator("#since input")).not_to_be_visible()
    brand, collection = (page.locator(one).bounding_box() for one in (".brand", "#collection"))
    assert brand["x"] + brand["width"] <= collection["x"]
    open_options(page)
    for name in ("#since input", "#until input", "#where", "#without"):
        assert page.locator(name).bounding_box()["width"] > 120
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("without", "", {"without": ""}),
        ("kind", "", {"kind": None}),
        ("folder", "/c", {"folders": ("/a <b>",)}),
        ("where", "width>100", {"where": "height>100"}),
        ("since", "", {"since": ""}),
        ("until", "", {"until": ""}),
        ("min_match", "", {"min_match": 0.0}),
        ("nonsense", "x", {}),
    ],
)
def test_without_one_filter_everything_else_stays(name, value, left):
    now = without(EVERYTHING, name, value)
    assert vars(now) == {**vars(EVERYTHING), "page": 0, **left}


def test_names_in_chips_are_no_markup():
    shown = chips(EVERYTHING)
    assert shown.count('class="do chip"') == 9 and "<b>" not in shown
    assert chips(SearchForm(words="cat")) == "" and not without(EVERYTHING, "all", "").filtered
