"""Pages of results: nothing from outside, nothing run that a file name brought in."""

import re
from html.parser import HTMLParser

from made_tiles import card, small
from seesay.text import Text
from seesay.web.report import Section, Tile, file_link, to_page

HOSTILE = '"><script>alert(1)</script>&<img src=x onerror=alert(2)>.jpg'


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def page(*cards: Tile, **changes) -> str:
    section = Section(title=Text("Words", "文字"), cards=cards, **changes)
    return to_page(Text("Found", "结果"), Text("What came up.", "找到的内容。"), [section])


def test_a_name_of_a_file_cannot_bring_markup_or_a_script():
    text = page(card(HOSTILE, folder=HOSTILE, text=HOSTILE, link="/" + HOSTILE), asked=HOSTILE)
    tags = Tags(text).found
    assert [name for name, _ in tags].count("script") == 1
    assert not any(key.startswith("on") for _, attributes in tags for key in attributes)
    assert all(a["src"].startswith("data:image/webp;") for name, a in tags if name == "img")
    assert re.search(r"script-src 'sha256-[\w+/=]{44}'", text)


def test_the_page_asks_nothing_of_the_network():
    tags = Tags(page(card())).found
    outside = [a for _, a in tags if str(a.get("src") or a.get("href") or "").startswith("http")]
    assert outside == [] and "link" not in [name for name, _ in tags]


def test_both_languages_are_there_and_one_is_shown():
    text = page(card(confidence=81.4), no_good_match=True)
    assert 'data-spoken="en"' in text
    for words in ("No good match. These", "没有足够相符的结果。下面", "match 81%", "匹配度 81%"):
        assert words in text
    assert 'data-spoken="zh"' in to_page(Text("a", "甲"), Text("b", "乙"), [], "zh")


def test_every_picture_says_what_it_is_or_is_decoration():
    tags = Tags(page(card(), pictures=(small("rocket.jpg"),))).found
    assert [a["alt"] for name, a in tags if name == "img"] == ["", "chelsea.png"]


def test_a_text_is_shown_as_a_text():
    text = page(card("note.md", picture=None, text="first\nsecond"))
    assert "<blockquote>first\nsecond</blockquote>" in text


def test_a_link_leads_to_a_file_and_nowhere_else():
    assert file_link("/a b/猫.jpg") == "file:///a%20b/%E7%8C%AB.jpg"
    assert file_link("http://example.org/x.jpg") == file_link("javascript:alert(1)") == ""
