"""Moments of videos on the page and in the API: a hit plays from its time."""

import os
import re
from contextlib import closing

import httpx
import pytest
from playwright.sync_api import expect

from made_videos import SUBTITLES, write_film
from seesay.api.config import ServerConfig
from seesay.cli.serve import compose
from seesay.search.collection import Collection
from seesay.search.library import Library
from web_names import settle

SECONDS = 6.0
SPOKEN = """1
00:00:00,500 --> 00:00:01,500
A gull cries.

2
00:00:07,250 --> 00:00:09,000
The lighthouse was built in 1874.
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory, listening):
    """The address of a server on a collection with one video, and the video."""
    place = tmp_path_factory.mktemp("films")
    (place / "videos").mkdir()
    film = write_film(place / "videos" / "film.webm", SECONDS)
    (place / "videos" / "film.srt").write_text(SUBTITLES, encoding="utf-8")
    (place / "videos" / "film.en.srt").write_text(SPOKEN)
    (place / "videos" / "note.txt").write_text("The rocket stands on the launch pad.\n")
    with Collection.open(place / "films", create=True) as collection:
        assert collection.index([place / "videos"]).added == 2
    with Library.open([place / "films"]) as library:
        library.warm_up()
        with listening(compose(library, ServerConfig(read_only=True))) as address:
            yield address, film


def moments(address, words="a rocket"):
    asked = {"query": words, "type": "moment"}
    with httpx.Client(base_url=address, timeout=60) as client:
        hits = client.post("/v1/search", json=asked).json()["hits"]
    return hits


def test_ranges_of_the_video_are_served_by_the_number_of_a_unit(films):
    address, film = films
    data = film.read_bytes()
    unit = moments(address)[0]["unit"]
    with httpx.Client(base_url=address, timeout=60) as client:
        whole = client.get(f"/v1/units/{unit}/video")
        assert (whole.status_code, whole.content) == (200, data)
        assert whole.headers["content-type"] == "video/webm"
        assert whole.headers["x-content-type-options"] == "nosniff"
        assert "film" not in str(whole.headers)
        part = client.get(f"/v1/units/{unit}/video", headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, data[100:200])
        assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
        last = client.get(f"/v1/units/{unit}/video", headers={"Range": "bytes=-10"})
        assert (last.status_code, last.content) == (206, data[-10:])
        beyond = client.get(f"/v1/units/{unit}/video", headers={"Range": f"bytes={len(data)}-"})
        assert beyond.status_code == 416
        foreign = {"Origin": "https://elsewhere.example"}
        assert client.get(f"/v1/units/{unit}/video", headers=foreign).status_code == 403
        picture = client.get(f"/v1/thumbnails/{unit}?size=128")
        assert picture.status_code == 200 and picture.content[8:12] == b"WEBP"


def test_only_videos_of_the_collection_are_served_and_only_as_indexed(films):
    address, film = films
    hits = moments(address)
    with httpx.Client(base_url=address, timeout=60) as client:
        notes = client.post("/v1/search", json={"query": "launch pad", "type": "text"}).json()
        note = next(hit for hit in notes["hits"] if hit["path"].endswith(".txt"))
        refused = client.get(f"/v1/units/{note['unit']}/video")
        assert refused.status_code == 404 and "no video" in refused.json()["error"]["message"]
        assert client.get("/v1/units/999999/video").status_code == 404
        data, facts = film.read_bytes(), film.stat()
        film.write_bytes(b"private " + data)
        try:
            changed = client.get(f"/v1/units/{hits[0]['unit']}/video")
            assert changed.status_code == 404 and b"private" not in changed.content
        finally:
            film.write_bytes(data)
            os.utime(film, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_moment_plays_from_its_time_in_the_browser(films, browser, locale):
    address, _ = films
    with closing(browser.new_context(locale=locale)) as context:
        page = context.new_page()
        page.goto(f"{address}/?q=a+rocket&kind=moment")
        card = page.locator("#results .card .shown").first
        expect(card.locator(".at")).to_have_text(re.compile(r"▶ 0:(0[6-9]|1[01])"))
        expect(card.locator("img")).to_have_js_property("complete", True)
        card.click()
        page.wait_for_function("document.querySelector('dialog.look video')?.currentTime > 0")
        time = page.evaluate("document.querySelector('dialog.look video').currentTime")
        assert SECONDS <= time < 2 * SECONDS
        expect(page.locator("dialog.look dd.at")).to_contain_text(re.compile(r"0:(0[6-9]|1[01])"))
        page.wait_for_function("document.querySelector('dialog.look video').readyState >= 2")
        page.keyboard.press("Escape")
        expect(page.locator("dialog.look")).to_have_count(0)
        page.goto(f"{address}/?q=harbour&kind=text")
        page.locator("#results .card", has_text="harbour").locator(".shown").first.click()
        page.wait_for_function("document.querySelector('dialog.look video')?.currentTime > 0.4")


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_citation_plays_from_the_subtitle_that_is_quoted(films, browser, locale):
    address, _ = films
    is_chinese = locale.startswith("zh")
    with closing(browser.new_context(locale=locale)) as context:
        page = context.new_page()
        page.goto(address)
        page.get_by_role("tab", name="问答" if is_chinese else "Answers").click()
        expect(page.locator("#inquire")).to_be_visible()
        settle(page)
        page.locator("#inquiry textarea, #inquiry input").fill("When was the lighthouse built?")
        page.locator("#inquire").click()
        answer = page.locator("#answers .turn.model").last
        expect(answer.locator(".evidence .at").first).to_have_text("▶ 0:07")
        answer.locator(".claim .cite").first.click()
        page.wait_for_function("document.querySelector('dialog.look video')?.currentTime >= 7.2")
        expect(page.locator("dialog.look dd.at")).to_contain_text("0:07")
