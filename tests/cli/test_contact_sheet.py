"""Contact sheets: any name and text is drawn inside its cell."""

import pytest
from PIL import Image

from made_tiles import card
from seesay.cli import contact_sheet
from seesay.cli.contact_sheet import draw, write_contact_sheet
from seesay.errors import DataError


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
    monkeypatch.setattr(contact_sheet, "_folders", lambda: [tmp_path])
    assert contact_sheet.chinese_font.__wrapped__() == tmp_path / "msyh.ttc"


def test_a_sheet_that_cannot_be_written_says_why(tmp_path):
    with pytest.raises(DataError, match=r"sheet\.png cannot be written"):
        write_contact_sheet(tmp_path / "missing" / "sheet.png", "x", ())
