"""The page in a real browser: what a visitor does, and what comes of it."""

import base64
import re
import threading

import pytest
from playwright.sync_api import expect

from photographs import folder
from seesay.search.collection import Collection
from web_names import DROP, first_names, names, open_options


def ask(page, text):
    page.locator("#words textarea, #words input").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator("#results .explain")).to_contain_text(f"“{text}”")


def drop(page, name, content, kind):
    page.evaluate(DROP, [name, kind, base64.b64encode(content).decode()])


@pytest.mark.parametrize(
    ("locale", "words", "file", "label"),
    [
        ("en-US", "a close-up of a cat", "chelsea.png", "match 7"),
        ("zh-CN", "一只猫的特写", "chelsea.png", "匹配度 "),
        ("zh-CN", "一辆红色的摩托车", "motorcycle_left.png", "匹配度 "),
    ],
)
def test_words_in_either_language_find_the_picture(visit, locale, words, file, label):
    page = visit(locale)
    ask(page, words)
    first = page.locator("#results .card").first
    expect(first.locator(".name")).to_have_text(re.compile(re.escape(file)))
    expect(first.locator(".sure")).to_contain_text(label)


def test_pictures_are_thumbnails_that_load_when_they_come_into_sight(visit):
    page = visit()
    ask(page, "a close-up of a cat")
    pictures = page.locator("#results .card img").all()
    assert len(pictures) > 8
    for picture in pictures:
        assert re.fullmatch(
            r"/v1/thumbnails/\d+\?collection=photographs&size=256", picture.get_attribute("src")
        )
        assert picture.get_attribute("loading") == "lazy"
    expect(pictures[0]).to_have_js_property("naturalWidth", 256)


@pytest.mark.parametrize(
    ("locale", "tabs", "button", "tag"),
    [
        ("en-US", ["Search", "Answers", "Duplicates", "Map"], "Search", "en"),
        ("zh-CN", ["查找", "问答", "重复文件", "地图"], "查找", "zh-CN"),
    ],
)
def test_labels_are_in_the_language_of_the_browser(visit, locale, tabs, button, tag):
    page = visit(locale)
    expect(page.locator("#go")).to_have_text(button)
    assert [tab.inner_text() for tab in page.get_by_role("tab").all()] == tabs
    assert page.evaluate("document.documentElement.lang") == tag


def test_the_language_can_be_switched_and_is_kept(visit):
    page = visit("en-US")
    page.locator("#language label", has_text="中文").click()
    expect(page.locator("#go")).to_have_text("查找")
    expect(page.locator("#results h3").first).to_have_text("最近收录", use_inner_text=True)
    expect(page.locator("#words textarea, #words input")).to_have_attribute(
        "placeholder", re.compile("描述")
    )
    page.reload()
    expect(page.locator("#go")).to_have_text("查找")


def test_a_dropped_picture_finds_itself_and_can_be_taken_away(visit):
    page = visit()
    drop(page, "mine.png", (folder() / "rocket.jpg").read_bytes(), "image/jpeg")
    expect(page.locator("#results .card .name").first).to_have_text("rocket.jpg")
    expect(page.locator("#picture .chosen img")).to_be_visible()
    page.locator("#picture .drop-it").click()
    expect(page.locator("#results .tries")).to_be_visible()


def test_a_picture_can_be_pasted_and_words_added_to_it(visit):
    page = visit()
    page.evaluate(
        DROP.replace("DragEvent", "ClipboardEvent")
        .replace('"drop"', '"paste"')
        .replace("dataTransfer:", "clipboardData:"),
        ["p.png", "image/png", base64.b64encode((folder() / "chelsea.png").read_bytes()).decode()],
    )
    expect(page.locator("#results .card .name").first).to_have_text("chelsea.png")
    ask(page, "a cat")
    expect(page.locator("#results .explain")).to_contain_text("Searched for: the picture")


def test_a_text_dropped_as_a_picture_gives_one_clear_message(visit):
    page = visit()
    drop(page, "notes.txt", b"no picture at all", "text/plain")
    expect(page.locator("#results .notice")).to_have_count(1)
    expect(page.locator("#results .notice.wrong")).to_contain_text("notes.txt cannot be searched")
    expect(page.locator("#results .card")).to_have_count(0)


