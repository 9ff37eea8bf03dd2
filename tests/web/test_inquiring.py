"""The tab that asks the collection, in a browser: citations open what they cite."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

import seesay.web.inquiring as inquiring
from chat_server import chat_server, completion
from demo_files import write_files
from seesay.api.config import ServerConfig
from seesay.cli.serve import compose
from seesay.inference.answering import ServedAssistant
from seesay.inference.cancelling import check_cancelled
from seesay.search.collection import Collection
from seesay.search.library import Library
from web_names import settle

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
SCREENSHOTS = os.environ.get("SEESAY_SCREENSHOTS")
"""A folder to write them to, for people to look at."""
WANTED = (
    *("report.pdf", "figures.xlsx", "film.webm", "film.srt"),
    *("motorcycle_left.png", "coffee.png"),
)
NASTY = (
    "The parrot of Harwick speaks <img src=x onerror=window.hacked=1> **loudly** "
    "${window.hacked=2}."
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A collection of a PDF, a workbook, a video, two photographs and a note."""
    base = tmp_path_factory.mktemp("inquiring")
    write_files(base / "all files")
    files = base / "files"
    files.mkdir()
    for name in WANTED:
        shutil.move(base / "all files" / name, files)
    (files / "parrot.txt").write_text(NASTY, encoding="utf-8")
    with Collection.open(base / "all", create=True) as collection:
        collection.index([files])
        assert not collection.errors()
    return base / "all"


