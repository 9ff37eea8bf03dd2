"""What a tab, a bookmark and a link in a message show of the page is ours and not Gradio's."""

import io
import re

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def visitor(served):
    with httpx.Client(base_url=served.address, timeout=30) as client:
        yield client


def tags(document):
    return dict(re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)">', document))


def test_the_document_describes_this_page_and_nothing_of_gradio(visitor, served):
    document = visitor.get("/").text
    head = document[: document.index("window.gradio_config")] + document[-5000:]
    assert not re.search(r"gradio\.app|raw\.githubusercontent|Click to try|@Gradio", head)
    assert "manifest" not in document
    described = tags(document)
    assert described["og:title"] == "看图说话 seesay"
    assert described["og:description"] == described["description"] != ""
    assert document.count("<title>") == 1 and document.count('"og:title"') == 1
    preview = visitor.get(described["og:image"])
    assert described["og:image"].startswith(served.address)
    assert preview.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(preview.content)) as image:
        assert image.size == (1200, 630)


@pytest.mark.parametrize(
    ("query", "accepted", "tag", "about"),
    [
        ("", "en-US,zh;q=0.5", "en", "Find pictures"),
        ("", "zh-TW,en;q=0.5", "zh-CN", "按内容查找"),
        ("?lang=zh", "en-US", "zh-CN", "按内容查找"),
        ("?lang=en", "zh-CN", "en", "Find pictures"),
    ],
)
def test_the_document_is_in_the_language_of_the_visitor(visitor, query, accepted, tag, about):
    document = visitor.get(f"/{query}", headers={"accept-language": accepted}).text
    assert re.search(r'<html\s+lang="([^"]+)"', document)[1] == tag
    assert about in tags(document)["og:description"]


def test_a_link_to_a_search_is_named_after_it_and_what_it_holds_is_no_markup(visitor):
    document = visitor.get("/", params={"q": '"><script>alert(1)</script> cat'}).text
    assert "<script>alert" not in document
    assert "<title>&quot;&gt;&lt;script&gt;" in document and "cat · 看图说话 seesay" in document


def test_the_icon_is_ours(visitor):
    answer = visitor.get("/favicon.ico")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("PNG", (128, 128))
    head, body = visitor.head("/"), visitor.get("/")
    assert head.status_code == 200 and head.headers["content-type"] == body.headers["content-type"]


def test_the_tab_is_named_after_what_was_asked(visit):
    page = visit("zh-CN", query="/?q=猫")
    expect(page).to_have_title("猫 · 看图说话 seesay")
    page.locator("#words textarea, #words input").fill("a red motorcycle")
    page.keyboard.press("Enter")
    expect(page).to_have_title("a red motorcycle · 看图说话 seesay")
    page.go_back()
    expect(page).to_have_title("猫 · 看图说话 seesay")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
