"""Pages and contact sheets: nothing from outside, nothing run that a file name brought in."""

import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from photographs import folder
from seesay.errors import DataError
from seesay.search.report import contact_sheet, fonts
from seesay.search.report.cards import Card, Section
from seesay.search.report.contact_sheet import draw, write_contact_sheet
from seesay.search.report.page import file_link, to_page

HOSTILE = '"><script>alert(1)</script>&<img src=x onerror=alert(2)>.jpg'


def small(name: str) -> bytes:
    with Image.open(folder() / name) as picture:
        shrunk = picture.convert("RGB")
    shrunk.thumbnail((128, 128))
    stream = io.BytesIO()
    shrunk.save(stream, "WEBP")
    return stream.getvalue()


def card(name: str = "chelsea.png", **changes) -> Card:
    return Card(**{"name": name, "folder": "/photos", "picture": small("chelsea.png"), **changes})


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def page(*cards: Card, **changes) -> str:
    section = Section(title=("Words", "文字"), cards=cards, **changes)
    return to_page(("Found", "结果"), ("What came up.", "找到的内容。"), [section])


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
    assert 'data-spoken="zh"' in to_page(("a", "甲"), ("b", "乙"), [], "zh")


def test_every_picture_says_what_it_is_or_is_decoration():
    tags = Tags(page(card(), pictures=(small("rocket.jpg"),))).found
    assert [a["alt"] for name, a in tags if name == "img"] == ["", "chelsea.png"]


def test_a_text_is_shown_as_a_text():
    text = page(card("note.md", picture=None, text="first\nsecond"))
    assert "<blockquote>first\nsecond</blockquote>" in text


def test_a_link_leads_to_a_file_and_nowhere_else():
    assert file_link("/a b/猫.jpg") == "file:///a%20b/%E7%8C%AB.jpg"
    assert file_link("http://example.org/x.jpg") == file_link("javascript:alert(1)") == ""


def test_a_contact_sheet_holds_the_pictures_in_rows(tmp_path):
    cards = tuple(card(f"{number}.png", confidence=90.0 - number) for number in range(7))
    write_contact_sheet(tmp_path / "sheet.png", "猫 cat", cards)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width == 5 * 272 + 16
        # The middle of the seventh cell shows the photograph, that of the eighth the paper.
        middle = 54 + 317 + 128
        assert sheet.getpixel((16 + 272 + 128, middle)) != (255, 255, 255)
        assert sheet.getpixel((16 + 2 * 272 + 128, middle)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a" * 500, "猫" * 300, "tab\there\nline", "\udcff.jpg", ""])
def test_any_name_and_text_can_be_drawn_inside_its_cell(name):
    drawn = draw(name, (card(name, folder=name), card(name, picture=None, text=name * 20)))
    assert drawn.width == 2 * 272 + 16
    right = drawn.crop((drawn.width - 15, 0, drawn.width, drawn.height))
    assert right.getextrema() == ((255, 255),) * 3


def test_without_a_font_for_chinese_its_characters_become_question_marks(monkeypatch):
    monkeypatch.setattr(contact_sheet, "chinese_font", lambda: None)
    assert contact_sheet._drawable("cat 猫") == "cat ?"
    assert not contact_sheet.shows_chinese()


def test_a_font_is_found_by_its_name_in_any_case(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "SIMSUN.TTC").touch()
    (tmp_path / "msyh.ttc").touch()
    monkeypatch.setattr(fonts, "_folders", lambda: [tmp_path])
    assert fonts.chinese_font.__wrapped__() == tmp_path / "msyh.ttc"


def test_a_sheet_that_cannot_be_written_says_why(tmp_path):
    with pytest.raises(DataError, match=r"sheet\.png cannot be written"):
        write_contact_sheet(tmp_path / "missing" / "sheet.png", "x", ())
