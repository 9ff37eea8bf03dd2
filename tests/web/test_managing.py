"""Changing a collection from the page, in a real browser: folders, tags, and taking files out."""

import shutil
import threading
from types import SimpleNamespace
from unittest.mock import create_autospec

import gradio as gr
import httpx
import pytest
from playwright.sync_api import expect

from live_server import live
from photographs import folder
from seesay.api.config import ServerConfig
from seesay.api.jobs import IndexingStatus, Jobs
from seesay.cli.serve import compose
from seesay.errors import CollectionError
from seesay.search.collection import Collection
from seesay.search.indexing.options import IndexProgress
from seesay.search.library import Library
from seesay.text import Text
from seesay.web.managing import Manage
from web_names import settle

INDEX = "/v1/collections/own/index"
JOIN = "/gradio_api/queue/join"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folders side by side. When the server starts, the first is in one collection, "cats" and
    "gone" are in the other."""
    place = tmp_path_factory.mktemp("photos")
    for name, files in {
        "first": ("chelsea.png", "rocket.jpg", "moon.png"),
        "second": ("coffee.png",),
        "secret": ("astronaut.png",),
        "cats": ("chelsea.png", "rocket.jpg", "coins.png"),
        "gone": ("brick.png",),
    }.items():
        (place / name).mkdir()
        for file in files:
            shutil.copy(folder() / file, place / name)
    return place


@pytest.fixture(scope="module")
def served(tmp_path_factory, photos):
    """A server that may change its two collections, and index the second folder."""
    home = tmp_path_factory.mktemp("home")
    with Collection.open(home / "own", create=True) as collection:
        collection.index([photos / "first"])
    with Collection.open(home / "other", create=True) as collection:
        collection.index([photos / "cats", photos / "gone"])
    config = ServerConfig(index_folders=(str(photos / "second"),))
    with Library.open([home / "own", home / "other"]) as library:
        library.warm_up()
        with live(compose(library, config), config) as up:
            yield SimpleNamespace(address=up.url)


def manage(page, label="Manage"):
    tab, more = page.get_by_role("tab", name=label), page.locator(".overflow-menu > button")
    expect(tab.or_(more).first).to_be_visible()
    if not tab.is_visible():  # on a phone it is in the menu of the other tabs
        more.click()
        tab = page.locator(".overflow-dropdown").get_by_text(label)
    tab.click()
    expect(page.locator("#update")).to_be_visible()
    settle(page)


def choose(page, collection):
    page.locator("#collection input").click()
    page.get_by_role("option", name=collection, exact=True).click()
    expect(page.locator("#collection input")).to_have_value(collection)


def state(served, collection, job):
    where = {"index": f"/v1/collections/{collection}/index", "tags": "/v1/tags"}[job]
    return httpx.get(served.address + where, params={"collection": collection}).json()


def ask(page, text):
    page.get_by_role("tab").first.click()
    page.locator("#words textarea, #words input").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator("#results .explain")).to_contain_text(f"“{text}”")


def add(page, path):
    page.locator("#folder-path input, #folder-path textarea").fill(str(path))
    page.keyboard.press("Enter")


def test_a_folder_is_added_and_found_and_the_api_sees_the_same_job(visit, served, photos):
    page = visit()
    manage(page)
    add(page, photos / "second")
    expect(page.locator("#job .notice")).to_contain_text("1 added")
    expect(page.locator("#cancel")).not_to_be_visible()
    assert httpx.get(served.address + INDEX).json()["report"]["added"] == 1
    expect(page.locator(".closing")).to_contain_text("pictures: 4")
    ask(page, "a cup of coffee")
    expect(page.locator("#results .card", has_text="coffee.png")).to_be_visible()


def test_outside_of_the_allowed_folders_there_and_missing_ones_are_refused_alike(visit, photos):
    page = visit("zh-CN")
    manage(page, "管理")
    for path in (photos / "secret", photos / "missing", "second", photos / "first" / ".." / "x"):
        add(page, "")
        add(page, path)
        told = page.locator("#job .notice.wrong strong")
        expect(told).to_have_text("不能在这里收录这个文件夹。", use_inner_text=True)
        expect(page.locator("#job .notice")).not_to_contain_text(str(path))


def test_a_job_of_the_api_is_shown_and_another_refused_and_it_can_be_cancelled(
    visit, served, monkeypatch
):
    began, whole = threading.Event(), Collection.index

    def slow(collection, *arguments, stop, on_progress, **options):
        began.set()
        goes_on.wait(60)
        on_progress(progress)
        stop.wait(60)
        return whole(collection, *arguments, stop=stop, on_progress=on_progress, **options)

    progress = IndexProgress(done=2, total=9, failed=1, unchanged=0, seconds=1.0, path="a.jpg")
    goes_on = threading.Event()
    monkeypatch.setattr(Collection, "index", slow)
    page = visit()
    assert httpx.post(served.address + INDEX).status_code == 202
    assert began.wait(60)
    manage(page)
    expect(page.locator("#job .notice")).to_contain_text("Starting")
    expect(page.locator("#cancel")).to_be_visible()
    goes_on.set()  # from here on the page learns by itself what has become of it
    told = "Indexing: 2 of 9 files, 1 could not be read"
    expect(page.locator("#job .notice")).to_contain_text(told)
    page.locator("#cancel").click()
    expect(page.locator("#job .notice")).to_contain_text("Cancelled")
    expect(page.locator("#cancel")).not_to_be_visible()
    assert httpx.get(served.address + INDEX).json()["state"] == "interrupted"


def test_while_a_job_runs_no_second_one_begins(visit, served, monkeypatch):
    go_on, whole = threading.Event(), Collection.tag

    def slow(*arguments, **options):
        go_on.wait(60)
        return whole(*arguments, **options)

    monkeypatch.setattr(Collection, "tag", slow)
    page = visit()
    manage(page)
    assert httpx.post(served.address + "/v1/tags", json={"labels": ["cat"]}).status_code == 202
    page.locator("#update").click()
    expect(page.locator("#job .notice.wrong")).to_contain_text("running already")
    go_on.set()
    expect(page.locator("#job .notice")).to_contain_text("have a tag now")


def test_pictures_are_tagged_and_the_tag_filters_them(visit, served):
    page = visit()
    choose(page, "other")
    manage(page)
    page.locator("#tag").click()
    expect(page.locator("#job .notice.wrong")).to_contain_text("no labels")
    page.locator("#tag-labels input, #tag-labels textarea").fill("cat， rocket、zebra")
    page.keyboard.press("Enter")
    expect(page.locator("#job .notice")).to_contain_text("1 of 4 pictures have a tag now")
    expect(page.locator("#job a")).to_have_text(["cat 1"])
    assert state(served, "own", "tags")["state"] != "running"
    assert state(served, "other", "tags")["report"]["counts"] == {"cat": 1}
    page.locator("#job a", has_text="cat").click()
    expect(page.locator("#results .chip")).to_contain_text("tag=cat")
    expect(page.locator("#collection input")).to_have_value("other")
    expect(page.locator("#results .card .name")).to_have_text(["chelsea.png"])
    page.locator("#results .chip").click()
    expect(page.locator("#results .chip")).to_have_count(0)
    expect(page.locator("#results .card")).to_have_count(4)


def test_the_folders_of_the_chosen_collection_are_brought_up_to_date(visit, served, photos):
    before = state(served, "own", "index")
    page = visit()
    choose(page, "other")
    expect(page.locator(".closing")).to_contain_text("pictures: 4")
    manage(page)
    shutil.copy(folder() / "page.png", photos / "cats")
    shutil.copy(folder() / "text.png", photos / "cats")
    (photos / "cats" / "coins.png").unlink()
    (photos / "gone").rename(photos / "elsewhere")
    page.locator("#update").click()
    told = page.locator("#job .notice")
    expect(told).to_contain_text("2 added, 0 updated, 1 removed, 2 unchanged, 0 could not be read")
    expect(told).to_contain_text(f"Not there: {photos / 'gone'}")
    expect(page.locator(".closing")).to_contain_text("pictures: 5")
    assert state(served, "other", "index")["report"]["added"] == 2
    assert state(served, "own", "index") == before


def test_files_that_could_not_be_read_are_listed_with_the_reason(visit, photos):
    whole = (photos / "second" / "coffee.png").read_bytes()
    (photos / "second" / "<b>half.png").write_bytes(whole[: len(whole) // 2])
    page = visit("zh-CN")
    manage(page, "管理")
    add(page, photos / "second")
    page.locator("#job summary", has_text="有 1 个文件无法读取").click()
    told = page.locator("#job li")
    expect(told).to_have_count(1)
    expect(told).to_contain_text("<b>half.png")
    expect(told.locator(".zh")).to_contain_text("不完整或已损坏")
    expect(told.locator(".zh")).to_be_visible()
    expect(told.locator(".en")).not_to_be_visible()


def test_a_job_that_fails_says_why(visit, monkeypatch):
    def full(*_, **__):
        raise CollectionError(Text("the disk is full", "磁盘已满"))

    monkeypatch.setattr(Collection, "index", full)
    page = visit("zh-CN")
    manage(page, "管理")
    page.locator("#update").click()
    told = page.locator("#job .notice.wrong .detail")
    expect(told).to_have_text("磁盘已满", use_inner_text=True)
    expect(page.locator("#cancel")).not_to_be_visible()


def test_too_many_or_too_long_labels_are_refused_as_in_the_api(visit, served):
    many, long = [f"label {number}" for number in range(1001)], "猫" * 201
    for labels in (many, [long]):
        answer = httpx.post(served.address + "/v1/tags", json={"labels": labels})
        assert answer.status_code == 422
    page = visit("zh-CN")
    manage(page, "管理")
    field, told = page.locator("#tag-labels input, #tag-labels textarea"), page.locator("#job")
    field.fill(", ".join(many))
    page.keyboard.press("Enter")
    expect(told).to_contain_text("有 1001 个标签，最多只能有 1000 个")
    field.fill(f"狗、{long}")
    page.keyboard.press("Enter")
    expect(told).to_contain_text("有 201 个字符，最多只能有 200 个")


def test_a_file_is_removed_after_a_question_and_stays_on_the_disk(visit, photos):
    page = visit()
    ask(page, "the moon in the night sky")
    before = set(page.locator("#results .card .name").all_inner_texts())
    card = page.locator("#results .card", has_text="moon.png")
    card.locator(".remove summary").focus()
    page.keyboard.press("Enter")
    expect(card.locator(".remove p")).to_contain_text("stays on the disk")
    expect(card).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#results .notice").first).to_contain_text("Removed from the collection")
    expect(page.locator("#results .explain")).to_contain_text("“the moon in the night sky”")
    expect(card).to_have_count(0)
    assert set(page.locator("#results .card .name").all_inner_texts()) == before - {"moon.png"}
    assert (photos / "first" / "moon.png").is_file()


@pytest.mark.parametrize(
    ("job", "asks_again"),
    [
        (None, False),
        ("running", True),
        ("done", False),
        ("failed", False),
        ("interrupted", False),
    ],
)
def test_the_page_asks_again_only_while_a_job_runs(job, asks_again):
    error = Text("no", "不行")
    status = None if job is None else IndexingStatus(collection="own", state=job, error=error)
    with gr.Blocks(analytics_enabled=False):
        jobs = create_autospec(Jobs, instance=True)
        jobs.latest.return_value = status
        manage = Manage(jobs, "own")
    _, button, timer = manage.status("own")
    assert (button["visible"], timer["active"]) == (asks_again, asks_again)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_tab_fits_on_the_screen(visit, width):
    page = visit("en-US", width, 844)
    manage(page)
    for name in ("#update", "#add-folder", "#tag", "#folder-path", "#tag-labels"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_its_functions_take_texts_only(served):
    """As the rest of the page: no file data, no other types."""
    with httpx.Client(base_url=served.address, timeout=30) as visitor:
        config = visitor.get("/config").json()
        file = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
        functions = [one for one in config["dependencies"] if one["backend_fn"]]
        assert any("tick" in str(one["targets"]) for one in functions)
        for one in functions:
            for place in range(len(one["inputs"])):
                for attack in (file, [file], {"a": 1}):
                    data = [None] * len(one["inputs"])
                    data[place] = attack
                    body = {"fn_index": one["id"], "data": data, "session_hash": "attacker"}
                    assert visitor.post(JOIN, json=body).status_code == 400
