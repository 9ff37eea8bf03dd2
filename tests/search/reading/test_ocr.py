"""Text in pictures, in Chinese and in English, without a download."""

import socket

import pytest

from made_pdfs import paint
from seesay.cli.contact_sheet import shows_chinese
from seesay.search.reading import ocr

ENGLISH = ["Opening hours of the harbour museum", "Monday to Friday, 9:30 to 17:00"]
CHINESE = ["港口博物馆开放时间", "星期一至星期五，九点至十七点"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise OSError("a download was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("lines", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_lines_are_read_with_their_boxes(lines):
    if lines is CHINESE and not shows_chinese():
        pytest.skip("no font with Chinese characters")
    picture = paint(lines, height=240)
    found = ocr.read_lines(picture, 620.0, 120.0)
    assert [line.text.replace(" ", "") for line in found] == [one.replace(" ", "") for one in lines]
    left, top, right, bottom = found[0].box
    assert left == pytest.approx(40, abs=6) and 25 < top < bottom < 60 and right < 620


def test_a_picture_without_text_has_none():
    assert ocr.read_picture_text(paint([], height=240)) == ""
