"""The maps: thumbnails that stack, by likeness and by where pictures were taken."""

import json

import pytest
from playwright.sync_api import expect

from photographs import folder
from seesay.errors import ConfigError
from seesay.search.collection import Collection


def map_of(page, kind=None):
    page.get_by_role("tab").nth(3).click()
    if kind:
        page.locator(f"#modality input[value={kind}]").click()
    return page.locator(f"#map .plane[data-shown={kind or 'image'}]")


def shown(plane):
    """How many pictures the spots stand for."""
    return plane.locator(".spot").evaluate_all(
        "(spots) => spots.reduce((sum, one) => sum + Number(one.innerText || 1), 0)"
    )


def test_pictures_that_are_alike_are_thumbnails_that_stack_and_open(visit, served):
    page = visit()
    plane = map_of(page)
    expect(plane.locator(".spot img").first).to_have_js_property("naturalWidth", 128)
    expect(page.locator("#told")).to_contain_text("What is alike lies close together")
    assert shown(plane) == len(served.library.get("photographs").map().points) > 25
    spots = plane.locator(".spot").count()
    plane.locator(".spot", has_text="2").first.click()
    count = int(page.locator("#picked h3 .en").inner_text().split()[0])
    expect(page.locator("#picked .card img")).to_have_count(count)
    plane.locator("[data-tool=all]").click()
    expect(plane.locator(".spot")).to_have_count(spots)
    page.locator("#picked .shown").first.click()
    expect(page.locator("dialog.look img")).to_be_visible()


def test_pictures_with_a_position_lie_on_a_map_of_the_earth(visit):
    page = visit("zh-CN", query="/?collection=trip")
    with page.expect_response("**/land.json") as land:
        plane = map_of(page, "place")
    assert len(json.loads(land.value.body())) > 100
    expect(page.locator("#told")).to_contain_text("共 3 张图片带有拍摄位置")
    expect(plane.locator(".spot")).to_have_count(2)
    east, west = plane.locator(".spot", has_text="2"), plane.get_by_label("coffee.jpg")
    assert east.bounding_box()["x"] > west.bounding_box()["x"] + 200
    assert east.bounding_box()["y"] > west.bounding_box()["y"]
    pixels = (
        "(canvas) => { const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width,"
        " canvas.height); let seen = 0; for (let at = 3; at < data.length; at += 4)"
        " seen += data[at] > 0; return seen / (data.length / 4); }"
    )
    assert 0.2 < plane.locator("canvas").evaluate(pixels) < 0.9
    west.click()
    expect(page.locator("dialog.look strong")).to_have_text("coffee.jpg")
    page.keyboard.press("Escape")
    east.click()
    expect(page.locator("#picked .card img")).to_have_count(2)
    expect(plane.locator(".spot")).to_have_count(2)
    expect(plane.get_by_label("rocket.jpg")).to_be_visible()
    expect(plane.get_by_label("chelsea.jpg")).to_be_visible()


def test_a_map_is_moved_and_zoomed_by_keys_and_buttons_on_a_phone(visit):
    page = visit("en-US", 390, 844, query="/?collection=trip")
    plane = map_of(page, "place")
    west = plane.get_by_label("coffee.jpg")
    before = west.bounding_box()["x"]
    plane.focus()
    page.keyboard.press("ArrowRight")
    expect(west).not_to_have_css("transform", "none")
    page.wait_for_function(
        "([one, x]) => one.getBoundingClientRect().x < x - 40", arg=[west.element_handle(), before]
    )
    plane.locator("[data-tool=closer]").click()
    plane.locator("[data-tool=all]").click()
    page.wait_for_function(
        "([one, x]) => Math.abs(one.getBoundingClientRect().x - x) < 2",
        arg=[west.element_handle(), before],
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_texts_are_dots_that_say_how_they_begin(visit, served):
    page = visit()
    plane = map_of(page, "text")
    points = served.library.get("photographs").map("text").points
    assert plane.locator(".spot").count() == 0 and len(points) > 2
    box = plane.bounding_box()
    # Over the whole map in steps that no dot is missed by, until one says what it is.
    page.evaluate(
        "(box) => { const canvas = box.querySelector('canvas'), told = box.querySelector('.peek');"
        " const {left, top, width, height} = canvas.getBoundingClientRect();"
        " for (let y = 0; y < height; y += 8) for (let x = 0; x < width; x += 8) {"
        " canvas.dispatchEvent(new PointerEvent('pointermove', {clientX: left + x,"
        " clientY: top + y, bubbles: true})); if (!told.hidden) return; } }",
        plane.element_handle(),
    )
    expect(plane.locator(".peek")).to_contain_text(": ")
    assert box["width"] > 300 and page.evaluate("window.hacked") is None


def test_the_map_that_was_asked_for_last_is_the_one_that_stays(visit):
    page = visit(query="/?collection=trip")
    page.get_by_role("tab").nth(3).click()
    for kind in ("text", "image", "place"):
        page.locator(f"#modality input[value={kind}]").click()
    expect(page.locator("#map .plane[data-shown=place] .spot")).to_have_count(2)
    page.get_by_role("tab").nth(0).click()
    page.get_by_role("tab").nth(3).click()
    expect(page.locator("#map .plane[data-shown=place] .spot")).to_have_count(2)


def test_without_positions_the_map_says_so(visit):
    page = visit(query="/?collection=few")
    page.get_by_role("tab").nth(3).click()
    page.locator("#modality input[value=place]").click()
    expect(page.locator("#told")).to_contain_text("No picture here says where it was taken.")


def test_positions_come_from_metadata_and_the_newest_are_shown(served, tmp_path):
    trip = served.library.get("trip")
    drawn = trip.places()
    found = {p.path.rsplit("/", 1)[1]: (round(p.x, 2), round(p.y, 2)) for p in drawn.points}
    assert found["coffee.jpg"] == (2.35, 48.86) and found["rocket.jpg"] == (120.15, 30.27)
    assert len(trip.places(most=1).points) == 1 and trip.places(most=1).total == 3
    with pytest.raises(ConfigError, match="expected at least 1"):
        trip.places(most=0)
    with Collection.open(tmp_path / "none", create=True) as empty:
        empty.index([folder() / "moon.png"])
        assert empty.places().points == ()
