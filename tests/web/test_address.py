"""What was asked stands in the address of the page, and an address brings it back."""

import re

import pytest
from playwright.sync_api import expect

from seesay.web.address import from_address, to_address
from seesay.web.asking import SearchForm
from web_names import names, open_options

WORDS = "#words textarea, #words input"


def ask(page, text):
    page.locator(WORDS).fill(text)
    page.keyboard.press("Enter")
    expect(page.locator("#results .explain")).to_contain_text(f"“{text}”")


def test_back_and_forward_go_from_search_to_search(visit):
    page = visit()
    ask(page, "a close-up of a cat")
    expect(page).to_have_url(re.compile(r"\?q=a\+close-up\+of\+a\+cat&lang=en$"))
    ask(page, "猫 & 狗")
    page.go_back()
    expect(page.locator(WORDS)).to_have_value("a close-up of a cat")
    expect(page.locator("#results .explain")).to_contain_text("“a close-up of a cat”")
    page.go_back()
    expect(page.locator("#results .tries")).to_be_visible()
    expect(page.locator(WORDS)).to_have_value("")
    page.go_forward()
    page.go_forward()
    expect(page.locator("#results .explain")).to_contain_text("“猫 & 狗”")
    expect(page.locator(WORDS)).to_have_value("猫 & 狗")


def test_a_link_brings_words_filters_page_and_language(visit):
    page = visit("en-US", query="/?q=stars+in+the+sky&kind=image&page=2&lang=zh&min_match=0")
    expect(page.locator(".pager")).to_contain_text("第 2 页")
    expect(page.locator(WORDS)).to_have_value("stars in the sky")
    open_options(page)
    expect(page.locator("#kind input[value=image]")).to_be_checked()
    expect(page.locator("#go")).to_have_text("查找")
    assert page.locator("#results blockquote").count() == 0


def test_a_link_names_a_collection_and_what_to_compare_with(visit, served):
    unit = next(
        hit.unit
        for hit in served.library.get("photographs").newest(100)
        if hit.path.endswith("motorcycle_left.png")
    )
    page = visit(query=f"/?similar={unit}&collection=photographs")
    expect(page.locator("#results .like strong")).to_have_text("motorcycle_left.png")
    few = visit(query="/?q=moon&collection=few")
    expect(few.locator("#results .explain")).to_contain_text("“moon”")
    assert names(few) == ["moon.png"]


@pytest.mark.parametrize(
    "asked",
    [
        SearchForm(),
        SearchForm(words="猫 & 狗 ?#=+%", folders=("/a b", "/图/&=", "/odd\udcff"), page=3),
        SearchForm(unit=2**40, kind="image", min_match=35.0, collection="few"),
        SearchForm(where="camera=A&B, width>=1000", kind="text", page=50),
    ],
)
def test_an_address_says_what_was_asked(asked):
    again = from_address(to_address(asked))
    assert again.words == asked.words.strip()
    assert (again.unit, again.folders, again.kind) == (asked.unit, asked.folders, asked.kind)
    assert (again.where, again.page) == (asked.where, asked.page)
    assert (again.min_match, again.collection) == (asked.min_match, asked.collection)


@pytest.mark.parametrize(
    "address",
    [
        "?page=-1&similar=x&kind=%00&min_match=nan",
        "?q=%ff%00&page=" + "9" * 5000,
        "?&&=&q",
        "?" * 9,
    ],
)
def test_an_address_that_makes_no_sense_asks_for_less(address):
    assert from_address(address).page <= 10_000 and from_address(address).unit is None
