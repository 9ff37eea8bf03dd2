"""The tab that asks a model about pictures, in a browser: streamed, stopped, in both languages."""

import io
import os
import threading
from functools import partial
from pathlib import Path

import pytest
import torch

from photographs import folder
from seesay.api.config import ServerConfig
from seesay.cli.serve import compose
from seesay.inference.answering import AnswerConfig, ServedAssistant
from seesay.inference.assistant import LocalAssistant
from seesay.search.collection import Collection
from seesay.search.library import Library
from seesay.web import conversing
from tiny_assistants import picture, tiny_qwen
from web_names import settle

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
SCREENSHOTS = os.environ.get("SEESAY_SCREENSHOTS")
"""A folder to write them to, for people to look at."""
BRIEF = 40  # tokens


def png(seed: int) -> dict:
    content = io.BytesIO()
    picture(seed, (160, 120)).save(content, "PNG")
    return {"name": f"{seed}.png", "mimeType": "image/png", "buffer": content.getvalue()}


@pytest.fixture(scope="module")
def assistant(tmp_path_factory):
    torch.manual_seed(0)
    served = ServedAssistant(str(tiny_qwen(tmp_path_factory.mktemp("tiny")).folder), device="cpu")
    served.get()
    return served


@pytest.fixture(scope="module")
def address(tmp_path_factory, assistant, listening):
    place = tmp_path_factory.mktemp("few") / "few"
    with Collection.open(place, create=True) as collection:
        collection.index([folder() / "moon.png"])
    with Library.open([place]) as library:
        app = compose(library, ServerConfig(read_only=True), assistant=assistant)
        with listening(app) as address:
            yield address


@pytest.fixture
def opened(browser, address):
    contexts = []

    def open_tab(locale="en-US", width=1280, height=900):
        context = browser.new_context(locale=locale, viewport={"width": width, "height": height})
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: contexts.append(error))
        page.goto(address)
        page.get_by_role("tab").nth(2).click()
        expect(page.locator("#ask-now")).to_be_visible()
        settle(page)
        contexts.append(context)
        return page

    yield open_tab
    wrong = [one for one in contexts if isinstance(one, Exception)]
    for one in contexts:
        if not isinstance(one, Exception):
            one.close()
    assert wrong == []


def write_briefly(monkeypatch) -> None:
    """The tiny model never ends an answer by itself."""
    monkeypatch.setattr(conversing, "AnswerConfig", partial(AnswerConfig, max_tokens=BRIEF))


def ask(page, text: str) -> None:
    page.locator("#question textarea, #question input").fill(text)
    page.locator("#ask-now").click()


def shoot(page, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


def add(page, *seeds: int) -> None:
    before = page.locator("#talk-pictures .chosen").count()
    page.locator("#talk-pictures input[type=file]").set_input_files([png(one) for one in seeds])
    expect(page.locator("#talk-pictures .chosen")).to_have_count(before + len(seeds))


@pytest.mark.parametrize(
    ("locale", "width", "button"), [("en-US", 1280, "Ask"), ("zh-CN", 390, "提问")]
)
def test_pictures_are_asked_about_and_questions_go_on(
    opened, assistant, locale, width, button, monkeypatch
):
    write_briefly(monkeypatch)
    page = opened(locale, width, 844 if width < 1000 else 900)
    expect(page.locator("#ask-now")).to_have_text(button)
    shoot(page, f"ask-{width}-empty")
    add(page, 0, 1)
    page.locator("#question textarea, #question input").fill("What <b>differs</b>?")
    shoot(page, f"ask-{width}-filled")
    page.locator("#ask-now").click()
    answers = page.locator("#turns .turn.model p")
    expect(answers).to_have_count(1)
    pictures = [picture(seed, (160, 120)) for seed in (0, 1)]
    first = assistant.get().ask(pictures, "What <b>differs</b>?", max_tokens=BRIEF)
    assert answers.inner_text().split() == first.text.split()
    expect(page.locator("#turns .turn.you img")).to_have_count(2)
    expect(page.locator("#turns .turn.you p")).to_have_text("What <b>differs</b>?")
    expect(page.locator("#talk-pictures .chosen")).to_have_count(0)
    ask(page, "为什么？")
    expect(answers).to_have_count(2)
    shoot(page, f"ask-{width}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#ask-clear").click()
    expect(page.locator("#turns .turn")).to_have_count(0)


def test_what_is_wrong_is_one_message_and_the_question_stays(opened):
    page = opened()
    ask(page, "")
    expect(page.locator("#current .notice.wrong")).to_contain_text("there is no question")
    files = [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"no picture"}]
    page.locator("#talk-pictures input[type=file]").set_input_files(files)
    expect(page.locator("#talk-pictures .chosen")).to_have_count(1)
    ask(page, "Why?")
    expect(page.locator("#current .notice.wrong")).to_contain_text("a.txt")
    page.locator("#talk-pictures .drop-it").click()
    expect(page.locator("#talk-pictures .chosen")).to_have_count(0)
    ask(page, "Why? " * 250)
    expect(page.locator("#current .notice.wrong")).to_contain_text("tokens")
    expect(page.locator("#question textarea, #question input")).to_have_value(
        ("Why? " * 250).strip()
    )
    shoot(page, "ask-1280-wrong")


def test_an_answer_appears_as_it_is_written_and_can_be_stopped(opened, monkeypatch):
    go_on, whole = threading.Semaphore(3), LocalAssistant._steps

    def slow(self, *given):
        for step in whole(self, *given):
            go_on.acquire()
            yield step

    asked, stream = [], LocalAssistant.stream

    def noted(self, images, messages, **how):
        asked.append((images, messages))
        return stream(self, images, messages, **how)

    monkeypatch.setattr(LocalAssistant, "_steps", slow)
    monkeypatch.setattr(LocalAssistant, "stream", noted)
    page = opened()
    add(page, 0)
    ask(page, "What is it?")
    expect(page.locator("#current .turn.writing p")).not_to_have_text("Looking at it …")
    page.locator("#ask-stop").click()
    note = page.locator("#turns .note")
    for _ in range(200):  # one token at a time, so that the answer does not end by itself
        if note.count():
            break
        go_on.release()
        page.wait_for_timeout(50)
    go_on.release(600)
    expect(note).to_contain_text("Stopped")
    write_briefly(monkeypatch)
    ask(page, "And why?")  # the picture of the stopped answer is still there
    expect(page.locator("#turns .turn.model")).to_have_count(2)
    assert len(asked[-1][0]) == 1 and len(asked[-1][1]) == 3
    page.locator("#ask-clear").click()
    expect(page.locator("#turns .notice")).to_be_visible()
    while go_on.acquire(blocking=False):
        pass
    go_on.release(3)
    ask(page, "Hello again")
    expect(page.locator("#current .turn.writing p")).not_to_have_text("Looking at it …")
    page.locator("#ask-clear").click()
    expect(page.locator("#turns .notice")).to_be_visible()
    go_on.release(600)
    ask(page, "And now?")
    expect(page.locator("#turns .turn.you p")).to_have_text(["And now?"])
