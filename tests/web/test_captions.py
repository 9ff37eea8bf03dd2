"""A picture that a table describes is shown as one picture with its caption, at every door."""

import asyncio
import json
import re
import shutil
from html import unescape

import httpx
import pytest
from mcp import Client

from live_server import serving
from photographs import photographs
from seesay.api.mcp import build_mcp
from seesay.search.collection import Collection
from seesay.search.library import Library
from seesay.web.answering import answer
from seesay.web.asking import SearchForm
from seesay.web.handlers import Handlers
from seesay.web.mapping import draw

ENGLISH, CHINESE = "Zorro the <b>ginger</b> tomcat", "名叫佐罗的橘猫"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six photographs, two of them with captions, and two notes."""
    base = tmp_path_factory.mktemp("captioned")
    for file in photographs():
        shutil.copy(file, base)
    table = f"file,caption\nchelsea.png,{ENGLISH}\nchelsea.png,{CHINESE}\nmoon.png,Luna\n"
    (base / "captions.csv").write_text(table, encoding="utf-8")
    (base / "note.md").write_text("The rocket stands on the launch pad.\n")
    (base / "more.md").write_text("Tea needs three minutes.\n")
    with Collection.open(base / "album", create=True) as collection:
        collection.index([base / name for name in sorted(f.name for f in base.glob("*.*"))])
    return base / "album"


@pytest.fixture(scope="module")
def library(folder):
    with Library.open([folder], read_only=True) as library:
        yield library


@pytest.fixture
def collection(library):
    return library.get("album")


def test_captions_are_counted_apart_from_texts(collection):
    counted = collection.stats()
    (space,) = counted.spaces
    assert (space.images, space.texts, space.captions) == (6, 2, 2)
    assert counted.units == {"image": 6, "text": 2}


def test_on_the_map_of_texts_captions_are_seen_to_be_captions_of_their_picture(collection):
    plane, told = draw(collection, "album", "text")
    kinds = {label: kind for _, _, _, kind, label in points(plane)}
    assert kinds == {
        f"chelsea.png: Zorro the <b>ginger</b> tomcat {CHINESE}": "caption",
        "moon.png: Luna": "caption",
        "note.md: The rocket stands on the launch pad.": "text",
        "more.md: Tea needs three minutes.": "text",
    }
    assert "<b>ginger" not in plane
    assert "2 of the dots are captions" in told and "其中 2 个是图片说明" in told
    plane, told = draw(collection, "album", "image")
    assert {kind for _, _, _, kind, _ in points(plane)} == {"image"} and "captions" not in told
    assert any(path.endswith("/chelsea.png") for *_, path in points(plane))


def points(plane):
    return json.loads(unescape(re.search(r'data-points="([^"]*)"', plane)[1]))


@pytest.mark.parametrize("words", ["Zorro the tomcat", "佐罗"])
def test_the_page_says_that_a_picture_was_found_by_its_caption(collection, words):
    page = answer(collection, "album", SearchForm(words=words))
    first, *others = re.findall(r'<li class="card".*?</li></ul></details></div></div></li>', page)
    assert "chelsea.png" in first and first.count("<img") == 1
    assert "Zorro the &lt;b&gt;ginger" in first and CHINESE in first
    assert "<b>ginger" not in page
    assert "by the meaning of its caption" in first and "按图片说明的含义排第" in first
    assert '<span class="zh" lang="zh-CN">图片说明：</span>' in first
    (camera,) = [other for other in others if "camera.png" in other]
    assert "Caption" not in camera and "图片说明" not in camera
    panel = page[page.index("explain") :]
    assert "the words of its caption" in panel and "by the meaning of texts (" in panel


def test_what_is_asked_on_the_page_is_counted_and_the_start_page_is_not(library):
    counted = []
    handlers = Handlers(library, read_only=True, searched=counted.append)
    rest = ("", "", 0, None, [], "", "", "")
    assert "moon.png" in handlers.search("album", "the moon", *rest)[0]
    assert counted == ["album"]
    handlers.search("album", "", *rest)
    assert counted == ["album"]


def test_programs_and_assistants_are_given_the_caption(folder, library):
    with serving(folder) as up, httpx.Client(base_url=up.url) as client:
        body = client.post("/v1/search", json={"query": "Zorro the tomcat"}).json()
        hit = body["hits"][0]
        assert [one["retriever"] for one in hit["retrievers"]] == ["image", "text", "keyword"]
        assert (hit["kind"], hit["text"]) == ("image", f"{ENGLISH}\n{CHINESE}")
        (statistics,) = client.get("/v1/collections/album").json()["statistics"]["spaces"]
        assert statistics["captions"] == 2
        shown = client.get("/openapi.json").json()["components"]["schemas"]
        assert "captions" in shown["EmbeddingSpaceStatistics"]["properties"]

    async def talk():
        async with Client(build_mcp(library)) as assistant:
            found = await assistant.call_tool("search", {"words": "佐罗"})
            told = await assistant.call_tool("describe", {"unit": hit["unit"]})
            return found.structured_content["hits"][0], json.loads(told.content[0].text)

    found, told = asyncio.run(talk())
    assert (found["unit"], found["snippet"]) == (hit["unit"], f"{ENGLISH} {CHINESE}")
    assert told["text"] == f"{ENGLISH}\n{CHINESE}"
