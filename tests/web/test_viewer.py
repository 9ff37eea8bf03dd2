"""The viewer: one picture as large as the screen allows, and what is known of it."""

import re

import pytest
from playwright.sync_api import expect

from web_names import names


def ask(page, text):
    page.locator("#words textarea, #words input").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator("#results .explain")).to_contain_text(f"“{text}”")


def opened(page):
    page.locator("#results .shown").first.click()
    picture = page.locator("dialog.look img")
    expect(picture).to_have_js_property("complete", True)
    page.wait_for_function("document.querySelector('dialog.look img').naturalWidth > 0")
    return picture


def test_a_picture_opens_with_what_is_known_of_it_and_closes(visit):
    page = visit(query="/?q=a+cup+in+Paris&collection=trip")
    opened(page)
    facts = page.locator("dialog.look dl")
    for name, told in {
        "date": "2023-07-08 10:11",
        "camera": "Canon EOS R5",
        "caption": "A cup in <b>Paris</b>",
        "tags": "breakfast",
        "place": re.compile(r"48\.85667, 2\.35"),
        "path": re.compile(r"coffee\.jpg$"),
    }.items():
        expect(facts.locator(f"dd.{name}")).to_have_text(told)
    save = page.locator("dialog.look a.do")
    expect(save).to_have_text("Download", use_inner_text=True)
    with page.expect_download() as download:
        save.click()
    assert download.value.suggested_filename == "coffee.webp"
    page.keyboard.press("Escape")
    expect(page.locator("dialog.look")).to_have_count(0)


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_it_fills_a_phone_begins_at_the_close_button_and_enlarges(visit, size):
    page = visit("zh-CN", *size, query="/?q=a+cup+in+Paris&collection=trip")
    picture = opened(page)
    box = page.locator("dialog.look").bounding_box()
    if size[0] < 640:
        assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, *size)
    else:
        assert box["width"] > 0.9 * size[0] and box["height"] > 0.9 * size[1]
    close = page.locator("dialog.look .close")
    expect(close).to_be_focused()
    shape = close.bounding_box()
    assert shape["width"] >= 32 and abs(shape["width"] - shape["height"]) < 2
    width = picture.bounding_box()["width"]
    assert 300 < width <= 3 * 300 and width > min(size[0], 800) - 60
    close.click()
    expect(page.locator("dialog.look")).to_have_count(0)


@pytest.mark.parametrize("size", [(390, 844), (1280, 800), (844, 390)])
def test_a_tall_picture_is_seen_whole(visit, size):
    page = visit("en-US", *size, query="/?where=file.name~rocket&collection=trip")
    picture = opened(page).bounding_box()
    stage = page.locator("dialog.look .stage").bounding_box()
    assert picture["height"] > 150
    for start, side in (("x", "width"), ("y", "height")):
        assert picture[start] >= stage[start] - 1
        assert picture[start] + picture[side] <= stage[start] + stage[side] + 1


def test_arrows_lead_from_picture_to_picture_on_a_phone_too(visit):
    page = visit("zh-CN", 390, 844)
    ask(page, "星空")
    shown = page.locator("#results [data-look]:visible").all()
    labels = [one.get_attribute("aria-label") for one in shown]
    page.locator("#results .shown").first.click()
    name, path = page.locator("dialog.look strong"), page.locator("dialog.look dd.path")
    expect(name).to_have_text(labels[0])
    page.keyboard.press("ArrowRight")
    expect(name).to_have_text(labels[1])
    expect(path).to_have_text(re.compile(re.escape(labels[1]) + "$"))
    page.locator("dialog.look .before").click()
    expect(name).to_have_text(labels[0])
    page.keyboard.press("ArrowLeft")
    expect(name).to_have_text(labels[-1])
    expect(page.locator("dialog.look .close")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_copies_stand_as_one_and_unfold(visit):
    page = visit(query="/?where=file.name~chessboard")
    card = page.locator("#results .card")
    expect(card).to_have_count(1)
    expect(card.locator(".same summary")).to_have_text("+1 copy", use_inner_text=True)
    copy = card.locator(".same .shown")
    expect(copy).not_to_be_visible()
    card.locator(".shown").first.click()
    expect(page.locator("dialog.look small")).to_have_text("")
    page.keyboard.press("Escape")
    card.locator(".same summary").click()
    expect(copy).to_be_visible()
    label = copy.get_attribute("aria-label")
    assert [label] != names(page) and "chessboard" in label
    copy.click()
    expect(page.locator("dialog.look strong")).to_have_text(label)
    expect(page.locator("dialog.look small")).to_have_text("2 / 2")