def test_what_is_asked_before_an_answer_has_come_is_answered_next(visit, monkeypatch):
    began, go_on, whole = threading.Event(), threading.Event(), Collection.search

    def slow(collection, *arguments, **options):
        began.set()
        go_on.wait(60)
        return whole(collection, *arguments, **options)

    page = visit()
    monkeypatch.setattr(Collection, "search", slow)
    box = page.locator("#words textarea, #words input")
    for words in ("a cup of coffee", "a dog", "the moon"):
        box.fill(words)
        page.keyboard.press("Enter")
        assert began.wait(60)
    go_on.set()
    expect(page.locator("#results .explain")).to_contain_text("“the moon”")
    expect(page).to_have_url(re.compile("q=the\\+moon"))


def test_an_answer_to_an_older_question_is_never_shown(visit, monkeypatch):
    began, go_on, whole = threading.Event(), threading.Event(), Collection.search

    def slow(collection, *words, **asked):
        if not asked["min_confidence"]:
            began.set()
            go_on.wait(60)
        return whole(collection, *words, **asked)

    page = visit()
    open_options(page)
    monkeypatch.setattr(Collection, "search", slow)
    box = page.locator("#words textarea, #words input")
    box.fill("a herd of elephants bathing in a river")
    page.keyboard.press("Enter")
    assert began.wait(60)
    page.locator("#min-match input[type=number]").fill("90")
    page.locator("#min-match input[type=number]").blur()
    expect(page.locator("#results .notice.far")).to_contain_text("Nothing reaches 90%")
    go_on.set()
    box.fill("the moon")
    page.keyboard.press("Enter")  # asked once the first answer has come
    expect(page).to_have_url(re.compile("q=the\\+moon&min_match=90"))
    page.go_back()
    expect(page).to_have_url(re.compile("q=a\\+herd.*&min_match=90"))


def test_nothing_asked_gives_a_hint_and_the_newest_pictures(visit):
    page = visit()
    page.locator("#go").click()
    expect(page.locator("#results .notice.hint")).to_contain_text("Nothing was asked for yet")
    assert page.locator("#results .card").count() > 5


def test_an_example_is_asked_at_a_click(visit):
    page = visit()
    page.locator(".try", has_text="一只猫").click()
    expect(page.locator("#words textarea, #words input")).to_have_value("一只猫")
    expect(page.locator("#results .explain")).to_be_visible()
    assert "chelsea.png" in first_names(page, 2)


def test_similar_shows_what_is_like_a_find_and_leads_back(visit):
    page = visit()
    ask(page, "a motorcycle in a garage")
    page.locator(".card", has_text="motorcycle_left").locator("[data-do=similar]").click()
    expect(page.locator("#results .like strong")).to_have_text("motorcycle_left.png")
    expect(page.locator("#results .card .name").first).to_have_text("motorcycle_right.png")
    assert "motorcycle_left.png" not in names(page)
    page.locator(".like [data-do=back]").click()
    expect(page.locator("#results .like")).to_have_count(0)
    assert "motorcycle_left.png" in names(page)


def test_pages_follow_each_other_without_repeating(visit):
    page = visit()
    ask(page, "stars in the sky")
    first = names(page)
    assert 20 <= len(first) <= 24  # some stand for their copies
    page.locator("[data-do=page]", has_text="Next").click()
    expect(page.locator(".pager")).to_contain_text("Page 2")
    second = names(page)
    assert second and not set(first) & set(second)
    page.locator("[data-do=page]", has_text="Previous").click()
    expect(page.locator(".pager")).to_contain_text("Page 1")
    assert names(page) == first


def test_filters_narrow_what_is_found(visit):
    page = visit()
    ask(page, "a cat")
    open_options(page)
    page.locator("#kind label", has_text="Texts").click()
    expect(page.locator("#results .card img")).to_have_count(0)
    assert page.locator("#results .card").count() > 0
    page.locator("#kind label", has_text="Pictures").click()
    expect(page.locator("#results .card blockquote")).to_have_count(0)
    page.locator("#folders input").click()
    page.get_by_role("option", name=re.compile("made")).click()
    expect(page.locator("#results .card")).to_have_count(1)
    expect(page.locator("#results .card .name")).to_contain_text("onerror")


def test_days_narrow_what_is_found_and_nonsense_is_explained(visit, served):
    page = visit()
    ask(page, "a cat")
    open_options(page)
    page.locator("#until input").fill("1970-01-01")
    expect(page.locator("#results .notice")).to_contain_text("Nothing is left with these filters")
    page.goto(f"{served.address}/?q=a+cat&until=yesterday")
    expect(page.locator("#results .notice.wrong")).to_contain_text("yesterday")
    expect(page.locator("#results .chip")).to_contain_text("until yesterday")