@pytest.fixture(scope="module")
def endpoint():
    """A model that answers with claims, of which the second contradicts the evidence."""
    with chat_server(completion("yes")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def served(place, endpoint, listening):
    """The address of a server, and the collection that it serves."""
    assistant = ServedAssistant("cats-7b", endpoint=endpoint.url)
    with Library.open([place]) as library:
        app = compose(library, ServerConfig(read_only=True), assistant=assistant)
        with listening(app) as address:
            yield address, library.get("all")


@pytest.fixture
def opened(browser, served):
    """Opens the tab in a language; in the end nothing failed, and no text of a file has run."""
    address, _ = served
    contexts, failed = [], []

    def open_tab(locale="en-US", width=1280, height=900):
        context = browser.new_context(locale=locale, viewport={"width": width, "height": height})
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(address)
        page.get_by_role("tab", name="问答" if locale.startswith("zh") else "Answers").click()
        expect(page.locator("#inquire")).to_be_visible()
        settle(page)
        contexts.append((context, page))
        return page

    yield open_tab
    hacked = [page.evaluate("window.hacked") for _, page in contexts]
    for context, _ in contexts:
        context.close()
    assert failed == [] and not any(hacked)


def ask(page, question):
    """Asks, and returns the answer once it is whole."""
    before = page.locator("#answers .turn.model").count()
    page.locator("#inquiry textarea, #inquiry input").fill(question)
    page.locator("#inquire").click()
    expect(page.locator("#answers .turn.model")).to_have_count(before + 1)
    return page.locator("#answers .turn.model").last


def cite(page, answer):
    """Opens the first citation of an answer, and returns the viewer."""
    answer.locator(".claim .cite").first.click()
    expect(page.locator("dialog.look")).to_be_visible()
    return page.locator("dialog.look")


def close(page):
    page.keyboard.press("Escape")
    expect(page.locator("dialog.look")).to_have_count(0)


def shoot(page, name):
    if SCREENSHOTS:
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


def test_a_page_opens_with_its_block_marked_and_questions_go_on(opened, served):
    page, (_, collection) = opened(), served
    shoot(page, "inquiry-en-empty")
    answer = ask(page, "When was the library opened?")
    claim = answer.locator(".claim")
    expect(claim).to_have_count(1)
    expect(claim).to_contain_text("1931")
    expect(claim.locator(".mark")).to_have_text("✓ supported", use_inner_text=True)
    expect(answer.locator(".evidence mark").first).to_contain_text("1931")
    shoot(page, "inquiry-en-answer")
    viewer = cite(page, answer)
    page.wait_for_function("document.querySelector('dialog.look img').naturalWidth > 1000")
    unit = int(viewer.locator("img").get_attribute("src").split("/units/")[1].split("/")[0])
    passage, file = collection.store.passage_with_file(unit)
    assert file.path.endswith("report.pdf") and "1931" in passage.text
    assert passage.place.page == 1 and passage.place.box is not None
    shoot(page, "inquiry-en-page")
    close(page)
    follow_up = ask(page, "Who designed it?")
    expect(follow_up).to_contain_text("Tobias Finch")
    expect(follow_up.locator("p.note")).to_contain_text("Understood as: Who designed")
    nothing = ask(page, "How many trams does Harwick have?")
    expect(nothing.locator(".none")).to_contain_text("Not found in this collection")
    expect(nothing.locator(":scope > .evidence > li mark").first).to_be_visible()
    shoot(page, "inquiry-en-not-found")
    page.locator("#inquiry-clear").click()
    expect(page.locator("#answers .turn")).to_have_count(0)


def test_a_table_opens_with_its_cells_and_a_video_at_its_moment(opened):
    page = opened("zh-CN", 390, 844)
    expect(page.locator("#inquire")).to_have_text("提问")
    shoot(page, "inquiry-zh-empty")
    answer = ask(page, "一车间的总用电量是多少？")
    expect(answer.locator(".claim")).to_contain_text("2370")
    expect(answer.locator(".claim .mark")).to_have_text("✓ 有依据", use_inner_text=True)
    viewer = cite(page, answer)
    expect(viewer.locator("td.hit")).to_have_text(["1240", "1130"])
    expect(viewer.locator("caption")).to_contain_text("用电")
    shoot(page, "inquiry-zh-table")
    close(page)
    answer = ask(page, "火箭是哪一年发射的？")
    expect(answer.locator(".claim")).to_contain_text("2013")
    shoot(page, "inquiry-zh-answer")
    cite(page, answer)
    page.wait_for_function("document.querySelector('dialog.look video')?.currentTime > 0")
    shoot(page, "inquiry-zh-video")
    close(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_picture_opens_and_text_of_files_stays_text(opened):
    page = opened()
    answer = ask(page, "How does the parrot of Harwick speak?")
    source = answer.locator(":scope > .evidence > li", has_text="parrot.txt")
    expect(source).to_contain_text("<img src=x")
    source.locator("[data-excerpt]").click()
    expect(page.locator("dialog.look .excerpt")).to_have_text(NASTY)
    shoot(page, "inquiry-en-text")
    close(page)
    answer = ask(page, "Is there a motorcycle in the photo?")
    viewer = cite(page, answer)
    page.wait_for_function("document.querySelector('dialog.look img').naturalWidth > 100")
    expect(viewer.locator("strong")).to_have_text("motorcycle_left.png")


def test_what_a_model_writes_is_marked_as_supported_or_contradicted(opened, endpoint):
    page = opened()
    claims = [
        {"text": "The library employs 42 people.", "evidence": [1]},
        {"text": "The library employs 57 people.", "evidence": [1]},
    ]
    endpoint.replies[:] = [completion(json.dumps({"claims": claims})), completion("yes")]
    page.locator("#inquiry-mode label").nth(1).click()
    answer = ask(page, "How many people work at the library?")
    expect(answer.locator(":scope > .claim")).to_have_text(
        ["✓ supported✓ 有依据The library employs 42 people.1"]
    )
    answer.locator("details summary").first.click()
    left_out = answer.locator("details .claim")
    expect(left_out).to_have_attribute("data-verdict", "contradicted")
    expect(left_out).to_contain_text("57 people")
    shoot(page, "inquiry-en-contradicted")


def test_claims_appear_as_they_come_and_stop_ends_the_answer(opened, monkeypatch):
    go_on, ended, whole = threading.Semaphore(0), threading.Event(), inquiring.stream_answer

    def slow(*given, **how):
        steps = whole(*given, **how)
        try:
            while True:
                while not go_on.acquire(timeout=0.05):
                    check_cancelled()
                try:
                    step = next(steps)
                except StopIteration as end:
                    return end.value
                yield step
        finally:
            ended.set()

    monkeypatch.setattr(inquiring, "stream_answer", slow)
    page = opened()
    page.locator("#inquiry textarea, #inquiry input").fill(
        "Who designed the library and how many people does the library employ?"
    )
    page.locator("#inquire").click()
    expect(page.locator("#coming .waiting")).to_contain_text("Looking for")
    go_on.release()
    expect(page.locator("#coming .waiting")).to_contain_text("Checking")
    go_on.release()
    expect(page.locator("#coming .claim")).to_have_count(1)
    page.locator("#inquiry-stop").click()
    expect(page.locator("#answers .turn.model p.note")).to_contain_text("Stopped")
    expect(page.locator("#answers .turn.model .claim")).to_have_count(1)
    assert ended.wait(60)  # the work is given up, too
    expect(page.locator("#coming .turn")).to_have_count(0)


def test_what_is_wrong_is_one_message_and_the_question_stays(opened):
    page = opened()
    page.locator("#inquiry textarea, #inquiry input").fill("???")
    page.locator("#inquire").click()
    expect(page.locator("#coming .notice.wrong")).to_contain_text("has no words")
    expect(page.locator("#inquiry textarea, #inquiry input")).to_have_value("???")