def test_what_is_not_there_is_called_no_good_match(visit):
    page = visit("zh-CN")
    ask(page, "一群大象在河里洗澡")
    expect(page.locator("#results .notice.far strong")).to_have_text(
        "没有足够相符的结果", use_inner_text=True
    )
    assert page.locator("#results .far .card").count() > 0


def test_the_slider_hides_what_matches_less(visit):
    page = visit()
    ask(page, "a herd of elephants bathing in a river")
    open_options(page)
    share, told = (
        page.locator("#min-match input[type=number]"),
        page.locator("#results .notice.far"),
    )
    share.fill("90")
    share.blur()
    expect(told).to_contain_text("Nothing reaches 90%")
    expect(page.locator("#results .card")).to_have_count(0)


def test_what_is_left_out_falls_behind(visit):
    page = visit()
    ask(page, "猫")
    assert "猫.md" in first_names(page, 2)
    open_options(page)
    without = page.locator("#without textarea, #without input")
    without.press_sequentially("拍照")
    without.press("Enter")
    expect(page.locator("#results .explain")).to_contain_text("Left out: the words “拍照”")
    expect(page.locator("#results .card .name").first).not_to_contain_text("猫.md")


def test_it_says_how_a_find_came_about(visit):
    page = visit()
    ask(page, "a close-up of a cat")
    card = page.locator("#results .card").first
    card.locator(".why summary").click()
    expect(card.locator(".why li").first).to_have_text(
        re.compile(r"number 1 by what pictures show \(similarity 0\.\d+\)")
    )
    page.locator(".explain summary").click()
    told = page.locator(".explain")
    expect(told).to_contain_text("Searched for: the words “a close-up of a cat”.")
    expect(told).to_contain_text("Below 40% a match counts as unlikely.")
    expect(told).to_contain_text("chelsea.png")
    page.locator("#language label", has_text="中文").click()
    expect(told).to_contain_text("匹配度低于 40% 视为可能性较低。")


def test_names_and_texts_of_files_are_never_markup(visit):
    page = visit()
    card = page.locator("#results .card", has_text="onerror=window")
    expect(card.locator(".name")).to_contain_text("${window.hacked=2} {{a}} & `b`.png")
    card.locator(".shown").first.click()
    expect(page.locator("dialog.look strong")).to_contain_text("<img src=x onerror")
    page.keyboard.press("Escape")
    ask(page, "parrot manual")
    expect(page.locator("#results blockquote").first).to_contain_text("<script>window.hacked=3")
    ask(page, "<img src=x onerror=window.hacked=5> cat")


def test_duplicates_are_grouped_with_the_one_to_keep(visit):
    page = visit()
    page.get_by_role("tab", name="Duplicates").click()
    exact = page.locator("#copies .group", has_text="The same content")
    expect(exact.locator(".card")).to_have_count(2)
    expect(exact).to_contain_text("moon again.png")
    expect(exact.locator(".card").first.locator(".keep")).to_contain_text("keep: ")
    expect(exact.locator(".card").last).to_contain_text("may go; kept: ")
    expect(exact.locator(".card").last.locator(".keep")).to_have_count(0)
    near = page.locator("#copies .group", has_text="Nearly the same")
    expect(near.filter(has_text="chessboard")).to_have_count(1)
    expect(near.filter(has_text="coffee.png")).to_contain_text("more pixels (600 x 400)")


def test_another_collection_can_be_chosen(visit):
    page = visit()
    page.locator("#collection input").click()
    page.get_by_role("option", name="few").click()
    expect(page.locator("#results .card")).to_have_count(1)
    ask(page, "the surface of the moon")
    assert names(page) == ["moon.png"]
    assert "collection=few" in page.locator("#results img").first.get_attribute("src")


def test_on_a_phone_nothing_is_wider_than_the_screen(visit):
    page = visit("zh-CN", 390, 844)
    ask(page, "一只猫")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator("#go")).to_be_in_viewport()


def test_on_a_phone_what_is_wrong_comes_into_view_though_the_form_is_open(visit):
    page = visit("zh-CN", 390, 844)
    open_options(page)
    box = page.locator("#where textarea, #where input")
    box.fill("width>>400")
    box.press("Enter")
    expect(page.locator("#results .notice.wrong")).to_contain_text("width>>400")
    expect(page.locator("#results .notice.wrong")).to_be_in_viewport(ratio=1)
